// Loops of a function over vectors of contiguous arrays. Per-target header (Highway's toggled guard): included inside a
// kernel file after hwy/highway.h. The last, partial vector goes through a small buffer, so no element outside the
// arrays is touched and every element sees the same arithmetic.
#if defined(RNNCORE_BACKEND_CPU_MAP_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RNNCORE_BACKEND_CPU_MAP_H_
#undef RNNCORE_BACKEND_CPU_MAP_H_
#else
#define RNNCORE_BACKEND_CPU_MAP_H_
#endif

#include <cstdint>
#include <cstring>
#include <limits>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {

// The first `count` elements at p, the rest `other`.
template <class D, typename T = hwy::HWY_NAMESPACE::TFromD<D>>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> LoadPart(D d, const T* p, std::int64_t count, T other = T(0)) {
  namespace hn = hwy::HWY_NAMESPACE;
  HWY_ALIGN T buffer[HWY_MAX_BYTES / sizeof(T)];
  hn::Store(hn::Set(d, other), d, buffer);
  std::memcpy(buffer, p, static_cast<std::size_t>(count) * sizeof(T));
  return hn::Load(d, buffer);
}

template <class D, typename T = hwy::HWY_NAMESPACE::TFromD<D>>
HWY_INLINE void StorePart(D d, hwy::HWY_NAMESPACE::Vec<D> v, T* p, std::int64_t count) {
  namespace hn = hwy::HWY_NAMESPACE;
  HWY_ALIGN T buffer[HWY_MAX_BYTES / sizeof(T)];
  hn::Store(v, d, buffer);
  std::memcpy(p, buffer, static_cast<std::size_t>(count) * sizeof(T));
}

// y[i] = f(x[i]); y may be x.
template <class D, typename T, class F>
HWY_INLINE void Map1(D d, std::int64_t n, const T* x, T* y, const F& f) {
  namespace hn = hwy::HWY_NAMESPACE;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto first = f(d, hn::LoadU(d, x + i));
    const auto second = f(d, hn::LoadU(d, x + i + lanes));
    hn::StoreU(first, d, y + i);
    hn::StoreU(second, d, y + i + lanes);
  }
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(d, hn::LoadU(d, x + i)), d, y + i);
  if (i < n) StorePart(d, f(d, LoadPart(d, x + i, n - i)), y + i, n - i);
}

// y[i] = f(a[i], b[i]); y may be a or b.
template <class D, typename T, class F>
HWY_INLINE void Map2(D d, std::int64_t n, const T* a, const T* b, T* y, const F& f) {
  namespace hn = hwy::HWY_NAMESPACE;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto first = f(d, hn::LoadU(d, a + i), hn::LoadU(d, b + i));
    const auto second = f(d, hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes));
    hn::StoreU(first, d, y + i);
    hn::StoreU(second, d, y + i + lanes);
  }
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(d, hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, y + i);
  if (i < n) StorePart(d, f(d, LoadPart(d, a + i, n - i), LoadPart(d, b + i, n - i)), y + i, n - i);
}

// Sum of f(x[i]): chunks of 4096 elements, each by four chains per lane and then across lanes, combined in order in
// double. `pad` fills the last, partial vector: f(pad) must be 0.
template <class D, typename T, class F>
HWY_INLINE double SumMap1(D d, std::int64_t n, const T* x, T pad, const F& f) {
  namespace hn = hwy::HWY_NAMESPACE;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += 4096) {
    const std::int64_t end = n - begin < 4096 ? n : begin + 4096;
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    std::int64_t i = begin;
    for (; i + 4 * lanes <= end; i += 4 * lanes) {
      s0 = hn::Add(s0, f(d, hn::LoadU(d, x + i)));
      s1 = hn::Add(s1, f(d, hn::LoadU(d, x + i + lanes)));
      s2 = hn::Add(s2, f(d, hn::LoadU(d, x + i + 2 * lanes)));
      s3 = hn::Add(s3, f(d, hn::LoadU(d, x + i + 3 * lanes)));
    }
    for (; i + lanes <= end; i += lanes) s0 = hn::Add(s0, f(d, hn::LoadU(d, x + i)));
    if (i < end) s1 = hn::Add(s1, f(d, LoadPart(d, x + i, end - i, pad)));
    total += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)))));
  }
  return total;
}

// Sum of f(a[i], b[i]), as SumMap1; f(0, pad) must be 0.
template <class D, typename T, class F>
HWY_INLINE double SumMap2(D d, std::int64_t n, const T* a, const T* b, T pad, const F& f) {
  namespace hn = hwy::HWY_NAMESPACE;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += 4096) {
    const std::int64_t end = n - begin < 4096 ? n : begin + 4096;
    auto s0 = hn::Zero(d), s1 = s0;
    std::int64_t i = begin;
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      s0 = hn::Add(s0, f(d, hn::LoadU(d, a + i), hn::LoadU(d, b + i)));
      s1 = hn::Add(s1, f(d, hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes)));
    }
    for (; i + lanes <= end; i += lanes) s0 = hn::Add(s0, f(d, hn::LoadU(d, a + i), hn::LoadU(d, b + i)));
    if (i < end) s1 = hn::Add(s1, f(d, LoadPart(d, a + i, end - i), LoadPart(d, b + i, end - i, pad)));
    total += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1))));
  }
  return total;
}

// The largest of x; -inf where n is 0.
template <typename T>
HWY_INLINE T RowMax(std::int64_t n, const T* x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const T lowest = -std::numeric_limits<T>::infinity();
  auto m0 = hn::Set(d, lowest), m1 = m0;
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    m0 = hn::Max(m0, hn::LoadU(d, x + i));
    m1 = hn::Max(m1, hn::LoadU(d, x + i + lanes));
  }
  for (; i + lanes <= n; i += lanes) m0 = hn::Max(m0, hn::LoadU(d, x + i));
  if (i < n) m1 = hn::Max(m1, LoadPart(d, x + i, n - i, lowest));
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(m0, m1)));
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();

#endif  // RNNCORE_BACKEND_CPU_MAP_H_
