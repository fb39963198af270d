// Every differentiable operation against central differences in float64.
#include "gradcheck.h"

namespace rnncore::test {
namespace {

using Inputs = std::vector<Tensor>;

// |x| in [0.3, 1.3]: away from the kinks of abs and relu and the poles of log and division.
Tensor away_from_zero(Shape shape, std::uint64_t salt, bool positive = false) {
  Tensor t = numbers(std::move(shape), salt);
  double* p = t.mutable_data<double>();
  for (std::int64_t i = 0; i < t.numel(); ++i) p[i] = (p[i] < 0 && !positive ? -1 : 1) * (0.3 + std::abs(p[i]));
  return t;
}

TEST(Gradients, BinaryWithBroadcasting) {
  const std::vector<std::pair<Shape, Shape>> shapes = {{{3, 4}, {3, 4}},          {{3, 4}, {4}},       {{3, 4}, {3, 1}},
                                                       {{4}, {2, 3, 4}},          {{2, 3, 4}, {3, 1}}, {{}, {3, 2}},
                                                       {{2, 1, 3, 1}, {4, 1, 5}}, {{1}, {1}}};
  std::uint64_t salt = 0;
  for (const auto& [a, b] : shapes) {
    SCOPED_TRACE(to_string(a) + " with " + to_string(b));
    const Inputs inputs = {numbers(a, ++salt), away_from_zero(b, ++salt)};
    expect_gradients([](const Inputs& in) { return add(in[0], in[1]); }, inputs);
    expect_gradients([](const Inputs& in) { return sub(in[0], in[1]); }, inputs);
    expect_gradients([](const Inputs& in) { return mul(in[0], in[1]); }, inputs);
    expect_gradients([](const Inputs& in) { return div(in[0], in[1]); }, inputs);
  }
}

TEST(Gradients, TheSameTensorTwice) {
  expect_gradients([](const Inputs& in) { return mul(in[0], in[0]); }, {numbers({5}, 1)});
  expect_gradients([](const Inputs& in) { return add(mul(in[0], in[0]), div(in[0], add(in[0], 3.0))); },
                   {numbers({5}, 2)});
}

TEST(Gradients, Unary) {
  const Inputs any = {away_from_zero({3, 7}, 3)}, positive = {away_from_zero({3, 7}, 4, true)};
  expect_gradients([](const Inputs& in) { return add(in[0], 2.5); }, any);
  expect_gradients([](const Inputs& in) { return mul(in[0], -1.5); }, any);
  expect_gradients([](const Inputs& in) { return neg(in[0]); }, any);
  expect_gradients([](const Inputs& in) { return exp(in[0]); }, any);
  expect_gradients([](const Inputs& in) { return abs(in[0]); }, any);
  expect_gradients([](const Inputs& in) { return tanh(in[0]); }, any);
  expect_gradients([](const Inputs& in) { return sigmoid(in[0]); }, any);
  expect_gradients([](const Inputs& in) { return relu(in[0]); }, any);
  expect_gradients([](const Inputs& in) { return log(in[0]); }, positive);
  expect_gradients([](const Inputs& in) { return sqrt(in[0]); }, positive);
  for (const double p : {2.0, 3.0, -1.0, 1.0, 0.0})
    expect_gradients([p](const Inputs& in) { return pow(in[0], p); }, any);
  for (const double p : {0.5, 2.7, -1.3}) expect_gradients([p](const Inputs& in) { return pow(in[0], p); }, positive);
}

TEST(Gradients, Products) {
  expect_gradients([](const Inputs& in) { return matmul(in[0], in[1]); }, {numbers({3, 4}, 5), numbers({4, 5}, 6)});
  expect_gradients([](const Inputs& in) { return matmul(in[0], in[1]); }, {numbers({2, 3, 4}, 7), numbers({4, 5}, 8)});
  expect_gradients([](const Inputs& in) { return matmul(in[0], in[1]); },
                   {numbers({2, 3, 4}, 9), numbers({2, 4, 5}, 10)});
  expect_gradients([](const Inputs& in) { return linear(in[0], in[1], in[2]); },
                   {numbers({2, 3, 4}, 11), numbers({5, 4}, 12), numbers({5}, 13)});
  expect_gradients([](const Inputs& in) { return linear(in[0], in[1]); }, {numbers({3, 4}, 14), numbers({2, 4}, 15)});
}

TEST(Gradients, Shapes) {
  const Tensor a = numbers({2, 3, 4}, 16), b = numbers({2, 5, 4}, 17);
  expect_gradients([](const Inputs& in) { return in[0].reshape({4, -1}); }, {a});
  expect_gradients([](const Inputs& in) { return in[0].clone(); }, {a});
  expect_gradients([](const Inputs& in) { return cat({in[0], in[1], in[0]}, 1); }, {a, b});
  expect_gradients([](const Inputs& in) { return cat({in[0], in[0]}, -1); }, {a});
  for (const std::int64_t axis : {0, 1, 2, 3, -1})
    expect_gradients([axis](const Inputs& in) { return stack({in[0], mul(in[0], 2.0)}, axis); }, {a});
  for (const std::int64_t axis : {0, 1, 2})
    expect_gradients([axis](const Inputs& in) { return slice(in[0], axis, 1, 2); }, {a});
  for (const std::int64_t axis : {0, 1, 2}) {
    expect_gradients([axis](const Inputs& in) { return chunk(in[0], 2, axis).back(); }, {a});
    expect_gradients(
        [axis](const Inputs& in) {
          const auto parts = chunk(in[0], 2, axis);
          return axis == 1 ? parts[0] : mul(parts[0], parts[1]);
        },
        {a});
  }
  for (const auto& [u, v] : std::vector<std::pair<int, int>>{{0, 1}, {1, 2}, {0, 2}, {2, 1}, {1, 1}})
    expect_gradients([u = u, v = v](const Inputs& in) { return mul(transpose(in[0], u, v), 1.5); }, {a});
}

TEST(Gradients, Reductions) {
  const Tensor a = numbers({2, 3, 4}, 18);
  expect_gradients([](const Inputs& in) { return sum(in[0]); }, {a});
  expect_gradients([](const Inputs& in) { return mean(in[0]); }, {a});
  for (const std::int64_t axis : {0, 1, 2, -1})
    for (const bool keepdim : {false, true}) {
      expect_gradients([=](const Inputs& in) { return sum(in[0], axis, keepdim); }, {a});
      expect_gradients([=](const Inputs& in) { return mean(in[0], axis, keepdim); }, {a});
    }
}

// Not by differences: those run without a tape, as backward does, and would not see a mask that depends on it.
TEST(Gradients, DropoutGoesBackThroughTheMaskOfForward) {
  Tensor x = Tensor::full({200}, 1.0, DType::float64);
  x.set_requires_grad(true);
  Generator generator(5);
  const Tensor y = dropout(x, 0.5, true, generator);
  sum(y).backward();
  for (std::int64_t i = 0; i < 200; ++i) ASSERT_EQ(x.grad().data<double>()[i], y.data<double>()[i]);
}

}  // namespace
}  // namespace rnncore::test
