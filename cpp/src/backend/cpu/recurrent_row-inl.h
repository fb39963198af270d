// The one-row step kernel for every instruction set. Contract: recurrent_row.h. Included by recurrent_forward-inl.h,
// whose layout of blocks it shares.
#if defined(RNNCORE_RECURRENT_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RNNCORE_RECURRENT_ROW_INL_H_
#undef RNNCORE_RECURRENT_ROW_INL_H_
#else
#define RNNCORE_RECURRENT_ROW_INL_H_
#endif

#include <hwy/highway.h>

#include "backend/cpu/panel-inl.h"
#include "backend/cpu/recurrent_row.h"
#include "backend/cpu/simd_value.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of x, y, h, dy end after H units: the last vector may be partial.
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_units(D d, const T* p, std::int64_t left) {
  const std::int64_t L = static_cast<std::int64_t>(hn::Lanes(d));
  if (HWY_LIKELY(left >= L)) return hn::LoadU(d, p);
  HWY_ALIGN T part[HWY_MAX_BYTES / sizeof(T)] = {};
  for (std::int64_t i = 0; i < left; ++i) part[i] = p[i];
  return hn::Load(d, part);
}
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE void store_units(D d, hn::Vec<D> v, T* p, std::int64_t left) {
  const std::int64_t L = static_cast<std::int64_t>(hn::Lanes(d));
  if (HWY_LIKELY(left >= L)) return hn::StoreU(v, d, p);
  HWY_ALIGN T part[HWY_MAX_BYTES / sizeof(T)];
  hn::Store(v, d, part);
  for (std::int64_t i = 0; i < left; ++i) p[i] = part[i];
}

// UB: units in a block, a whole number of vectors.
template <class Cell, class D, int UB>
struct Row {
  using T = hn::TFromD<D>;
  using V = Value<D>;
  using Vector = hn::Vec<D>;
  static constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
  static constexpr int VB = UB / kLanes;
  static constexpr int kSlots = Cell::kSlots;
  // Vectors of units that advance together. Weights in the first cache: enough chains to hide the latency of the
  // multiply-adds. Beyond it four chains keep up with the second cache, and smaller groups leave more of the first
  // cache's content to be found again when the direction turns.
  static constexpr int kWide = 8 / kSlots, kNarrow = kWide > 1 ? kWide / 2 : 1;
  static constexpr std::int64_t kFirstCache = 32 << 10;  // bytes

  // acc += a W for slots [FIRST, FIRST + COUNT) of UV vectors of units.
  template <int FIRST, int COUNT, int UV>
  static HWY_INLINE void multiply_row(const T* HWY_RESTRICT a, std::int64_t K, const T* weights, std::int64_t vector,
                                      Vector (&acc)[UV][kSlots]) {
    const D d;
    const T* w[UV];
    for (int u = 0; u < UV; ++u) w[u] = weights + (vector + u) / VB * K * COUNT * UB + (vector + u) % VB * kLanes;
    for (std::int64_t k = 0, at = 0; k < K; ++k, at += COUNT * UB) {
      const Vector av = hn::Set(d, a[k]);
#pragma GCC unroll 8
      for (int u = 0; u < UV; ++u) {
#pragma GCC unroll 8
        for (int i = 0; i < COUNT; ++i)
          acc[u][FIRST + i] = hn::MulAdd(av, hn::Load(d, w[u] + at + i * UB), acc[u][FIRST + i]);
      }
    }
  }

  // UV vectors of units from the start of their chains to their state.
  template <int UV>
  static HWY_INLINE void advance(const RowStep<T>& s, std::int64_t vector) {
    const D d;
    Vector acc[UV][kSlots];
    std::int64_t at[UV];  // in a row of gates
#pragma GCC unroll 8
    for (int u = 0; u < UV; ++u) {
      at[u] = (vector + u) / VB * (kSlots * UB) + (vector + u) % VB * kLanes;
#pragma GCC unroll 8
      for (int i = 0; i < kSlots; ++i) {
        const bool made = !s.x && i >= Cell::kInputFirst && i < Cell::kInputFirst + Cell::kInputCount;
        acc[u][i] = hn::Load(d, (made ? s.gates : s.bias) + at[u] + i * UB);
      }
    }
    if (s.x) multiply_row<Cell::kInputFirst, Cell::kInputCount, UV>(s.x, s.I, s.input_weights, vector, acc);
    multiply_row<Cell::kRecurrentFirst, Cell::kRecurrentCount, UV>(s.h_prev, s.R, s.weights, vector, acc);
#pragma GCC unroll 8
    for (int u = 0; u < UV; ++u) {
      const std::int64_t unit = (vector + u) * kLanes;
      V slot[kSlots], c_prev(0), h(0), c(0);
      for (int i = 0; i < kSlots; ++i) slot[i] = acc[u][i];
      if constexpr (Cell::kCell) c_prev = hn::Load(d, s.c_prev + unit);
      Cell::forward(slot, V(hn::LoadU(d, s.h_prev + unit)), c_prev, h, c);
      hn::StoreU(h.v, d, s.h + unit);
      if constexpr (Cell::kCell) hn::Store(c.v, d, s.c + unit);
      if (s.y) store_units(d, h.v, s.y + unit, s.H - unit);
      if (s.keep)
        for (int i = 0; i < kSlots; ++i) hn::Store(slot[i].v, d, s.gates + at[u] + i * UB);
    }
  }

  template <int UV>
  static HWY_INLINE void advance_rest(const RowStep<T>& s, std::int64_t vector, std::int64_t left) {
    if constexpr (UV >= 1) {
      if (left == UV) return advance<UV>(s, vector);
      advance_rest<UV - 1>(s, vector, left);
    }
  }

  template <int UV>
  static HWY_INLINE void walk(const RowStep<T>& s) {
    const std::int64_t left = (s.vector_end - s.vector_begin) % UV, last = s.vector_end - left;
    if (s.downwards) {
      advance_rest<UV - 1>(s, last, left);
      for (std::int64_t v = last; v > s.vector_begin; v -= UV) advance<UV>(s, v - UV);
    } else {
      for (std::int64_t v = s.vector_begin; v < last; v += UV) advance<UV>(s, v);
      advance_rest<UV - 1>(s, last, left);
    }
  }

  static void step(const RowStep<T>& s) {
#if HWY_TARGET == HWY_AVX3
    // Up to half a vector of units: a narrower vector's multiply-adds and cell take fewer cycles. (Backward reads
    // whole vectors of what is kept.)
    if (s.H <= kLanes / 2 && !s.keep) return Row<Cell, hn::Half<D>, UB>::template advance<1>(s, 0);
#endif
    const std::int64_t depth = s.R * Cell::kRecurrentCount + (s.x ? s.I * Cell::kInputCount : 0);
    const std::int64_t bytes = depth * (s.vector_end - s.vector_begin) * kLanes * static_cast<std::int64_t>(sizeof(T));
    if (bytes <= kFirstCache)
      walk<kWide>(s);
    else
      walk<kNarrow>(s);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();
#endif  // RNNCORE_RECURRENT_ROW_INL_H_
