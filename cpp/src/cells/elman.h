// Elman RNN (Elman 1990, "Finding structure in time"; as torch.nn.RNN).
//
//   slot 0   a = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
//   forward  h_t = f(a),  f = tanh, ReLU or the logistic function
//   backward da = dh_t * f'(a), with f' from h_t: 1 - h^2, [h > 0], h (1 - h)
//
// Saved for backward: h_t (in slot 0).
//
// A cell file is included inside a namespace that provides the value type V with + - *, and tanh, sigmoid, relu and
// positive_part_mask (see backend/cpu/simd_value.h; tests include it over double and over dual numbers).
// Contract of every cell:
//
//   kSlots                values kept per unit and step: pre-activations on the way in, what backward needs on the way
//   out kInputFirst/Count     slots that the input product fills kRecurrentFirst/Count slots that the recurrent product
//   adds to kGate[slot]           the gate (row block) of weight_ih and weight_hh that a slot belongs to kCell whether
//   there is a second state c kStages               recurrent products per step (two: gru_reset_before.h) kOptions
//   whether the functions take options and unit weights (below)
//
//   forward(s, h_prev, c_prev, h, c)
//     s: pre-activations in, saved values out
//   backward(s, h_prev, c_prev, c, dh, dc, dh_direct)
//     s: saved values in, gradients of the pre-activations out
//     dc: dL/dc_t from later steps in, dL/dc_{t-1} out
//     dh_direct: the part of dL/dh_{t-1} that bypasses W_hh
//
// A cell with kOptions takes two arguments more in front, forward(options, w, ...) and backward(options, w, ..., dw):
//   options               the same for all units: Options<V> in activation.h
//   kUnitWeights, w       weights of one unit each (peepholes); dw: += their gradients
// A plain cell stays apart from the one with options: its kernel is the leaner for it.
struct TanhFunction {
  template <class V>
  static V value(const V& a) {
    return tanh(a);
  }
  template <class V>
  static V derivative(const V& h) {
    return V(1) - h * h;
  }
};

struct ReluFunction {
  template <class V>
  static V value(const V& a) {
    return relu(a);
  }
  template <class V>
  static V derivative(const V& h) {
    return positive_part_mask(h);
  }
};

struct SigmoidFunction {
  template <class V>
  static V value(const V& a) {
    return sigmoid(a);
  }
  template <class V>
  static V derivative(const V& h) {
    return h * (V(1) - h);
  }
};

template <class Function>
struct Elman {
  static constexpr int kSlots = 1, kInputFirst = 0, kInputCount = 1, kRecurrentFirst = 0, kRecurrentCount = 1;
  static constexpr int kGate[kSlots] = {0};
  static constexpr bool kCell = false;
  static constexpr int kStages = 1;
  static constexpr bool kOptions = false;

  template <class V>
  static void forward(V* s, const V&, const V&, V& h, V&) {
    s[0] = h = Function::value(s[0]);
  }

  template <class V>
  static void backward(V* s, const V&, const V&, const V&, const V& dh, V&, V& dh_direct) {
    s[0] = dh * Function::derivative(s[0]);
    dh_direct = V(0);
  }
};
