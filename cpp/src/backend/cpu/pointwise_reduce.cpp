// Sums over an axis and the largest of each row. Along contiguous rows: chunks of kChunk elements, each summed by lanes
// and then across lanes, combined in order in double. Down columns: one chain per column in row order, in blocks of
// kBlock rows. Neither depends on the number of threads.
#include "backend/cpu/targets.h"  // before any Highway header

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/pointwise_reduce.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "backend/cpu/map.h"

#include <cmath>
#include <limits>
#include <vector>

#include "backend/pointwise.h"

#ifndef RNNCORE_BACKEND_CPU_REDUCE_TABLE
#define RNNCORE_BACKEND_CPU_REDUCE_TABLE
namespace rnncore {
namespace cpu {

constexpr std::int64_t kChunk = 4096;  // as SumMap1's

template <typename T>
struct ReduceKernels {
  double (*sum_chunk)(std::int64_t n, const T* x);
  double (*square_chunk)(std::int64_t n, const T* x, T limit);
  // y[c] = scale * sum over rows of x[row * stride + c]
  void (*sum_columns)(std::int64_t rows, std::int64_t cols, std::int64_t stride, T scale, const T* x, T* y);
  void (*clamp)(std::int64_t n, T limit, T* y);
};
using ReduceTable = KernelTable<ReduceKernels>;

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
double SumChunk(std::int64_t n, const T* x) {
  return SumMap1(hn::ScalableTag<T>(), n, x, T(0), [](auto, auto v) HWY_ATTR { return v; });
}

// Squares of single precision are summed in double, so that 1e-30 and 1e30 both count. limit 0: no clamp. Infinity is
// not clamped: a gradient that is not finite must show in the sum.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Bounded(D d, V v, hn::TFromD<D> limit) {
  const V size = hn::Abs(v), top = hn::Set(d, limit);
  const auto beyond =
      hn::And(hn::Gt(size, top), hn::Lt(size, hn::Set(d, std::numeric_limits<hn::TFromD<D>>::infinity())));
  return hn::IfThenElse(beyond, top, v);
}

HWY_INLINE double SquareChunk(std::int64_t n, const double* x, double limit) {
  return SumMap1(hn::ScalableTag<double>(), n, x, 0.0, [limit](auto d, auto v) HWY_ATTR {
    const auto c = Bounded(d, v, limit);
    return hn::Mul(c, c);
  });
}

HWY_INLINE double SquareChunk(std::int64_t n, const float* x, float limit) {
  const hn::ScalableTag<double> dd;
  const hn::Rebind<float, decltype(dd)> df;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(dd));
  auto s0 = hn::Zero(dd), s1 = s0;
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto a = hn::PromoteTo(dd, Bounded(df, hn::LoadU(df, x + i), limit));
    const auto b = hn::PromoteTo(dd, Bounded(df, hn::LoadU(df, x + i + lanes), limit));
    s0 = hn::MulAdd(a, a, s0);
    s1 = hn::MulAdd(b, b, s1);
  }
  double sum = hn::GetLane(hn::SumOfLanes(dd, hn::Add(s0, s1)));
  for (; i < n; ++i) {
    const float size = std::abs(x[i]);
    const double v = size > limit && std::isfinite(size) ? static_cast<double>(limit) : static_cast<double>(size);
    sum += v * v;
  }
  return sum;
}

template <typename T>
double SquareChunkKernel(std::int64_t n, const T* x, T limit) {
  return SquareChunk(n, x, limit > 0 ? limit : std::numeric_limits<T>::infinity());
}

constexpr std::int64_t kBlock = 64;

// kVectors vectors of columns at once: enough independent chains to hide the latency of an addition.
template <int kVectors, typename T>
HWY_INLINE void ColumnStrip(std::int64_t rows, std::int64_t stride, T scale, const T* x, T* y) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> total[kVectors], block[kVectors];
  for (int v = 0; v < kVectors; ++v) total[v] = hn::Zero(d);
  for (std::int64_t r0 = 0; r0 < rows; r0 += kBlock) {
    for (int v = 0; v < kVectors; ++v) block[v] = hn::Zero(d);
    const std::int64_t end = HWY_MIN(r0 + kBlock, rows);
    for (std::int64_t r = r0; r < end; ++r)
      for (int v = 0; v < kVectors; ++v) block[v] = hn::Add(block[v], hn::LoadU(d, x + r * stride + v * lanes));
    for (int v = 0; v < kVectors; ++v) total[v] = hn::Add(total[v], block[v]);
  }
  for (int v = 0; v < kVectors; ++v) hn::StoreU(hn::Mul(total[v], hn::Set(d, scale)), d, y + v * lanes);
}

template <typename T>
void SumColumns(std::int64_t rows, std::int64_t cols, std::int64_t stride, T scale, const T* x, T* y) {
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  std::int64_t c = 0;
  for (; c + 4 * lanes <= cols; c += 4 * lanes) ColumnStrip<4>(rows, stride, scale, x + c, y + c);
  for (; c + lanes <= cols; c += lanes) ColumnStrip<1>(rows, stride, scale, x + c, y + c);
  for (; c < cols; ++c) {
    T total = 0;
    for (std::int64_t r0 = 0; r0 < rows; r0 += kBlock) {
      T block = 0;
      for (std::int64_t r = r0; r < HWY_MIN(r0 + kBlock, rows); ++r) block += x[r * stride + c];
      total += block;
    }
    y[c] = total * scale;
  }
}

