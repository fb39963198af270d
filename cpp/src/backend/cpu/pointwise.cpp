// Element-wise kernels: unary, their derivatives, axpy, fill, and broadcasting binary operations.
#include "backend/cpu/targets.h"  // before any Highway header

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/pointwise.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "backend/cpu/map.h"
#include "backend/cpu/simd_math.h"

#include <cmath>

#include "backend/pointwise.h"

#ifndef RNNCORE_BACKEND_CPU_POINTWISE_TABLE
#define RNNCORE_BACKEND_CPU_POINTWISE_TABLE
namespace rnncore {
namespace cpu {

template <typename T>
struct PointwiseKernels {
  void (*unary)(backend::Unary op, std::int64_t n, const T* x, T* y, T p);
  void (*unary_backward)(backend::Unary op, std::int64_t n, const T* dy, const T* saved, T* dx, T p);
  void (*axpy)(std::int64_t n, T alpha, const T* x, T* y);
  // a and b advance by their stride (0 or 1)
  void (*binary)(backend::Binary op, std::int64_t n, const T* a, std::int64_t a_stride, const T* b,
                 std::int64_t b_stride, T* y);
};
using PointwiseTable = KernelTable<PointwiseKernels>;

}  // namespace cpu
}  // namespace rnncore
#endif

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using backend::Binary;
using backend::Unary;

template <typename T>
T ScalarPow(T x, T p) {
  return std::pow(x, p);
}

template <typename T>
void PowKernel(std::int64_t n, const T* x, T* y, T p) {
  const hn::ScalableTag<T> d;
  if (p == T(2)) return Map1(d, n, x, y, [](auto, auto v) HWY_ATTR { return hn::Mul(v, v); });
  if (p == T(1)) return Map1(d, n, x, y, [](auto, auto v) HWY_ATTR { return v; });
  if (p == T(-1)) return Map1(d, n, x, y, [](auto t, auto v) HWY_ATTR { return hn::Div(hn::Set(t, T(1)), v); });
  for (std::int64_t i = 0; i < n; ++i) y[i] = ScalarPow(x[i], p);
}

template <typename T>
void UnaryKernel(Unary op, std::int64_t n, const T* x, T* y, T p) {
  const hn::ScalableTag<T> d;
  switch (op) {
    case Unary::scale:
      return Map1(d, n, x, y, [p](auto t, auto v) HWY_ATTR { return hn::Mul(v, hn::Set(t, p)); });
    case Unary::shift:
      return Map1(d, n, x, y, [p](auto t, auto v) HWY_ATTR { return hn::Add(v, hn::Set(t, p)); });
    case Unary::pow:
      return PowKernel(n, x, y, p);
    case Unary::exp:
      return Map1(d, n, x, y, [](auto t, auto v) HWY_ATTR { return Exp(t, v); });
    case Unary::log:
      return Map1(d, n, x, y, [](auto t, auto v) HWY_ATTR { return Log(t, v); });
    case Unary::sqrt:
      return Map1(d, n, x, y, [](auto, auto v) HWY_ATTR { return hn::Sqrt(v); });
    case Unary::abs:
      return Map1(d, n, x, y, [](auto, auto v) HWY_ATTR { return hn::Abs(v); });
    case Unary::tanh:
      return Map1(d, n, x, y, [](auto t, auto v) HWY_ATTR { return Tanh(t, v); });
    case Unary::sigmoid:
      return Map1(d, n, x, y, [](auto t, auto v) HWY_ATTR { return Sigmoid(t, v); });
    case Unary::relu:  // NaN stays NaN
      return Map1(d, n, x, y,
                  [](auto t, auto v) HWY_ATTR { return hn::IfThenElse(hn::Lt(v, hn::Zero(t)), hn::Zero(t), v); });
  }
}

template <typename T>
void PowBackward(std::int64_t n, const T* dy, const T* x, T* dx, T p) {
  const hn::ScalableTag<T> d;
  if (p == T(2))
    return Map2(d, n, dy, x, dx,
                [](auto t, auto g, auto v) HWY_ATTR { return hn::Mul(g, hn::Mul(hn::Set(t, T(2)), v)); });
  for (std::int64_t i = 0; i < n; ++i) dx[i] = p == T(0) ? T(0) : dy[i] * p * ScalarPow(x[i], p - T(1));
}

