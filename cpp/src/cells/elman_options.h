// Elman RNN with any activation. Contract: elman.h, options: activation.h.
//
//   forward  h_t = g(a)        backward  da = dh g'(a), from h_t
//
// Saved for backward: h_t (in slot 0).
struct ElmanOptions {
  static constexpr int kSlots = 1, kInputFirst = 0, kInputCount = 1, kRecurrentFirst = 0, kRecurrentCount = 1;
  static constexpr int kGate[kSlots] = {0};
  static constexpr bool kCell = false;
  static constexpr int kStages = 1;
  static constexpr bool kOptions = true;
  static constexpr int kUnitWeights = 0;

  template <class V>
  static void forward(const Options<V>& options, const V*, V* s, const V&, const V&, V& h, V&) {
    s[0] = h = options.candidate(s[0]);
  }

  template <class V>
  static void backward(const Options<V>& options, const V*, V* s, const V&, const V&, const V&, const V& dh, V&,
                       V& dh_direct, V*) {
    s[0] = dh * options.candidate.slope(s[0]);
    dh_direct = V(0);
  }
};
