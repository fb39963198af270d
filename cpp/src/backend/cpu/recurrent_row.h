// The contract of the one-row step kernel: one time step of one sequence (or of a stream with a batch of one).
//
// With one row every weight is used once a step: the step is bound by reading weights from the caches, and where they
// fit the first cache by the length of the chains of multiply-adds. So several vectors of units advance together, and
// the input product, the recurrent product and the cell follow each other in registers. Each element's chain has the
// order of recurrent_steps.h (bias, x, h): the bits are those of the kernels for many rows.
//
// Units are counted in vectors of L lanes. Rows of h and c hold whole vectors; a row of y ends after H values. A row of
// gates or of bias, and the weights, are laid out as in recurrent_steps.h (input weights: a panel per block as well).
#pragma once

#include <cstdint>

namespace rnncore::cpu {

template <typename T>
struct RowStep {
  std::int64_t H = 0, I = 0;
  std::int64_t R = 0;  // of h_prev, that are multiplied: H, or where h is a projection its features
  std::int64_t vector_begin = 0, vector_end = 0;
  // Whether the vectors are taken from the last to the first. Taking turns from step to step, the weights that were
  // read last, still in a cache too small for all, are read first.
  bool downwards = false;
  const T* x = nullptr;  // (I), or null: the gates hold the input product
  const T* input_weights = nullptr;
  const T* weights = nullptr;
  const T* bias = nullptr;
  T* gates = nullptr;         // without x: pre-activations of the input product in; where kept: saved values out
  bool keep = false;          // whether backward will read the gates
  const T* h_prev = nullptr;  // readable to H in whole vectors
  T* h = nullptr;             // another row than h_prev
  T* y = nullptr;             // or null
  const T* c_prev = nullptr;
  T* c = nullptr;  // may be c_prev
};

}  // namespace rnncore::cpu
