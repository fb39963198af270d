// Backward step kernels of the recurrent layers for every instruction set: the product that brings dL/dh back through
// the recurrent weights, continued by the cell's gradients. Contract: recurrent_steps.h. Included by
// recurrent_kernels-inl.h.
#if defined(RNNCORE_RECURRENT_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RNNCORE_RECURRENT_BACKWARD_INL_H_
#undef RNNCORE_RECURRENT_BACKWARD_INL_H_
#else
#define RNNCORE_RECURRENT_BACKWARD_INL_H_
#endif

#include <hwy/highway.h>

#include "backend/cpu/recurrent_forward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class Cell, class D>
struct BackSteps : Steps<Cell, D> {
  using S = Steps<Cell, D>;
  using S::carries;
  using S::kept_part;
  using S::kLanes;
  using S::kSlots;
  using S::kWeights;
  using S::load_slots;
  using S::load_weights;
  using S::options_of;
  using S::padded_units;
  using S::state;
  using S::store_slots;
  using S::store_weights;
  using S::UB;
  using typename S::Options;
  using typename S::T;
  using typename S::V;
  using typename S::Weights;

  // out (a tile of rows of panel) [+]= gradients of slots [first, first + COUNT) times W.
  template <int COUNT>
  static HWY_INLINE void back_product(const BackwardStep<T>& s, const T* gates, const T* weights, int first, T* out,
                                      Start start, std::int64_t panel, std::int64_t row, std::int64_t rows) {
    constexpr int MR = tile_rows(kBackwardVectors);
    const std::int64_t units = padded_units(s.H), blocks = units / UB, width = kBackwardVectors * kLanes;
    PanelArgs<T> p;
    p.a = gates + row * s.gates_row + first * UB;
    p.a_row = s.gates_row;
    if (COUNT == kSlots) {
      p.run = blocks * kSlots * UB;
    } else {
      p.blocks = blocks;
      p.run = COUNT * UB;
      p.a_block = kSlots * UB;
    }
    p.b = weights + panel * width * blocks * COUNT * UB;
    p.c = out + row * units + panel * width;
    p.c_row = units;
    p.rows = rows;
    p.start = start;
    const std::int64_t here = HWY_MIN(width, units - panel * width);
    p.columns = here;
    if (here == width) {
      if (rows == MR)
        tile<MR, kBackwardVectors, D>(p, 0);
      else
        rest<MR - 1, kBackwardVectors, D>(p, 0, rows);
    } else {
      narrow<kBackwardVectors - 1>(p, here / kLanes);
    }
  }
  // The last panel, narrower by whole vectors.
  template <int NV>
  static HWY_INLINE void narrow(const PanelArgs<T>& p, std::int64_t vectors) {
    if constexpr (NV >= 1) {
      if (vectors == NV) return row_panel<NV, D>(p);
      narrow<NV - 1>(p, vectors);
    }
  }

  // dh += gradients of the gates of d steps later times W_d, for the rows whose state entered that step.
  static HWY_NOINLINE void delayed_back_product(const BackwardStep<T>& s, const DelayedGates<T>& later,
                                                std::int64_t panel, std::int64_t row, std::int64_t rows) {
    const auto run = [&](std::int64_t first, std::int64_t count) {
      back_product<Cell::kInputCount>(s, later.gates, later.weights, Cell::kInputFirst, s.dh, Start::c, panel, first,
                                      count);
    };
    bool all = true;
    for (std::int64_t r = 0; r < rows; ++r) all = all && later.reached[row + r];
    if (all) return run(row, rows);
    for (std::int64_t r = 0; r < rows; ++r)
      if (later.reached[row + r]) run(row + r, 1);
  }

