// The output layer fused with its loss against the operations that it is made of, where its blocking could show:
// sizes around whole vectors, panels and chunks of classes, logits that grow from chunk to chunk, subsets of gradients,
// threads and instruction sets.
#include <cmath>
#include <cstring>
#include <limits>

#include "gradcheck.h"
#include "rnncore/context.hpp"

namespace rnncore::test {
namespace {

struct Layer {
  Tensor x, weight, bias, targets;  // bias may be undefined
};

Layer layer_of(std::int64_t rows, std::int64_t inputs, std::int64_t classes, DType dtype = DType::float64) {
  std::vector<std::int64_t> ids;
  for (std::int64_t r = 0; r < rows; ++r) ids.push_back((r * 7919 + classes - 1) % classes);
  return {numbers({rows, inputs}, 1).to(dtype), numbers({classes, inputs}, 2).to(dtype),
          numbers({classes}, 3).to(dtype), Tensor::from(ids, {rows})};
}

struct Result {
  Tensor loss, x, weight, bias;  // loss and gradients; undefined where not asked for
};

enum Wanted { kX = 1, kWeight = 2, kBias = 4, kAll = 7 };

Result run(const Layer& layer, bool fused, const LossOptions& options = {}, int wanted = kAll) {
  const Tensor x = wanted & kX ? leaf(layer.x) : layer.x, weight = wanted & kWeight ? leaf(layer.weight) : layer.weight,
               bias = layer.bias.defined() && (wanted & kBias) ? leaf(layer.bias) : layer.bias;
  const Tensor loss = fused ? linear_cross_entropy(x, weight, bias, layer.targets, options)
                            : cross_entropy(linear(x, weight, bias), layer.targets, options);
  if (wanted != 0) loss.backward();
  return {loss, x.grad(), weight.grad(), bias.defined() ? bias.grad() : Tensor()};
}

void expect_close(const char* name, const Tensor& a, const Tensor& b, double tolerance) {
  ASSERT_EQ(a.defined(), b.defined()) << name;
  if (!a.defined()) return;
  ASSERT_EQ(a.shape(), b.shape()) << name;
  const Tensor p = a.to(DType::float64), q = b.to(DType::float64);
  for (std::int64_t i = 0; i < p.numel(); ++i) {
    const double one = p.data<double>()[i], two = q.data<double>()[i];
    if (std::isinf(two) && one == two) continue;
    ASSERT_NEAR(one, two, tolerance * (1.0 + std::abs(two))) << name << ", element " << i;
  }
}

void expect_close(const Result& a, const Result& b, double tolerance = 1e-12) {
  expect_close("loss", a.loss, b.loss, tolerance);
  expect_close("x", a.x, b.x, tolerance);
  expect_close("weight", a.weight, b.weight, tolerance);
  expect_close("bias", a.bias, b.bias, tolerance);
}

void expect_same_bits(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.defined(), b.defined());
  if (a.defined())
    EXPECT_EQ(std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.numel()) * size_of(a.dtype())), 0);
}
void expect_same_bits(const Result& a, const Result& b) {
  for (const auto part : {&Result::loss, &Result::x, &Result::weight, &Result::bias})
    expect_same_bits(a.*part, b.*part);
}

LossOptions summed(double smoothing = 0.0, std::int64_t ignored = -100) {
  LossOptions options;
  options.reduction = Reduction::sum;
  options.label_smoothing = smoothing;
  options.ignore_index = ignored;
  return options;
}

TEST(OutputLayer, IsTheCompositionAtEverySize) {
  for (const std::int64_t classes : {1, 2, 7, 8, 15, 17, 31, 33, 63, 64, 65, 127, 129, 191, 193, 400, 1111})
    for (const std::int64_t rows : {1, 5, 6, 13, 241}) {
      Layer layer = layer_of(rows, 9, classes);
      for (const LossOptions& options : {summed(), summed(0.1), summed(0.1, layer.targets.data<std::int64_t>()[0])}) {
        SCOPED_TRACE(std::to_string(classes) + " classes, " + std::to_string(rows) + " rows");
        expect_close(run(layer, true, options), run(layer, false, options));
      }
      layer.bias = {};
      expect_close(run(layer, true), run(layer, false));
    }
  for (const std::int64_t inputs : {1, 8, 63, 65, 200, 700}) {
    const Layer layer = layer_of(31, inputs, 300);
    expect_close(run(layer, true), run(layer, false));
  }
}

