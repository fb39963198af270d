// Parameter updates, one pass over each parameter: clamp, clip by norm, decay, moments, step.
#include "backend/cpu/targets.h"  // before any Highway header

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/update.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "backend/cpu/map.h"

#include "backend/pointwise.h"

#ifndef RNNCORE_BACKEND_CPU_UPDATE_TABLE
#define RNNCORE_BACKEND_CPU_UPDATE_TABLE
namespace rnncore {
namespace cpu {

template <typename T>
struct UpdateKernels {
  // Elements [begin, end) of one parameter.
  void (*run)(const backend::UpdateStep& step, std::int64_t begin, std::int64_t end);
};
using UpdateTable = KernelTable<UpdateKernels>;

}  // namespace cpu
}  // namespace rnncore
#endif

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using backend::Update;
using backend::UpdateStep;

// w and up to three state arrays at one place; absent slots point at scratch.
template <class V>
struct Place {
  V w, g, s0, s1, s2;
};

// The gradient as the equations see it: clamped, scaled by the clipping factor, with L2 decay.
template <class D, class V>
HWY_INLINE V Gradient(D d, const UpdateStep& step, V g, V w) {
  using T = hn::TFromD<D>;
  if (step.clip_value > 0) {
    const V top = hn::Set(d, static_cast<T>(step.clip_value)), bottom = hn::Neg(top);
    g = hn::IfThenElse(hn::Gt(g, top), top, hn::IfThenElse(hn::Lt(g, bottom), bottom, g));
  }
  if (step.grad_scale != 1.0) g = hn::Mul(g, hn::Set(d, static_cast<T>(step.grad_scale)));
  if (step.weight_decay != 0.0) g = hn::MulAdd(hn::Set(d, static_cast<T>(step.weight_decay)), w, g);
  return g;
}

template <class D, class V>
HWY_INLINE void Sgd(D d, const UpdateStep& step, Place<V>& at) {
  using T = hn::TFromD<D>;
  V direction = at.g;
  if (step.slot[0] != nullptr) {
    const V momentum = hn::Set(d, static_cast<T>(step.momentum));
    at.s0 = step.first ? at.g
                       : hn::MulAdd(momentum, at.s0, hn::Mul(hn::Set(d, static_cast<T>(1.0 - step.dampening)), at.g));
    direction = step.nesterov ? hn::MulAdd(momentum, at.s0, at.g) : at.s0;
  }
  at.w = hn::NegMulAdd(hn::Set(d, static_cast<T>(step.lr)), direction, at.w);
}

template <class D, class V>
HWY_INLINE void Adam(D d, const UpdateStep& step, Place<V>& at) {
  using T = hn::TFromD<D>;
  const V g = at.g;
  at.s0 = hn::MulAdd(hn::Set(d, static_cast<T>(1.0 - step.beta1)), hn::Sub(g, at.s0), at.s0);
  at.s1 = hn::MulAdd(hn::Set(d, static_cast<T>(1.0 - step.beta2)), hn::Mul(g, g),
                     hn::Mul(hn::Set(d, static_cast<T>(step.beta2)), at.s1));
  const V root = hn::Mul(hn::Sqrt(at.s1), hn::Set(d, static_cast<T>(1.0 / step.bias2_sqrt)));
  const V direction = hn::Div(at.s0, hn::Add(root, hn::Set(d, static_cast<T>(step.eps))));
  at.w = hn::NegMulAdd(hn::Set(d, static_cast<T>(step.step_size)), direction, at.w);
}

template <class D, class V>
HWY_INLINE void RmsProp(D d, const UpdateStep& step, Place<V>& at) {
  using T = hn::TFromD<D>;
  const V rest = hn::Set(d, static_cast<T>(1.0 - step.alpha));
  at.s0 = hn::MulAdd(rest, hn::Mul(at.g, at.g), hn::Mul(hn::Set(d, static_cast<T>(step.alpha)), at.s0));
  V square = at.s0;
  if (step.slot[1] != nullptr) {  // centered: variance instead of the mean square; rounding may take it below 0
    at.s1 = hn::MulAdd(rest, hn::Sub(at.g, at.s1), at.s1);
    square = hn::Max(hn::NegMulAdd(at.s1, at.s1, square), hn::Zero(d));
  }
  V direction = hn::Div(at.g, hn::Add(hn::Sqrt(square), hn::Set(d, static_cast<T>(step.eps))));
  if (step.slot[2] != nullptr) {
    at.s2 = hn::MulAdd(hn::Set(d, static_cast<T>(step.momentum)), at.s2, direction);
    direction = at.s2;
  }
  at.w = hn::NegMulAdd(hn::Set(d, static_cast<T>(step.lr)), direction, at.w);
}

