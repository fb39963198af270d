// Checks and shape arithmetic shared by the operations. Internal to core/.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/pointwise.h"
#include "core/tensor_impl.h"
#include "rnncore/ops.hpp"

namespace rnncore {

inline void check_defined(const char* operation, const char* argument, const Tensor& t) {
  if (!t.defined()) throw_argument(operation, argument, "a tensor", "none (undefined)");
}

inline void check_float(const char* operation, const char* argument, const Tensor& t) {
  check_defined(operation, argument, t);
  if (!is_float(t.dtype())) throw_type(operation, argument, "float32 or float64", name_of(t.dtype()));
}

// `t` must have the dtype of an earlier argument.
inline void check_same_dtype(const char* operation, const char* argument, const Tensor& t, DType wanted) {
  check_defined(operation, argument, t);
  if (t.dtype() != wanted)
    throw_type(operation, argument, std::string(name_of(wanted)) + " as the first argument", name_of(t.dtype()),
               "convert with to()");
}

// Axis in [0, dim).
inline std::size_t normal_axis(const char* operation, std::int64_t axis, std::int64_t dim,
                               const char* argument = "axis") {
  const std::int64_t wanted = axis < 0 ? axis + dim : axis;
  if (wanted < 0 || wanted >= dim)
    throw_argument(operation, argument, "in [" + std::to_string(-dim) + ", " + std::to_string(dim - 1) + "]",
                   std::to_string(axis));
  return static_cast<std::size_t>(wanted);
}

// Product of shape[begin .. end).
inline std::int64_t product(const Shape& shape, std::size_t begin, std::size_t end) {
  std::int64_t n = 1;
  for (std::size_t i = begin; i < end; ++i) n *= shape[i];
  return n;
}

inline std::int64_t bytes_of(const Tensor& t) { return t.numel() * size_of(t.dtype()); }

// Sums `grad` over the axes that broadcasting `shape` to grad's shape repeated.
Tensor reduce_to(const Tensor& grad, const Shape& shape);
// a op b with NumPy broadcasting, not recorded.
Tensor broadcast_binary(const char* operation, backend::Binary op, const Tensor& a, const Tensor& b);
// f(a), not recorded.
Tensor map_unary(backend::Unary op, const Tensor& a, double p = 0.0);

}  // namespace rnncore
