// Both GRUs with any activations: f for r and z, g for n. Contract: elman.h, options: activation.h; equations, slots
// and what is saved: gru.h and gru_reset_before.h, with sigmoid replaced by f, tanh by g and their slopes likewise.
struct GruOptions : Gru {
  static constexpr bool kOptions = true;
  static constexpr int kUnitWeights = 0;

  template <class V>
  static void forward(const Options<V>& options, const V*, V* s, const V& h_prev, const V&, V& h, V&) {
    const V r = options.gate(s[1]), z = options.gate(s[2]);
    const V n = options.candidate(s[0] + r * s[3]);
    h = n + z * (h_prev - n);
    s[0] = n;
    s[1] = r;
    s[2] = z;
  }

  template <class V>
  static void backward(const Options<V>& options, const V*, V* s, const V& h_prev, const V&, const V&, const V& dh, V&,
                       V& dh_direct, V*) {
    const V n = s[0], r = s[1], z = s[2], m = s[3];
    const V da_n = dh * (V(1) - z) * options.candidate.slope(n);
    s[0] = da_n;
    s[1] = da_n * m * options.gate.slope(r);
    s[2] = dh * (h_prev - n) * options.gate.slope(z);
    s[3] = da_n * r;
    dh_direct = dh * z;
  }
};

struct GruResetBeforeOptions : GruResetBefore {
  static constexpr bool kOptions = true;
  static constexpr int kUnitWeights = 0;

  template <class V>
  static void forward_first(const Options<V>& options, V* s, const V& h_prev, V& p) {
    s[0] = options.gate(s[0]);
    s[1] = options.gate(s[1]);
    p = s[0] * h_prev;
  }

  template <class V>
  static void forward(const Options<V>& options, const V*, V* s, const V& h_prev, const V&, V& h, V&) {
    s[2] = options.candidate(s[2]);
    h = s[2] + s[1] * (h_prev - s[2]);
  }

  template <class V>
  static void backward(const Options<V>& options, const V*, V* s, const V& h_prev, const V&, const V&, const V& dh, V&,
                       V& dh_direct, V*) {
    const V z = s[1], n = s[2];
    s[2] = dh * (V(1) - z) * options.candidate.slope(n);
    s[1] = dh * (h_prev - n) * options.gate.slope(z);
    dh_direct = dh * z;
  }

  template <class V>
  static void backward_second(const Options<V>& options, V* s, const V& h_prev, const V& dp, V& dh_direct) {
    const V r = s[0];
    dh_direct = dh_direct + dp * r;
    s[0] = dp * h_prev * options.gate.slope(r);
  }
};
