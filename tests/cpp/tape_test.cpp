// The tape: what backward does, refuses and frees.
#include "gradcheck.h"

namespace rnncore::test {
namespace {

// Runs f and returns the message of the E it must throw.
template <class E, class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error of the expected type";
  return "";
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Tensor variable(std::vector<double> values) {
  const auto n = static_cast<std::int64_t>(values.size());
  Tensor t = Tensor::from(values, {n});
  t.set_requires_grad(true);
  return t;
}

TEST(Tape, GradientsAddUpOverCallsAndUses) {
  const Tensor x = variable({1, 2});
  sum(mul(x, x)).backward();
  EXPECT_EQ(x.grad().data<double>()[1], 4.0);
  sum(mul(x, 3.0)).backward();
  EXPECT_EQ(x.grad().data<double>()[1], 7.0);
}

TEST(Tape, SeedScalesTheGradient) {
  const Tensor x = variable({1, 2});
  const Tensor seed = Tensor::from(std::vector<double>{10, 20}, {2});
  mul(x, 3.0).backward(seed);
  EXPECT_EQ(x.grad().data<double>()[0], 30.0);
  EXPECT_EQ(x.grad().data<double>()[1], 60.0);
}

TEST(Tape, LeafGradientsNeverShareMemory) {
  const Tensor x = variable({1, 2}), y = variable({3, 4});
  const Tensor seed = Tensor::from(std::vector<double>{1, 1}, {2});
  add(x, y).backward(seed);
  Tensor g = x.grad();
  g.mutable_data<double>()[0] = 99;
  EXPECT_EQ(y.grad().data<double>()[0], 1.0);
  EXPECT_EQ(seed.data<double>()[0], 1.0);
  const Tensor z = variable({1});
  z.backward(Tensor::full({1}, 2.0, DType::float64));
  EXPECT_EQ(z.grad().item(), 2.0);
}

TEST(Tape, TwiceThroughTheSameTapeIsRefused) {
  const Tensor x = variable({1, 2});
  const Tensor middle = mul(x, x), loss = sum(middle);
  loss.backward();
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { loss.backward(); }), "freed"));
  const Tensor other = sum(exp(middle));  // built on a freed part
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { other.backward(); }), "'mul'"));
  EXPECT_EQ(x.grad().data<double>()[0], 2.0) << "a refused backward must not change gradients";
}

TEST(Tape, WrongSeedsAreRefused) {
  const Tensor x = variable({1, 2}), y = mul(x, 2.0);
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { y.backward(); }), "(2,)"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { y.backward(Tensor::zeros({3}, DType::float64)); }), "(3,)"));
  message_of<TypeError>([&] { y.backward(Tensor::zeros({2})); });
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { Tensor::zeros({1}).backward(); }), "double backward"));
  message_of<TypeError>([&] { Tensor::zeros({1}, DType::int64).backward(); });
  message_of<ArgumentError>([&] { Tensor().backward(); });
}

TEST(Tape, InPlaceWritesAreNoticed) {
  Tensor x = variable({1, 2});
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { x.fill_(0); }), "no_grad"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { x.add_(Tensor::zeros({2}, DType::float64)); }), "no_grad"));
  Tensor buffer = Tensor::zeros({2}, DType::float64);
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { buffer.copy_(x); }), "detach"));
  const Tensor loss = sum(mul(x, x));
  {
    const NoGradGuard guard;
    x.mul_(0.5);
  }
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { loss.backward(); }), "[mul backward]"));
  // An operation that does not need the value does not mind.
  const Tensor y = variable({1, 2}), total = sum(add(y, 1.0));
  {
    const NoGradGuard guard;
    Tensor alias = y;
    alias.fill_(7);
  }
  total.backward();
  EXPECT_EQ(y.grad().data<double>()[0], 1.0);
}

