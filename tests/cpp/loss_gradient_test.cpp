// Softmax, losses, layer normalisation, lookup and dropout against central differences and against each other.
#include "gradcheck.h"

namespace rnncore::test {
namespace {

using Inputs = std::vector<Tensor>;

Tensor ids(const std::vector<std::int64_t>& values, Shape shape) { return Tensor::from(values, std::move(shape)); }

void expect_close(const Tensor& a, const Tensor& b, double tol = 1e-12) {
  ASSERT_EQ(a.shape(), b.shape());
  const Tensor x = a.to(DType::float64), y = b.to(DType::float64);
  for (std::int64_t i = 0; i < x.numel(); ++i)
    ASSERT_NEAR(x.data<double>()[i], y.data<double>()[i], tol) << "element " << i;
}

TEST(LossGradients, Softmax) {
  const Tensor a = numbers({3, 5, 4}, 1);
  for (const std::int64_t axis : {0, 1, 2, -1}) {
    expect_gradients([axis](const Inputs& in) { return softmax(in[0], axis); }, {a});
    expect_gradients([axis](const Inputs& in) { return log_softmax(in[0], axis); }, {a});
    expect_close(softmax(a, axis), exp(log_softmax(a, axis)));
    const Tensor ones = sum(softmax(a, axis), axis);
    expect_close(ones, Tensor::full(ones.shape(), 1.0, DType::float64));
  }
}

TEST(LossGradients, LayerNorm) {
  const Tensor x = mul(numbers({2, 3, 19}, 2), 3.0), w = numbers({19}, 3), b = numbers({19}, 4);
  expect_gradients([](const Inputs& in) { return layer_norm(in[0], in[1], in[2]); }, {x, w, b});
  expect_gradients([](const Inputs& in) { return layer_norm(in[0], {}, {}, 0.1); }, {x});
  expect_gradients([](const Inputs& in) { return layer_norm(in[0], in[1], {}); }, {x, w});
}

// Values, since a wrong factor is the derivative of a wrong loss: ln 4 for each target that counts.
TEST(LossValues, TheMeanIsOverTheTargetsThatCount) {
  const Tensor logits = Tensor::zeros({3, 4}, DType::float64), targets = ids({1, 2, 0}, {3});
  LossOptions options;
  options.ignore_index = 2;
  EXPECT_NEAR(cross_entropy(logits, targets, options).item(), std::log(4.0), 1e-15);
  const Tensor x = Tensor::zeros({3, 5}, DType::float64), weight = numbers({4, 5}, 3);
  EXPECT_NEAR(linear_cross_entropy(x, weight, {}, targets, options).item(), std::log(4.0), 1e-15);
  EXPECT_NEAR(nll_loss(log_softmax(logits, 1), targets, options).item(), std::log(4.0), 1e-15);
  options.reduction = Reduction::sum;
  EXPECT_NEAR(cross_entropy(logits, targets, options).item(), 2 * std::log(4.0), 1e-15);
}

std::vector<LossOptions> all_options() {
  std::vector<LossOptions> all;
  for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum})
    for (const double smoothing : {0.0, 0.1})
      for (const std::int64_t ignore : {-100, 2}) all.push_back({reduction, ignore, smoothing});
  return all;
}

// 9 classes: 3 frequent ones, a cluster with a projection and a bias, one without either, and one that no target is in.
TEST(LossGradients, ClusteredSoftmax) {
  const Tensor x = numbers({7, 5}, 5), t = ids({0, 2, 4, 3, -100, 5, 6}, {7});
  const Inputs values = {x,
                         numbers({6, 5}, 6),
                         numbers({6}, 7),
                         numbers({2, 5}, 8),
                         numbers({2, 2}, 9),
                         numbers({2}, 10),
                         numbers({3, 5}, 11)};
  const Tensor unused = numbers({1, 5}, 12);
  const auto softmax_of = [unused](const Inputs& in) {
    return ClusteredSoftmax{{3, 5, 8, 9}, in[1], in[2], {{in[3], in[4], in[5]}, {{}, in[6], {}}, {{}, unused, {}}}};
  };
  for (const Reduction reduction : {Reduction::mean, Reduction::sum}) {
    LossOptions o;
    o.reduction = reduction;
    expect_gradients([&](const Inputs& in) { return clustered_cross_entropy(in[0], softmax_of(in), t, o); }, values);
  }
  expect_gradients([&](const Inputs& in) { return clustered_log_prob(in[0], softmax_of(in)); }, values);
  const Tensor all = exp(clustered_log_prob(x, softmax_of(values)));
  expect_close(sum(all, 1), Tensor::full({7}, 1.0, DType::float64));
}

TEST(LossGradients, CrossEntropyAndNll) {
  const Tensor x = mul(numbers({7, 5}, 5), 4.0), t = ids({0, 2, 4, 1, 2, 3, 0}, {7});
  for (const LossOptions& o : all_options()) {
    expect_gradients([&](const Inputs& in) { return cross_entropy(in[0], t, o); }, {x});
    expect_gradients([&](const Inputs& in) { return nll_loss(in[0], t, o); }, {x});
    expect_close(cross_entropy(x, t, o), nll_loss(log_softmax(x), t, o));
  }
}

