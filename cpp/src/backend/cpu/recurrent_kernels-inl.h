// The tables of step kernels, a line a cell, for every instruction set. Included by recurrent_kernels_f32.cpp and
// _f64.cpp, and by recurrent_option_kernels_*.cpp.
#if defined(RNNCORE_RECURRENT_KERNELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RNNCORE_RECURRENT_KERNELS_INL_H_
#undef RNNCORE_RECURRENT_KERNELS_INL_H_
#else
#define RNNCORE_RECURRENT_KERNELS_INL_H_
#endif

#include <hwy/highway.h>

#include "backend/cpu/recurrent_backward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class Cell, class D, typename T = hn::TFromD<D>>
const CellKernels<T>& cell_kernels() {
  using S = BackSteps<Cell, D>;
  static const CellKernels<T> kernels = [] {
    CellKernels<T> k{};
    k.slots = Cell::kSlots;
    k.input_first = Cell::kInputFirst;
    k.input_count = Cell::kInputCount;
    k.recurrent_first = Cell::kRecurrentFirst;
    k.recurrent_count = Cell::kRecurrentCount;
    k.stages = Cell::kStages;
    static constexpr auto kGate = [] {
      struct {
        int of[Cell::kSlots];
      } gates{};
      for (int i = 0; i < Cell::kSlots; ++i) gates.of[i] = Cell::kGate[i];
      return gates;
    }();
    k.gate = kGate.of;
    k.cell = Cell::kCell;
    k.unit_weights = S::kWeights;
    k.lanes = S::kLanes;
    k.block = S::UB;
    k.forward_tile = tile_rows(Cell::kRecurrentCount * S::VB);
    k.backward_width = kBackwardVectors * S::kLanes;
    k.backward_tile = tile_rows(kBackwardVectors);
    k.forward[0] = S::forward;
    k.backward[0] = S::backward;
    // Without vectors the kernel for many rows serves one row too: its own would be the largest part of the library.
    if constexpr (Cell::kStages == 1 && !Cell::kOptions && HWY_TARGET != HWY_SCALAR) k.row = Row<Cell, D, S::UB>::step;
    if constexpr (Cell::kStages == 2) {
      k.second_first = Cell::kSecondFirst;
      k.second_count = Cell::kSecondCount;
      k.forward[1] = S::forward_second;
      k.backward[1] = S::backward_second;
    }
    return k;
  }();
  return kernels;
}

// In the order of Kernel: the plain cells ...
template <typename T>
const CellTable<T>& plain_table() {
  using D = hn::ScalableTag<T>;
  static const CellTable<T> table = {{
      &cell_kernels<cells::Elman<cells::TanhFunction>, D>(),
      &cell_kernels<cells::Elman<cells::ReluFunction>, D>(),
      &cell_kernels<cells::Elman<cells::SigmoidFunction>, D>(),
      &cell_kernels<cells::Lstm, D>(),
      &cell_kernels<cells::Gru, D>(),
      &cell_kernels<cells::GruResetBefore, D>(),
  }};
  return table;
}
// ... and the cells with options. A file compiles one of the two.
template <typename T>
const CellTable<T>& option_table() {
  using D = hn::ScalableTag<T>;
  static const CellTable<T> table = {{
      &cell_kernels<cells::ElmanOptions, D>(),
      &cell_kernels<cells::LstmOptions<true>, D>(),
      &cell_kernels<cells::LstmOptions<false>, D>(),
      &cell_kernels<cells::GruOptions, D>(),
      &cell_kernels<cells::GruResetBeforeOptions, D>(),
      &cell_kernels<cells::Mgu, D>(),
      &cell_kernels<cells::IndRnn, D>(),
  }};
  return table;
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();
#endif  // RNNCORE_RECURRENT_KERNELS_INL_H_
