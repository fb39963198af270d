// Exp, Log, Sigmoid and Tanh of every compiled instruction set, swept against the C library in a wider type.
#include "backend/cpu/targets.h"  // before any Highway header

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "../../tests/cpp/simd_math_test.cpp"  // from cpp/src, an include folder
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "backend/cpu/simd_math.h"

#ifndef RNNCORE_SIMD_MATH_TEST_TABLE
#define RNNCORE_SIMD_MATH_TEST_TABLE
namespace rnncore {
namespace cpu {
template <typename T>
using MapFunction = void (*)(const T* in, T* out, std::size_t n);
struct MathTable {
  MapFunction<float> float_functions[4];
  MapFunction<double> double_functions[4];
};
}  // namespace cpu
}  // namespace rnncore
#endif

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// n must be a multiple of the longest vector.
#define RNNCORE_TEST_MAP(NAME)                                                                               \
  template <typename T>                                                                                      \
  void Map##NAME(const T* in, T* out, std::size_t n) {                                                       \
    const hn::ScalableTag<T> d;                                                                              \
    for (std::size_t i = 0; i < n; i += hn::Lanes(d)) hn::StoreU(NAME(d, hn::LoadU(d, in + i)), d, out + i); \
  }
RNNCORE_TEST_MAP(Exp)
RNNCORE_TEST_MAP(Log)
RNNCORE_TEST_MAP(Sigmoid)
RNNCORE_TEST_MAP(Tanh)
#undef RNNCORE_TEST_MAP

const MathTable& simd_math_test_table() {
  static const MathTable instance = {{MapExp<float>, MapLog<float>, MapSigmoid<float>, MapTanh<float>},
                                     {MapExp<double>, MapLog<double>, MapSigmoid<double>, MapTanh<double>}};
  return instance;
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "rnncore/context.hpp"

namespace rnncore {
namespace cpu {
const MathTable& table_of(std::int64_t target) { return RNNCORE_TABLE(target, simd_math_test_table); }
}  // namespace cpu
}  // namespace rnncore

namespace {

using rnncore::cpu::MathTable;
using rnncore::cpu::table_of;

enum Function { kExp, kLog, kSigmoid, kTanh };

std::int64_t bit_of(const std::string& name) {
  if (name == "AVX3") return HWY_AVX3;
  if (name == "AVX2") return HWY_AVX2;
  if (name == "SSE4") return HWY_SSE4;
  if (name == "NEON") return HWY_NEON;
  return 0;
}

long double truth(Function f, long double x) {
  switch (f) {
    case kExp:
      return std::exp(x);
    case kLog:
      return std::log(x);
    case kSigmoid:
      return 1.0L / (1.0L + std::exp(-x));
    default:
      return std::tanh(x);
  }
}

template <typename T>
rnncore::cpu::MapFunction<T> function_of(const MathTable& table, Function f);
template <>
rnncore::cpu::MapFunction<float> function_of<float>(const MathTable& table, Function f) {
  return table.float_functions[f];
}
template <>
rnncore::cpu::MapFunction<double> function_of<double>(const MathTable& table, Function f) {
  return table.double_functions[f];
}

// Distance in units in the last place of the true value; results below the smallest normal count as zero.
template <typename T>
double ulps(T got, long double want) {
  const T rounded = static_cast<T>(want);
  if (std::isnan(got) || std::isnan(rounded)) return std::isnan(got) && std::isnan(rounded) ? 0 : 1e30;
  if (std::isinf(got) || std::isinf(rounded)) return got == rounded ? 0 : 1e30;
  if (std::abs(rounded) < std::numeric_limits<T>::min()) {
    return std::abs(got) <= 2 * std::numeric_limits<T>::min() ? 0 : 1e30;
  }
  int exponent = 0;
  std::frexp(rounded, &exponent);
  const long double ulp = std::ldexp(1.0L, exponent - std::numeric_limits<T>::digits);
  return static_cast<double>(std::abs(static_cast<long double>(got) - want) / ulp);
}

template <typename T>
std::vector<T> grid(T low, T high, std::size_t n) {
  std::vector<T> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = low + (high - low) * (static_cast<T>(i) + T(0.37)) / static_cast<T>(n);
  return x;
}

// Spread over the exponents: +-2^e m.
template <typename T>
std::vector<T> exponents(int low, int high, std::size_t n) {
  std::vector<T> x(n);
  for (std::size_t i = 0; i < n; ++i) {
    const double e = low + (high - low) * (static_cast<double>(i) + 0.5) / static_cast<double>(n);
    x[i] = static_cast<T>(std::exp2(e)) * (i % 2 != 0 ? T(-1) : T(1));
  }
  return x;
}

template <typename T>
void expect_accurate(Function f, const std::vector<T>& x, double limit) {
  ASSERT_EQ(x.size() % 16, 0u);
  std::vector<T> y(x.size());
  for (const auto& name : rnncore::supported_targets()) {
    function_of<T>(table_of(bit_of(name)), f)(x.data(), y.data(), x.size());
    double worst = 0;
    T at = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double e = ulps<T>(y[i], truth(f, x[i]));
      if (e > worst) {
        worst = e;
        at = x[i];
      }
    }
    EXPECT_LE(worst, limit) << name << " function " << f << " at x = " << at;
    if (std::getenv("RNNCORE_SHOW_ULP") != nullptr)
      std::printf("%s function %d: %.3f ulp at %g\n", name.c_str(), f, worst, static_cast<double>(at));
  }
}

}  // namespace

