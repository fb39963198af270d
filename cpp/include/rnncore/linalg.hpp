// Linear algebra beside the hot path, on the host (Eigen inside): what initialisers and instruments need.
#pragma once

#include <cstdint>

#include "rnncore/random.hpp"
#include "rnncore/tensor.hpp"

namespace rnncore {

// A (rows, columns) float64 matrix with orthonormal rows or columns (whichever are fewer), uniformly distributed:
// QR of a normal matrix with the signs of R's diagonal divided out (Mezzadri 2007). Takes one call of the generator.
// rows and columns at least 1.
RNNCORE_EXPORT Tensor orthogonal(std::int64_t rows, std::int64_t columns, Generator& generator);

}  // namespace rnncore
