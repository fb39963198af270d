// Layer normalisation by rows, and dropout from counter-based words.
#include "backend/cpu/targets.h"  // before any Highway header

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/pointwise_rows.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "backend/cpu/map.h"

#include <cmath>

#include "backend/philox.h"
#include "backend/pointwise.h"

#ifndef RNNCORE_BACKEND_CPU_ROWS_TABLE
#define RNNCORE_BACKEND_CPU_ROWS_TABLE
namespace rnncore {
namespace cpu {

// Dropout's words come in groups of 16 Philox blocks: element i of a group of 64 is word i / 16 of block i % 16,
// whatever the width of the vectors.
constexpr std::int64_t kDropBlocks = 16, kDropGroup = 4 * kDropBlocks;

template <typename T>
struct RowKernels {
  // stats[0] = mean, stats[1] = 1 / sqrt(var + eps)
  void (*norm)(std::int64_t n, const T* x, const T* weight, const T* bias, double eps, T* y, T* stats);
  void (*norm_backward)(std::int64_t n, const T* x, const T* weight, const T* stats, const T* dy, T* dx);
  // dweight += dy * (x - mean) * rstd, dbias += dy; either may be null
  void (*norm_parameters)(std::int64_t n, const T* x, const T* stats, const T* dy, T* dweight, T* dbias);
  // Groups [begin, end) of `total` elements.
  void (*dropout)(std::int64_t begin, std::int64_t end, std::int64_t total, std::uint32_t threshold, T scale,
                  std::uint64_t seed, std::uint64_t call, const T* x, T* y);
};
using RowTable = KernelTable<RowKernels>;

}  // namespace cpu
}  // namespace rnncore
#endif

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <typename T>
void Norm(std::int64_t n, const T* x, const T* weight, const T* bias, double eps, T* y, T* stats) {
  const hn::ScalableTag<T> d;
  const double count = static_cast<double>(n);
  const T mean = static_cast<T>(SumMap1(d, n, x, T(0), [](auto, auto v) HWY_ATTR { return v; }) / count);
  const double squares = SumMap1(d, n, x, mean, [mean](auto t, auto v) HWY_ATTR {
    const auto c = hn::Sub(v, hn::Set(t, mean));
    return hn::Mul(c, c);
  });
  const T rstd = static_cast<T>(1.0 / std::sqrt(squares / count + eps));
  stats[0] = mean;
  stats[1] = rstd;
  const auto normal = [mean, rstd](auto t, auto v)
                          HWY_ATTR { return hn::Mul(hn::Sub(v, hn::Set(t, mean)), hn::Set(t, rstd)); };
  if (weight != nullptr) {
    Map2(d, n, x, weight, y, [&normal](auto t, auto v, auto w) HWY_ATTR { return hn::Mul(normal(t, v), w); });
  } else {
    Map1(d, n, x, y, normal);
  }
  if (bias != nullptr) Map2(d, n, y, bias, y, [](auto, auto v, auto b) HWY_ATTR { return hn::Add(v, b); });
}

// g = dy weight, u = (x - mean) rstd: dx = rstd (g - mean(g) - u mean(g u)).
template <typename T>
void NormBackward(std::int64_t n, const T* x, const T* weight, const T* stats, const T* dy, T* dx) {
  const hn::ScalableTag<T> d;
  const T mean = stats[0], rstd = stats[1];
  const double count = static_cast<double>(n);
  if (weight != nullptr) {
    Map2(d, n, dy, weight, dx, [](auto, auto g, auto w) HWY_ATTR { return hn::Mul(g, w); });
  } else {
    Map1(d, n, dy, dx, [](auto, auto g) HWY_ATTR { return g; });
  }
  const auto normal = [mean, rstd](auto t, auto v)
                          HWY_ATTR { return hn::Mul(hn::Sub(v, hn::Set(t, mean)), hn::Set(t, rstd)); };
  const T g_mean = static_cast<T>(SumMap1(d, n, dx, T(0), [](auto, auto v) HWY_ATTR { return v; }) / count);
  const T gu_mean = static_cast<T>(
      SumMap2(d, n, dx, x, mean, [&normal](auto t, auto g, auto v) HWY_ATTR { return hn::Mul(g, normal(t, v)); }) /
      count);
  Map2(d, n, dx, x, dx, [&normal, g_mean, gu_mean, rstd](auto t, auto g, auto v) HWY_ATTR {
    const auto centred = hn::Sub(g, hn::Set(t, g_mean));
    return hn::Mul(hn::NegMulAdd(normal(t, v), hn::Set(t, gu_mean), centred), hn::Set(t, rstd));
  });
}

