// Empty batches, one step and sequences of length zero: right shapes, zero gradients, no crash (and, under sanitizers,
// nothing read that was never written).
#include <gtest/gtest.h>

#include <cmath>

#include "gradcheck.h"
#include "rnncore/rnncore.hpp"

namespace rnncore {
namespace {

using test::leaf;
using test::numbers;

constexpr CellKind kCells[] = {CellKind::rnn_tanh, CellKind::rnn_relu, CellKind::rnn_sigmoid,
                               CellKind::lstm,     CellKind::gru,      CellKind::gru_reset_before};

void expect_all(const Tensor& t, double value, const std::string& what) {
  ASSERT_TRUE(t.defined()) << what;
  const Tensor d = t.to(DType::float64);
  for (std::int64_t i = 0; i < d.numel(); ++i) ASSERT_EQ(d.data<double>()[i], value) << what << " at " << i;
}

struct EdgeRun {
  RecurrentOutput out;
  Tensor x, table;
  std::vector<Tensor> parameters;
  RecurrentState state;
};

// Forward and backward through y and every final state.
EdgeRun run(CellKind cell, std::int64_t T, std::int64_t N, DType dtype, bool bidirectional, bool masks, bool tokens) {
  RecurrentSpec spec;
  spec.input_size = 3;
  spec.layers = {{cell, 20}, {cell, 5}};
  spec.bidirectional = bidirectional;
  EdgeRun r;
  std::uint64_t salt = 0;
  for (const ParameterInfo& info : parameters_of(spec)) {
    // Dirty memory in the pool, so that a gradient that nobody writes does not look like zeros.
    Tensor::full(info.shape, std::nan(""), dtype);
    r.parameters.push_back(numbers(info.shape, ++salt, dtype).set_requires_grad(true));
  }
  RecurrentInput input;
  if (tokens) {
    input.ids = Tensor::from(std::vector<std::int64_t>(static_cast<std::size_t>(T * N), 1), {T, N});
    input.embedding = r.table = numbers({4, 3}, 90, dtype).set_requires_grad(true);
  } else {
    input.x = r.x = numbers({T, N, 3}, 91, dtype).set_requires_grad(true);
  }
  for (const LayerSpec& layer : spec.layers)
    for (std::int64_t d = 0; d < spec.directions(); ++d) {
      r.state.h.push_back(numbers({N, layer.hidden_size}, 92, dtype).set_requires_grad(true));
      if (states_of(cell) == 2) r.state.c.push_back(numbers({N, layer.hidden_size}, 93, dtype).set_requires_grad(true));
    }
  input.state = r.state;
  if (masks) {
    input.lengths = Tensor::zeros({N}, DType::int64);
    input.reset_mask = Tensor::full({T, N}, 1, DType::uint8);
  }
  r.out = recurrent(spec, r.parameters, input);
  Tensor loss = sum(r.out.y);
  for (const Tensor& h : r.out.state.h) loss = add(loss, sum(h));
  for (const Tensor& c : r.out.state.c) loss = add(loss, sum(c));
  for (const Tensor& p : r.parameters) Tensor::full(p.shape(), std::nan(""), dtype);
  loss.backward();
  return r;
}

TEST(Edges, AnEmptyBatchHasZeroGradients) {
  for (const CellKind cell : kCells)
    for (const DType dtype : {DType::float32, DType::float64})
      for (int variant = 0; variant < 8; ++variant) {
        const bool both = variant & 1, masks = variant & 2, tokens = variant & 4;
        const std::string what = std::string(name_of(cell)) + " variant " + std::to_string(variant);
        const EdgeRun r = run(cell, 3, 0, dtype, both, masks, tokens);
        EXPECT_EQ(r.out.y.shape(), (Shape{3, 0, both ? 10 : 5})) << what;
        for (const Tensor& h : r.out.state.h) EXPECT_EQ(h.size(0), 0);
        for (const Tensor& p : r.parameters) expect_all(p.grad(), 0.0, what);
        if (tokens)
          expect_all(r.table.grad(), 0.0, what + " table");
        else
          EXPECT_EQ(r.x.grad().shape(), (Shape{3, 0, 3})) << what;
        for (const Tensor& h : r.state.h) EXPECT_EQ(h.grad().shape(), h.shape()) << what;
      }
}

TEST(Edges, SequencesOfLengthZeroPassTheStateAndGiveNoGradients) {
  for (const CellKind cell : kCells)
    for (const std::int64_t T : {1, 4})
      for (const bool both : {false, true}) {
        RecurrentSpec spec;
        spec.input_size = 3;
        spec.layers = {{cell, 20}};
        spec.bidirectional = both;
        std::vector<Tensor> parameters;
        for (const ParameterInfo& info : parameters_of(spec)) parameters.push_back(leaf(numbers(info.shape, 1)));
        RecurrentInput input;
        input.x = leaf(numbers({T, 2, 3}, 2));
        for (std::int64_t d = 0; d < spec.directions(); ++d) {
          input.state.h.push_back(leaf(numbers({2, 20}, 3)));
          if (states_of(cell) == 2) input.state.c.push_back(leaf(numbers({2, 20}, 4)));
        }
        input.lengths = Tensor::zeros({2}, DType::int64);
        const RecurrentOutput out = recurrent(spec, parameters, input);
        expect_all(out.y, 0.0, name_of(cell));
        for (std::size_t d = 0; d < out.state.h.size(); ++d)
          expect_all(sub(out.state.h[d], input.state.h[d]).detach(), 0.0, "the state passes");
        sum(add(sum(out.y), sum(out.state.h[0]))).backward();
        expect_all(input.x.grad(), 0.0, "dx");
        expect_all(input.state.h[0].grad(), 1.0, "dh0");
        for (const Tensor& p : parameters) expect_all(p.grad(), 0.0, "parameters");
      }
}

TEST(Edges, OneStepIsTheCell) {
  for (const CellKind cell : kCells) {
    const EdgeRun r = run(cell, 1, 2, DType::float64, true, false, false);
    for (const Tensor& p : r.parameters)
      for (std::int64_t i = 0; i < p.numel(); ++i) ASSERT_TRUE(std::isfinite(p.grad().data<double>()[i]));
  }
}

TEST(Edges, NoTimeStepIsRefused) {
  RecurrentSpec spec;
  spec.input_size = 3;
  spec.layers = {{CellKind::lstm, 4}};
  std::vector<Tensor> parameters;
  for (const ParameterInfo& info : parameters_of(spec)) parameters.push_back(Tensor::zeros(info.shape));
  RecurrentInput input;
  input.x = Tensor::zeros({0, 2, 3});
  EXPECT_THROW(recurrent(spec, parameters, input), ArgumentError);
}

TEST(Edges, OperationsOnNothing) {
  const Tensor rows = leaf(numbers({0, 3}, 1)), weight = leaf(numbers({4, 3}, 2)), bias = leaf(numbers({4}, 3));
  const Tensor none = Tensor::zeros({0}, DType::int64);
  Generator generator;
  const auto gradients_are_zero = [&](const Tensor& y, const Shape& shape) {
    EXPECT_EQ(y.shape(), shape);
    Tensor::full({4, 3}, std::nan(""), DType::float64);
    sum(y).backward();
  };
  gradients_are_zero(linear(rows, weight, bias), {0, 4});
  gradients_are_zero(matmul(rows, transpose(weight, 0, 1)), {0, 4});
  gradients_are_zero(embedding(weight, none), {0, 3});
  gradients_are_zero(softmax(rows, -1), {0, 3});
  gradients_are_zero(log_softmax(rows, -1), {0, 3});
  gradients_are_zero(layer_norm(rows, leaf(numbers({3}, 4)), leaf(numbers({3}, 5))), {0, 3});
  gradients_are_zero(dropout(rows, 0.5, true, generator), {0, 3});
  gradients_are_zero(cat({rows, rows}, 0), {0, 3});
  gradients_are_zero(cat({rows, rows}, 1), {0, 6});
  gradients_are_zero(slice(weight, 0, 2, 2), {0, 3});
  gradients_are_zero(slice(weight, 1, 3, 3), {4, 0});
  gradients_are_zero(add(mul(rows, rows), tanh(rows)), {0, 3});
  gradients_are_zero(add(rows, leaf(numbers({3}, 6))), {0, 3});
  gradients_are_zero(sum(rows, 0, false), {3});
  gradients_are_zero(sum(rows, 1, false), {0});
  expect_all(weight.grad(), 0.0, "weight");
  expect_all(bias.grad(), 0.0, "bias");
  expect_all(sum(rows, 0, false), 0.0, "the sum of nothing");
  EXPECT_EQ(rows.grad().shape(), rows.shape());
  // A product over nothing is zero, or the bias.
  const Tensor a = leaf(numbers({2, 0}, 7)), b = leaf(numbers({4, 0}, 8));
  expect_all(matmul(a, transpose(b, 0, 1)).detach(), 0.0, "a product over nothing");
  const Tensor y = linear(a, b, bias);
  for (std::int64_t i = 0; i < 8; ++i) EXPECT_EQ(y.data<double>()[i], bias.data<double>()[i % 4]);
  // The mean of nothing is refused; sums are 0.
  EXPECT_THROW(mean(rows), ArgumentError);
  LossOptions options;
  EXPECT_THROW(cross_entropy(rows, none, options), ArgumentError);
  options.reduction = Reduction::sum;
  EXPECT_EQ(cross_entropy(rows, none, options).item(), 0.0);
}

TEST(Edges, AnOptimizerStepOnNothing) {
  Tensor empty = Tensor::zeros({0, 3}).set_requires_grad(true), one = Tensor::full({1}, 1.0).set_requires_grad(true);
  for (const OptimizerKind kind :
       {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw, OptimizerKind::rmsprop, OptimizerKind::asgd}) {
    OptimizerOptions options;
    options.kind = kind;
    Optimizer optimizer({empty, one}, options);
    empty.set_grad(Tensor::zeros({0, 3}));
    one.set_grad(Tensor::full({1}, 3.0));
    EXPECT_EQ(optimizer.step(), 3.0);
  }
}

}  // namespace
}  // namespace rnncore
