// GRU with the reset gate before the recurrent product (Cho et al. 2014, equations 5 to 8; Keras' reset_after=False).
// Gate order r z n. Contract: elman.h, in two stages, since the second product needs the first one's result.
//
//   forward   r = sigmoid(a_r)   z = sigmoid(a_z),   a = W_ih x + b_ih + W_hh h_{t-1} + b_hh        (first stage)
//             p = r * h_{t-1}
//             n = tanh(W_in x + b_in + W_hn p + b_hn)                                               (second stage)
//             h_t = (1 - z) * n + z * h_{t-1}
//   backward  da_n = dh * (1 - z) * (1 - n^2)          da_z = dh * (h_{t-1} - n) * z (1 - z)        (first stage)
//             dp   = W_hn^T da_n
//             da_r = dp * h_{t-1} * r (1 - r)                                                       (second stage)
//             dh_{t-1} directly: dh * z + dp * r
//
// Slots: 0 = r, 1 = z, 2 = n. Saved for backward: r z n, p.
struct GruResetBefore {
  static constexpr int kSlots = 3, kInputFirst = 0, kInputCount = 3, kRecurrentFirst = 0, kRecurrentCount = 2;
  static constexpr int kGate[kSlots] = {0, 1, 2};
  static constexpr bool kCell = false;
  static constexpr int kStages = 2;
  static constexpr bool kOptions = false;
  static constexpr int kSecondFirst = 2, kSecondCount = 1;  // slots of the second stage's product

  // First stage: p is what the second product multiplies.
  template <class V>
  static void forward_first(V* s, const V& h_prev, V& p) {
    s[0] = sigmoid(s[0]);
    s[1] = sigmoid(s[1]);
    p = s[0] * h_prev;
  }

  template <class V>
  static void forward(V* s, const V& h_prev, const V&, V& h, V&) {
    s[2] = tanh(s[2]);
    h = s[2] + s[1] * (h_prev - s[2]);
  }

  template <class V>
  static void backward(V* s, const V& h_prev, const V&, const V&, const V& dh, V&, V& dh_direct) {
    const V z = s[1], n = s[2], one(1);
    s[2] = dh * (one - z) * (one - n * n);
    s[1] = dh * (h_prev - n) * z * (one - z);
    dh_direct = dh * z;
  }

  // Second stage, given dp; adds to dh_direct.
  template <class V>
  static void backward_second(V* s, const V& h_prev, const V& dp, V& dh_direct) {
    const V r = s[0], one(1);
    dh_direct = dh_direct + dp * r;
    s[0] = dp * h_prev * r * (one - r);
  }
};
