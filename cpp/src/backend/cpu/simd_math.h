// Vectorised Exp, Log, Sigmoid and Tanh over Highway vectors of float and double. Distance from the true value on
// every target (tests/cpp/simd_math_test.cpp sweeps them): exp and log at most 1.2 ulp, tanh 2.1, sigmoid 2.0 but for
// x in [-19, -15.5] (double: [-39, -35.5]), where it is 2.5: there the 1 of 1 + e^-x is about half a unit in the last
// place of e^-x, and its rounding adds to the sum's; avoiding that would take five operations more in every call. NaN
// gives NaN; infinities and overflow give the limits. Results below the smallest normal number may be flushed to zero
// (kernels run with denormals off).
//
// Per-target header: included inside a kernel file after hwy/highway.h, once per target (Highway's toggled guard).
// exp:  x = n ln2 + r, |r| <= ln2/2 (Cody & Waite 1980: ln2 in two parts), e^x = 2^n (1 + r + r^2 q(r)).
// tanh: t = expm1(-2|x|) = 2^n (r + r^2 q(r)) + (2^n - 1), tanh|x| = -t / (t + 2): no cancellation near 0.
// log:  x = 2^k m, sqrt(1/2) <= m < sqrt(2), s = (m-1)/(m+1), log m = 2 atanh(s) arranged to keep the last bits.
// The polynomials are minimax fits (Remez) made for this file.
#if defined(RNNCORE_BACKEND_CPU_SIMD_MATH_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RNNCORE_BACKEND_CPU_SIMD_MATH_H_
#undef RNNCORE_BACKEND_CPU_SIMD_MATH_H_
#else
#define RNNCORE_BACKEND_CPU_SIMD_MATH_H_
#endif

#include <cstdint>
#include <limits>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace math {

namespace hn = hwy::HWY_NAMESPACE;

template <typename T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr int kMantissa = 23;
  static constexpr float kMagic = 12582912.0f;      // 1.5 * 2^23: adding it rounds to an integer in the low bits
  static constexpr float kMagicBias = 12583039.0f;  // kMagic + 127: those bits, shifted up, are the float 2^n
  static constexpr float kLog2e = 1.44269504088896341f;
  static constexpr float kLn2Hi = 0.693145751953125f;  // 15 bits: n * kLn2Hi is exact
  static constexpr float kLn2Lo = 1.42860682030941723e-6f;
  static constexpr float kMin = -104.0f, kMax = 89.0f;           // exp is 0 and Inf beyond
  static constexpr float kScaleMin = -88.0f, kScaleMax = 88.0f;  // a single 2^n serves within
  static constexpr float kTanhMost = 18.0f;                      // 1 - tanh is below half an ulp long before
};

template <>
struct ExpConstants<double> {
  static constexpr int kMantissa = 52;
  static constexpr double kMagic = 6755399441055744.0;
  static constexpr double kMagicBias = 6755399441056767.0;
  static constexpr double kLog2e = 1.44269504088896340735992468100189214;
  static constexpr double kLn2Hi = 0.693147180369123816490;  // 33 bits
  static constexpr double kLn2Lo = 1.90821492927058770002e-10;
  static constexpr double kMin = -746.0, kMax = 710.0;
  static constexpr double kScaleMin = -709.0, kScaleMax = 709.0;
  static constexpr double kTanhMost = 40.0;
};

// q(r) = (e^r - 1 - r) / r^2 on |r| <= 1.01 ln2/2; relative error in e^r - 1 below 1.5e-8 and 2e-17.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpPolynomial(D d, V r, float /*lane*/) {
  const V r2 = hn::Mul(r, r);
  const V low = hn::MulAdd(hn::Set(d, 0.1666653801297306f), r, hn::Set(d, 0.5000000065778036f));
  const V high = hn::MulAdd(hn::Set(d, 0.00836724703019638f), r, hn::Set(d, 0.041666266393429005f));
  return hn::MulAdd(hn::MulAdd(hn::Set(d, 0.0013947605689607486f), r2, high), r2, low);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpPolynomial(D d, V r, double /*lane*/) {
  const V r2 = hn::Mul(r, r);
  const V r4 = hn::Mul(r2, r2);
  const V p0 = hn::MulAdd(hn::Set(d, 0.16666666666666688), r, hn::Set(d, 0.5000000000000007));
  const V p1 = hn::MulAdd(hn::Set(d, 0.008333333333313047), r, hn::Set(d, 0.041666666666565995));
  const V p2 = hn::MulAdd(hn::Set(d, 0.00019841269906811183), r, hn::Set(d, 0.0013888888935027451));
  const V p3 = hn::MulAdd(hn::Set(d, 2.7557224263178715e-06), r, hn::Set(d, 2.4801501114269243e-05));
  const V p4 = hn::MulAdd(hn::Set(d, 2.511572312608251e-08), r, hn::Set(d, 2.7627700889362885e-07));
  // p0 + r2 p1 + r4 (p2 + r2 p3 + r4 p4)
  const V high = hn::MulAdd(p4, r4, hn::MulAdd(p3, r2, p2));
  return hn::MulAdd(high, r4, hn::MulAdd(p1, r2, p0));
}

