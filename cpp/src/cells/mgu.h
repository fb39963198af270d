// Minimal gated unit (Zhou, Wu, Zhang & Zhou 2016, "Minimal gated unit for recurrent neural networks", equations 7a to
// 7c). Gate order f n. Contract: elman.h, in two stages; options: activation.h (f for the gate, g for the candidate).
//
//   forward   f = f(a_f),   a = W_ih x + b_ih + W_hh h_{t-1} + b_hh                                 (first stage)
//             p = f * h_{t-1}
//             n = g(W_in x + b_in + W_hn p + b_hn)                                                  (second stage)
//             h_t = (1 - f) * h_{t-1} + f * n
//   backward  da_n = dh * f * g'(n)                                                                 (first stage)
//             e    = dh * (n - h_{t-1})         what f gets from h_t, kept until dp is known
//             dp   = W_hn^T da_n
//             da_f = (e + dp * h_{t-1}) * f'(f)                                                     (second stage)
//             dh_{t-1} directly: dh * (1 - f) + dp * f
//
// Slots: 0 = f, 1 = n, 2 = e (no product touches it). Saved for backward: f n, p.
struct Mgu {
  static constexpr int kSlots = 3, kInputFirst = 0, kInputCount = 2, kRecurrentFirst = 0, kRecurrentCount = 1;
  static constexpr int kGate[kSlots] = {0, 1, 1};
  static constexpr bool kCell = false;
  static constexpr int kStages = 2;
  static constexpr int kSecondFirst = 1, kSecondCount = 1;
  static constexpr bool kOptions = true;
  static constexpr int kUnitWeights = 0;

  template <class V>
  static void forward_first(const Options<V>& options, V* s, const V& h_prev, V& p) {
    s[0] = options.gate(s[0]);
    p = s[0] * h_prev;
  }

  template <class V>
  static void forward(const Options<V>& options, const V*, V* s, const V& h_prev, const V&, V& h, V&) {
    s[1] = options.candidate(s[1]);
    s[2] = V(0);
    h = h_prev + s[0] * (s[1] - h_prev);
  }

  template <class V>
  static void backward(const Options<V>& options, const V*, V* s, const V& h_prev, const V&, const V&, const V& dh, V&,
                       V& dh_direct, V*) {
    const V f = s[0], n = s[1];
    s[1] = dh * f * options.candidate.slope(n);
    s[2] = dh * (n - h_prev);
    dh_direct = dh * (V(1) - f);
  }

  template <class V>
  static void backward_second(const Options<V>& options, V* s, const V& h_prev, const V& dp, V& dh_direct) {
    const V f = s[0];
    dh_direct = dh_direct + dp * f;
    s[0] = (s[2] + dp * h_prev) * options.gate.slope(f);
  }
};
