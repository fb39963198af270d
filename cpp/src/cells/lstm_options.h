// LSTM with options. Contract: elman.h, options: activation.h; the plain cell: lstm.h. Gate order i f g o; without a
// forget gate of its own (kForget false) i g o. The activations are f (gates), g (candidate), h (on c_t): by default
// sigmoid, tanh, tanh.
//
// Peepholes p_i p_f p_o, one weight a unit (Gers, Schraudolph & Schmidhuber 2002, equations 1 to 5; Graves 2013,
// "Generating sequences with recurrent neural networks", equations 7 to 11): i and f see c_{t-1}, o sees c_t.
// Coupled gates, f = 1 - i (Greff et al. 2017, "LSTM: a search space odyssey", CIFG; ONNX input_forget).
// No forget gate, f = 1 (Hochreiter & Schmidhuber 1997).
//
//   forward   i = f(a_i + p_i c_{t-1})    f = f(a_f + p_f c_{t-1}), or 1 - i, or 1       g = g(a_g)
//             c_t = f c_{t-1} + i g
//             o = f(a_o + p_o c_t)
//             h_t = o h(c_t)
//   backward  q    = h(c_t)
//             da_o = dh q f'(o)
//             dc  += dh o h'(q) + da_o p_o
//             da_g = dc i g'(g)
//             da_i = dc g f'(i)              coupled: dc (g - c_{t-1}) f'(i)
//             da_f = dc c_{t-1} f'(f)
//             dc_{t-1} = dc f + da_i p_i + da_f p_f
//             dp_i += da_i c_{t-1}           dp_f += da_f c_{t-1}           dp_o += da_o c_t
//
// truncate_gates: the gradient of 1997 (appendix A.1, "truncated backprop"): an error that reaches a gate or the
// candidate changes the weights into it and goes no further back in time, so the peephole terms of dc and dc_{t-1} fall
// away, as does W_hh^T da (the driver leaves that product out).
//
// Saved for backward: i [f] g o, c.
template <bool FORGET>
struct LstmOptions {
  static constexpr bool kForget = FORGET;
  static constexpr int kSlots = FORGET ? 4 : 3;
  static constexpr int kInputFirst = 0, kInputCount = kSlots, kRecurrentFirst = 0, kRecurrentCount = kSlots;
  static constexpr int kGate[4] = {0, 1, 2, 3};
  static constexpr bool kCell = true;
  static constexpr int kStages = 1;
  static constexpr bool kOptions = true;
  static constexpr int kUnitWeights = kSlots - 1;                         // p_i [p_f] p_o
  static constexpr int kF = 1, kG = FORGET ? 2 : 1, kO = FORGET ? 3 : 2;  // slots; i is slot 0
  static constexpr int kPeepF = 1, kPeepO = kUnitWeights - 1;             // unit weights; p_i is 0

  template <class V>
  static void forward(const Options<V>& options, const V* p, V* s, const V&, const V& c_prev, V& h, V& c) {
    forward_state(options, p, s, c_prev, c);
    forward_output(options, p, s, c, c, h);
  }

  // c_t ...
  template <class V>
  static void forward_state(const Options<V>& options, const V* p, V* s, const V& c_prev, V& c) {
    if (options.peephole) {
      s[0] = s[0] + p[0] * c_prev;
      if (FORGET) s[kF] = s[kF] + p[kPeepF] * c_prev;
    }
    s[0] = options.gate(s[0]);
    if (FORGET) s[kF] = options.gate(s[kF]);
    s[kG] = options.candidate(s[kG]);
    c = state(options, s, c_prev);
  }
  // ... and h_t = o h(seen), where seen is c_t, or with layer normalisation what that makes of it.
  template <class V>
  static void forward_output(const Options<V>& options, const V* p, V* s, const V& c, const V& seen, V& h) {
    if (options.peephole) s[kO] = s[kO] + p[kPeepO] * c;
    s[kO] = options.gate(s[kO]);
    h = s[kO] * options.hidden(seen);
  }

  template <class V>
  static V forget(const Options<V>& options, const V* s) {
    if (FORGET) return s[kF];
    return options.coupled ? V(1) - s[0] : V(1);
  }

  template <class V>
  static V state(const Options<V>& options, const V* s, const V& c_prev) {
    return forget(options, s) * c_prev + s[0] * s[kG];
  }

  // dp: += the gradients of p.
  template <class V>
  static void backward(const Options<V>& options, const V* p, V* s, const V&, const V& c_prev, const V& c, const V& dh,
                       V& dc, V& dh_direct, V* dp) {
    dc = dc + backward_output(options, s, c, dh);
    backward_state(options, p, s, c_prev, c, dc, dp);
    dh_direct = V(0);
  }

  // da_o into o's slot; returns what goes to `seen`.
  template <class V>
  static V backward_output(const Options<V>& options, V* s, const V& seen, const V& dh) {
    const V o = s[kO], q = options.hidden(seen);
    s[kO] = dh * q * options.gate.slope(o);
    return dh * o * options.hidden.slope(q);
  }
  // dc: of c_t but for o's peephole in, of c_{t-1} out.
  template <class V>
  static void backward_state(const Options<V>& options, const V* p, V* s, const V& c_prev, const V& c, V& dc, V* dp) {
    const V i = s[0], f = forget(options, s), g = s[kG], da_o = s[kO];
    const bool peepholes_carry = options.peephole && !options.truncate_gates;
    if (peepholes_carry) dc = dc + da_o * p[kPeepO];
    s[kG] = dc * i * options.candidate.slope(g);
    s[0] = dc * (options.coupled ? g - c_prev : g) * options.gate.slope(i);
    if (FORGET) s[kF] = dc * c_prev * options.gate.slope(f);
    dc = dc * f;
    if (options.peephole) {
      dp[0] = dp[0] + s[0] * c_prev;
      if (FORGET) dp[kPeepF] = dp[kPeepF] + s[kF] * c_prev;
      dp[kPeepO] = dp[kPeepO] + da_o * c;
    }
    if (peepholes_carry) {
      dc = dc + s[0] * p[0];
      if (FORGET) dc = dc + s[kF] * p[kPeepF];
    }
  }
};
