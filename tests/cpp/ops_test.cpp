// Values, shapes, errors, empty tensors, and which equalities are bitwise (threads) or close (instruction sets).
#include "gradcheck.h"

#include <cstring>
#include <limits>

namespace rnncore::test {
namespace {

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

std::vector<double> values_of(const Tensor& t) {
  const Tensor x = t.detach().to(DType::float64);
  return {x.data<double>(), x.data<double>() + x.numel()};
}

// A forward and backward pass that touches every kernel, with sizes that are no multiple of a vector and large enough
// for two threads. Returns all results and gradients.
std::vector<Tensor> everything(DType dtype) {
  const Tensor x = leaf(numbers({700, 333}, 1, dtype)), w = leaf(numbers({333}, 2, dtype)),
               b = leaf(numbers({333}, 3, dtype));
  const Tensor matrix = leaf(numbers({71, 333}, 4, dtype)), table = leaf(numbers({50, 333}, 5, dtype));
  std::vector<std::int64_t> ids(700);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i * i % 50);
  const Tensor targets = Tensor::from(ids, {700});
  Generator generator(3);
  Tensor y = layer_norm(add(x, embedding(table, targets)), w, b);
  y = dropout(tanh(y), 0.2, true, generator);
  y = add(mul(sigmoid(y), exp(mul(y, 0.1))), relu(sub(y, w)));
  y = add(y, transpose(transpose(log(add(abs(y), 1.0)), 0, 1), 0, 1));
  const Tensor fused = linear_cross_entropy(y, matrix, {}, targets);
  const Tensor loss = add(add(fused, cross_entropy(linear(y, matrix), targets)), mean(mul(softmax(y), log_softmax(y))));
  add(loss, mul(sum(sum(y, 0)), 1e-3)).backward();
  std::vector<Tensor> out = {y.detach(), loss.detach(), sum(y, 1).detach(), sum(y).detach()};
  for (const Tensor& t : {x, w, b, matrix, table}) out.push_back(t.grad());
  OptimizerOptions options;
  options.kind = OptimizerKind::adamw;
  options.lr = 0.01;
  Optimizer optimizer({x, w, b, matrix, table}, options);
  const double norm = optimizer.step({1.0, 0.5});
  out.push_back(Tensor::full({}, norm, DType::float64));
  out.push_back(x.detach());
  return out;
}

class OpsAcross : public ::testing::Test {
 protected:
  void TearDown() override {
    set_num_threads(threads_);
    set_target(target_);
  }
  const int threads_ = get_num_threads();
  const std::string target_ = target_name();
};

TEST_F(OpsAcross, OneThreadIsManyThreadsBitForBit) {
  for (const auto& target : {supported_targets().front(), supported_targets().back()}) {
    set_target(target);
    for (const DType dtype : {DType::float32, DType::float64}) {
      set_num_threads(1);
      const auto one = everything(dtype);
      for (const int threads : {2, 3}) {  // 3: shares of unequal size
        set_num_threads(threads);
        const auto many = everything(dtype);
        for (std::size_t i = 0; i < one.size(); ++i)
          EXPECT_EQ(std::memcmp(one[i].raw(), many[i].raw(),
                                static_cast<std::size_t>(one[i].numel() * size_of(one[i].dtype()))),
                    0)
              << target << " " << name_of(dtype) << " result " << i << " with " << threads << " threads";
      }
    }
  }
}

TEST_F(OpsAcross, TargetsAgree) {
  set_num_threads(1);
  for (const DType dtype : {DType::float32, DType::float64}) {
    set_target(supported_targets().back());
    const auto base = everything(dtype);
    for (const auto& target : supported_targets()) {
      set_target(target);
      const auto other = everything(dtype);
      // The result after an Adam step divides nearly equal numbers: it is compared by the other test.
      for (std::size_t i = 0; i + 1 < base.size(); ++i) {
        const auto a = values_of(base[i]), b = values_of(other[i]);
        const double tol = dtype == DType::float32 ? 2e-5 : 1e-12;
        for (std::size_t j = 0; j < a.size(); ++j)
          ASSERT_NEAR(a[j], b[j], tol * std::max(1.0, std::abs(a[j]))) << target << " result " << i << " element " << j;
      }
    }
  }
}

TEST(Ops, BroadcastValues) {
  const Tensor a = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}),
               b = Tensor::from(std::vector<float>{10, 20}, {2, 1});
  EXPECT_EQ(values_of(add(a, b)), (std::vector<double>{11, 12, 13, 24, 25, 26}));
  EXPECT_EQ(values_of(sub(b, a)), (std::vector<double>{9, 8, 7, 16, 15, 14}));
  EXPECT_EQ(add(Tensor::zeros({4, 1, 3}), Tensor::zeros({5, 1})).shape(), (Shape{4, 5, 3}));
  const std::string text = message_of<ArgumentError>([&] { add(a, Tensor::zeros({2})); });
  EXPECT_TRUE(has(text, "[add] b") && has(text, "(2, 3)") && has(text, "(2,)")) << text;
}