template <typename T>
void UnaryBackwardKernel(Unary op, std::int64_t n, const T* dy, const T* s, T* dx, T p) {
  const hn::ScalableTag<T> d;
  switch (op) {
    case Unary::scale:
      return Map1(d, n, dy, dx, [p](auto t, auto g) HWY_ATTR { return hn::Mul(g, hn::Set(t, p)); });
    case Unary::shift:
      return Map1(d, n, dy, dx, [](auto, auto g) HWY_ATTR { return g; });
    case Unary::pow:
      return PowBackward(n, dy, s, dx, p);
    case Unary::exp:
      return Map2(d, n, dy, s, dx, [](auto, auto g, auto y) HWY_ATTR { return hn::Mul(g, y); });
    case Unary::log:
      return Map2(d, n, dy, s, dx, [](auto, auto g, auto x) HWY_ATTR { return hn::Div(g, x); });
    case Unary::sqrt:
      return Map2(d, n, dy, s, dx, [](auto, auto g, auto y) HWY_ATTR { return hn::Div(g, hn::Add(y, y)); });
    case Unary::abs:  // 0 at 0
      return Map2(d, n, dy, s, dx, [](auto t, auto g, auto x) HWY_ATTR {
        const auto signed_g = hn::IfThenElse(hn::Lt(x, hn::Zero(t)), hn::Neg(g), g);
        return hn::IfThenElse(hn::Eq(x, hn::Zero(t)), hn::Zero(t), signed_g);
      });
    case Unary::tanh:
      return Map2(d, n, dy, s, dx,
                  [](auto t, auto g, auto y) HWY_ATTR { return hn::Mul(g, hn::NegMulAdd(y, y, hn::Set(t, T(1)))); });
    case Unary::sigmoid:
      return Map2(d, n, dy, s, dx,
                  [](auto t, auto g, auto y) HWY_ATTR { return hn::Mul(g, hn::Mul(y, hn::Sub(hn::Set(t, T(1)), y))); });
    case Unary::relu:
      return Map2(d, n, dy, s, dx,
                  [](auto t, auto g, auto y) HWY_ATTR { return hn::IfThenElseZero(hn::Gt(y, hn::Zero(t)), g); });
  }
}

template <typename T>
void AxpyKernel(std::int64_t n, T alpha, const T* x, T* y) {
  const hn::ScalableTag<T> d;
  Map2(d, n, x, y, y, [alpha](auto t, auto a, auto b) HWY_ATTR { return hn::MulAdd(hn::Set(t, alpha), a, b); });
}

template <typename T, class F>
HWY_INLINE void BinaryLoop(std::int64_t n, const T* a, std::int64_t as, const T* b, std::int64_t bs, T* y, const F& f) {
  const hn::ScalableTag<T> d;
  if (as != 0 && bs != 0) return Map2(d, n, a, b, y, f);
  const T ca = *a, cb = *b;
  if (as != 0) return Map1(d, n, a, y, [&f, cb](auto t, auto v) HWY_ATTR { return f(t, v, hn::Set(t, cb)); });
  if (bs != 0) return Map1(d, n, b, y, [&f, ca](auto t, auto v) HWY_ATTR { return f(t, hn::Set(t, ca), v); });
  Map1(d, n, y, y, [&f, ca, cb](auto t, auto) HWY_ATTR { return f(t, hn::Set(t, ca), hn::Set(t, cb)); });
}

template <typename T>
void BinaryKernel(Binary op, std::int64_t n, const T* a, std::int64_t as, const T* b, std::int64_t bs, T* y) {
  switch (op) {
    case Binary::add:
      return BinaryLoop(n, a, as, b, bs, y, [](auto, auto u, auto v) HWY_ATTR { return hn::Add(u, v); });
    case Binary::sub:
      return BinaryLoop(n, a, as, b, bs, y, [](auto, auto u, auto v) HWY_ATTR { return hn::Sub(u, v); });
    case Binary::mul:
      return BinaryLoop(n, a, as, b, bs, y, [](auto, auto u, auto v) HWY_ATTR { return hn::Mul(u, v); });
    case Binary::div:
      return BinaryLoop(n, a, as, b, bs, y, [](auto, auto u, auto v) HWY_ATTR { return hn::Div(u, v); });
  }
}

template <typename T>
constexpr PointwiseKernels<T> Kernels() {
  return {UnaryKernel<T>, UnaryBackwardKernel<T>, AxpyKernel<T>, BinaryKernel<T>};
}

}  // namespace

