// GRU with the reset gate after the recurrent product (as torch.nn.GRU, cuDNN, Keras' reset_after and ONNX'
// linear_before_reset have it; update convention of Cho et al. 2014: z keeps the old state). Gate order r z n.
// Contract: elman.h.
//
//   forward   r = sigmoid(a_r)   z = sigmoid(a_z),   a = W_ih x + b_ih + W_hh h_{t-1} + b_hh
//             m = W_hn h_{t-1} + b_hn
//             n = tanh(W_in x + b_in + r * m)
//             h_t = (1 - z) * n + z * h_{t-1}
//   backward  da_n = dh * (1 - z) * (1 - n^2)          dm = da_n * r
//             da_r = da_n * m * r (1 - r)              da_z = dh * (h_{t-1} - n) * z (1 - z)
//             dh_{t-1} directly: dh * z
//
// Slots: 0 = n (input part), 1 = r, 2 = z, 3 = m. Saved for backward: n r z m.
struct Gru {
  static constexpr int kSlots = 4, kInputFirst = 0, kInputCount = 3, kRecurrentFirst = 1, kRecurrentCount = 3;
  static constexpr int kGate[kSlots] = {2, 0, 1, 2};
  static constexpr bool kCell = false;
  static constexpr int kStages = 1;
  static constexpr bool kOptions = false;

  template <class V>
  static void forward(V* s, const V& h_prev, const V&, V& h, V&) {
    const V r = sigmoid(s[1]), z = sigmoid(s[2]);
    const V n = tanh(s[0] + r * s[3]);
    h = n + z * (h_prev - n);
    s[0] = n;
    s[1] = r;
    s[2] = z;
  }

  template <class V>
  static void backward(V* s, const V& h_prev, const V&, const V&, const V& dh, V&, V& dh_direct) {
    const V n = s[0], r = s[1], z = s[2], m = s[3], one(1);
    const V da_n = dh * (one - z) * (one - n * n);
    s[0] = da_n;
    s[1] = da_n * m * r * (one - r);
    s[2] = dh * (h_prev - n) * z * (one - z);
    s[3] = da_n * r;
    dh_direct = dh * z;
  }
};