template <typename T>
void NormParameters(std::int64_t n, const T* x, const T* stats, const T* dy, T* dweight, T* dbias) {
  const T mean = stats[0], rstd = stats[1];
  if (dweight != nullptr)
    for (std::int64_t i = 0; i < n; ++i) dweight[i] += dy[i] * ((x[i] - mean) * rstd);
  if (dbias != nullptr)
    for (std::int64_t i = 0; i < n; ++i) dbias[i] += dy[i];
}

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void PhiloxGroup(std::uint64_t seed, std::uint64_t call, std::uint64_t first, std::uint32_t* words) {
  for (std::int64_t lane = 0; lane < kDropBlocks; ++lane) {
    std::uint32_t out[4];
    backend::philox(seed, call, first + static_cast<std::uint64_t>(lane), out);
    for (int j = 0; j < 4; ++j) words[j * kDropBlocks + lane] = out[j];
  }
}
#else
// One Philox block per 64-bit lane. MulEven multiplies the low halves into 64 bits; the high halves never matter.
template <class D, class V = hn::Vec<D>>
struct PhiloxLanes {
  V c0, c1, c2, c3;

  HWY_INLINE void Round(D d, V k0, V k1) {
    const hn::Repartition<std::uint32_t, D> d32;
    const V p0 = hn::MulEven(hn::BitCast(d32, c0), hn::Set(d32, backend::kPhiloxM0));
    const V p1 = hn::MulEven(hn::BitCast(d32, c2), hn::Set(d32, backend::kPhiloxM1));
    c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), k0);
    c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), k1);
    c1 = p1;
    c3 = p0;
  }
};

// words[j * kDropBlocks + i]: word j of block first + i.
HWY_INLINE void PhiloxGroup(std::uint64_t seed, std::uint64_t call, std::uint64_t first, std::uint32_t* words) {
  const hn::CappedTag<std::uint64_t, kDropBlocks / 2> d;
  const hn::Repartition<std::uint32_t, decltype(d)> d32;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto low = hn::Set(d, call), high = hn::Set(d, call >> 32);
  for (std::int64_t at = 0; at < kDropBlocks; at += 2 * lanes) {
    const auto a0 = hn::Add(hn::Iota(d, 0), hn::Set(d, first + static_cast<std::uint64_t>(at)));
    const auto b0 = hn::Add(a0, hn::Set(d, static_cast<std::uint64_t>(lanes)));
    PhiloxLanes<decltype(d)> a{a0, hn::ShiftRight<32>(a0), low, high}, b{b0, hn::ShiftRight<32>(b0), low, high};
    std::uint32_t k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < backend::kPhiloxRounds; ++round) {
      const auto key0 = hn::Set(d, std::uint64_t{k0}), key1 = hn::Set(d, std::uint64_t{k1});
      a.Round(d, key0, key1);
      b.Round(d, key0, key1);
      k0 += backend::kPhiloxW0;
      k1 += backend::kPhiloxW1;
    }
    const auto store = [&](int j, auto u, auto v) HWY_ATTR {
      hn::StoreU(hn::ConcatEven(d32, hn::BitCast(d32, v), hn::BitCast(d32, u)), d32, words + j * kDropBlocks + at);
    };
    store(0, a.c0, b.c0);
    store(1, a.c1, b.c1);
    store(2, a.c2, b.c2);
    store(3, a.c3, b.c3);
  }
}
#endif

// y = x scale where the word is at least threshold, else 0; n is a multiple of every vector.
HWY_INLINE void KeepWords(const std::uint32_t* words, std::uint32_t threshold, float scale, const float* x, float* y) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  for (std::int64_t i = 0; i < kDropGroup; i += static_cast<std::int64_t>(hn::Lanes(d))) {
    const auto drop = hn::RebindMask(d, hn::Lt(hn::LoadU(du, words + i), hn::Set(du, threshold)));
    hn::StoreU(hn::IfThenZeroElse(drop, hn::Mul(hn::LoadU(d, x + i), hn::Set(d, scale))), d, y + i);
  }
}

HWY_INLINE void KeepWords(const std::uint32_t* words, std::uint32_t threshold, double scale, const double* x,
                          double* y) {
  const hn::ScalableTag<double> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<std::uint32_t, decltype(d)> d32;
  const hn::RebindToUnsigned<decltype(d)> du;
  for (std::int64_t i = 0; i < kDropGroup; i += static_cast<std::int64_t>(hn::Lanes(d))) {
    const auto word = hn::BitCast(di, hn::PromoteTo(du, hn::LoadU(d32, words + i)));
    const auto drop = hn::RebindMask(d, hn::Lt(word, hn::Set(di, static_cast<std::int64_t>(threshold))));
    hn::StoreU(hn::IfThenZeroElse(drop, hn::Mul(hn::LoadU(d, x + i), hn::Set(d, scale))), d, y + i);
  }
}