template <typename T>
class SimdMath : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SimdMath, Types);

constexpr std::size_t kPoints = 1 << 17;
// As simd_math.h promises.
constexpr double kExpLogUlp = 1.2, kSigmoidUlp = 2.0, kSigmoidWorstUlp = 2.5, kTanhUlp = 2.1;

TYPED_TEST(SimdMath, ExpAccurate) {
  const TypeParam limit = sizeof(TypeParam) == 4 ? 110 : 760;
  expect_accurate<TypeParam>(kExp, grid<TypeParam>(-limit, limit, kPoints), kExpLogUlp);
  expect_accurate<TypeParam>(kExp, grid<TypeParam>(-1, 1, kPoints), kExpLogUlp);
  expect_accurate<TypeParam>(kExp, exponents<TypeParam>(-60, 10, kPoints), kExpLogUlp);
}

TYPED_TEST(SimdMath, LogAccurate) {
  expect_accurate<TypeParam>(kLog, grid<TypeParam>(0.5, 2, kPoints), kExpLogUlp);
  const int low = std::numeric_limits<TypeParam>::min_exponent, high = std::numeric_limits<TypeParam>::max_exponent - 1;
  expect_accurate<TypeParam>(kLog, exponents<TypeParam>(low, high, kPoints), kExpLogUlp);  // half of them negative: NaN
  std::vector<TypeParam> near_one(1024);
  for (std::size_t i = 0; i < near_one.size(); ++i)
    near_one[i] = 1 + (static_cast<TypeParam>(i) - 512) * std::numeric_limits<TypeParam>::epsilon();
  expect_accurate<TypeParam>(kLog, near_one, kExpLogUlp);
}

TYPED_TEST(SimdMath, SigmoidAccurate) {
  const TypeParam limit = sizeof(TypeParam) == 4 ? 100 : 750;
  // Where 1 is about half a unit in the last place of e^-x, its rounding adds to that of the sum.
  const TypeParam low = sizeof(TypeParam) == 4 ? TypeParam(-19) : TypeParam(-39);
  const TypeParam high = sizeof(TypeParam) == 4 ? TypeParam(-15.5) : TypeParam(-35.5);
  expect_accurate<TypeParam>(kSigmoid, grid<TypeParam>(low, high, 8 * kPoints), kSigmoidWorstUlp);
  expect_accurate<TypeParam>(kSigmoid, grid<TypeParam>(-limit, low, kPoints), kSigmoidUlp);
  expect_accurate<TypeParam>(kSigmoid, grid<TypeParam>(high, limit, kPoints), kSigmoidUlp);
  expect_accurate<TypeParam>(kSigmoid, grid<TypeParam>(-12, 12, kPoints), kSigmoidUlp);
  expect_accurate<TypeParam>(kSigmoid, exponents<TypeParam>(-60, 20, kPoints), kSigmoidWorstUlp);
}

TYPED_TEST(SimdMath, TanhAccurate) {
  expect_accurate<TypeParam>(kTanh, grid<TypeParam>(-2, 2, kPoints), kTanhUlp);
  expect_accurate<TypeParam>(kTanh, grid<TypeParam>(-45, 45, kPoints), kTanhUlp);
  expect_accurate<TypeParam>(kTanh, exponents<TypeParam>(-100, 20, kPoints), kTanhUlp);
}

TYPED_TEST(SimdMath, SpecialValues) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const T max = std::numeric_limits<T>::max(), tiny = std::numeric_limits<T>::denorm_min();
  std::vector<T> x = {inf,  -inf,  nan,  -nan,  T(0),    -T(0),    max,  -max,
                      T(1), T(-1), tiny, -tiny, T(1e30), T(-1e30), T(3), T(7)};
  std::vector<T> y(x.size());
  for (const auto& name : rnncore::supported_targets())
    for (const Function f : {kExp, kLog, kSigmoid, kTanh}) {
      function_of<T>(table_of(bit_of(name)), f)(x.data(), y.data(), x.size());
      for (std::size_t i = 0; i < x.size(); ++i)
        EXPECT_LE(ulps<T>(y[i], truth(f, x[i])), kSigmoidUlp)
            << name << " function " << f << " x = " << x[i] << " got " << y[i];
      if (f == kTanh) {
        EXPECT_TRUE(std::signbit(y[5])) << "tanh(-0) is -0";
      }
    }
}
#endif  // HWY_ONCE