TEST(OutputLayer, InSinglePrecision) {
  for (const std::int64_t classes : {3, 65, 2000}) {
    const Layer layer = layer_of(77, 40, classes, DType::float32);
    expect_close(run(layer, true), run(layer, false), 2e-6);
  }
}

TEST(OutputLayer, MakesWhatIsWanted) {
  for (const std::int64_t classes : {20, 3000})
    for (int wanted = 0; wanted <= kAll; ++wanted) {
      const Layer layer = layer_of(50, 12, classes);
      expect_close(run(layer, true, {}, wanted), run(layer, false, {}, wanted));
    }
}

// Each chunk of classes has logits above those before it, by less than the slack or more, or below, or all are -inf.
TEST(OutputLayer, LogitsOfAnySize) {
  const std::int64_t classes = 2500;
  Layer layer = layer_of(20, 4, classes);
  double* bias = layer.bias.mutable_data<double>();
  for (const double step : {0.02, 0.05, 0.3, 3.0, -3.0, 1e5}) {
    for (std::int64_t c = 0; c < classes; ++c) bias[c] = step * static_cast<double>(c);
    expect_close(run(layer, true, summed()), run(layer, false, summed()), 1e-11);
    const Layer single = {layer.x.to(DType::float32), layer.weight.to(DType::float32), layer.bias.to(DType::float32),
                          layer.targets};
    expect_close(run(single, true, summed()), run(single, false, summed()), 3e-5);
  }
  const double infinity = std::numeric_limits<double>::infinity();
  const std::int64_t target = layer.targets.data<std::int64_t>()[0];
  for (std::int64_t c = 0; c < classes; ++c) bias[c] = c < 2000 && c != target ? -infinity : 0.0;
  for (std::int64_t r = 1; r < 20; ++r) layer.targets.mutable_data<std::int64_t>()[r] = 2000 + r;
  expect_close(run(layer, true, summed()), run(layer, false, summed()));
}

// What was made before the reference rose by 45 is small, and right to the last places.
TEST(OutputLayer, SmallSharesAreKept) {
  const std::int64_t classes = 2500;
  Layer layer = layer_of(20, 4, classes);
  double* bias = layer.bias.mutable_data<double>();
  for (std::int64_t c = 0; c < classes; ++c) bias[c] = c < 2000 ? 0.0 : 45.0;
  for (std::int64_t r = 0; r < 20; ++r) layer.targets.mutable_data<std::int64_t>()[r] = 2100 + r;
  const Result fused = run(layer, true, summed()), apart = run(layer, false, summed());
  for (std::int64_t c = 0; c < 2000; ++c) {
    const double one = fused.bias.data<double>()[c], two = apart.bias.data<double>()[c];
    ASSERT_NEAR(one / two, 1.0, 1e-12) << c;
    ASSERT_NEAR(fused.weight.data<double>()[c * 4] / two, apart.weight.data<double>()[c * 4] / two, 1e-11) << c;
  }
}

// A target that is nearly certain: its gradient is the small difference, not lost beside what was taken away.
TEST(OutputLayer, CertainTargets) {
  const std::int64_t classes = 250000;
  Layer layer = {Tensor::full({1, 1}, 0.0, DType::float32), Tensor::full({classes, 1}, 3.0, DType::float32),
                 Tensor::zeros({classes}, DType::float32), Tensor::from(std::vector<std::int64_t>{0}, {1})};
  layer.weight.mutable_data<float>()[0] = 1.0f;
  layer.bias.mutable_data<float>()[0] = 20.0f;
  const double rest = static_cast<double>(classes - 1) / (std::exp(20.0) + static_cast<double>(classes - 1));
  EXPECT_NEAR(run(layer, true).x.item() / (2.0 * rest), 1.0, 1e-2);  // 250,000 additions in a row, in single precision
}

