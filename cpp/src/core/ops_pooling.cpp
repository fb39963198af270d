// Maximum and mean over each sequence's own steps.
#include <limits>

#include "core/ops_common.h"

namespace rnncore {
namespace {

backend::TimePool check_pool(const char* name, const Tensor& a, const Tensor& lengths) {
  check_float(name, "a", a);
  if (a.dim() != 3) throw_argument(name, "a", "shape (T, N, F)", to_string(a.shape()));
  backend::TimePool pool;
  pool.dtype = a.dtype();
  pool.T = a.size(0);
  pool.N = a.size(1);
  pool.F = a.size(2);
  pool.x = a.raw();
  if (pool.T > std::numeric_limits<std::int32_t>::max())
    throw_argument(name, "a", "fewer than 2^31 steps", std::to_string(pool.T));
  if (!lengths.defined()) return pool;
  if (lengths.dtype() != DType::int64) throw_type(name, "lengths", "int64", name_of(lengths.dtype()));
  if (lengths.shape() != Shape{pool.N})
    throw_argument(name, "lengths", "shape (N,) = " + to_string({pool.N}), to_string(lengths.shape()));
  pool.lengths = lengths.data<std::int64_t>();
  for (std::int64_t n = 0; n < pool.N; ++n)
    if (pool.lengths[n] < 0 || pool.lengths[n] > pool.T)
      throw_argument(name, "lengths[" + std::to_string(n) + "]", "0 <= length <= T = " + std::to_string(pool.T),
                     std::to_string(pool.lengths[n]));
  return pool;
}

Tensor pool_over_time(const char* name, bool max, const Tensor& a, const Tensor& lengths) {
  backend::TimePool pool = check_pool(name, a, lengths);
  Tensor out = Tensor::empty({pool.N, pool.F}, a.dtype());
  // Steps of the maxima: 4 bytes each, in the memory of a tensor of bytes.
  const Tensor best = max ? Tensor::empty({pool.N * pool.F, 4}, DType::uint8) : Tensor();
  if (max) pool.best = static_cast<std::int32_t*>(const_cast<void*>(best.raw()));
  pool.y = out.mutable_raw();
  backend::pool_time(a.device(), pool);
  if (!should_record({a})) return out;
  const Saved saved(lengths);
  record(name, {a}, {&out}, [=, shape = a.shape()](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    backend::TimePool again = pool;
    again.lengths = saved.defined() ? saved.get(name).data<std::int64_t>() : nullptr;
    again.best = max ? static_cast<std::int32_t*>(const_cast<void*>(best.raw())) : nullptr;
    Tensor dx = Tensor::empty(shape, grads[0].dtype());
    backend::pool_time_backward(dx.device(), again, grads[0].raw(), dx.mutable_raw());
    return {dx};
  });
  return out;
}

}  // namespace

Tensor max_over_time(const Tensor& a, const Tensor& lengths) {
  return pool_over_time("max_over_time", true, a, lengths);
}
Tensor mean_over_time(const Tensor& a, const Tensor& lengths) {
  return pool_over_time("mean_over_time", false, a, lengths);
}

}  // namespace rnncore
