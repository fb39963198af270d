// The row kernels of the output layer with its loss, in output_layer_kernels.cpp. Internal to the CPU backend.
#pragma once

#include <cstdint>

namespace rnncore::cpu {

template <typename T>
struct OutputKernels {
  T (*max)(std::int64_t n, const T* x);
  double (*sum)(std::int64_t n, const T* x);
  // n and width from here on: whole vectors
  double (*exp)(std::int64_t n, T reference, T* x);  // x = exp(x - reference); returns their sum
  // x[r] = scale[r] * x[r] - shift for rows of `width`, zeros where the scale is 0
  void (*scale_rows)(std::int64_t rows, std::int64_t width, const T* scale, T shift, T* x);
  void (*add_rows)(std::int64_t rows, std::int64_t width, const T* x, T* sums);  // sums += x[0] + x[1] ..., in order
};

template <typename T>
const OutputKernels<T>& output_kernels();  // of the active target

}  // namespace rnncore::cpu
