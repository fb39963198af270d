// The contract of the recurrent step kernels, and the layout of gates.
//
// Units come in blocks of UB = VB * L (L lanes, VB vectors). One row of gates (one step of one sequence) is
//   [block][slot][unit in block]:  blocks * kSlots * UB values, padded units included.
// A row of c, of dh, of dc and of p is [block][unit in block] = plain unit order, padded to blocks * UB.
// Rows of x, y, h and dy are unpadded.
#pragma once

#include <cstdint>

#include "backend/cpu/recurrent_row.h"
#include "rnncore/recurrent.hpp"

namespace rnncore::cpu {

constexpr std::uint8_t kRowAbsent = 1;  // the step is beyond the row's length: the state passes, the output is zero
constexpr std::uint8_t kRowResets =
    2;  // the state leaving this step (in the order of processing) is replaced by the initial one
constexpr std::uint8_t kRowFresh = 4;  // a reset came before: the row's sequence began in this call

// A state from d steps ago, and its packed weights: one panel per block, the input product's slots.
template <typename T>
struct DelayedState {
  const T* h = nullptr;  // (N, R)
  const T* weights = nullptr;
};
// Gradients of the gates of d steps later, and the weights the other way round.
template <typename T>
struct DelayedGates {
  const T* gates = nullptr;
  const T* weights = nullptr;
  const std::uint8_t* reached = nullptr;  // (N): whether this step's state entered that step
};
constexpr int kMostDelays = 16;

// A cell's options as its kernel takes them (cells/activation.h): activations by number, none of them "standard".
struct ActivationNumbers {
  int kind = 0;
  double alpha = 0, beta = 0;
};
struct CellNumbers {
  ActivationNumbers gate, candidate, hidden;
  double clip = 0;
  bool peephole = false, coupled = false, truncate_gates = false;
  double keep_h = 0, keep_c = 0;  // the part of the old state that stays (cells/carry.h)
};

template <typename T>
struct ForwardStep {
  std::int64_t H = 0;
  std::int64_t R = 0;  // width of what the recurrent products multiply: H, or where h is a projection its features
  std::int64_t block_begin = 0, block_end = 0, row_begin = 0, row_end = 0;
  T* gates = nullptr;  // pre-activations of the input product in; saved values out
  std::int64_t gates_row = 0;
  const T* weights = nullptr;   // packed W_hh, one panel per block (second stage: the second product's)
  const T* bias = nullptr;      // laid out as a row of gates
  const T* h_prev = nullptr;    // (N, H)
  const T* entering = nullptr;  // (N, R): what the recurrent product multiplies: h_prev, or its dropped copy
  const T* c_prev = nullptr;    // padded rows
  T* c = nullptr;
  T* y = nullptr;         // (N, H)
  T* h_next = nullptr;    // (N, H): the state entering the next step, where it is kept apart from y; or null
  T* p = nullptr;         // padded rows: two-stage cells
  const T* h0 = nullptr;  // the state that resets lead to (N, H)
  const T* c0 = nullptr;  // padded rows
  const DelayedState<T>* delayed = nullptr;
  int delays = 0;
  const std::uint8_t* flags = nullptr;   // (N) or null
  const CellNumbers* numbers = nullptr;  // cells with options
  const T* unit_weights = nullptr;       // one padded row for each of the cell's unit weights, or null: all zero
  const T *zone_h = nullptr,
          *zone_c = nullptr;   // (N, H): 0 where the old state stays; or null: numbers->keep_h, keep_c
  const T* drop = nullptr;     // (N, H): factors of what enters recurrent products; or null
  T* entering_next = nullptr;  // with drop: the next step's `entering`
};

template <typename T>
struct BackwardStep {
  std::int64_t H = 0;
  std::int64_t panel_begin = 0, panel_end = 0, row_begin = 0, row_end = 0;
  const T* gates_later = nullptr;  // gradients of the step processed before (later in time); null at the end
  T* gates = nullptr;              // saved values in; gradients of the pre-activations out
  std::int64_t gates_row = 0;
  const T* weights = nullptr;  // packed W_hh the other way round: K = recurrent slots, columns = units
  const T* weights_second = nullptr;
  const T* h_prev = nullptr;  // (N, H)
  const T* c_prev = nullptr;  // padded rows, as all below
  const T* c = nullptr;
  const T* dy = nullptr;  // (N, H) or null
  T* dh = nullptr;        // dL/dh of this step but for dy, without (in: gates_later's part is added) ...
  T* dc = nullptr;
  T* dp = nullptr;   // scratch rows: two-stage cells
  T* dh0 = nullptr;  // gradients that resets send to the initial state
  T* dc0 = nullptr;
  const DelayedGates<T>* delayed = nullptr;
  int delays = 0;
  const std::uint8_t* flags = nullptr;  // (N) or null; kRowResets: what arrives from later goes to dh0 and dc0
  const CellNumbers* numbers = nullptr;
  const T* unit_weights = nullptr;
  T* unit_gradients = nullptr;                                    // per row of the batch, as unit_weights: +=
  const T *zone_h = nullptr, *zone_c = nullptr, *drop = nullptr;  // as ForwardStep has them
  T* product = nullptr;  // padded scratch rows for gates_later's part, where it passes through drop; or null
};

// What the driver needs to know of a cell on an instruction set.
template <typename T>
struct CellKernels {
  int slots, input_first, input_count, recurrent_first, recurrent_count, stages, second_first, second_count;
  const int* gate;  // slot -> gate
  bool cell;        // has c
  int unit_weights;
  std::int64_t lanes;
  std::int64_t block;           // UB
  std::int64_t forward_tile;    // rows of the forward register tile
  std::int64_t backward_width;  // units in a backward panel: a multiple of UB
  std::int64_t backward_tile;
  // stage 0 and, for two-stage cells, 1
  void (*forward[2])(const ForwardStep<T>&);
  void (*backward[2])(const BackwardStep<T>&);
  void (*row)(const RowStep<T>&);  // one row, forward; null for cells with two stages or with options
};

template <typename T>
struct CellTable {
  const CellKernels<T>* of[8];
};
// The kernels that there are: a lean one for each plain cell, and one more for each family with options.
enum class Kernel : int {
  rnn_tanh,
  rnn_relu,
  rnn_sigmoid,
  lstm,
  gru,
  gru_reset_before,
  elman_options,
  lstm_options,
  lstm_options_no_forget,
  gru_options,
  gru_reset_before_options,
  mgu,
  indrnn
};
constexpr int kPlainKernels = 6;
Kernel kernel_of(CellKind cell, const CellOptions& options);
CellNumbers numbers_of(CellKind cell, const CellOptions& options);

// By Kernel: the first table's, then the second's.
const CellKernels<float>& cell_kernels_f32(std::int64_t target, Kernel kernel);
const CellKernels<double>& cell_kernels_f64(std::int64_t target, Kernel kernel);
const CellKernels<float>& option_kernels_f32(std::int64_t target, int index);
const CellKernels<double>& option_kernels_f64(std::int64_t target, int index);

}  // namespace rnncore::cpu