TEST(OutputLayer, NoNumberStaysNone) {
  Layer layer = layer_of(3, 4, 700);
  layer.x.mutable_data<double>()[5] = std::numeric_limits<double>::quiet_NaN();  // row 1
  LossOptions options;
  options.reduction = Reduction::none;
  const Tensor losses = linear_cross_entropy(layer.x, layer.weight, layer.bias, layer.targets, options);
  EXPECT_TRUE(std::isfinite(losses.data<double>()[0]));
  EXPECT_TRUE(std::isnan(losses.data<double>()[1]));
  EXPECT_TRUE(std::isfinite(losses.data<double>()[2]));

  const double nan = std::numeric_limits<double>::quiet_NaN();
  layer = layer_of(2, 4, 2000);
  layer.bias.mutable_data<double>()[0] = nan;
  Result result = run(layer, true, summed());
  EXPECT_TRUE(std::isnan(result.loss.item()));
  EXPECT_TRUE(std::isnan(result.x.data<double>()[0]));
  EXPECT_TRUE(std::isnan(result.bias.data<double>()[1999]));

  layer = layer_of(2, 4, 700);
  for (std::int64_t c = 0; c < 700; ++c)
    layer.bias.mutable_data<double>()[c] = -std::numeric_limits<double>::infinity();
  EXPECT_TRUE(std::isnan(run(layer, true, summed()).loss.item()));

  // A row that does not count leaves nothing behind, whatever its logits.
  layer = layer_of(2, 4, 700);
  layer.x.mutable_data<double>()[1] = nan;
  layer.targets.mutable_data<std::int64_t>()[0] = std::numeric_limits<std::int64_t>::min();
  result = run(layer, true, summed(0.1, std::numeric_limits<std::int64_t>::min()), kX | kBias);
  EXPECT_EQ(result.x.data<double>()[0], 0.0);
  EXPECT_TRUE(std::isfinite(result.loss.item()));
  for (std::int64_t c = 0; c < 700; ++c) ASSERT_TRUE(std::isfinite(result.bias.data<double>()[c]));
}

TEST(OutputLayer, SameBitsForAnyNumberOfThreads) {
  const int before = get_num_threads();
  for (const std::int64_t classes : {65, 1500, 3000}) {  // few panels; few for five threads; many
    const Layer layer = layer_of(515, 64, classes, DType::float32);
    set_num_threads(1);
    const Result one = run(layer, true, summed(0.1));
    for (const int threads : {2, 3, 5}) {
      set_num_threads(threads);
      expect_same_bits(run(layer, true, summed(0.1)), one);
    }
  }
  set_num_threads(before);
}

// A row's loss and gradient do not depend on the rows beside it, nor on which gradients are wanted.
TEST(OutputLayer, SameBitsAloneAndTogether) {
  const Layer layer = layer_of(300, 24, 1500, DType::float32);
  const Result all = run(layer, true, summed());
  expect_same_bits(run(layer, true, summed(), kX).x, all.x);
  expect_same_bits(run(layer, true, summed(), kWeight | kBias).weight, all.weight);
  for (const std::int64_t r : {0, 5, 239, 240, 299}) {
    const Layer alone = {slice(layer.x, 0, r, r + 1), layer.weight, layer.bias, slice(layer.targets, 0, r, r + 1)};
    expect_same_bits(run(alone, true, summed()).x, slice(all.x, 0, r, r + 1));
  }
}

TEST(OutputLayer, OnEveryInstructionSet) {
  const std::string before = target_name();
  const Layer layer = layer_of(45, 30, 500);
  const Result wanted = run(layer, false, summed(0.1));
  for (const std::string& name : supported_targets()) {
    set_target(name);
    expect_close(run(layer, true, summed(0.1)), wanted);
  }
  set_target(before);
}

}  // namespace
}  // namespace rnncore::test
