// The register-tile microkernel, compiled once per instruction set. Include inside a kernel file after hwy/highway.h.
// One tile: MR rows x NV vectors of accumulators; per k, NV loads of b, MR broadcasts of a, MR * NV multiply-adds.
#if defined(RNNCORE_PANEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RNNCORE_PANEL_INL_H_
#undef RNNCORE_PANEL_INL_H_
#else
#define RNNCORE_PANEL_INL_H_
#endif

#include <hwy/highway.h>

#include "backend/cpu/panel.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// AVX-512 and NEON have 32 vector registers, the other targets 16.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

// Rows of the tile for NV vectors: accumulators, NV (or one) b's and one (or MR) a's must fit the registers.
constexpr int tile_rows(int nv) {
  return kRegisters == 32 ? (nv == 1   ? 8
                             : nv == 2 ? 8
                             : nv == 3 ? 8
                                       : 6)
                          : (nv == 1   ? 8
                             : nv == 2 ? 6
                             : nv == 3 ? 4
                                       : 3);
}

// acc += a b over the runs. MR and NV are small constants: all loops over them unroll.
template <int MR, int NV, class D, typename T = hn::TFromD<D>, class V = hn::Vec<D>>
HWY_INLINE void multiply(D d, const PanelArgs<T>& p, const T* HWY_RESTRICT a0, V (&acc)[MR][NV]) {
  const std::int64_t L = static_cast<std::int64_t>(hn::Lanes(d));
  const T* HWY_RESTRICT b = p.b;
  const std::int64_t a_row = p.a_row, a_k = p.a_k, run = p.run;
  for (std::int64_t block = 0; block < p.blocks; ++block) {
    const T* HWY_RESTRICT a = a0 + block * p.a_block;
    for (std::int64_t k = 0; k < run; ++k) {
      if constexpr (NV <= MR) {
        V bv[NV];
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) bv[v] = hn::Load(d, b + v * L);
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r) {
          const V av = hn::Set(d, a[r * a_row]);
#pragma GCC unroll 8
          for (int v = 0; v < NV; ++v) acc[r][v] = hn::MulAdd(av, bv[v], acc[r][v]);
        }
      } else {
        V av[MR];
#pragma GCC unroll 8
        for (int r = 0; r < MR; ++r) av[r] = hn::Set(d, a[r * a_row]);
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) {
          const V bv = hn::Load(d, b + v * L);
#pragma GCC unroll 8
          for (int r = 0; r < MR; ++r) acc[r][v] = hn::MulAdd(av[r], bv, acc[r][v]);
        }
      }
      b += NV * L;
      a += a_k;
    }
  }
}

// One tile from start to store. `full`: all NV vectors of c may be touched.
template <int MR, int NV, class D, typename T = hn::TFromD<D>>
HWY_NOINLINE void tile(const PanelArgs<T>& p, std::int64_t row) {
  const D d;
  using V = hn::Vec<D>;
  const std::int64_t L = static_cast<std::int64_t>(hn::Lanes(d));
  V acc[MR][NV];
  T* c = p.c + row * p.c_row;
  std::int64_t c_row = p.c_row;
  HWY_ALIGN T edge[MR * NV * HWY_MAX_BYTES / sizeof(T)];
  const bool ragged = p.columns < NV * L;
  if (ragged) {
    if (p.start == Start::c)
      for (int r = 0; r < MR; ++r)
        for (std::int64_t j = 0; j < NV * L; ++j) edge[r * NV * L + j] = j < p.columns ? c[r * c_row + j] : T(0);
    c = edge;
    c_row = NV * L;
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      acc[r][v] = p.start == Start::c      ? hn::LoadU(d, c + r * c_row + v * L)
                  : p.start == Start::bias ? hn::LoadU(d, p.bias + v * L)
                                           : hn::Zero(d);
    }
  }
  multiply<MR, NV>(d, p, p.a + row * p.a_row, acc);
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) hn::StoreU(acc[r][v], d, c + r * c_row + v * L);
  }
  if (ragged) {
    T* out = p.c + row * p.c_row;
    for (int r = 0; r < MR; ++r)
      for (std::int64_t j = 0; j < p.columns; ++j) out[r * p.c_row + j] = edge[r * NV * L + j];
  }
}

// A tile of `left` rows, at most MR.
template <int MR, int NV, class D, typename T = hn::TFromD<D>>
HWY_INLINE void rest(const PanelArgs<T>& p, std::int64_t row, std::int64_t left) {
  if constexpr (MR >= 1) {
    if (left == MR) return tile<MR, NV, D>(p, row);
    rest<MR - 1, NV, D>(p, row, left);
  }
}

template <int NV, class D, typename T = hn::TFromD<D>>
void row_panel(const PanelArgs<T>& p) {
  constexpr int MR = tile_rows(NV);
  const std::int64_t height = even_height(p.rows, MR);
  for (std::int64_t row = 0; row < p.rows; row += height) rest<MR, NV, D>(p, row, HWY_MIN(height, p.rows - row));
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();
#endif  // RNNCORE_PANEL_INL_H_
