// Forward step kernels of the recurrent layers for every instruction set: the recurrent product of a tile, continued by
// the cell while the tile is in L1. Contract and layout: recurrent_steps.h. Included by recurrent_kernels-inl.h.
#if defined(RNNCORE_RECURRENT_FORWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RNNCORE_RECURRENT_FORWARD_INL_H_
#undef RNNCORE_RECURRENT_FORWARD_INL_H_
#else
#define RNNCORE_RECURRENT_FORWARD_INL_H_
#endif

#include <hwy/highway.h>

#include <type_traits>

#include "backend/cpu/panel-inl.h"
#include "backend/cpu/recurrent_row-inl.h"
#include "backend/cpu/recurrent_steps.h"
#include "backend/cpu/simd_value.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Vectors of units in a block, so that a panel of the cell's recurrent slots fills the register tile.
template <class Cell>
constexpr int unit_vectors() {
  if (Cell::kStages == 2) return 2;
  return Cell::kRecurrentCount <= 1 ? (kRegisters == 32 ? 4 : 2) : 1;
}
constexpr int kBackwardVectors = kRegisters == 32 ? 4 : 2;

template <class Cell, class D>
struct Steps {
  using T = hn::TFromD<D>;
  using V = Value<D>;
  static constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
  static constexpr int VB = unit_vectors<Cell>();
  static constexpr int UB = VB * kLanes;
  static constexpr int kSlots = Cell::kSlots;

  // What a cell with options takes besides slots and states.
  static constexpr int unit_weights() {
    if constexpr (Cell::kOptions) return Cell::kUnitWeights;
    return 0;
  }
  static constexpr int kWeights = unit_weights();
  struct None {
    explicit None(const CellNumbers&) {}
  };
  using Options = std::conditional_t<Cell::kOptions, cells::Options<V>, None>;
  template <class Step>
  static HWY_INLINE Options options_of(const Step& s) {
    return Options(Cell::kOptions ? *s.numbers : CellNumbers());
  }
  using Weights = V[kWeights + 1];
  static HWY_INLINE void load_weights(Weights& w, const T* from, std::int64_t row, std::int64_t unit) {
    for (int i = 0; i < kWeights; ++i) w[i] = from ? V(hn::LoadU(D(), from + i * row + unit)) : V(0);
  }
  static HWY_INLINE void store_weights(const Weights& w, T* to, std::int64_t row, std::int64_t unit) {
    for (int i = 0; to && i < kWeights; ++i) hn::StoreU(w[i].v, D(), to + i * row + unit);
  }
  static HWY_INLINE V state(const Options& options, const V* slot, const V& c_prev) {
    if constexpr (Cell::kOptions)
      return Cell::state(options, slot, c_prev);
    else
      return Cell::state(slot, c_prev);
  }

  // The part of a unit's old state that it keeps (cells/carry.h): drawn where mask is given (0 there), else the same.
  static HWY_INLINE V kept_part(const T* mask, double part, std::int64_t at, std::int64_t left) {
    if (mask == nullptr) return V(part);
    return where_equal(V(load_units(D(), mask + at, left)), V(0), V(1), V(0));
  }
  template <class Step>
  static HWY_INLINE bool carries(const Step& s) {
    return Cell::kOptions && (s.zone_h || s.zone_c || s.numbers->keep_h > 0 || s.numbers->keep_c > 0);
  }

  // A tile of rows x slots [first, first + COUNT) of block b: gates += a W, K columns of a.
  template <int COUNT>
  static HWY_INLINE void product(const ForwardStep<T>& s, const T* a, std::int64_t a_row, std::int64_t K, int first,
                                 std::int64_t b, std::int64_t row, std::int64_t rows) {
    constexpr int NV = COUNT * VB, MR = tile_rows(NV);
    PanelArgs<T> p;
    p.a = a + row * a_row;
    p.a_row = a_row;
    p.run = K;
    p.b = s.weights + b * K * COUNT * UB;
    p.c = s.gates + row * s.gates_row + (b * kSlots + first) * UB;
    p.c_row = s.gates_row;
    p.rows = rows;
    p.columns = NV * kLanes;
    p.start = Start::c;
    if (rows == MR)
      tile<MR, NV, D>(p, 0);
    else
      rest<MR - 1, NV, D>(p, 0, rows);
  }

