// Sums, means, argmax.
#include "core/ops_common.h"

namespace rnncore {
namespace {

Tensor reduce_all(const char* name, const Tensor& a, bool mean) {
  check_float(name, "a", a);
  if (mean && a.numel() == 0) throw_argument(name, "a", "at least one element", to_string(a.shape()));
  const double scale = mean ? 1.0 / static_cast<double>(a.numel()) : 1.0;
  Tensor out = Tensor::empty({}, a.dtype());
  backend::sum_axis(a.device(), a.dtype(), 1, a.numel(), 1, scale, a.raw(), out.mutable_raw());
  if (!should_record({a})) return out;
  record(name, {a}, {&out}, [scale, shape = a.shape()](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    return {Tensor::full(shape, grads[0].item() * scale, grads[0].dtype())};
  });
  return out;
}

Tensor reduce_axis(const char* name, const Tensor& a, std::int64_t axis, bool keepdim, bool mean) {
  check_float(name, "a", a);
  const std::size_t k = normal_axis(name, axis, a.dim());
  const std::int64_t n = a.shape()[k];
  if (mean && n == 0)
    throw_argument(name, "a", "at least one element along axis " + std::to_string(k), to_string(a.shape()));
  const double scale = mean ? 1.0 / static_cast<double>(n) : 1.0;
  Shape kept = a.shape();
  kept[k] = 1;
  Shape shape = kept;
  if (!keepdim) shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(k));
  Tensor out = Tensor::empty(shape, a.dtype());
  if (out.numel() > 0)
    backend::sum_axis(a.device(), a.dtype(), product(kept, 0, k), n, product(kept, k + 1, kept.size()), scale, a.raw(),
                      out.mutable_raw());
  if (!should_record({a})) return out;
  record(name, {a}, {&out}, [=, full = a.shape()](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    const Tensor weight = Tensor::full(full, scale, grads[0].dtype());
    return {broadcast_binary(name, backend::Binary::mul, weight, grads[0].reshape(kept))};
  });
  return out;
}

}  // namespace

Tensor sum(const Tensor& a) { return reduce_all("sum", a, false); }
Tensor mean(const Tensor& a) { return reduce_all("mean", a, true); }
Tensor sum(const Tensor& a, std::int64_t axis, bool keepdim) { return reduce_axis("sum", a, axis, keepdim, false); }
Tensor mean(const Tensor& a, std::int64_t axis, bool keepdim) { return reduce_axis("mean", a, axis, keepdim, true); }

Tensor argmax(const Tensor& a, std::int64_t axis) {
  check_float("argmax", "a", a);
  const std::size_t k = normal_axis("argmax", axis, a.dim());
  const std::int64_t n = a.shape()[k];
  if (n == 0)
    throw_argument("argmax", "a", "at least one element along axis " + std::to_string(k), to_string(a.shape()));
  Shape shape = a.shape();
  shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(k));
  Tensor out = Tensor::empty(shape, DType::int64);
  const std::int64_t outer = product(a.shape(), 0, k), inner = product(a.shape(), k + 1, a.shape().size());
  Tensor rows = a;
  if (inner > 1) {
    rows = Tensor::empty({outer, inner, n}, a.dtype());
    backend::exchange(a.device(), size_of(a.dtype()), outer, n, inner, 1, a.raw(), rows.mutable_raw());
  }
  backend::argmax_rows(a.device(), a.dtype(), outer * inner, n, rows.raw(), out.mutable_data<std::int64_t>());
  return out;
}

}  // namespace rnncore