// x within [lo, hi]; NaN stays NaN (x86's min and max return their second operand for NaN).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ClampKeepNaN(D d, V x, hn::TFromD<D> lo, hn::TFromD<D> hi) {
#if HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
  x = hn::IfThenElse(hn::Gt(x, hn::Set(d, hi)), hn::Set(d, hi), x);
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, lo)), hn::Set(d, lo), x);
#else
  return hn::Max(hn::Set(d, lo), hn::Min(hn::Set(d, hi), x));
#endif
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V MinKeepNaN(D d, V x, hn::TFromD<D> hi) {
#if HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
  return hn::IfThenElse(hn::Gt(x, hn::Set(d, hi)), hn::Set(d, hi), x);
#else
  return hn::Min(hn::Set(d, hi), x);
#endif
}

// The bits of (n + magic + bias), shifted up: 2^n for -bias < n <= bias, 0 and Inf one beyond.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExponentFromMagic(D d, V biased) {
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::ShiftLeft<ExpConstants<hn::TFromD<D>>::kMantissa>(hn::BitCast(di, biased)));
}

// x = n ln2 + r.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void Reduce(D d, V x, V& biased, V& n, V& r) {
  using C = ExpConstants<hn::TFromD<D>>;
  biased = hn::MulAdd(x, hn::Set(d, C::kLog2e), hn::Set(d, C::kMagicBias));
  n = hn::Sub(biased, hn::Set(d, C::kMagicBias));
  r = hn::NegMulAdd(n, hn::Set(d, C::kLn2Lo), hn::NegMulAdd(n, hn::Set(d, C::kLn2Hi), x));
}

// e^r - 1 for |r| <= 1.01 ln2/2.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpMinusOne(D d, V r) {
  return hn::MulAdd(hn::Mul(r, r), ExpPolynomial(d, r, hn::TFromD<D>()), r);
}

template <typename T>
struct LogConstants;

template <>
struct LogConstants<float> {
  using Int = std::int32_t;
  static constexpr Int kBias = 127, kExponentMask = 255;
  static constexpr Int kMantissaMask = 0x007FFFFF, kOne = 0x3F800000;
  static constexpr Int kSqrtHalfOffset = 0x3F800000 - 0x3F3504F3;  // 1 - sqrt(1/2) in bits
  static constexpr float kSmallestNormal = 1.17549435e-38f, kRescale = 33554432.0f, kRescaleLog2 = 25.0f;
};

template <>
struct LogConstants<double> {
  using Int = std::int64_t;
  static constexpr Int kBias = 1023, kExponentMask = 2047;
  static constexpr Int kMantissaMask = 0x000FFFFFFFFFFFFFll, kOne = 0x3FF0000000000000ll;
  static constexpr Int kSqrtHalfOffset = 0x3FF0000000000000ll - 0x3FE6A09E667F3BCDll;
  static constexpr double kSmallestNormal = 2.2250738585072014e-308, kRescale = 18014398509481984.0,
                          kRescaleLog2 = 54.0;
};

// R(z) = (2 atanh(s) - 2 s) / (s z), z = s^2 <= (3 - 2 sqrt 2)^2.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V LogPolynomial(D d, V z, float /*lane*/) {
  const V high = hn::MulAdd(hn::Set(d, 0.23334570986107864f), z, hn::Set(d, 0.2855065645461872f));
  return hn::MulAdd(hn::MulAdd(high, z, hn::Set(d, 0.400001234672401f)), z, hn::Set(d, 0.6666666655214447f));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V LogPolynomial(D d, V z, double /*lane*/) {
  V p = hn::MulAdd(hn::Set(d, 0.14620467325843925), z, hn::Set(d, 0.1533138654729475));
  p = hn::MulAdd(p, z, hn::Set(d, 0.1818289956468141));
  p = hn::MulAdd(p, z, hn::Set(d, 0.22222210985519997));
  p = hn::MulAdd(p, z, hn::Set(d, 0.2857142862693539));
  p = hn::MulAdd(p, z, hn::Set(d, 0.3999999999989726));
  return hn::MulAdd(p, z, hn::Set(d, 0.666666666666667));
}

}  // namespace math

template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  using C = math::ExpConstants<hn::TFromD<D>>;
  V biased, n, r;
  math::Reduce(d, math::ClampKeepNaN(d, x, C::kMin, C::kMax), biased, n, r);
  const V p = hn::Add(math::ExpMinusOne(d, r), hn::Set(d, hn::TFromD<D>(1)));
  // 2^n in two factors, since n may lie outside the exponent range where the result does not.
  const V half_biased = hn::MulAdd(n, hn::Set(d, hn::TFromD<D>(0.5)), hn::Set(d, C::kMagicBias));
  const V half = hn::Sub(half_biased, hn::Set(d, C::kMagicBias));
  const V rest_biased = hn::Add(hn::Sub(n, half), hn::Set(d, C::kMagicBias));
  return hn::Mul(hn::Mul(p, math::ExponentFromMagic(d, half_biased)), math::ExponentFromMagic(d, rest_biased));
}

