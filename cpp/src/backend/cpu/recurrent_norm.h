// The contract of the row kernels of layer normalisation inside the step (Ba, Kiros & Hinton 2016).
//
// The recurrent product goes into rows of its own, [block][recurrent slot][unit in block]: "hat" rows, since the kernel
// leaves the normalised values there, and backward the gradient of the product. Statistics need a whole row, so rows,
// not units, are shared between threads.
#pragma once

#include "backend/cpu/recurrent_steps.h"

namespace rnncore::cpu {

constexpr int kNormStats = 3;  // reciprocal deviations of a row: of up to two groups of gates, and of c
constexpr double kNormEpsilon = 1e-5;

template <typename T>
struct NormForward {
  ForwardStep<T> step;  // rows [row_begin, row_end)
  T* hat = nullptr;     // W_hh h in, normalised values out
  std::int64_t hat_row = 0;
  T* rstd = nullptr;              // (rows, kNormStats)
  const T* scale = nullptr;       // of a hat row
  const T* scale_c = nullptr;     // padded units; LSTM
  const T* shift_c = nullptr;
  T* c_hat = nullptr;  // padded rows: normalised c; LSTM
};

template <typename T>
struct NormBackward {
  BackwardStep<T> step;  // gates_later unused: dh holds its part
  T* hat = nullptr;      // normalised values in; gradient of W_hh h out
  std::int64_t hat_row = 0;
  const T* rstd = nullptr;
  const T *scale = nullptr, *scale_c = nullptr, *shift_c = nullptr;
  const T* c_hat = nullptr;
  T* scratch = nullptr;  // a hat row and a padded row for each row
  // Sums over time, per row of the batch: +=
  T* d_scale = nullptr;    // hat rows
  T* d_bias = nullptr;     // rows of gates
  T* d_scale_c = nullptr;  // padded rows
  T* d_shift_c = nullptr;
};

// The input product's rows: gates = scale * normalised + bias, the normalised values kept in hat (rows of gates).
template <typename T>
struct NormInput {
  std::int64_t H = 0, row_begin = 0, row_end = 0;
  T* gates = nullptr;
  std::int64_t gates_row = 0;
  const T *scale = nullptr, *bias = nullptr;  // rows of gates
  T* hat = nullptr;                           // or null: not kept; backward: in
  T* rstd = nullptr;                          // (rows, kNormStats)
};

template <typename T>
struct NormKernels {
  void (*forward)(const NormForward<T>&);
  void (*backward)(const NormBackward<T>&);
  void (*input)(const NormInput<T>&);       // null where the sum of both products is normalised (Elman)
  void (*input_back)(const NormInput<T>&);  // gates: gradients after normalisation in, of W_ih x out
};
template <typename T>
struct NormTable {
  const NormKernels<T>* of[4];  // Elman, LSTM, LSTM without a forget gate, GRU
};
const NormKernels<float>& norm_kernels_f32(std::int64_t target, Kernel kernel);
const NormKernels<double>& norm_kernels_f64(std::int64_t target, Kernel kernel);

}  // namespace rnncore::cpu