  // The same for a delayed state, into the slots of the input product.
  static HWY_NOINLINE void delayed_product(const ForwardStep<T>& s, const DelayedState<T>& delayed, std::int64_t b,
                                           std::int64_t row, std::int64_t rows) {
    constexpr int kCount = Cell::kInputCount, NV = kCount * VB;
    PanelArgs<T> p;
    p.a = delayed.h + row * s.R;
    p.a_row = s.R;
    p.run = s.R;
    p.b = delayed.weights + b * s.R * kCount * UB;
    p.c = s.gates + row * s.gates_row + (b * kSlots + Cell::kInputFirst) * UB;
    p.c_row = s.gates_row;
    p.rows = rows;
    p.columns = NV * kLanes;
    p.start = Start::c;
    row_panel<NV, D>(p);
  }

  static HWY_INLINE void load_slots(V (&v)[kSlots], const T* gates, int vector) {
    const D d;
    for (int i = 0; i < kSlots; ++i) v[i] = hn::LoadU(d, gates + i * UB + vector * kLanes);
  }
  static HWY_INLINE void store_slots(const V (&v)[kSlots], T* gates, int vector) {
    const D d;
    for (int i = 0; i < kSlots; ++i) hn::StoreU(v[i].v, d, gates + i * UB + vector * kLanes);
  }

  // The cell on one row of block b, then the state's way out: y, and the state that enters the next step.
  static HWY_INLINE void forward_row(const ForwardStep<T>& s, const Options& options, std::int64_t b,
                                     std::int64_t row) {
    const D d;
    const std::int64_t c_row = padded_units(s.H);
    T* gates = s.gates + row * s.gates_row + b * kSlots * UB;
    for (int vector = 0; vector < VB; ++vector) {
      const std::int64_t unit = b * UB + vector * kLanes, left = s.H - unit, at = row * s.H + unit;
      if (left <= 0) break;
      V slot[kSlots];
      load_slots(slot, gates, vector);
      const V h_prev = load_units(d, s.h_prev + at, left);
      V c_prev(0), h(0), c(0);
      if constexpr (Cell::kCell) c_prev = hn::LoadU(d, s.c_prev + row * c_row + unit);
      if constexpr (Cell::kOptions) {
        Weights w;
        load_weights(w, s.unit_weights, c_row, unit);
        Cell::forward(options, w, slot, h_prev, c_prev, h, c);
      } else {
        Cell::forward(slot, h_prev, c_prev, h, c);
      }
      store_slots(slot, gates, vector);
      leave(s, row, unit, h, c, h_prev, c_prev);
    }
  }

  // A unit's new state on its way out of the step: carried (cells/carry.h), absent, reset; to y and to the next step.
  static HWY_INLINE void leave(const ForwardStep<T>& s, std::int64_t row, std::int64_t unit, V h, V c, const V& h_prev,
                               const V& c_prev) {
    const D d;
    const std::uint8_t flags = s.flags ? s.flags[row] : 0;
    const std::int64_t left = s.H - unit, at = row * s.H + unit, c_row = padded_units(s.H);
    if constexpr (Cell::kOptions) {
      if (carries(s)) {
        h = cells::carried(kept_part(s.zone_h, s.numbers->keep_h, at, left), h_prev, h);
        if constexpr (Cell::kCell) c = cells::carried(kept_part(s.zone_c, s.numbers->keep_c, at, left), c_prev, c);
      }
    }
    V y = h;
    if (HWY_UNLIKELY(flags & kRowAbsent)) {
      y = V(0);
      h = h_prev;
      c = c_prev;
    }
    store_units(d, y.v, s.y + at, left);
    if (HWY_UNLIKELY(flags & kRowResets)) {
      h = s.h0 ? V(load_units(d, s.h0 + at, left)) : V(0);
      if constexpr (Cell::kCell) c = s.c0 ? V(hn::LoadU(d, s.c0 + row * c_row + unit)) : V(0);
    }
    if (s.h_next) store_units(d, h.v, s.h_next + at, left);
    if (Cell::kOptions && s.entering_next)
      store_units(d, (h * V(load_units(d, s.drop + at, left))).v, s.entering_next + at, left);
    if constexpr (Cell::kCell) hn::StoreU(c.v, d, s.c + row * c_row + unit);
  }