template <typename T>
void ClampKernel(std::int64_t n, T limit, T* y) {
  const hn::ScalableTag<T> d;
  Map1(d, n, y, y, [limit](auto t, auto v) HWY_ATTR {  // NaN stays NaN
    const auto top = hn::Set(t, limit), bottom = hn::Set(t, -limit);
    return hn::IfThenElse(hn::Gt(v, top), top, hn::IfThenElse(hn::Lt(v, bottom), bottom, v));
  });
}

template <typename T>
constexpr ReduceKernels<T> Kernels() {
  return {SumChunk<T>, SquareChunkKernel<T>, SumColumns<T>, ClampKernel<T>};
}

}  // namespace

const ReduceTable& reduce_table() {
  static const ReduceTable instance = {Kernels<float>(), Kernels<double>()};
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
const ReduceKernels<T>& kernels() {
  return RNNCORE_TABLE(active_target(), reduce_table).of<T>();
}

// Sum of chunk(begin, size) over the chunks of [0, n), in order, the chunks shared between threads.
template <class F>
double sum_chunks(std::int64_t n, const F& chunk) {
  const std::int64_t chunks = (n + kChunk - 1) / kChunk;
  const auto size = [n](std::int64_t c) { return std::min(kChunk, n - c * kChunk); };
  const int threads = threads_for(static_cast<double>(n));
  double total = 0;
  if (threads == 1) {
    run_team(1, [&](const Member&) {
      for (std::int64_t c = 0; c < chunks; ++c) total += chunk(c * kChunk, size(c));
    });
    return total;
  }
  std::vector<double> partial(static_cast<std::size_t>(chunks));
  run_team(threads, [&](const Member& member) {
    const Range r = member.share(chunks);
    for (std::int64_t c = r.begin; c < r.end; ++c) partial[static_cast<std::size_t>(c)] = chunk(c * kChunk, size(c));
  });
  for (const double p : partial) total += p;
  return total;
}

template <typename T>
void sum_rows(std::int64_t rows, std::int64_t n, double scale, const T* x, T* y) {
  const auto chunk_sum = kernels<T>().sum_chunk;
  if (rows == 1) {
    y[0] = static_cast<T>(
        scale * sum_chunks(n, [&](std::int64_t begin, std::int64_t size) { return chunk_sum(size, x + begin); }));
    return;
  }
  run_team(threads_for(static_cast<double>(rows) * static_cast<double>(n)), [&](const Member& member) {
    const Range r = member.share(rows, 16);
    for (std::int64_t row = r.begin; row < r.end; ++row) {
      double total = 0;
      for (std::int64_t c = 0; c < n; c += kChunk) total += chunk_sum(std::min(kChunk, n - c), x + row * n + c);
      y[row] = static_cast<T>(scale * total);
    }
  });
}

template <typename T>
void sum_middle(std::int64_t outer, std::int64_t n, std::int64_t inner, double scale, const T* x, T* y) {
  const auto run = kernels<T>().sum_columns;
  const double work = static_cast<double>(outer) * static_cast<double>(n) * static_cast<double>(inner);
  run_team(threads_for(work), [&](const Member& member) {
    const Range planes = outer >= member.size ? member.share(outer) : Range{0, outer};
    const Range columns = outer >= member.size ? Range{0, inner} : member.share(inner, 64);
    if (columns.size() == 0) return;
    for (std::int64_t o = planes.begin; o < planes.end; ++o)
      run(n, columns.size(), inner, static_cast<T>(scale), x + o * n * inner + columns.begin,
          y + o * inner + columns.begin);
  });
}

template <typename T>
std::int64_t argmax_of(const T* x, std::int64_t n) {
  std::int64_t best = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (std::isnan(x[i])) return i;
    if (x[i] > x[best]) best = i;
  }
  return best;
}

}  // namespace
}  // namespace cpu

namespace backend {

void sum_axis(Device, DType dtype, std::int64_t outer, std::int64_t n, std::int64_t inner, double scale, const void* x,
              void* y) {
  cpu::with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    if (inner == 1) {
      cpu::sum_rows(outer, n, scale, static_cast<const T*>(x), static_cast<T*>(y));
    } else {
      cpu::sum_middle(outer, n, inner, scale, static_cast<const T*>(x), static_cast<T*>(y));
    }
  });
}

void argmax_rows(Device, DType dtype, std::int64_t rows, std::int64_t cols, const void* x, std::int64_t* y) {
  cpu::with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t r = 0; r < rows; ++r) y[r] = cpu::argmax_of(static_cast<const T*>(x) + r * cols, cols);
  });
}

double sum_of_squares(Device, DType dtype, std::int64_t n, const void* g, double clip_value) {
  double total = 0;
  cpu::with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto run = cpu::kernels<T>().square_chunk;
    total = cpu::sum_chunks(n, [&](std::int64_t begin, std::int64_t size) {
      return run(size, static_cast<const T*>(g) + begin, static_cast<T>(clip_value));
    });
  });
  return total;
}

void clamp(Device, DType dtype, std::int64_t n, double limit, void* y) {
  cpu::with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto run = cpu::kernels<T>().clamp;
    cpu::run_team(cpu::threads_for(static_cast<double>(n)), [&](const cpu::Member& member) {
      const cpu::Range r = member.share(n, cpu::kGrain);
      run(r.size(), static_cast<T>(limit), static_cast<T*>(y) + r.begin);
    });
  });
}

}  // namespace backend
}  // namespace rnncore
#endif  // HWY_ONCE
