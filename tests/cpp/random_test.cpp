// Philox against the published answers; distributions; sampling.
#include "gradcheck.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace rnncore::test {
namespace {

TEST(Random, PhiloxKnownAnswers) {  // Random123's kat_vectors, philox4x32 with 10 rounds
  const auto words = [](std::uint32_t k0, std::uint32_t k1, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2,
                        std::uint32_t c3) {
    const auto join = [](std::uint32_t low, std::uint32_t high) {
      return static_cast<std::uint64_t>(high) << 32 | low;
    };
    const PhiloxBlock b = philox(join(k0, k1), join(c2, c3), join(c0, c1));
    return std::vector<std::uint32_t>(b.word, b.word + 4);
  };
  EXPECT_EQ(words(0, 0, 0, 0, 0, 0), (std::vector<std::uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t f = 0xffffffff;
  EXPECT_EQ(words(f, f, f, f, f, f), (std::vector<std::uint32_t>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(words(0xa4093822, 0x299f31d0, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344),
            (std::vector<std::uint32_t>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

struct Moments {
  double mean = 0, variance = 0, low = 1e300, high = -1e300;
};
Moments moments_of(const Tensor& t) {
  const Tensor x = t.to(DType::float64);
  Moments m;
  const double n = static_cast<double>(x.numel());
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const double v = x.data<double>()[i];
    m.mean += v / n;
    m.low = std::min(m.low, v);
    m.high = std::max(m.high, v);
  }
  for (std::int64_t i = 0; i < x.numel(); ++i) m.variance += std::pow(x.data<double>()[i] - m.mean, 2) / n;
  return m;
}

TEST(Random, UniformAndNormal) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    Generator g(7);
    Tensor t = Tensor::empty({200001}, dtype);
    g.uniform_(t, -2.0, 3.0);
    Moments m = moments_of(t);
    EXPECT_NEAR(m.mean, 0.5, 0.015);
    EXPECT_NEAR(m.variance, 25.0 / 12.0, 0.03);
    EXPECT_GE(m.low, -2.0);
    EXPECT_LT(m.high, 3.0);
    g.normal_(t, 1.0, 2.0);
    m = moments_of(t);
    EXPECT_NEAR(m.mean, 1.0, 0.02);
    EXPECT_NEAR(m.variance, 4.0, 0.06);
    EXPECT_EQ(g.call(), 2u);
  }
}

TEST(Random, SameSeedSameBitsAndStateResumes) {
  Generator a(3), b(3), c(4);
  Tensor x = Tensor::empty({100}), y = Tensor::empty({100}), z = Tensor::empty({100});
  a.uniform_(x, 0, 1);
  b.uniform_(y, 0, 1);
  c.uniform_(z, 0, 1);
  EXPECT_TRUE(std::equal(x.data<float>(), x.data<float>() + 100, y.data<float>()));
  EXPECT_FALSE(std::equal(x.data<float>(), x.data<float>() + 100, z.data<float>()));
  Generator resumed;
  resumed.set_state(a.seed(), a.call());
  a.normal_(x, 0, 1);
  resumed.normal_(y, 0, 1);
  EXPECT_TRUE(std::equal(x.data<float>(), x.data<float>() + 100, y.data<float>()));
}

TEST(Random, PermutationAndBelow) {
  Generator g(11);
  const Tensor p = g.permutation(1000);
  std::vector<std::int64_t> sorted(p.data<std::int64_t>(), p.data<std::int64_t>() + 1000), expected(1000);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_NE(sorted, expected);
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, expected);
  EXPECT_EQ(g.permutation(0).numel(), 0);
  std::vector<int> counts(6);
  for (int i = 0; i < 6000; ++i) ++counts[static_cast<std::size_t>(g.below(6))];
  for (const int n : counts) EXPECT_NEAR(n, 1000, 130);
  EXPECT_EQ(g.below(1), 0);
  EXPECT_THROW(g.below(0), ArgumentError);
  EXPECT_THROW(g.permutation(-1), ArgumentError);
}

std::vector<double> frequencies(const std::vector<double>& logits, const SampleOptions& options) {
  constexpr std::int64_t kRows = 20000;
  std::vector<double> rows;
  for (std::int64_t r = 0; r < kRows; ++r) rows.insert(rows.end(), logits.begin(), logits.end());
  Generator g(9);
  const auto V = static_cast<std::int64_t>(logits.size());
  const Tensor ids = sample(Tensor::from(rows, {kRows, V}), options, g);
  std::vector<double> share(logits.size());
  for (std::int64_t r = 0; r < kRows; ++r) share[static_cast<std::size_t>(ids.data<std::int64_t>()[r])] += 1.0 / kRows;
  return share;
}

TEST(Random, SampleFollowsTheProbabilities) {
  const std::vector<double> p = {0.5, 0.3, 0.15, 0.05};
  std::vector<double> logits;
  for (const double v : p) logits.push_back(std::log(v) + 3);
  auto f = frequencies(logits, {});
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(f[i], p[i], 0.015);
  f = frequencies(logits, {0.5, 0, 1.0});  // squares of the probabilities
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(f[i], p[i] * p[i] / 0.365, 0.015);
  f = frequencies(logits, {1.0, 2, 1.0});
  EXPECT_NEAR(f[0], 0.625, 0.015);
  EXPECT_EQ(f[2] + f[3], 0.0);
  f = frequencies(logits, {1.0, 0, 0.7});  // 0.5 + 0.3 reach it
  EXPECT_NEAR(f[1], 0.375, 0.015);
  EXPECT_EQ(f[2] + f[3], 0.0);
  f = frequencies({0, 0, 0, 0}, {1.0, 0, 0.5});  // two reach it exactly: the third is one too many
  EXPECT_NEAR(f[0], 0.5, 0.015);
  EXPECT_EQ(f[2] + f[3], 0.0);
  EXPECT_NEAR(frequencies(logits, {1.0, 0, 0.01})[0], 1.0, 1e-9);
  EXPECT_NEAR(frequencies(logits, {0.0, 0, 1.0})[0], 1.0, 1e-9);
  EXPECT_EQ(frequencies({-1.0, -std::numeric_limits<double>::infinity(), -1.0}, {})[1], 0.0);
}

// Before the first byte and after the last: what another thread packs in between is not taken for the new values.
TEST(Random, FillingBumpsTheVersionOnBothSides) {
  Generator g;
  for (const DType dtype : {DType::float32, DType::float64}) {
    Tensor t = Tensor::zeros({5}, dtype);
    const std::uint64_t before = t.version();
    g.uniform_(t, 0, 1);
    EXPECT_EQ(t.version(), before + 2);
    g.normal_(t, 0, 1);
    EXPECT_EQ(t.version(), before + 4);
  }
}

TEST(Random, SampleRefusesNonsense) {
  Generator g;
  const Tensor good = Tensor::zeros({1, 3});
  EXPECT_THROW(sample(good, {-1.0, 0, 1.0}, g), ArgumentError);
  EXPECT_THROW(sample(good, {1.0, -1, 1.0}, g), ArgumentError);
  EXPECT_THROW(sample(good, {1.0, 0, 0.0}, g), ArgumentError);
  EXPECT_THROW(sample(Tensor::zeros({3}), {}, g), ArgumentError);
  EXPECT_THROW(sample(Tensor::full({1, 3}, std::numeric_limits<double>::quiet_NaN()), {}, g), NumericError);
  EXPECT_THROW(sample(Tensor::full({1, 3}, -std::numeric_limits<double>::infinity()), {}, g), NumericError);
}

}  // namespace
}  // namespace rnncore::test