// The gradient of a sliced tensor is made once and added into: T slices do not make T tensors of its size.
TEST(Tape, SlicesAddIntoOneGradient) {
  for (const bool is_leaf : {true, false}) {
    const Tensor x = variable({1, 2, 3, 4, 5, 6});
    Tensor whole = x.reshape({3, 2});
    if (is_leaf) whole = whole.detach().set_requires_grad(true);
    Tensor loss = sum(whole);  // a part of the gradient that no slice made
    for (const std::int64_t axis : {0, 1})
      for (std::int64_t i = 0; i < whole.size(axis); ++i)
        loss = add(loss, mul(sum(slice(whole, axis, i, i + 1)), static_cast<double>(10 * (i + 1) + axis)));
    loss.backward();
    const Tensor grad = is_leaf ? whole.grad() : x.grad().reshape({3, 2});
    for (std::int64_t row = 0; row < 3; ++row)
      for (std::int64_t column = 0; column < 2; ++column)
        EXPECT_EQ(grad.data<double>()[row * 2 + column], 1.0 + 10.0 * (row + 1) + 10.0 * (column + 1) + 1.0);
  }
}

TEST(Tape, SliceThenAnEqualGradientElsewhereDoNotShareMemory) {
  const Tensor x = variable({1, 2, 3}), y = variable({4, 5, 6});
  const Tensor a = mul(x, 1.0), both = add(a, mul(y, 1.0));  // hands the same gradient to both
  sum(add(both, cat({slice(a, 0, 0, 1), slice(a, 0, 1, 3)}, 0))).backward();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(x.grad().data<double>()[i], 2.0);
    EXPECT_EQ(y.grad().data<double>()[i], 1.0);
  }
}

TEST(Tape, NoGradAndDetachRecordNothing) {
  const Tensor x = variable({1, 2});
  EXPECT_TRUE(grad_enabled());
  {
    const NoGradGuard guard;
    EXPECT_FALSE(grad_enabled());
    EXPECT_FALSE(mul(x, x).requires_grad());
  }
  EXPECT_TRUE(mul(x, x).requires_grad());
  EXPECT_FALSE(x.detach().requires_grad());
  EXPECT_EQ(x.detach().raw(), x.raw());
  EXPECT_FALSE(mul(x, x).is_leaf());
}

TEST(Tape, OnlyInputsThatAskGetGradients) {
  const Tensor x = variable({1, 2}), y = Tensor::from(std::vector<double>{3, 4}, {2});
  sum(mul(x, y)).backward();
  EXPECT_FALSE(y.grad().defined());
  EXPECT_EQ(x.grad().data<double>()[0], 3.0);
}

TEST(Tape, HundredThousandOperationsDeep) {
  constexpr int kDepth = 100000;
  const Tensor x = variable({1});
  {
    Tensor y = x;
    for (int i = 0; i < kDepth; ++i) y = add(y, x);
  }  // dropped without backward: must not overflow the stack
  Tensor y = x;
  for (int i = 0; i < kDepth; ++i) y = add(y, 1.0);
  y.backward();
  EXPECT_EQ(x.grad().item(), 1.0);
  EXPECT_EQ(y.item(), 1.0 + kDepth);
}

TEST(Tape, OutputsUsedInPart) {
  const Tensor x = variable({1, 2, 3, 4});
  const auto parts = chunk(x, 2, 0);
  sum(mul(parts[1], parts[1])).backward();
  const double* g = x.grad().data<double>();
  EXPECT_EQ(g[0], 0.0);
  EXPECT_EQ(g[3], 8.0);
}

TEST(Tape, SettingGradients) {
  Tensor x = variable({1, 2});
  message_of<ArgumentError>([&] { x.set_grad(Tensor::zeros({3}, DType::float64)); });
  message_of<TypeError>([&] { x.set_grad(Tensor::zeros({2})); });
  x.set_grad(Tensor::zeros({2}, DType::float64));
  EXPECT_TRUE(x.grad().defined());
  x.set_grad({});
  EXPECT_FALSE(x.grad().defined());
  message_of<TypeError>([] { Tensor::zeros({2}, DType::int64).set_requires_grad(true); });
}

}  // namespace
}  // namespace rnncore::test
