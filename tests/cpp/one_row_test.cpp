// A batch of one: the kernel for one row gives the bits of the kernels for many, forward, in streams and in all
// gradients; streams keep their parameters and take tokens; and denormals neither appear nor depend on the way of
// running.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "wiring.h"

namespace rnncore {
namespace {

using test::expect_same_bits;
using test::leaf;
using test::numbers;

const std::vector<CellKind> kCells = {CellKind::rnn_tanh, CellKind::rnn_relu, CellKind::rnn_sigmoid,
                                      CellKind::lstm,     CellKind::gru,      CellKind::gru_reset_before};
// Parts of a vector, whole vectors, one more than a block, enough for two threads and for every group of vectors.
const std::vector<std::int64_t> kSizes = {1, 3, 4, 8, 13, 16, 19, 33, 64, 100, 130, 256};

RecurrentSpec make_spec(CellKind cell, std::int64_t I, std::vector<std::int64_t> sizes) {
  RecurrentSpec spec;
  spec.input_size = I;
  for (const std::int64_t H : sizes) spec.layers.push_back({cell, H});
  return spec;
}

std::vector<Tensor> make_parameters(const RecurrentSpec& spec, DType dtype) {
  std::vector<Tensor> parameters;
  std::uint64_t salt = 20;
  for (const ParameterInfo& info : parameters_of(spec)) {
    parameters.push_back(numbers(info.shape, ++salt, dtype));
    parameters.back().mul_(1.0 / std::sqrt(static_cast<double>(info.fan_hidden)));
  }
  return parameters;
}

class OneRow : public testing::TestWithParam<CellKind> {
 protected:
  void TearDown() override { set_target(best_); }
  const std::string best_ = target_name();
};
INSTANTIATE_TEST_SUITE_P(Cells, OneRow, testing::ValuesIn(kCells), [](const testing::TestParamInfo<CellKind>& info) {
  std::string name = name_of(info.param);
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
});

// y, the final state and every gradient. With `lengths` (all whole) the layers take the kernels for many rows.
std::vector<Tensor> evaluate(const RecurrentSpec& spec, const std::vector<Tensor>& values, const Tensor& x,
                             bool lengths) {
  std::vector<Tensor> parameters;
  for (const Tensor& v : values) parameters.push_back(leaf(v));
  RecurrentInput input;
  input.x = leaf(x);
  if (lengths) input.lengths = Tensor::from(std::vector<std::int64_t>{x.size(0)}, {1});
  const RecurrentOutput out = recurrent(spec, parameters, input);
  sum(mul(out.y, numbers(out.y.shape(), 5, out.y.dtype()))).backward();
  std::vector<Tensor> results = {out.y};
  for (const Tensor& h : out.state.h) results.push_back(h);
  for (const Tensor& c : out.state.c) results.push_back(c);
  results.push_back(input.x.grad());
  for (const Tensor& p : parameters) results.push_back(p.grad());
  return results;
}

TEST_P(OneRow, OutputsAndGradientsEqualThoseOfTheOtherKernels) {
  for (const std::string& target : supported_targets()) {
    set_target(target);
    for (const DType dtype : {DType::float32, DType::float64})
      for (const std::int64_t H : kSizes) {
        const RecurrentSpec spec = make_spec(GetParam(), 5, {H});
        const std::vector<Tensor> parameters = make_parameters(spec, dtype);
        const Tensor x = numbers({7, 1, 5}, 3, dtype);
        const std::vector<Tensor> one = evaluate(spec, parameters, x, false);
        const std::vector<Tensor> many = evaluate(spec, parameters, x, true);
        for (std::size_t i = 0; i < one.size(); ++i)
          expect_same_bits(one[i], many[i],
                           target + " " + name_of(dtype) + " H=" + std::to_string(H) + " result " + std::to_string(i));
      }
  }
}

TEST_P(OneRow, EqualsItsRowInABatch) {
  const NoGradGuard guard;
  for (const std::int64_t H : kSizes) {
    const RecurrentSpec spec = make_spec(GetParam(), 6, {H, 17});
    const std::vector<Tensor> parameters = make_parameters(spec, DType::float32);
    RecurrentInput batch, alone;
    batch.x = numbers({11, 5, 6}, 3, DType::float32);
    alone.x = slice(batch.x, 1, 3, 4);
    const RecurrentOutput all = recurrent(spec, parameters, batch), one = recurrent(spec, parameters, alone);
    expect_same_bits(slice(all.y, 1, 3, 4), one.y, "y, H=" + std::to_string(H));
    expect_same_bits(slice(all.state.h[0], 0, 3, 4), one.state.h[0], "h, H=" + std::to_string(H));
  }
}

template <typename T>
void expect_stream_equals_sequence(CellKind cell, DType dtype, std::int64_t H) {
  const std::int64_t length = 9, I = 6;
  const std::string what = std::string(name_of(dtype)) + " H=" + std::to_string(H);
  const RecurrentSpec spec = make_spec(cell, I, {H, 17, H});
  const std::vector<Tensor> parameters = make_parameters(spec, dtype);
  RecurrentInput input;
  input.x = numbers({length, 1, I}, 3, dtype);
  for (int i = 0; i < 3; ++i) input.state.h.push_back(numbers({1, i == 1 ? 17 : H}, 30 + i, dtype));
  for (int i = 0; i < 3 && states_of(cell) == 2; ++i)
    input.state.c.push_back(numbers({1, i == 1 ? 17 : H}, 40 + i, dtype));
  const RecurrentOutput whole = recurrent(spec, parameters, input);
  Stream stream(spec, parameters);
  Tensor y = Tensor::zeros({length, 1, H}, dtype);
  const auto run = [&] {
    for (std::int64_t t = 0; t < length; ++t) stream.step(input.x.data<T>() + t * I, y.mutable_data<T>() + t * H);
  };
  stream.set_state(input.state);
  run();
  expect_same_bits(y, whole.y, what);
  test::expect_same_state(stream.state(), whole.state, what);
  stream.reset(0);
  run();
  input.state = {};
  expect_same_bits(y, recurrent(spec, parameters, input).y, what + " after a reset");
}

TEST_P(OneRow, StreamEqualsSequence) {
  const NoGradGuard guard;
  for (const std::string& target : supported_targets()) {
    set_target(target);
    SCOPED_TRACE(target);
    for (const std::int64_t H : kSizes) {
      expect_stream_equals_sequence<float>(GetParam(), DType::float32, H);
      expect_stream_equals_sequence<double>(GetParam(), DType::float64, H);
    }
  }
}

// Token inputs give the bits of the looked-up features, also when a token comes again, for one stream and for several.
TEST_P(OneRow, TokenStreamEqualsFeatureStream) {
  const std::int64_t I = 6, length = 30;
  struct Sizes {
    std::int64_t V, N;  // a table row by row, a table at once, looked up
  };
  for (const auto [V, N] : {Sizes{11, 1}, Sizes{11, 3}, Sizes{60, 3}})
    for (const std::int64_t H : {8, 33, 64}) {
      const RecurrentSpec spec = make_spec(GetParam(), I, {H, 17});
      const std::vector<Tensor> parameters = make_parameters(spec, DType::float32);
      const Tensor matrix = numbers({V, I}, 9, DType::float32);
      Stream features(spec, parameters, N), tokens(spec, parameters, N);
      tokens.set_embedding(matrix);
      Tensor x = Tensor::zeros({N, I}), y = Tensor::zeros({N, 17}), z = Tensor::zeros({N, 17});
      std::vector<std::int64_t> ids(static_cast<std::size_t>(N));
      for (std::int64_t t = 0; t < length; ++t) {
        for (std::int64_t n = 0; n < N; ++n) {
          ids[static_cast<std::size_t>(n)] = (t * t + 5 * n) % V;
          std::memcpy(x.mutable_data<float>() + n * I, matrix.data<float>() + ids[static_cast<std::size_t>(n)] * I,
                      static_cast<std::size_t>(I) * sizeof(float));
        }
        features.step(x.data<float>(), y.mutable_data<float>());
        if (t == 7)  // features may come in between
          tokens.step(x.data<float>(), z.mutable_data<float>());
        else
          tokens.step(ids.data(), z.mutable_data<float>());
        expect_same_bits(z, y, "N=" + std::to_string(N) + " H=" + std::to_string(H) + " t=" + std::to_string(t));
      }
    }
}

TEST_P(OneRow, AStreamKeepsTheParametersThatItWasMadeFrom) {
  for (const std::int64_t N : {1, 3}) {
    const RecurrentSpec spec = make_spec(GetParam(), 4, {9, 7});
    std::vector<Tensor> parameters = make_parameters(spec, DType::float32);
    const Tensor x = numbers({N, 4}, 3, DType::float32);
    Tensor y = Tensor::zeros({N, 7}), z = Tensor::zeros({N, 7});
    Stream stream(spec, parameters, N);
    stream.step(x.data<float>(), y.mutable_data<float>());
    for (Tensor& p : parameters) p.mul_(2.0);
    stream.reset();
    stream.step(x.data<float>(), z.mutable_data<float>());
    expect_same_bits(z, y, "N=" + std::to_string(N));
  }
}

// Zero input and no bias: the LSTM's c and a ReLU network's h halve at every step, down through the denormals.
TEST(Denormals, ADecayingStateEndsInZero) {
  const std::int64_t H = 20, length = 400;
  for (const CellKind cell : {CellKind::rnn_relu, CellKind::lstm, CellKind::gru}) {
    const RecurrentSpec spec = make_spec(cell, H, {H});
    std::vector<Tensor> parameters = make_parameters(spec, DType::float32);
    for (Tensor& p : parameters) p.mul_(0.0);
    if (cell == CellKind::rnn_relu)
      for (std::int64_t i = 0; i < H; ++i) parameters[1].mutable_data<float>()[i * H + i] = 0.5f;
    RecurrentInput input;
    input.x = Tensor::zeros({length, 1, H});
    input.state.h = {Tensor::full({1, H}, 1.0)};
    if (states_of(cell) == 2) input.state.c = {Tensor::full({1, H}, 1.0)};
    const NoGradGuard no_grad;
    const RecurrentOutput whole = recurrent(spec, parameters, input);
    for (std::int64_t i = 0; i < whole.y.numel(); ++i)
      ASSERT_NE(std::fpclassify(whole.y.data<float>()[i]), FP_SUBNORMAL) << name_of(cell) << " value " << i;
    EXPECT_EQ(whole.y.data<float>()[length * H - 1], 0.0f) << name_of(cell);
    for (const bool guarded : {false, true}) {
      Stream stream(spec, parameters);
      stream.set_state(input.state);
      Tensor y = Tensor::zeros({length, 1, H});
      const auto run = [&] {
        for (std::int64_t t = 0; t < length; ++t) stream.step(input.x.data<float>(), y.mutable_data<float>() + t * H);
      };
      if (guarded) {
        const FlushDenormalsGuard flush;
        run();
      } else {
        run();
      }
      expect_same_bits(y, whole.y, std::string(name_of(cell)) + (guarded ? " within a guard" : ""));
    }
  }
}

TEST(Denormals, TheGuardEndsWhereItBegan) {
  volatile float tiny = 1e-39f;
  const auto kept = [&] { return tiny * 0.5f != 0.0f; };
  ASSERT_TRUE(kept());
  {
    const FlushDenormalsGuard outer;
    EXPECT_FALSE(kept());
    {
      const FlushDenormalsGuard inner;
      EXPECT_FALSE(kept());
    }
    EXPECT_FALSE(kept());
  }
  EXPECT_TRUE(kept());
}

}  // namespace
}  // namespace rnncore