  static HWY_INLINE void backward_vector(const BackwardStep<T>& s, const Options& options, std::int64_t unit,
                                         std::int64_t row) {
    const D d;
    const std::int64_t left = s.H - unit, units = padded_units(s.H), at = row * units + unit;
    const std::uint8_t flags = s.flags ? s.flags[row] : 0;
    T* gates = s.gates + row * s.gates_row + unit / UB * (kSlots * UB);
    const int vector = static_cast<int>(unit % UB) / kLanes;
    V dh = hn::LoadU(d, s.dh + at), dc(0), c_prev(0), c(0), slot[kSlots], direct(0);
    if (left <= 0) {  // padding: forward left it unset
      for (int i = 0; i < kSlots; ++i) slot[i] = V(0);
      return store_slots(slot, gates, vector);
    }
    if constexpr (Cell::kCell) {
      dc = hn::LoadU(d, s.dc + at);
      c_prev = hn::LoadU(d, s.c_prev + at);
      c = hn::LoadU(d, s.c + at);
    }
    if (Cell::kOptions && s.product) {
      const V later = hn::LoadU(d, s.product + at);
      dh = dh + later * V(load_units(d, s.drop + row * s.H + unit, left));
    }
    if (HWY_UNLIKELY(flags & kRowResets)) {
      hn::StoreU(hn::Add(hn::LoadU(d, s.dh0 + at), dh.v), d, s.dh0 + at);
      dh = V(0);
      if constexpr (Cell::kCell) hn::StoreU(hn::Add(hn::LoadU(d, s.dc0 + at), dc.v), d, s.dc0 + at);
      dc = V(0);
    }
    if (HWY_UNLIKELY(flags & kRowAbsent)) {
      for (int i = 0; i < kSlots; ++i) slot[i] = V(0);
      direct = dh;
    } else {
      if (s.dy) dh = dh + V(load_units(d, s.dy + row * s.H + unit, left));
      load_slots(slot, gates, vector);
      if constexpr (Cell::kCell) {
        if (HWY_UNLIKELY(flags & kRowResets)) c = state(options, slot, c_prev);  // s.c holds the initial state there
      }
      const V h_prev = load_units(d, s.h_prev + row * s.H + unit, left);
      if constexpr (Cell::kOptions) {
        T* const gradients = s.unit_gradients ? s.unit_gradients + row * kWeights * units : nullptr;
        Weights w, dw;
        load_weights(w, s.unit_weights, units, unit);
        load_weights(dw, gradients, units, unit);
        V h_past(0), c_past(0);
        if (carries(s)) {
          const std::int64_t mask_at = row * s.H + unit;
          h_past = cells::carried_back(kept_part(s.zone_h, s.numbers->keep_h, mask_at, left), dh);
          if constexpr (Cell::kCell) {
            c_past = cells::carried_back(kept_part(s.zone_c, s.numbers->keep_c, mask_at, left), dc);
            c = state(options, slot, c_prev);
          }
        }
        Cell::backward(options, w, slot, h_prev, c_prev, c, dh, dc, direct, dw);
        direct = direct + h_past;
        dc = dc + c_past;
        store_weights(dw, gradients, units, unit);
      } else {
        Cell::backward(slot, h_prev, c_prev, c, dh, dc, direct);
      }
    }
    store_slots(slot, gates, vector);
    hn::StoreU(direct.v, d, s.dh + at);
    if constexpr (Cell::kCell) hn::StoreU(dc.v, d, s.dc + at);
  }

  static HWY_INLINE void second_vector(const BackwardStep<T>& s, const Options& options, std::int64_t unit,
                                       std::int64_t row) {
    const D d;
    const std::int64_t left = s.H - unit, at = row * padded_units(s.H) + unit;
    if (left <= 0) return;
    if (s.flags && (s.flags[row] & kRowAbsent)) return;
    T* gates = s.gates + row * s.gates_row + unit / UB * (kSlots * UB);
    const int vector = static_cast<int>(unit % UB) / kLanes;
    V slot[kSlots], direct = hn::LoadU(d, s.dh + at);
    load_slots(slot, gates, vector);
    const V h_prev = load_units(d, s.h_prev + row * s.H + unit, left);
    V dp = hn::LoadU(d, s.dp + at);
    if (Cell::kOptions && s.drop) dp = dp * V(load_units(d, s.drop + row * s.H + unit, left));
    if constexpr (Cell::kOptions)
      Cell::backward_second(options, slot, h_prev, dp, direct);
    else
      Cell::backward_second(slot, h_prev, dp, direct);
    for (int i = 0; i < kSlots; ++i) {
      // Others still read the second product's slots (the stage does not change them).
      const bool read = i >= Cell::kSecondFirst && i < Cell::kSecondFirst + Cell::kSecondCount;
      if (!read) hn::StoreU(slot[i].v, d, gates + i * UB + vector * kLanes);
    }
    hn::StoreU(direct.v, d, s.dh + at);
  }

  template <bool SECOND>
  static void backward_panels(const BackwardStep<T>& s) {
    const std::int64_t height = even_height(s.row_end - s.row_begin, tile_rows(kBackwardVectors));
    constexpr std::int64_t kWidth = kBackwardVectors * kLanes;
    const std::int64_t units = padded_units(s.H);
    const Options options = options_of(s);
    for (std::int64_t panel = s.panel_begin; panel < s.panel_end; ++panel) {
      const std::int64_t end = HWY_MIN(units, (panel + 1) * kWidth);
      for (std::int64_t row = s.row_begin; row < s.row_end; row += height) {
        const std::int64_t rows = HWY_MIN(height, s.row_end - row);
        if constexpr (SECOND) {
          back_product<Cell::kSecondCount>(s, s.gates, s.weights_second, Cell::kSecondFirst, s.dp, Start::zero, panel,
                                           row, rows);
        } else if (s.gates_later) {
          if constexpr (Cell::kRecurrentCount > 0)
            back_product<Cell::kRecurrentCount>(s, s.gates_later, s.weights, Cell::kRecurrentFirst,
                                                s.product ? s.product : s.dh, s.product ? Start::zero : Start::c, panel,
                                                row, rows);
          for (int i = 0; i < s.delays; ++i) delayed_back_product(s, s.delayed[i], panel, row, rows);
        }
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t unit = panel * kWidth; unit < end; unit += kLanes) {
            if constexpr (SECOND)
              second_vector(s, options, unit, row + r);
            else
              backward_vector(s, options, unit, row + r);
          }
      }
    }
  }
  static void backward(const BackwardStep<T>& s) { backward_panels<false>(s); }
  static void backward_second(const BackwardStep<T>& s) { backward_panels<true>(s); }
};

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();
#endif  // RNNCORE_RECURRENT_BACKWARD_INL_H_