const PointwiseTable& pointwise_table() {
  static const PointwiseTable instance = {Kernels<float>(), Kernels<double>()};
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
const PointwiseKernels<T>& kernels() {
  return RNNCORE_TABLE(active_target(), pointwise_table).of<T>();
}

// Element visits as threads_for counts them; transcendental functions cost about six plain ones.
double cost_of(backend::Unary op) {
  switch (op) {
    case backend::Unary::pow:
      return 40;
    case backend::Unary::exp:
    case backend::Unary::log:
    case backend::Unary::tanh:
    case backend::Unary::sigmoid:
      return 6;
    default:
      return 1;
  }
}

// Rows of the inner axis [begin, end) of a broadcast.
template <typename T>
void binary_rows(backend::Binary op, const backend::Broadcast& s, Range rows) {
  const int last = s.axes - 1;
  const std::int64_t inner = s.size[last];
  const auto run = kernels<T>().binary;
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    std::int64_t rest = row, a = 0, b = 0;
    for (int axis = last - 1; axis >= 0; --axis) {
      const std::int64_t index = rest % s.size[axis];
      rest /= s.size[axis];
      a += index * s.a_stride[axis];
      b += index * s.b_stride[axis];
    }
    run(op, inner, static_cast<const T*>(s.a) + a, s.a_stride[last], static_cast<const T*>(s.b) + b, s.b_stride[last],
        static_cast<T*>(s.y) + row * inner);
  }
}

}  // namespace
}  // namespace cpu

namespace backend {

using cpu::Member;
using cpu::Range;

bool derivative_from_output(Unary op) {
  return op == Unary::exp || op == Unary::sqrt || op == Unary::tanh || op == Unary::sigmoid || op == Unary::relu;
}

void unary(Device, Unary op, DType dtype, std::int64_t n, const void* x, void* y, double p) {
  cpu::with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto run = cpu::kernels<T>().unary;
    cpu::run_team(cpu::threads_for(cpu::cost_of(op) * static_cast<double>(n)), [&](const Member& member) {
      const Range r = member.share(n, cpu::kGrain);
      run(op, r.size(), static_cast<const T*>(x) + r.begin, static_cast<T*>(y) + r.begin, static_cast<T>(p));
    });
  });
}

void unary_backward(Device, Unary op, DType dtype, std::int64_t n, const void* dy, const void* saved, void* dx,
                    double p) {
  cpu::with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto run = cpu::kernels<T>().unary_backward;
    const double cost = op == Unary::pow ? 40 : 1;
    cpu::run_team(cpu::threads_for(cost * static_cast<double>(n)), [&](const Member& member) {
      const Range r = member.share(n, cpu::kGrain);
      const T* s = saved != nullptr ? static_cast<const T*>(saved) + r.begin : nullptr;
      run(op, r.size(), static_cast<const T*>(dy) + r.begin, s, static_cast<T*>(dx) + r.begin, static_cast<T>(p));
    });
  });
}

void axpy(Device, DType dtype, std::int64_t n, double alpha, const void* x, void* y) {
  cpu::with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto run = cpu::kernels<T>().axpy;
    cpu::run_team(cpu::threads_for(static_cast<double>(n)), [&](const Member& member) {
      const Range r = member.share(n, cpu::kGrain);
      run(r.size(), static_cast<T>(alpha), static_cast<const T*>(x) + r.begin, static_cast<T*>(y) + r.begin);
    });
  });
}

void binary(Device, Binary op, const Broadcast& s) {
  std::int64_t rows = 1;
  for (int axis = 0; axis < s.axes - 1; ++axis) rows *= s.size[axis];
  const int last = s.axes - 1;
  const std::int64_t inner = s.size[last];
  cpu::with_float(s.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::run_team(cpu::threads_for(static_cast<double>(rows) * static_cast<double>(inner)), [&](const Member& member) {
      if (rows > 1) return cpu::binary_rows<T>(op, s, member.share(rows));
      const Range r = member.share(inner, cpu::kGrain);
      cpu::kernels<T>().binary(op, r.size(), static_cast<const T*>(s.a) + r.begin * s.a_stride[last], s.a_stride[last],
                               static_cast<const T*>(s.b) + r.begin * s.b_stride[last], s.b_stride[last],
                               static_cast<T*>(s.y) + r.begin);
    });
  });
}

}  // namespace backend
}  // namespace rnncore
#endif  // HWY_ONCE
