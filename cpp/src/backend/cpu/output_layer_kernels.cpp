// Maxima, exponentials and sums of rows of logits, for the output layer with its loss.
#include "backend/cpu/targets.h"  // before any Highway header

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/output_layer_kernels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "backend/cpu/map.h"
#include "backend/cpu/simd_math.h"

#include "backend/cpu/output_layer.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <typename T>
T Max(std::int64_t n, const T* x) {
  return RowMax(n, x);
}

template <typename T>
double Sum(std::int64_t n, const T* x) {
  return SumMap1(hn::ScalableTag<T>(), n, x, T(0), [](auto, auto v) HWY_ATTR { return v; });
}

template <typename T>
double ExpRow(std::int64_t n, T reference, T* x) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto shift = hn::Set(d, reference);
  auto sum = hn::Zero(d);
  for (std::int64_t i = 0; i < n; i += lanes) {
    const auto e = Exp(d, hn::Sub(hn::Load(d, x + i), shift));
    hn::Store(e, d, x + i);
    sum = hn::Add(sum, e);
  }
  return static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum)));
}

template <typename T>
void ScaleRows(std::int64_t rows, std::int64_t width, const T* scale, T shift, T* x) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t r = 0; r < rows; ++r, x += width) {
    const auto factor = hn::Set(d, scale[r]), less = hn::Set(d, shift);
    if (scale[r] == T(0))
      for (std::int64_t i = 0; i < width; i += lanes) hn::Store(hn::Zero(d), d, x + i);
    else
      for (std::int64_t i = 0; i < width; i += lanes) hn::Store(hn::MulSub(hn::Load(d, x + i), factor, less), d, x + i);
  }
}

template <typename T>
void AddRows(std::int64_t rows, std::int64_t width, const T* x, T* sums) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < width; i += lanes) {
    auto sum = hn::Load(d, sums + i);
    for (std::int64_t r = 0; r < rows; ++r) sum = hn::Add(sum, hn::Load(d, x + r * width + i));
    hn::Store(sum, d, sums + i);
  }
}

template <typename T>
constexpr OutputKernels<T> Kernels() {
  return {Max<T>, Sum<T>, ExpRow<T>, ScaleRows<T>, AddRows<T>};
}

}  // namespace

const KernelTable<OutputKernels>& output_table() {
  static const KernelTable<OutputKernels> instance = {Kernels<float>(), Kernels<double>()};
  return instance;
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rnncore::cpu {

template <typename T>
const OutputKernels<T>& output_kernels() {
  return RNNCORE_TABLE(active_target(), output_table).of<T>();
}
template const OutputKernels<float>& output_kernels<float>();
template const OutputKernels<double>& output_kernels<double>();

}  // namespace rnncore::cpu
#endif
