// Softmax of a single row, for kernels that have rows of several lengths; defined in loss.cpp.
#pragma once

#include <cstdint>

namespace rnncore::cpu {

// y = softmax(x), n >= 1; y may be x.
template <typename T>
void softmax_row(std::int64_t n, const T* x, T* y);
// dx of y = softmax(x); dx may be dy.
template <typename T>
void softmax_row_backward(std::int64_t n, const T* dy, const T* y, T* dx);

}  // namespace rnncore::cpu
