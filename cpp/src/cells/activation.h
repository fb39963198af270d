// Activation functions that a cell's options may choose, with ONNX's alpha and beta (the operators LSTM, GRU and RNN,
// opset 14). y = f(a); slope(y) = f'(a), told from y alone, since the gates keep y and not a.
//
//   sigmoid           1 / (1 + e^-a)              y (1 - y)
//   tanh              tanh a                      1 - y^2
//   relu              max(0, a)                   [y > 0]
//   affine            alpha a + beta              alpha
//   leaky-relu        a >= 0 ? a : alpha a        y >= 0 ? 1 : alpha            alpha >= 0
//   thresholded-relu  a > alpha ? a : 0           [y != 0]
//   scaled-tanh       alpha tanh(beta a)          beta (alpha - y^2 / alpha)
//   hard-sigmoid      min(1, max(0, alpha a + beta))     alpha [0 < y < 1]
//   hard-tanh         min(1, max(-1, a))          [-1 < y < 1]
//   elu               a >= 0 ? a : alpha (e^a - 1)       y > 0 ? 1 : y + alpha  alpha >= 0
//   softsign          a / (1 + |a|)               (1 - |y|)^2
//   softplus          log(1 + e^a)                1 - e^-y
//
// With clipping, the functions of gates and candidates see min(clip, max(-clip, a)): where y is f(clip) or f(-clip),
// the slope is 0. h(c_t) is not clipped, as in ONNX Runtime. The logistic function of 1997 papers in [-2, 2], 4
// sigmoid(a) - 2, is scaled-tanh(2, 1/2); 2 sigmoid(a) - 1 is scaled-tanh(1, 1/2).
//
// Included inside a namespace that provides V (elman.h) with, besides the operators, tanh, sigmoid, relu, log, abs, /,
// where_positive(a, x, y) = a > 0 ? x : y (NaN: y) and where_equal(a, b, x, y).
enum class Function {  // in the order of rnncore::Activation
  standard,
  sigmoid,
  tanh,
  relu,
  affine,
  leaky_relu,
  thresholded_relu,
  scaled_tanh,
  hard_sigmoid,
  hard_tanh,
  elu,
  softsign,
  softplus
};

template <class V>
V clamp(const V& a, const V& low, const V& high) {
  const V below = where_positive(a - high, high, a);  // NaN stays
  return where_positive(low - below, low, below);
}

template <class V>
class ActivationFunction {
 public:
  // numbers: kind, alpha, beta. clip 0: none.
  template <class Numbers>
  ActivationFunction(const Numbers& numbers, double clip)
      : kind_(static_cast<Function>(numbers.kind)),
        clips_(clip > 0),
        alpha_(numbers.alpha),
        beta_(numbers.beta),
        clip_(clip),
        low_(0),
        high_(0) {
    if (!clips_) return;
    low_ = (*this)(V(0) - clip_);
    high_ = (*this)(clip_);
  }

  V operator()(const V& a) const {
    const V inside = clips_ ? clamp(a, V(0) - clip_, clip_) : a;
    if (kind_ == Function::sigmoid) return sigmoid(inside);
    if (kind_ == Function::tanh) return tanh(inside);
    return other(inside);
  }

  V slope(const V& y) const {
    V s(0);
    if (kind_ == Function::sigmoid)
      s = y * (V(1) - y);
    else if (kind_ == Function::tanh)
      s = V(1) - y * y;
    else
      s = other_slope(y);
    return clips_ ? where_equal(y, low_, V(0), where_equal(y, high_, V(0), s)) : s;
  }

 private:
  V other(const V& a) const {
    const V zero(0), one(1);
    switch (kind_) {
      case Function::relu:
        return relu(a);
      case Function::affine:
        return alpha_ * a + beta_;
      case Function::leaky_relu:
        return where_positive(zero - a, alpha_ * a, a);
      case Function::thresholded_relu:
        return where_positive(alpha_ - a, zero, where_equal(a, alpha_, zero, a));  // NaN stays
      case Function::scaled_tanh:
        return alpha_ * tanh(beta_ * a);
      case Function::hard_sigmoid:
        return clamp(alpha_ * a + beta_, zero, one);
      case Function::hard_tanh:
        return clamp(a, zero - one, one);
      case Function::elu: {
        const V t = tanh(a / V(2));  // e^a - 1 = 2 t / (1 - t), without cancellation
        return where_positive(zero - a, alpha_ * (t + t) / (one - t), a);
      }
      case Function::softsign:
        return a / (one + abs(a));
      default: {  // softplus: max(0, a) + log(1 + e), e = e^-|a| = s / (1 - s) with s = sigmoid(-|a|)
        const V s = sigmoid(zero - abs(a));
        const V e = s / (one - s), u = one + e;
        const V rest = u - one;  // what of e the sum kept: log(1 + e) = e log(u) / (u - 1) to the last bits
        return relu(a) + where_positive(rest, e * log(u) / where_positive(rest, rest, one), e);
      }
    }
  }

  V other_slope(const V& y) const {
    const V zero(0), one(1);
    switch (kind_) {
      case Function::relu:
        return where_positive(y, one, zero);
      case Function::affine:
        return alpha_;
      case Function::leaky_relu:
        return where_positive(zero - y, alpha_, one);
      case Function::thresholded_relu:
        return where_equal(y, zero, zero, one);
      case Function::scaled_tanh:
        return beta_ * (alpha_ - y * y / alpha_);
      case Function::hard_sigmoid:
        return where_positive(y, where_positive(one - y, alpha_, zero), zero);
      case Function::hard_tanh:
        return where_positive(one - abs(y), one, zero);
      case Function::elu:
        return where_positive(y, one, y + alpha_);
      case Function::softsign: {
        const V rest = one - abs(y);
        return rest * rest;
      }
      default: {
        const V t = tanh(y / V(2));  // 1 - e^-y = 2 t / (1 + t)
        return (t + t) / (one + t);
      }
    }
  }

  Function kind_;
  bool clips_;
  V alpha_, beta_, clip_, low_, high_;
};

// What the equations of a cell with options read besides slots and states: the same for all units of a layer.
template <class V>
struct Options {
  ActivationFunction<V> gate, candidate, hidden;
  bool peephole, coupled, truncate_gates;

  template <class Numbers>
  explicit Options(const Numbers& n)
      : gate(n.gate, n.clip),
        candidate(n.candidate, n.clip),
        hidden(n.hidden, 0),
        peephole(n.peephole),
        coupled(n.coupled),
        truncate_gates(n.truncate_gates) {}
};
