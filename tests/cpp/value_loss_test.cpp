// Losses of real values: against their compositions, central differences, masks, threads, errors.
#include "gradcheck.h"

namespace rnncore::test {
namespace {

using Inputs = std::vector<Tensor>;
using Loss = Tensor (*)(const Tensor&, const Tensor&, const ValueLossOptions&);

void expect_close(const Tensor& a, const Tensor& b, double tol = 1e-12) {
  ASSERT_EQ(a.shape(), b.shape());
  for (std::int64_t i = 0; i < a.numel(); ++i)
    ASSERT_NEAR(a.data<double>()[i], b.data<double>()[i], tol) << "element " << i;
}

Tensor bits(const std::vector<std::uint8_t>& values, Shape shape) { return Tensor::from(values, std::move(shape)); }

ValueLossOptions options_of(Reduction reduction, const Tensor& mask = {}) {
  ValueLossOptions options;
  options.reduction = reduction;
  options.mask = mask;
  return options;
}

TEST(ValueLoss, AreTheirDefinitions) {
  const Tensor x = mul(numbers({3, 4}, 1), 3.0), y = numbers({3, 4}, 2), t = add(mul(y, 0.5), 0.5);
  const ValueLossOptions none = options_of(Reduction::none);
  expect_close(mse_loss(x, y, none), pow(sub(x, y), 2.0));
  expect_close(l1_loss(x, y, none), abs(sub(x, y)));
  const Tensor p = sigmoid(x), one = Tensor::full({3, 4}, 1.0, DType::float64);
  expect_close(binary_cross_entropy_with_logits(x, t, none),
               neg(add(mul(t, log(p)), mul(sub(one, t), log(sub(one, p))))));
  const std::vector<double> q = {0.1, 0.5, 0.75, 0.9};
  const Tensor levels = Tensor::from(q, {4}), target = slice(y, 1, 0, 1);  // (3, 1) broadcasts over the quantiles
  const Tensor e = sub(target, x);
  expect_close(quantile_loss(x, target.reshape({3}), q, none),
               add(mul(levels, relu(e)), mul(add(neg(levels), 1.0), relu(neg(e)))));
}

TEST(ValueLoss, Gradients) {
  const Tensor x = mul(numbers({5, 3, 2}, 3), 2.0), y = numbers({5, 3, 2}, 4);
  const std::vector<Tensor> masks = {{}, bits({1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1}, {5, 3})};
  for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum})
    for (const Tensor& mask : masks) {
      const ValueLossOptions o = options_of(reduction, mask);
      for (const Loss loss : {Loss(&mse_loss), Loss(&l1_loss), Loss(&binary_cross_entropy_with_logits)})
        expect_gradients([&](const Inputs& in) { return loss(in[0], y, o); }, {x});
      expect_gradients(
          [&](const Inputs& in) { return quantile_loss(in[0], slice(y, 2, 0, 1).reshape({5, 3}), {0.2, 0.9}, o); },
          {x});
    }
}

TEST(ValueLoss, AMaskLeavesElementsOut) {
  const Tensor x = Tensor::from(std::vector<double>{1, 2, NAN, 4, 5, 6}, {3, 2}),
               y = Tensor::zeros({3, 2}, DType::float64);
  const Tensor each = bits({1, 1, 0, 0, 1, 0}, {3, 2}), rows = bits({1, 0, 1}, {3});
  EXPECT_DOUBLE_EQ(mse_loss(x, y, options_of(Reduction::mean, each)).item(), (1 + 4 + 25) / 3.0);
  EXPECT_DOUBLE_EQ(mse_loss(x, y, options_of(Reduction::sum, rows)).item(), 1 + 4 + 25 + 36);
  const Tensor in = leaf(x);
  mse_loss(in, y, options_of(Reduction::mean, rows)).backward();
  EXPECT_EQ(in.grad().data<double>()[2], 0.0) << "what does not count may be anything";
  EXPECT_DOUBLE_EQ(in.grad().data<double>()[5], 2 * 6 / 4.0);
}

