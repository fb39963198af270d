// Softmax, log-softmax, layer normalisation.
#include "core/ops_common.h"

namespace rnncore {
namespace {

// `a` with `axis` last, not recorded.
Tensor axis_last(const Tensor& a, std::size_t axis) {
  const Shape& s = a.shape();
  if (axis + 1 == s.size()) return a;
  const std::int64_t outer = product(s, 0, axis), n = s[axis], inner = product(s, axis + 1, s.size());
  Tensor out = Tensor::empty({outer, inner, n}, a.dtype());
  backend::exchange(a.device(), size_of(a.dtype()), outer, n, inner, 1, a.raw(), out.mutable_raw());
  return out;
}

// The inverse: rows (outer, inner, n) back to `shape` with n on `axis`.
Tensor axis_back(const Tensor& rows, const Shape& shape, std::size_t axis) {
  if (axis + 1 == shape.size()) return rows;
  const std::int64_t outer = product(shape, 0, axis), n = shape[axis], inner = product(shape, axis + 1, shape.size());
  Tensor out = Tensor::empty(shape, rows.dtype());
  backend::exchange(rows.device(), size_of(rows.dtype()), outer, inner, n, 1, rows.raw(), out.mutable_raw());
  return out;
}

Tensor softmax_of(const char* name, bool log, const Tensor& a, std::int64_t axis) {
  check_float(name, "a", a);
  const std::size_t k = normal_axis(name, axis, a.dim());
  const Shape shape = a.shape();
  const std::int64_t n = shape[k];
  if (n == 0 || a.numel() == 0) return a;
  const std::int64_t rows = a.numel() / n;
  const Tensor x = axis_last(a, k);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  backend::softmax_rows(x.device(), x.dtype(), log, rows, n, x.raw(), y.mutable_raw());
  Tensor out = axis_back(y, shape, k);
  if (!should_record({a})) return out;
  const Saved saved(y);
  record(name, {a}, {&out}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    const Tensor dy = axis_last(grads[0], k);
    const Tensor& probabilities = saved.get(name);
    Tensor dx = Tensor::empty(dy.shape(), dy.dtype());
    backend::softmax_rows_backward(dy.device(), dy.dtype(), log, rows, n, dy.raw(), probabilities.raw(),
                                   dx.mutable_raw());
    return {axis_back(dx, shape, k)};
  });
  return out;
}

}  // namespace

Tensor softmax(const Tensor& a, std::int64_t axis) { return softmax_of("softmax", false, a, axis); }
Tensor log_softmax(const Tensor& a, std::int64_t axis) { return softmax_of("log_softmax", true, a, axis); }

Tensor layer_norm(const Tensor& a, const Tensor& weight, const Tensor& bias, double eps) {
  check_float("layer_norm", "a", a);
  if (a.dim() < 1 || a.shape().back() == 0)
    throw_argument("layer_norm", "a", "shape (..., D) with D >= 1", to_string(a.shape()));
  if (!(eps >= 0)) throw_argument("layer_norm", "eps", "at least 0", std::to_string(eps));
  const Shape want{a.shape().back()};
  const auto check_parameter = [&](const char* name, const Tensor& t) {
    if (!t.defined()) return;
    check_same_dtype("layer_norm", name, t, a.dtype());
    if (t.shape() != want) throw_argument("layer_norm", name, "shape (D,) = " + to_string(want), to_string(t.shape()));
  };
  check_parameter("weight", weight);
  check_parameter("bias", bias);
  Tensor out = Tensor::empty(a.shape(), a.dtype());
  backend::LayerNorm norm;
  norm.dtype = a.dtype();
  norm.cols = want[0];
  norm.rows = a.numel() / norm.cols;
  norm.eps = eps;
  Tensor stats = Tensor::empty({norm.rows, 2}, a.dtype());
  norm.x = a.raw();
  norm.weight = weight.defined() ? weight.raw() : nullptr;
  norm.bias = bias.defined() ? bias.raw() : nullptr;
  norm.y = out.mutable_raw();
  norm.stats = stats.mutable_raw();
  backend::layer_norm(a.device(), norm);
  if (!should_record({a, weight, bias})) return out;
  const Saved saved_a(a), saved_weight(weight);
  const bool needs[] = {a.requires_grad(), weight.requires_grad(), bias.requires_grad()};
  const bool need_a = needs[0], need_weight = needs[1], need_bias = needs[2];
  record("layer_norm", {a, weight, bias}, {&out}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    backend::LayerNorm again = norm;
    again.x = saved_a.get("layer_norm").raw();
    again.weight = saved_weight.defined() ? saved_weight.get("layer_norm").raw() : nullptr;
    again.stats = const_cast<void*>(stats.raw());
    const Tensor& dy = grads[0];
    Tensor da, dw, db;
    if (need_a) da = Tensor::empty(dy.shape(), dy.dtype());
    if (need_weight) dw = Tensor::empty(want, dy.dtype());
    if (need_bias) db = Tensor::empty(want, dy.dtype());
    const auto to = [](Tensor& t) { return t.defined() ? t.mutable_raw() : nullptr; };
    backend::layer_norm_backward(dy.device(), again, dy.raw(), to(da), to(dw), to(db));
    return {da, dw, db};
  });
  return out;
}

}  // namespace rnncore