  static HWY_INLINE std::int64_t padded_units(std::int64_t H) { return (H + UB - 1) / UB * UB; }

  static void forward(const ForwardStep<T>& s) {
    const std::int64_t height = even_height(s.row_end - s.row_begin, tile_rows(Cell::kRecurrentCount * VB));
    constexpr int kLast =
        Cell::kRecurrentFirst + Cell::kRecurrentCount;  // slots from kInputCount on start from the bias
    const D d;
    const Options options = options_of(s);
    for (std::int64_t b = s.block_begin; b < s.block_end; ++b) {
      for (std::int64_t row = s.row_begin; row < s.row_end; row += height) {
        const std::int64_t rows = HWY_MIN(height, s.row_end - row);
        for (int slot = Cell::kInputFirst + Cell::kInputCount; slot < kLast; ++slot)
          for (std::int64_t r = 0; r < rows; ++r)
            for (int v = 0; v < VB; ++v) {
              const std::int64_t at = (b * kSlots + slot) * UB + v * kLanes;
              hn::StoreU(hn::LoadU(d, s.bias + at), d, s.gates + (row + r) * s.gates_row + at);
            }
        if constexpr (Cell::kRecurrentCount > 0)
          product<Cell::kRecurrentCount>(s, s.entering, s.R, s.R, Cell::kRecurrentFirst, b, row, rows);
        for (int i = 0; i < s.delays; ++i) delayed_product(s, s.delayed[i], b, row, rows);
        for (std::int64_t r = 0; r < rows; ++r) {
          if constexpr (Cell::kStages == 1)
            forward_row(s, options, b, row + r);
          else
            first_row(s, options, b, row + r);
        }
      }
    }
  }

  // Two-stage cells: the end of the first stage ...
  static HWY_INLINE void first_row(const ForwardStep<T>& s, const Options& options, std::int64_t b, std::int64_t row) {
    const D d;
    T* gates = s.gates + row * s.gates_row + b * kSlots * UB;
    for (int vector = 0; vector < VB; ++vector) {
      const std::int64_t unit = b * UB + vector * kLanes, left = s.H - unit;
      if (left <= 0) break;
      V slot[kSlots], p(0);
      load_slots(slot, gates, vector);
      const V h_prev = load_units(d, s.h_prev + row * s.H + unit, left);
      if constexpr (Cell::kOptions)
        Cell::forward_first(options, slot, h_prev, p);
      else
        Cell::forward_first(slot, h_prev, p);
      store_slots(slot, gates, vector);
      if (Cell::kOptions && s.drop) p = p * V(load_units(d, s.drop + row * s.H + unit, left));
      hn::StoreU(p.v, d, s.p + row * padded_units(s.H) + unit);
    }
  }
  // ... and the second.
  static void forward_second(const ForwardStep<T>& s) {
    const std::int64_t height = even_height(s.row_end - s.row_begin, tile_rows(Cell::kSecondCount * VB));
    const Options options = options_of(s);
    for (std::int64_t b = s.block_begin; b < s.block_end; ++b) {
      for (std::int64_t row = s.row_begin; row < s.row_end; row += height) {
        const std::int64_t rows = HWY_MIN(height, s.row_end - row);
        product<Cell::kSecondCount>(s, s.p, padded_units(s.H), s.H, Cell::kSecondFirst, b, row, rows);
        for (std::int64_t r = 0; r < rows; ++r) forward_row(s, options, b, row + r);
      }
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();
#endif  // RNNCORE_RECURRENT_FORWARD_INL_H_
