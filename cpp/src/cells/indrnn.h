// IndRNN (Li, Li, Cook, Zhu & Gao 2018, "Independently recurrent neural network: building a longer and deeper RNN",
// equation 2): each unit sees its own past alone. Contract: elman.h, options: activation.h (g, by default ReLU).
//
//   forward   h_t = g(a + u * h_{t-1}),   a = W_ih x_t + b_ih
//   backward  da = dh * g'(h_t)           dh_{t-1} directly: da * u           du += da * h_{t-1}
//
// Unit weights: u. There is no recurrent product. Saved for backward: h_t (in slot 0).
struct IndRnn {
  static constexpr int kSlots = 1, kInputFirst = 0, kInputCount = 1, kRecurrentFirst = 0, kRecurrentCount = 0;
  static constexpr int kGate[kSlots] = {0};
  static constexpr bool kCell = false;
  static constexpr int kStages = 1;
  static constexpr bool kOptions = true;
  static constexpr int kUnitWeights = 1;

  template <class V>
  static void forward(const Options<V>& options, const V* u, V* s, const V& h_prev, const V&, V& h, V&) {
    s[0] = h = options.candidate(s[0] + u[0] * h_prev);
  }

  template <class V>
  static void backward(const Options<V>& options, const V* u, V* s, const V& h_prev, const V&, const V&, const V& dh,
                       V&, V& dh_direct, V* du) {
    const V da = dh * options.candidate.slope(s[0]);
    s[0] = da;
    dh_direct = da * u[0];
    du[0] = du[0] + da * h_prev;
  }
};