TEST(LossGradients, LinearCrossEntropyIsTheComposition) {
  for (const std::int64_t rows : {1, 7, 70}) {
    const Tensor x = numbers({rows, 6}, 6), w = numbers({5, 6}, 7), b = numbers({5}, 8);
    std::vector<std::int64_t> values;
    for (std::int64_t r = 0; r < rows; ++r) values.push_back((r * 7) % 5);
    const Tensor t = ids(values, {rows});
    for (const LossOptions& o : all_options()) {
      if (o.reduction == Reduction::none) continue;
      if (rows < 70) {
        expect_gradients([&](const Inputs& in) { return linear_cross_entropy(in[0], in[1], in[2], t, o); }, {x, w, b});
        expect_gradients([&](const Inputs& in) { return mul(linear_cross_entropy(in[0], in[1], {}, t, o), 2.5); },
                         {x, w});
      }
      const Tensor a[3] = {leaf(x), leaf(w), leaf(b)}, c[3] = {leaf(x), leaf(w), leaf(b)};
      const Tensor one = linear_cross_entropy(a[0], a[1], a[2], t, o),
                   two = cross_entropy(linear(c[0], c[1], c[2]), t, o);
      one.backward();
      two.backward();
      expect_close(one, two);
      for (int i = 0; i < 3; ++i) expect_close(a[i].grad(), c[i].grad());
    }
  }
}

// More rows than one block of logits: blocks must join without a seam.
TEST(LossGradients, LinearCrossEntropyOverSeveralBlocks) {
  const std::int64_t rows = 450, classes = 40000;  // blocks of 192 rows
  const Tensor x = numbers({rows, 3}, 9), w = numbers({classes, 3}, 10), b = numbers({classes}, 11);
  std::vector<std::int64_t> values;
  for (std::int64_t r = 0; r < rows; ++r) values.push_back((r * 7919) % classes);
  const Tensor t = ids(values, {rows});
  const Tensor a[3] = {leaf(x), leaf(w), leaf(b)}, c[3] = {leaf(x), leaf(w), leaf(b)};
  linear_cross_entropy(a[0], a[1], a[2], t).backward();
  cross_entropy(linear(c[0], c[1], c[2]), t).backward();
  for (int i = 0; i < 3; ++i) expect_close(a[i].grad(), c[i].grad());
}

TEST(LossGradients, LargeLogitsStayFinite) {
  const Tensor x = Tensor::from(std::vector<float>{1000.f, -1000.f, 0.f, 88.f, 89.f, 90.f}, {2, 3});
  const Tensor t = ids({0, 0}, {2});
  EXPECT_NEAR(cross_entropy(x, t, {Reduction::sum}).item(), std::log(1 + std::exp(1.0) + std::exp(2.0)), 1e-5);
  EXPECT_FLOAT_EQ(softmax(x).data<float>()[0], 1.0f);
}

TEST(LossGradients, Embedding) {
  const Tensor w = numbers({5, 3}, 12), i = ids({4, 0, 4, 2, 4, 0}, {2, 3});
  expect_gradients([&](const Inputs& in) { return embedding(in[0], i); }, {w});
  const Tensor table = leaf(w);
  sum(embedding(table, i, 4)).backward();
  const double* g = table.grad().data<double>();
  EXPECT_EQ(g[4 * 3], 0.0) << "padding_idx gets no gradient";
  EXPECT_EQ(g[0], 2.0);
  EXPECT_EQ(g[3], 0.0);
}

TEST(LossGradients, Dropout) {
  const Tensor x = numbers({1000}, 13);
  expect_gradients(
      [](const Inputs& in) {
        Generator generator(5);  // the same mask at every evaluation
        return dropout(in[0], 0.3, true, generator);
      },
      {x});
  Generator generator(5);
  const Tensor ones = Tensor::full({100000}, 1.0);
  const Tensor y = dropout(ones, 0.25, true, generator), z = dropout(ones, 0.25, true, generator);
  std::int64_t zeros = 0, same = 0;
  for (std::int64_t i = 0; i < y.numel(); ++i) {
    const float v = y.data<float>()[i];
    ASSERT_TRUE(v == 0.0f || v == 1.0f / 0.75f);
    zeros += v == 0.0f;
    same += v == z.data<float>()[i];
  }
  EXPECT_NEAR(static_cast<double>(zeros) / 1e5, 0.25, 0.006);  // over four standard deviations
  EXPECT_NEAR(static_cast<double>(same) / 1e5, 0.625, 0.007) << "two calls must be independent";
  EXPECT_EQ(dropout(ones, 0.5, false, generator).impl(), ones.impl());
  EXPECT_EQ(sum(dropout(ones, 1.0, true, generator)).item(), 0.0);
}

// backend/philox.h fixes which word decides which element, whatever the instruction set.
TEST(LossGradients, DropoutMaskIsPhilox) {
  const std::string before = target_name();
  for (const auto& target : supported_targets()) {
    set_target(target);
    Generator generator(0x123456789ABCDEFull);
    generator.next_call();
    const Tensor y = dropout(Tensor::full({1000}, 1.0, DType::float64), 0.4, true, generator);
    for (std::int64_t i = 0; i < 1000; ++i) {
      const PhiloxBlock block = philox(generator.seed(), 1, static_cast<std::uint64_t>(i / 64 * 16 + i % 16));
      const bool kept = block.word[i % 64 / 16] >= 0.4 * 4294967296.0 - 1;
      ASSERT_EQ(y.data<double>()[i] != 0, kept) << target << " element " << i;
    }
  }
  set_target(before);
}

}  // namespace
}  // namespace rnncore::test
