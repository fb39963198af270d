// Row kernels: softmax, log-softmax, cross-entropy and their gradients. Each row belongs to one thread.
#include "backend/cpu/targets.h"  // before any Highway header

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/loss.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "backend/cpu/map.h"
#include "backend/cpu/simd_math.h"

#include <cmath>
#include <limits>

#include "backend/pointwise.h"

#ifndef RNNCORE_BACKEND_CPU_LOSS_TABLE
#define RNNCORE_BACKEND_CPU_LOSS_TABLE
namespace rnncore {
namespace cpu {

template <typename T>
struct LossKernels {
  double (*log_sum)(std::int64_t n, const T* x);  // log of the sum of exp
  double (*sum)(std::int64_t n, const T* x);
  void (*softmax)(std::int64_t n, const T* x, T* y);
  void (*log_softmax)(std::int64_t n, const T* x, T* y);
  void (*softmax_backward)(bool log, std::int64_t n, const T* dy, const T* y, T* dx);
  // y = scale * (exp(x - log_sum) - shift); y may be x
  void (*shifted_softmax)(std::int64_t n, const T* x, double log_sum, T shift, T scale, T* y);
};
using LossTable = KernelTable<LossKernels>;

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
HWY_INLINE double SumOfExp(std::int64_t n, const T* x, T max) {
  const T lowest = -std::numeric_limits<T>::infinity();
  return SumMap1(hn::ScalableTag<T>(), n, x, lowest,
                 [max](auto d, auto v) HWY_ATTR { return Exp(d, hn::Sub(v, hn::Set(d, max))); });
}

template <typename T>
double LogSum(std::int64_t n, const T* x) {
  const T max = RowMax(n, x);
  return static_cast<double>(max) + std::log(SumOfExp(n, x, max));
}

template <typename T>
double Sum(std::int64_t n, const T* x) {
  return SumMap1(hn::ScalableTag<T>(), n, x, T(0), [](auto, auto v) HWY_ATTR { return v; });
}

template <typename T>
void Softmax(std::int64_t n, const T* x, T* y) {
  const hn::ScalableTag<T> d;
  const T max = RowMax(n, x);
  Map1(d, n, x, y, [max](auto t, auto v) HWY_ATTR { return Exp(t, hn::Sub(v, hn::Set(t, max))); });
  const T scale = static_cast<T>(1.0 / Sum(n, y));
  Map1(d, n, y, y, [scale](auto t, auto v) HWY_ATTR { return hn::Mul(v, hn::Set(t, scale)); });
}

// The maximum is subtracted apart from the logarithm, so that large logits keep their last bits.
template <typename T>
void LogSoftmax(std::int64_t n, const T* x, T* y) {
  const T max = RowMax(n, x), log_sum = static_cast<T>(std::log(SumOfExp(n, x, max)));
  Map1(hn::ScalableTag<T>(), n, x, y,
       [max, log_sum](auto t, auto v) HWY_ATTR { return hn::Sub(hn::Sub(v, hn::Set(t, max)), hn::Set(t, log_sum)); });
}

// softmax: dx = y (dy - sum(dy y)); log-softmax: dx = dy - exp(y) sum(dy).
template <typename T>
void SoftmaxBackward(bool log, std::int64_t n, const T* dy, const T* y, T* dx) {
  const hn::ScalableTag<T> d;
  if (log) {
    const T total = static_cast<T>(Sum(n, dy));
    return Map2(d, n, dy, y, dx,
                [total](auto t, auto g, auto v) HWY_ATTR { return hn::NegMulAdd(Exp(t, v), hn::Set(t, total), g); });
  }
  const T dot = static_cast<T>(SumMap2(d, n, dy, y, T(0), [](auto, auto g, auto v) HWY_ATTR { return hn::Mul(g, v); }));
  Map2(d, n, dy, y, dx, [dot](auto t, auto g, auto v) HWY_ATTR { return hn::Mul(v, hn::Sub(g, hn::Set(t, dot))); });
}

template <typename T>
void ShiftedSoftmax(std::int64_t n, const T* x, double log_sum, T shift, T scale, T* y) {
  const T high = static_cast<T>(log_sum), low = static_cast<T>(log_sum - static_cast<double>(high));
  Map1(hn::ScalableTag<T>(), n, x, y, [=](auto t, auto v) HWY_ATTR {
    const auto p = Exp(t, hn::Sub(hn::Sub(v, hn::Set(t, high)), hn::Set(t, low)));
    return hn::Mul(hn::Sub(p, hn::Set(t, shift)), hn::Set(t, scale));
  });
}

template <typename T>
constexpr LossKernels<T> Kernels() {
  return {LogSum<T>, Sum<T>, Softmax<T>, LogSoftmax<T>, SoftmaxBackward<T>, ShiftedSoftmax<T>};
}

}  // namespace

const LossTable& loss_table() {
  static const LossTable instance = {Kernels<float>(), Kernels<double>()};
  return instance;
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

#include "backend/cpu/dispatch.h"
#include "backend/cpu/softmax.h"

namespace rnncore {
namespace cpu {
namespace {

template <typename T>
const LossKernels<T>& kernels() {
  return RNNCORE_TABLE(active_target(), loss_table).of<T>();
}

// An exponential per element costs about six plain visits.
double row_work(std::int64_t rows, std::int64_t cols) {
  return 6.0 * static_cast<double>(rows) * static_cast<double>(cols);
}

// The part of a row's loss that does not depend on the sum of exponentials: loss = log sum exp - this.
template <typename T>
double expected_logit(const LossKernels<T>& run, const backend::CrossEntropy& loss, const T* x, std::int64_t r) {
  const double e = loss.label_smoothing, at_target = static_cast<double>(x[loss.targets[r]]);
  if (e == 0.0) return at_target;
  return (1.0 - e) * at_target + e * (run.sum(loss.cols, x) / static_cast<double>(loss.cols));
}

template <typename T>
double row_loss(const LossKernels<T>& run, const backend::CrossEntropy& loss, const T* x, std::int64_t r) {
  const double log_sum = loss.log_probs ? 0.0 : run.log_sum(loss.cols, x);
  if (loss.log_sums) loss.log_sums[r] = log_sum;
  return loss.targets[r] == loss.ignore_index ? 0.0 : log_sum - expected_logit(run, loss, x, r);
}

template <typename T>
void row_gradient(const LossKernels<T>& run, const backend::CrossEntropy& loss, double scale, std::int64_t r,
                  const T* x, T* dx) {
  const std::int64_t target = loss.targets[r];
  if (target == loss.ignore_index) {
    std::fill(dx, dx + loss.cols, T(0));
    return;
  }
  const T shift = static_cast<T>(loss.label_smoothing / static_cast<double>(loss.cols)), factor = static_cast<T>(scale);
  if (loss.log_probs) {
    std::fill(dx, dx + loss.cols, -shift * factor);
  } else {
    run.shifted_softmax(loss.cols, x, loss.log_sums[r], shift, factor, dx);
  }
  dx[target] -= static_cast<T>((1.0 - loss.label_smoothing) * scale);
}

}  // namespace

template <typename T>
void softmax_row(std::int64_t n, const T* x, T* y) {
  kernels<T>().softmax(n, x, y);
}
template <typename T>
void softmax_row_backward(std::int64_t n, const T* dy, const T* y, T* dx) {
  kernels<T>().softmax_backward(false, n, dy, y, dx);
}
template void softmax_row<float>(std::int64_t, const float*, float*);
template void softmax_row<double>(std::int64_t, const double*, double*);
template void softmax_row_backward<float>(std::int64_t, const float*, const float*, float*);
template void softmax_row_backward<double>(std::int64_t, const double*, const double*, double*);

}  // namespace cpu

namespace backend {

using cpu::Member;
using cpu::Range;

void softmax_rows(Device, DType dtype, bool log, std::int64_t rows, std::int64_t cols, const void* x, void* y,
                  int threads) {
  cpu::with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto run = log ? cpu::kernels<T>().log_softmax : cpu::kernels<T>().softmax;
    cpu::run_team(threads > 0 ? threads : cpu::threads_for(cpu::row_work(rows, cols)), [&](const Member& member) {
      const Range mine = member.share(rows);
      for (std::int64_t r = mine.begin; r < mine.end; ++r)
        run(cols, static_cast<const T*>(x) + r * cols, static_cast<T*>(y) + r * cols);
    });
  });
}

void softmax_rows_backward(Device, DType dtype, bool log, std::int64_t rows, std::int64_t cols, const void* dy,
                           const void* y, void* dx) {
  cpu::with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto run = cpu::kernels<T>().softmax_backward;
    cpu::run_team(cpu::threads_for(cpu::row_work(rows, cols)), [&](const Member& member) {
      const Range mine = member.share(rows);
      for (std::int64_t r = mine.begin; r < mine.end; ++r)
        run(log, cols, static_cast<const T*>(dy) + r * cols, static_cast<const T*>(y) + r * cols,
            static_cast<T*>(dx) + r * cols);
    });
  });
}

