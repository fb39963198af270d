// The contract of the row kernels of layer normalisation inside the step (Ba, Kiros & Hinton 2016).
//
// Rows of gates hold the input's product and stay as they are until backward; the recurrent product goes into rows of
// its own, [block][recurrent slot][unit in block], and that of a second stage into others. Where the sum of both is
// normalised (Elman), the recurrent product is added to the rows of gates, and these are the product's rows too.
// Nothing but these products, c and each row's statistics is kept: backward computes the activations again. Statistics
// need a whole row, so rows, not units, are shared between threads.
#pragma once

#include "backend/cpu/recurrent_steps.h"

namespace rnncore::cpu {

constexpr double kNormEpsilon = 1e-5;
constexpr int kNormGroups = 5;  // of a row: input gates, input candidate, product gates, product candidate, c
constexpr int kNormStats = 2 * kNormGroups;  // mean and reciprocal deviation of each
enum NormGroup : int { kInputGates, kInputCandidate, kProductGates, kProductCandidate, kNormCell };

// Rows of a step, `row` apart.
template <typename T>
struct NormRows {
  T* at = nullptr;
  std::int64_t row = 0;
  T* operator[](std::int64_t r) const { return at + r * row; }
};
// Scales and shifts: of the input's and the products' slots as a row of gates lies, of c as a padded row.
template <typename T>
struct NormScales {
  const T *ih = nullptr, *hh = nullptr, *c = nullptr, *shift_c = nullptr;
};

template <typename T>
struct NormForward {
  ForwardStep<T> step;          // rows [row_begin, row_end)
  NormRows<T> product, second;  // W_hh h, and of a second stage
  T* stats = nullptr;           // (rows, kNormStats)
  NormScales<T> scales;
};

template <typename T>
struct NormBackward {
  BackwardStep<T> step;         // gates_later unused: dh holds its part. bias: as ForwardStep's
  NormRows<T> product, second;  // products in, their gradients out; as are the gates
  const T* stats = nullptr;
  NormScales<T> scales;
  const T* bias = nullptr;
  NormRows<T> scratch;  // a row of gates and a padded row each
  NormRows<T> sums;     // over time, +=: NormSumsLayout's parts
};

// Parts of a row of NormBackward::sums.
struct NormSumsLayout {
  std::int64_t bias, scale_ih, scale_hh, scale_c, shift_c, size;
  NormSumsLayout(std::int64_t gate_values, std::int64_t units)
      : bias(0),
        scale_ih(gate_values),
        scale_hh(2 * gate_values),
        scale_c(3 * gate_values),
        shift_c(scale_c + units),
        size(shift_c + units) {}
};

template <typename T>
struct NormKernels {
  bool joint;  // the sum of both products is normalised
  void (*forward[2])(const NormForward<T>&);
  void (*backward[2])(const NormBackward<T>&);
};
// By Kernel, from the first with options on.
template <typename T>
struct NormTable {
  const NormKernels<T>* of[7];
};
const NormKernels<float>& norm_kernels_f32(std::int64_t target, Kernel kernel);
const NormKernels<double>& norm_kernels_f64(std::int64_t target, Kernel kernel);

}  // namespace rnncore::cpu
