// Value: the vector type that the cell equations compile over on the CPU, and the cells themselves, once per
// instruction set. Include inside a kernel file after hwy/highway.h.
#if defined(RNNCORE_SIMD_VALUE_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RNNCORE_SIMD_VALUE_H_
#undef RNNCORE_SIMD_VALUE_H_
#else
#define RNNCORE_SIMD_VALUE_H_
#endif

#include <hwy/highway.h>

#include <type_traits>

#include "backend/cpu/simd_math.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One vector with ordinary operators. V(1), V(0) broadcast.
template <class D>
struct Value {
  hn::Vec<D> v;
  Value() = default;
  HWY_INLINE Value(hn::Vec<D> vector) : v(vector) {}
  template <typename Number, typename = std::enable_if_t<std::is_arithmetic_v<Number>>>
  HWY_INLINE explicit Value(Number constant) : v(hn::Set(D(), static_cast<hn::TFromD<D>>(constant))) {}

  friend HWY_INLINE Value operator+(const Value& a, const Value& b) { return hn::Add(a.v, b.v); }
  friend HWY_INLINE Value operator-(const Value& a, const Value& b) { return hn::Sub(a.v, b.v); }
  friend HWY_INLINE Value operator*(const Value& a, const Value& b) { return hn::Mul(a.v, b.v); }
  friend HWY_INLINE Value operator/(const Value& a, const Value& b) { return hn::Div(a.v, b.v); }
  friend HWY_INLINE Value tanh(const Value& a) { return Tanh(D(), a.v); }
  friend HWY_INLINE Value sigmoid(const Value& a) { return Sigmoid(D(), a.v); }
  // Keeps NaN.
  friend HWY_INLINE Value relu(const Value& a) { return hn::IfThenZeroElse(hn::Lt(a.v, hn::Zero(D())), a.v); }
  // 1 where a > 0, else 0.
  friend HWY_INLINE Value positive_part_mask(const Value& a) {
    return hn::IfThenElseZero(hn::Gt(a.v, hn::Zero(D())), hn::Set(D(), hn::TFromD<D>(1)));
  }
  friend HWY_INLINE Value log(const Value& a) { return Log(D(), a.v); }
  friend HWY_INLINE Value abs(const Value& a) { return hn::Abs(a.v); }
  // a > 0 ? x : y, and a == b ? x : y; y for NaN.
  friend HWY_INLINE Value where_positive(const Value& a, const Value& x, const Value& y) {
    return hn::IfThenElse(hn::Gt(a.v, hn::Zero(D())), x.v, y.v);
  }
  friend HWY_INLINE Value where_equal(const Value& a, const Value& b, const Value& x, const Value& y) {
    return hn::IfThenElse(hn::Eq(a.v, b.v), x.v, y.v);
  }
};

namespace cells {
#include "cells/activation.h"
#include "cells/carry.h"
#include "cells/elman.h"
#include "cells/elman_options.h"
#include "cells/gru.h"
#include "cells/gru_reset_before.h"
#include "cells/gru_options.h"
#include "cells/indrnn.h"
#include "cells/lstm.h"
#include "cells/lstm_options.h"
#include "cells/mgu.h"
}  // namespace cells

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();
#endif  // RNNCORE_SIMD_VALUE_H_