TEST(Ops, MixedDtypesAreRefused) {
  const Tensor f = Tensor::zeros({2, 2}), d = Tensor::zeros({2, 2}, DType::float64),
               i = Tensor::zeros({2, 2}, DType::int64);
  for (const auto& text : {message_of<TypeError>([&] { add(f, d); }), message_of<TypeError>([&] { matmul(f, d); }),
                           message_of<TypeError>([&] { linear(f, d); }), message_of<TypeError>([&] { cat({f, d}, 0); }),
                           message_of<TypeError>([&] { layer_norm(f, Tensor::zeros({2}, DType::float64), {}); })})
    EXPECT_TRUE(has(text, "float32") && has(text, "float64")) << text;
  EXPECT_TRUE(has(message_of<TypeError>([&] { exp(i); }), "int64"));
  EXPECT_TRUE(has(message_of<TypeError>([&] { cross_entropy(f, Tensor::zeros({2})); }),
                  "[cross_entropy] targets: expected int64"));
  EXPECT_TRUE(has(message_of<TypeError>([&] { embedding(f, f); }), "[embedding] ids: expected int64"));
}

TEST(Ops, WrongShapesAreNamed) {
  const Tensor x = Tensor::zeros({4, 3}), w = Tensor::zeros({5, 2});
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { linear(x, w); }), "(5, 2)"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { linear(x, Tensor::zeros({5, 3}), Tensor::zeros({4})); }), "bias"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { matmul(x, w); }), "K = 3"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { x.reshape({5, -1}); }), "12 elements"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { slice(x, 0, 2, 5); }), "2, 5"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { sum(x, 2); }), "[-2, 1]"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { cat({}, 0); }), "empty list"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { stack({x, w}, 0); }), "tensors[1]"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { Tensor::zeros({2, -1}); }), "(2, -1)"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { Tensor::zeros({std::int64_t{1} << 40, std::int64_t{1} << 40}); }),
                  "63 bits"));
  EXPECT_TRUE(has(message_of<Error>([&] { Tensor::empty({std::int64_t{1} << 50}); }), "out of memory"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { x.item(); }), "(4, 3)"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { add(x, Tensor()); }), "undefined"));
}

TEST(Ops, BadTargetsAndIdsAreNamedByPosition) {
  const Tensor x = Tensor::zeros({3, 4}), w = Tensor::zeros({4, 4});
  const Tensor bad = Tensor::from(std::vector<std::int64_t>{0, 4, 1}, {3});
  const Tensor ignored = Tensor::from(std::vector<std::int64_t>{-100, -100, -100}, {3});
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { cross_entropy(x, bad); }), "targets[1]"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { linear_cross_entropy(x, w, {}, bad); }), "targets[1]"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { nll_loss(x, ignored); }), "none counted"));
  EXPECT_EQ(cross_entropy(x, ignored, {Reduction::sum}).item(), 0.0);
  const std::string text =
      message_of<ArgumentError>([&] { embedding(w, Tensor::from(std::vector<std::int64_t>{1, -3}, {2})); });
  EXPECT_TRUE(has(text, "-3 at position 1") && has(text, "V = 4")) << text;
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { cross_entropy(x, ignored, {Reduction::sum, -100, 1.0}); }),
                  "label_smoothing"));
}