// Rows of no elements have a mask, too: a sum over them is 0, and a mean is refused.
TEST(ValueLoss, OfRowsWithoutElements) {
  const Tensor nothing = Tensor::zeros({2, 0}, DType::float64), mask = bits({1, 1}, {2});
  const std::vector<double> quantiles = {0.1, 0.9};
  const auto quantile = [&](const Tensor& x, const ValueLossOptions& o) {
    return quantile_loss(x, nothing, quantiles, o);
  };
  const auto check = [&](const auto& loss, const Shape& shape) {
    const Tensor x = leaf(Tensor::zeros(shape, DType::float64));
    loss(x, options_of(Reduction::sum, mask)).backward();
    EXPECT_EQ(loss(x, options_of(Reduction::sum, mask)).item(), 0.0);
    EXPECT_EQ(x.grad().shape(), shape);
    EXPECT_EQ(loss(x, options_of(Reduction::none, mask)).shape(), shape);
    EXPECT_THROW(loss(x, options_of(Reduction::mean, mask)), ArgumentError);
  };
  for (const Loss loss : {Loss(&mse_loss), Loss(&l1_loss), Loss(&binary_cross_entropy_with_logits)})
    check([&](const Tensor& x, const ValueLossOptions& o) { return loss(x, nothing, o); }, {2, 0});
  check(quantile, {2, 0, 2});
}

TEST(ValueLoss, LargeLogitsStayFinite) {
  const Tensor x = leaf(Tensor::from(std::vector<float>{1000.f, -1000.f, 1000.f, -1000.f, 0.f}, {5}));
  const Tensor t = Tensor::from(std::vector<float>{1, 0, 0, 1, 1}, {5});
  const Tensor loss = binary_cross_entropy_with_logits(x, t, options_of(Reduction::none));
  const std::vector<float> want = {0, 0, 1000, 1000, std::log(2.0f)};
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_FLOAT_EQ(loss.data<float>()[i], want[i]);
  sum(loss).backward();
  const std::vector<float> slope = {0, 0, 1, -1, -0.5f};
  for (std::size_t i = 0; i < slope.size(); ++i) EXPECT_FLOAT_EQ(x.grad().data<float>()[i], slope[i]);
}

// The constant that the pinball loss likes best is the quantile.
TEST(ValueLoss, QuantilesAreWhatTheyAreCalled) {
  std::vector<double> values;
  for (int i = 1; i <= 99; ++i) values.push_back(i * i);
  const Tensor y = Tensor::from(values, {99});
  for (const double q : {0.1, 0.5, 0.8}) {
    double best = 1e300, at = 0;
    for (int c = 1; c <= 99; ++c) {
      const double loss = quantile_loss(Tensor::full({99, 1}, c * c, DType::float64), y, {q}).item();
      if (loss < best) best = loss, at = c;
    }
    EXPECT_NEAR(at, 100 * q, 0.51) << q;
  }
}

TEST(ValueLoss, AnyNumberOfThreadsGivesTheSameBits) {
  const Tensor x = numbers({300, 88}, 5, DType::float32), y = mul(add(numbers({300, 88}, 6, DType::float32), 1.0), 0.5);
  const int before = get_num_threads();
  std::vector<float> first;
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    const Tensor in = leaf(x);
    const Tensor loss = binary_cross_entropy_with_logits(in, y);
    loss.backward();
    std::vector<float> got(in.grad().data<float>(), in.grad().data<float>() + x.numel());
    got.push_back(loss.data<float>()[0]);
    if (first.empty()) first = got;
    EXPECT_EQ(got, first) << threads << " threads";
  }
  set_num_threads(before);
}

void expect_refused(const std::function<void()>& call, const std::string& part) {
  try {
    call();
    ADD_FAILURE() << "accepted, expected: " << part;
  } catch (const std::invalid_argument& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(ValueLoss, BadInputIsOneClearError) {
  const Tensor x = numbers({3, 2}, 7), y = numbers({3, 2}, 8);
  expect_refused([&] { mse_loss(x, y.reshape({2, 3})); }, "[mse_loss] target: expected shape (3, 2), got (2, 3)");
  expect_refused([&] { l1_loss(x, y.to(DType::float32)); }, "[l1_loss] target");
  expect_refused([&] { mse_loss(x, leaf(y)); }, "use target.detach()");
  expect_refused([&] { mse_loss(x, y, options_of(Reduction::sum, bits({1, 1}, {2}))); },
                 "mask: expected shape (3, 2) or (3,), got (2,)");
  expect_refused([&] { mse_loss(x, y, options_of(Reduction::mean, bits({0, 0, 0}, {3}))); }, "none counted");
  expect_refused([&] { quantile_loss(x, slice(y, 1, 0, 1).reshape({3}), {0.5, 1.0}); }, "numbers in (0, 1)");
  expect_refused([&] { quantile_loss(x, y, {0.1, 0.9}); }, "input's without its last axis");
  expect_refused([&] { quantile_loss(x, y, {0.1}); }, "shape (..., Q) with Q = 1");
}

}  // namespace
}  // namespace rnncore::test