template <class D, class V>
HWY_INLINE void Asgd(D d, const UpdateStep& step, Place<V>& at) {
  using T = hn::TFromD<D>;
  at.w = hn::NegMulAdd(hn::Set(d, static_cast<T>(step.lr)), at.g, at.w);
  at.s0 = step.alpha == 1.0 ? at.w : hn::MulAdd(hn::Set(d, static_cast<T>(step.alpha)), hn::Sub(at.w, at.s0), at.s0);
}

template <class D, class V>
HWY_INLINE void Dynamic(D d, const UpdateStep& step, Place<V>& at) {
  using T = hn::TFromD<D>;
  const V back = step.slot[2] != nullptr ? at.s2 : hn::Set(d, static_cast<T>(step.alpha));
  const V away = hn::Sub(at.s0, at.w);
  if (step.g != nullptr) {  // the scale of a parameter that never has a gradient may be infinite
    const V g = step.slot[1] != nullptr ? hn::Mul(at.g, at.s1) : at.g;
    at.w = hn::NegMulAdd(hn::Set(d, static_cast<T>(step.lr)), g, at.w);
  }
  at.w = hn::MulAdd(back, away, at.w);
}

template <class D, class V>
HWY_INLINE void Apply(D d, const UpdateStep& step, Place<V>& at) {
  at.g = Gradient(d, step, at.g, at.w);
  if (step.decay != 1.0) at.w = hn::Mul(at.w, hn::Set(d, static_cast<hn::TFromD<D>>(step.decay)));
  switch (step.kind) {
    case Update::sgd:
      return Sgd(d, step, at);
    case Update::adam:
      return Adam(d, step, at);
    case Update::rmsprop:
      return RmsProp(d, step, at);
    case Update::asgd:
      return Asgd(d, step, at);
    case Update::dynamic:
      return Dynamic(d, step, at);
  }
}

template <typename T>
void UpdateRange(const UpdateStep& step, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  T* w = static_cast<T*>(step.w);
  const T* g = static_cast<const T*>(step.g);
  const T* const s[3] = {static_cast<T*>(step.slot[0]), static_cast<T*>(step.slot[1]), static_cast<T*>(step.slot[2])};
  T* kept[3] = {};
  for (int j = 0; j < 3; ++j) kept[j] = step.kind == Update::dynamic ? nullptr : static_cast<T*>(step.slot[j]);
  const V zero = hn::Zero(d);
  std::int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    Place<V> at{hn::LoadU(d, w + i), g ? hn::LoadU(d, g + i) : zero, s[0] ? hn::LoadU(d, s[0] + i) : zero,
                s[1] ? hn::LoadU(d, s[1] + i) : zero, s[2] ? hn::LoadU(d, s[2] + i) : zero};
    Apply(d, step, at);
    hn::StoreU(at.w, d, w + i);
    if (kept[0]) hn::StoreU(at.s0, d, kept[0] + i);
    if (kept[1]) hn::StoreU(at.s1, d, kept[1] + i);
    if (kept[2]) hn::StoreU(at.s2, d, kept[2] + i);
  }
  if (i >= end) return;
  const std::int64_t count = end - i;
  Place<V> at{LoadPart(d, w + i, count), g ? LoadPart(d, g + i, count) : zero,
              s[0] ? LoadPart(d, s[0] + i, count) : zero, s[1] ? LoadPart(d, s[1] + i, count) : zero,
              s[2] ? LoadPart(d, s[2] + i, count) : zero};
  Apply(d, step, at);
  StorePart(d, at.w, w + i, count);
  if (kept[0]) StorePart(d, at.s0, kept[0] + i, count);
  if (kept[1]) StorePart(d, at.s1, kept[1] + i, count);
  if (kept[2]) StorePart(d, at.s2, kept[2] + i, count);
}

}  // namespace

const UpdateTable& update_table() {
  static const UpdateTable instance = {{UpdateRange<float>}, {UpdateRange<double>}};
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
const UpdateKernels<T>& kernels() {
  return RNNCORE_TABLE(active_target(), update_table).of<T>();
}

}  // namespace
}  // namespace cpu

namespace backend {

void update(Device, const UpdateStep& step) {
  cpu::with_float(step.dtype, [&](auto zero) {
    const auto run = cpu::kernels<decltype(zero)>().run;
    cpu::run_team(cpu::threads_for(4.0 * static_cast<double>(step.n)), [&](const cpu::Member& member) {
      const cpu::Range r = member.share(step.n, cpu::kGrain);
      run(step, r.begin, r.end);
    });
  });
}

}  // namespace backend
}  // namespace rnncore
#endif  // HWY_ONCE