TEST(Ops, EmptyTensors) {
  const Tensor none = leaf(Tensor::zeros({0, 3}, DType::float64)), w = leaf(numbers({2, 3}, 1)),
               b = leaf(numbers({2}, 2));
  const Tensor y = linear(none, w, b);
  EXPECT_EQ(y.shape(), (Shape{0, 2}));
  sum(tanh(add(y, b))).backward();
  EXPECT_EQ(values_of(w.grad()), std::vector<double>(6, 0.0));
  EXPECT_EQ(values_of(b.grad()), std::vector<double>(2, 0.0));
  EXPECT_EQ(none.grad().shape(), (Shape{0, 3}));
  EXPECT_EQ(values_of(sum(none, 0)), std::vector<double>(3, 0.0));
  EXPECT_EQ(sum(none).item(), 0.0);
  EXPECT_EQ(cat({none, w}, 0).shape(), (Shape{2, 3}));
  EXPECT_EQ(slice(w, 0, 1, 1).shape(), (Shape{0, 3}));
  EXPECT_EQ(softmax(none).shape(), (Shape{0, 3}));
  EXPECT_EQ(transpose(none, 0, 1).shape(), (Shape{3, 0}));
  EXPECT_EQ(matmul(Tensor::zeros({2, 0}), Tensor::zeros({0, 3})).numel(), 6);
  EXPECT_EQ(embedding(w, Tensor::zeros({0}, DType::int64)).shape(), (Shape{0, 3}));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { mean(none); }), "(0, 3)"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { argmax(none, 0); }), "at least one element"));
  EXPECT_TRUE(has(message_of<ArgumentError>([&] { cross_entropy(none, Tensor::zeros({0}, DType::int64)); }),
                  "at least one target"));
}

TEST(Ops, ArgmaxTakesTheFirstOfEquals) {
  const Tensor a = Tensor::from(std::vector<float>{1, 3, 3, 2, 7, 7, 0, 7}, {2, 4});
  const Tensor rows = argmax(a, 1), columns = argmax(a, 0);
  EXPECT_EQ(values_of(rows), (std::vector<double>{1, 0}));
  EXPECT_EQ(values_of(columns), (std::vector<double>{1, 1, 0, 1}));
}

TEST(Ops, NanIsNeverHidden) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const DType dtype : {DType::float32, DType::float64}) {
    const Tensor x = Tensor::full({3, 37}, nan, dtype);
    for (const Tensor& y :
         {relu(x), abs(x), tanh(x), sigmoid(x), exp(x), log(x), softmax(x), log_softmax(x), sum(x, 0), mul(x, 0.0)})
      for (const double v : values_of(y)) ASSERT_TRUE(std::isnan(v));
  }
}

TEST(Ops, SlicesAlongTheFirstAxisShareMemory) {
  const Tensor a = Tensor::from(std::vector<float>{1, 2, 3, 4, 5, 6}, {3, 2});
  const Tensor middle = slice(a, 0, 1, 2), column = slice(a, 1, 1, 2);
  EXPECT_EQ(middle.raw(), a.data<float>() + 2);
  EXPECT_EQ(values_of(column), (std::vector<double>{2, 4, 6}));
  const auto version = a.version();
  Tensor writable = middle;
  writable.fill_(9);
  EXPECT_GT(a.version(), version);
}

TEST(Ops, ParametersArePackedAnewAfterAWrite) {
  const Tensor x = numbers({3, 40}, 1, DType::float32);
  Tensor w = numbers({50, 40}, 2, DType::float32);
  const Tensor before = linear(x, w);
  w.mul_(2.0);
  const auto a = values_of(before), b = values_of(linear(x, w));
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(b[i], 2 * a[i], 1e-5);
  // Rows of one storage are different weights.
  const Tensor top = slice(w, 0, 0, 25), bottom = slice(w, 0, 25, 50);
  const auto joined = values_of(cat({linear(x, top), linear(x, bottom)}, 1));
  for (std::size_t i = 0; i < b.size(); ++i) ASSERT_NEAR(joined[i], b[i], 1e-5);
}

TEST(Ops, DtypeConversions) {
  const Tensor a = Tensor::from(std::vector<float>{1.5f, -2.5f}, {2});
  EXPECT_EQ(values_of(a.to(DType::int64)), (std::vector<double>{1, -2}));
  EXPECT_EQ(a.to(DType::float32).impl(), a.impl());
  const Tensor x = leaf(a);
  sum(mul(x.to(DType::float64), 3.0)).backward();
  EXPECT_EQ(x.grad().dtype(), DType::float32);
  EXPECT_EQ(values_of(x.grad()), (std::vector<double>{3, 3}));
}

}  // namespace
}  // namespace rnncore::test