template <typename T>
void Dropout(std::int64_t begin, std::int64_t end, std::int64_t total, std::uint32_t threshold, T scale,
             std::uint64_t seed, std::uint64_t call, const T* x, T* y) {
  alignas(64) std::uint32_t words[kDropGroup];
  for (std::int64_t g = begin; g < end; ++g) {
    PhiloxGroup(seed, call, static_cast<std::uint64_t>(g * kDropBlocks), words);
    const std::int64_t at = g * kDropGroup, count = total - at;
    if (count >= kDropGroup) {
      KeepWords(words, threshold, scale, x + at, y + at);
      continue;
    }
    T part[kDropGroup] = {};
    std::memcpy(part, x + at, static_cast<std::size_t>(count) * sizeof(T));
    KeepWords(words, threshold, scale, part, part);
    std::memcpy(y + at, part, static_cast<std::size_t>(count) * sizeof(T));
  }
}

template <typename T>
constexpr RowKernels<T> Kernels() {
  return {Norm<T>, NormBackward<T>, NormParameters<T>, Dropout<T>};
}

}  // namespace

const RowTable& row_table() {
  static const RowTable instance = {Kernels<float>(), Kernels<double>()};
  return instance;
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "backend/cpu/dispatch.h"

namespace rnncore {
namespace cpu {
namespace {

template <typename T>
const RowKernels<T>& kernels() {
  return RNNCORE_TABLE(active_target(), row_table).of<T>();
}

template <typename T>
const T* row(const void* base, std::int64_t r, std::int64_t cols) {
  return static_cast<const T*>(base) + r * cols;
}

double norm_work(const backend::LayerNorm& norm) {
  return 3.0 * static_cast<double>(norm.rows) * static_cast<double>(norm.cols);
}

}  // namespace
}  // namespace cpu

namespace backend {

using cpu::Member;
using cpu::Range;

void layer_norm(Device, const LayerNorm& norm) {
  cpu::with_float(norm.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto run = cpu::kernels<T>().norm;
    cpu::run_team(cpu::threads_for(cpu::norm_work(norm)), [&](const Member& member) {
      const Range mine = member.share(norm.rows);
      for (std::int64_t r = mine.begin; r < mine.end; ++r)
        run(norm.cols, cpu::row<T>(norm.x, r, norm.cols), static_cast<const T*>(norm.weight),
            static_cast<const T*>(norm.bias), norm.eps, static_cast<T*>(norm.y) + r * norm.cols,
            static_cast<T*>(norm.stats) + 2 * r);
    });
  });
}

void layer_norm_backward(Device, const LayerNorm& norm, const void* dy, void* dx, void* dweight, void* dbias) {
  cpu::with_float(norm.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto& run = cpu::kernels<T>();
    cpu::run_team(cpu::threads_for(cpu::norm_work(norm)), [&](const Member& member) {
      const Range mine = member.share(dx != nullptr ? norm.rows : 0);
      for (std::int64_t r = mine.begin; r < mine.end; ++r)
        run.norm_backward(norm.cols, cpu::row<T>(norm.x, r, norm.cols), static_cast<const T*>(norm.weight),
                          cpu::row<T>(norm.stats, r, 2), cpu::row<T>(dy, r, norm.cols),
                          static_cast<T*>(dx) + r * norm.cols);
      // Parameters: each thread owns columns and sees all rows in order.
      const Range columns = member.share(norm.cols, 16);
      if (columns.size() == 0) return;
      T* dw = dweight != nullptr ? static_cast<T*>(dweight) + columns.begin : nullptr;
      T* db = dbias != nullptr ? static_cast<T*>(dbias) + columns.begin : nullptr;
      if (dw != nullptr) std::fill(dw, dw + columns.size(), T(0));
      if (db != nullptr) std::fill(db, db + columns.size(), T(0));
      for (std::int64_t r = 0; (dw != nullptr || db != nullptr) && r < norm.rows; ++r)
        run.norm_parameters(columns.size(), cpu::row<T>(norm.x, r, norm.cols) + columns.begin,
                            cpu::row<T>(norm.stats, r, 2), cpu::row<T>(dy, r, norm.cols) + columns.begin, dw, db);
    });
  });
}

void dropout(Device device, DType dtype, std::int64_t n, double p, std::uint64_t seed, std::uint64_t call,
             const void* x, void* y) {
  if (p >= 1.0) return zero(device, y, n * size_of(dtype));
  const auto threshold = static_cast<std::uint32_t>(p * 4294967296.0);  // words below it drop the element
  const double scale = 1.0 / (1.0 - p);
  cpu::with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto run = cpu::kernels<T>().dropout;
    cpu::run_team(cpu::threads_for(6.0 * static_cast<double>(n)), [&](const Member& member) {
      const Range groups = member.share((n + cpu::kDropGroup - 1) / cpu::kDropGroup, 16);
      run(groups.begin, groups.end, n, threshold, static_cast<T>(scale), seed, call, static_cast<const T*>(x),
          static_cast<T*>(y));
    });
  });
}

}  // namespace backend
}  // namespace rnncore
#endif  // HWY_ONCE
