// LSTM (Hochreiter & Schmidhuber 1997 with the forget gate of Gers, Schmidhuber & Cummins 2000, equations as in
// torch.nn.LSTM). Gate order i f g o. Contract: elman.h.
//
//   forward   i = sigmoid(a_i)  f = sigmoid(a_f)  g = tanh(a_g)  o = sigmoid(a_o),  a = W_ih x + b_ih + W_hh h_{t-1} +
//   b_hh
//             c_t = f * c_{t-1} + i * g
//             h_t = o * tanh(c_t)
//   backward  q    = tanh(c_t)
//             dc  += dh * o * (1 - q^2)
//             da_o = dh * q * o (1 - o)
//             da_i = dc * g * i (1 - i)      da_f = dc * c_{t-1} * f (1 - f)      da_g = dc * i * (1 - g^2)
//             dc_{t-1} = dc * f
//
// Saved for backward: i f g o (slots 0 to 3), c.
struct Lstm {
  static constexpr int kSlots = 4, kInputFirst = 0, kInputCount = 4, kRecurrentFirst = 0, kRecurrentCount = 4;
  static constexpr int kGate[kSlots] = {0, 1, 2, 3};
  static constexpr bool kCell = true;
  static constexpr int kStages = 1;
  static constexpr bool kOptions = false;

  template <class V>
  static void forward(V* s, const V&, const V& c_prev, V& h, V& c) {
    s[0] = sigmoid(s[0]);
    s[1] = sigmoid(s[1]);
    s[2] = tanh(s[2]);
    s[3] = sigmoid(s[3]);
    c = state(s, c_prev);
    h = s[3] * tanh(c);
  }

  // c_t from what is saved: for a step whose stored c was replaced by the initial one (reset_mask).
  template <class V>
  static V state(const V* s, const V& c_prev) {
    return s[1] * c_prev + s[0] * s[2];
  }

  template <class V>
  static void backward(V* s, const V&, const V& c_prev, const V& c, const V& dh, V& dc, V& dh_direct) {
    const V i = s[0], f = s[1], g = s[2], o = s[3], one(1);
    const V q = tanh(c);
    dc = dc + dh * o * (one - q * q);
    s[0] = dc * g * i * (one - i);
    s[1] = dc * c_prev * f * (one - f);
    s[2] = dc * i * (one - g * g);
    s[3] = dh * q * o * (one - o);
    dc = dc * f;
    dh_direct = V(0);
  }
};