void cross_entropy(Device, const CrossEntropy& loss) {
  cpu::with_float(loss.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto& run = cpu::kernels<T>();
    cpu::run_team(cpu::threads_for(cpu::row_work(loss.rows, loss.cols)), [&](const Member& member) {
      const Range mine = member.share(loss.rows);
      for (std::int64_t r = mine.begin; r < mine.end; ++r)
        loss.losses[r] = cpu::row_loss(run, loss, static_cast<const T*>(loss.x) + r * loss.cols, r);
    });
  });
}

void cross_entropy_backward(Device, const CrossEntropy& loss, double scale, const void* row_scale, void* dx) {
  cpu::with_float(loss.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto& run = cpu::kernels<T>();
    const T* scales = static_cast<const T*>(row_scale);
    cpu::run_team(cpu::threads_for(cpu::row_work(loss.rows, loss.cols)), [&](const Member& member) {
      const Range mine = member.share(loss.rows);
      for (std::int64_t r = mine.begin; r < mine.end; ++r)
        cpu::row_gradient(run, loss, scales != nullptr ? scale * static_cast<double>(scales[r]) : scale, r,
                          static_cast<const T*>(loss.x) + r * loss.cols, static_cast<T*>(dx) + r * loss.cols);
    });
  });
}

}  // namespace backend
}  // namespace rnncore
#endif  // HWY_ONCE