// 1 / (1 + e^-x). Signs are folded into the multiply-adds: with one row a step waits for every operation in turn.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  using T = hn::TFromD<D>;
  using C = math::ExpConstants<T>;
  static_assert(C::kScaleMin == -C::kScaleMax, "x is clamped in place of -x");
  const V one = hn::Set(d, T(1));
  x = math::ClampKeepNaN(d, x, C::kScaleMin, C::kScaleMax);
  // -x = n ln2 + r
  const V biased = hn::NegMulAdd(x, hn::Set(d, C::kLog2e), hn::Set(d, C::kMagicBias));
  const V n = hn::Sub(biased, hn::Set(d, C::kMagicBias));
  const V r = hn::NegMulAdd(n, hn::Set(d, C::kLn2Lo), hn::NegMulSub(n, hn::Set(d, C::kLn2Hi), x));
  const V p = math::ExpMinusOne(d, r), scale = math::ExponentFromMagic(d, biased);
  // 1 + e^-x with a single rounding: scale + 1 is exact wherever its last bits matter.
  return hn::Div(one, hn::MulAdd(scale, p, hn::Add(scale, one)));
}

template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  using T = hn::TFromD<D>;
  using C = math::ExpConstants<T>;
  const V one = hn::Set(d, T(1));
  const V a = math::MinKeepNaN(d, hn::Abs(x), C::kTanhMost);
  // -2a = n ln2 + r
  const V biased = hn::MulAdd(a, hn::Set(d, T(-2) * C::kLog2e), hn::Set(d, C::kMagicBias));
  const V y = hn::Mul(a, hn::Set(d, T(-2)));
  const V n = hn::Sub(biased, hn::Set(d, C::kMagicBias));
  const V r = hn::NegMulAdd(n, hn::Set(d, C::kLn2Lo), hn::NegMulAdd(n, hn::Set(d, C::kLn2Hi), y));
  const V p = math::ExpMinusOne(d, r), scale = math::ExponentFromMagic(d, biased);
  const V t = hn::MulAdd(scale, p, hn::Sub(scale, one));
  const V t_plus_2 = hn::MulAdd(scale, p, hn::Add(scale, one));
  return hn::CopySignToAbs(hn::Abs(hn::Div(t, t_plus_2)), x);
}

// Natural logarithm: log(0) = -Inf, log(x < 0) = NaN.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V Log(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  using T = hn::TFromD<D>;
  using C = math::LogConstants<T>;
  using E = math::ExpConstants<T>;
  const hn::RebindToSigned<D> di;
  const auto tiny = hn::Lt(x, hn::Set(d, C::kSmallestNormal));
  const V scaled = hn::IfThenElse(tiny, hn::Mul(x, hn::Set(d, C::kRescale)), x);
  // Adding the offset carries into the exponent exactly when the mantissa is at least sqrt(2).
  const auto bits = hn::Add(hn::BitCast(di, scaled), hn::Set(di, C::kSqrtHalfOffset));
  const auto exponent = hn::And(hn::ShiftRight<E::kMantissa>(bits), hn::Set(di, C::kExponentMask));
  const auto magic = hn::BitCast(di, hn::Set(d, E::kMagic));
  V k = hn::Sub(hn::BitCast(d, hn::Add(exponent, magic)), hn::Set(d, E::kMagic + T(C::kBias)));
  k = hn::Sub(k, hn::IfThenElseZero(tiny, hn::Set(d, C::kRescaleLog2)));
  const auto mantissa =
      hn::Add(hn::And(bits, hn::Set(di, C::kMantissaMask)), hn::Set(di, C::kOne - C::kSqrtHalfOffset));
  const V f = hn::Sub(hn::BitCast(d, mantissa), hn::Set(d, T(1)));

  const V s = hn::Div(f, hn::Add(f, hn::Set(d, T(2))));
  const V z = hn::Mul(s, s);
  const V rest = hn::Mul(z, math::LogPolynomial(d, z, T()));  // log(1+f) = f - f^2/2 + s (f^2/2 + rest)
  const V half_square = hn::Mul(hn::Mul(f, f), hn::Set(d, T(0.5)));
  const V low = hn::MulAdd(k, hn::Set(d, E::kLn2Lo), hn::Mul(s, hn::Add(half_square, rest)));
  V result = hn::MulAdd(k, hn::Set(d, E::kLn2Hi), hn::Sub(f, hn::Sub(half_square, low)));

  const V infinity = hn::Set(d, std::numeric_limits<T>::infinity());
  result = hn::IfThenElse(hn::Lt(x, infinity), result, x);  // +Inf and NaN
  result = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Set(d, std::numeric_limits<T>::quiet_NaN()), result);
  return hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(infinity), result);
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();

#endif  // RNNCORE_BACKEND_CPU_SIMD_MATH_H_
