// Recurrent layers through the public interface: gradients by central differences, and the equalities that hold bit for
// bit (chunked = whole, stream = sequence, padded = alone, reset = separate, one thread = two, batch = single rows).
#include <gtest/gtest.h>

#include <cstring>

#include "gradcheck.h"
#include "rnncore/rnncore.hpp"

namespace rnncore {
namespace {

using test::expect_gradients;
using test::numbers;

// A cell with its options.
struct Kind {
  const char* name;
  CellKind cell;
  CellOptions options;
  bool projected = false;
};

CellOptions options(const char* json) { return cell_options_from_json(json); }

const std::vector<Kind> kCells = {
    {"rnn_tanh", CellKind::rnn_tanh, {}},
    {"rnn_relu", CellKind::rnn_relu, {}},
    {"rnn_sigmoid", CellKind::rnn_sigmoid, {}},
    {"lstm", CellKind::lstm, {}},
    {"gru", CellKind::gru, {}},
    {"gru_reset_before", CellKind::gru_reset_before, {}},
    {"rnn_softsign_clip", CellKind::rnn,
     options(R"({"activations": {"candidate": {"kind": "softsign"}}, "clip": 0.9})")},
    {"lstm_peephole", CellKind::lstm, options(R"({"peephole": true})")},
    {"lstm_coupled", CellKind::lstm, options(R"({"coupled": true, "peephole": true})")},
    {"lstm_no_forget", CellKind::lstm, options(R"({"forget_gate": false})")},
    {"lstm_activations", CellKind::lstm, options(R"({"clip": 1.1, "peephole": true, "activations":
        {"gate": {"kind": "hard-sigmoid", "alpha": 0.3}, "candidate": {"kind": "elu"}, "hidden": {"kind": "affine", "alpha": 0.7}}})")},
    {"gru_activations", CellKind::gru, options(R"({"clip": 1.3, "activations":
        {"gate": {"kind": "softsign"}, "candidate": {"kind": "leaky-relu", "alpha": 0.2}}})")},
    {"mgu", CellKind::mgu, {}},
    {"indrnn", CellKind::indrnn, {}},
    {"rnn_leaky", CellKind::rnn_relu, options(R"({"leak": 0.3})")},
    {"lstm_zoneout", CellKind::lstm, options(R"({"zoneout_h": 0.2, "zoneout_c": 0.4, "state_dropout": 0.3})")},
    {"gru_zoneout", CellKind::gru, options(R"({"zoneout_h": 0.2, "state_dropout": 0.3})")},
    {"gru_reset_before_zoneout", CellKind::gru_reset_before, options(R"({"zoneout_h": 0.2, "state_dropout": 0.3})")},
    {"mgu_zoneout", CellKind::mgu, options(R"({"zoneout_h": 0.2, "state_dropout": 0.3, "clip": 1.1})")},
    {"indrnn_zoneout", CellKind::indrnn, options(R"({"zoneout_h": 0.2})")},
    {"lstm_norm", CellKind::lstm, options(R"({"layer_norm": true})")},
    {"lstm_norm_options", CellKind::lstm, options(R"({"layer_norm": true, "peephole": true, "zoneout_h": 0.2,
        "zoneout_c": 0.3, "state_dropout": 0.3})")},
    {"lstm_norm_coupled", CellKind::lstm, options(R"({"layer_norm": true, "coupled": true})")},
    {"gru_norm", CellKind::gru, options(R"({"layer_norm": true, "state_dropout": 0.3})")},
    {"rnn_norm", CellKind::rnn, options(R"({"layer_norm": true, "leak": 0.6})")},
    {"lstm_projected", CellKind::lstm, {}, true},
    {"lstm_projected_options", CellKind::lstm, options(R"({"peephole": true, "zoneout_h": 0.2, "zoneout_c": 0.3,
        "state_dropout": 0.3})"),
     true},
    {"lstm_projected_norm", CellKind::lstm, options(R"({"layer_norm": true, "peephole": true, "zoneout_h": 0.2,
        "state_dropout": 0.3})"),
     true},
    {"gru_reset_before_norm", CellKind::gru_reset_before, options(R"({"layer_norm": true, "zoneout_h": 0.2,
        "state_dropout": 0.3})")},
    {"mgu_norm", CellKind::mgu, options(R"({"layer_norm": true, "state_dropout": 0.3})")},
    {"indrnn_norm", CellKind::indrnn, options(R"({"layer_norm": true, "zoneout_h": 0.2})")},
    {"gru_reset_before_activations", CellKind::gru_reset_before, options(R"({"activations":
        {"gate": {"kind": "hard-sigmoid"}, "candidate": {"kind": "scaled-tanh", "alpha": 1.2, "beta": 0.8}}})")},
};

RecurrentSpec make_spec(const Kind& kind, std::int64_t I, std::vector<std::int64_t> sizes, bool bias = true,
                        bool bidirectional = false) {
  RecurrentSpec spec;
  spec.input_size = I;
  for (const std::int64_t H : sizes) {
    spec.layers.push_back({kind.cell, H, kind.options});
    if (kind.projected && H > 1) spec.layers.back().proj_size = (H + 1) / 2;
  }
  spec.bias = bias;
  spec.bidirectional = bidirectional;
  return spec;
}
RecurrentSpec make_spec(CellKind cell, std::int64_t I, std::vector<std::int64_t> sizes) {
  return make_spec(Kind{"", cell, {}}, I, std::move(sizes));
}

std::vector<Tensor> make_parameters(const RecurrentSpec& spec, DType dtype = DType::float64) {
  std::vector<Tensor> parameters;
  std::uint64_t salt = 10;
  for (const ParameterInfo& info : parameters_of(spec)) {
    Tensor t = numbers(info.shape, ++salt, dtype);
    t.mul_(0.8);
    parameters.push_back(t);
  }
  return parameters;
}

void expect_same_bits(const Tensor& a, const Tensor& b, const std::string& what) {
  ASSERT_EQ(a.shape(), b.shape()) << what;
  ASSERT_EQ(a.dtype(), b.dtype()) << what;
  EXPECT_EQ(std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.numel() * size_of(a.dtype()))), 0) << what;
}

std::string label(const RecurrentSpec& spec) {
  return std::string(name_of(spec.layers[0].cell)) + " H=" + std::to_string(spec.layers[0].hidden_size);
}

// Gradients ---------------------------------------------------------------------------------------------------

struct GradientCase {
  const char* name;
  std::int64_t T, N, I;
  std::vector<std::int64_t> sizes;
  bool bias, bidirectional, lengths, resets, state;
  bool training = false;  // zoneout and dropout draw their masks
};

// y, h_n and c_n joined in one vector, as a function of x, the initial state and every parameter.
void check_gradients(const Kind& kind, const GradientCase& c) {
  const RecurrentSpec spec = make_spec(kind, c.I, c.sizes, c.bias, c.bidirectional);
  std::vector<Tensor> values = {numbers({c.T, c.N, c.I}, 1)};
  const std::size_t states = c.state ? c.sizes.size() * static_cast<std::size_t>(spec.directions()) : 0;
  const std::size_t cells = states_of(kind.cell) == 2 ? states : 0;
  for (std::size_t i = 0; i < states + cells; ++i) {
    const LayerSpec& layer =
        spec.layers[i % std::max<std::size_t>(1, states) / static_cast<std::size_t>(spec.directions())];
    values.push_back(numbers({c.N, i < states ? layer.state_size() : layer.hidden_size}, 50 + i));
  }
  for (const Tensor& p : make_parameters(spec)) values.push_back(p);
  RecurrentInput fixed;
  if (c.lengths) {
    std::vector<std::int64_t> lengths;
    for (std::int64_t n = 0; n < c.N; ++n) lengths.push_back(n % (c.T + 1));
    fixed.lengths = Tensor::from(lengths, {c.N});
  }
  if (c.resets) {
    std::vector<std::uint8_t> mask;
    for (std::int64_t i = 0; i < c.T * c.N; ++i) mask.push_back(i % 3 == 1 || i % 7 == 0);
    fixed.reset_mask = Tensor::from(mask, {c.T, c.N});
  }
  expect_gradients(
      [&](const std::vector<Tensor>& v) {
        RecurrentInput input = fixed;
        input.x = v[0];
        Generator generator(17);  // the same masks at every evaluation
        input.training = c.training;
        input.generator = &generator;
        input.state.h.assign(v.begin() + 1, v.begin() + 1 + static_cast<std::ptrdiff_t>(states));
        input.state.c.assign(v.begin() + 1 + static_cast<std::ptrdiff_t>(states),
                             v.begin() + 1 + static_cast<std::ptrdiff_t>(states + cells));
        const RecurrentOutput out =
            recurrent(spec, {v.begin() + 1 + static_cast<std::ptrdiff_t>(states + cells), v.end()}, input);
        std::vector<Tensor> parts = {out.y.reshape({-1})};
        for (const Tensor& h : out.state.h) parts.push_back(h.reshape({-1}));
        for (const Tensor& s : out.state.c) parts.push_back(s.reshape({-1}));
        return cat(parts, 0);
      },
      values, 2e-6);
}

class RecurrentGradient : public testing::TestWithParam<Kind> {};
std::string cell_label(const testing::TestParamInfo<Kind>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Cells, RecurrentGradient, testing::ValuesIn(kCells), cell_label);

TEST_P(RecurrentGradient, Plain) {
  check_gradients(GetParam(), {"plain", 4, 3, 3, {5}, true, false, false, false, false});
}
TEST_P(RecurrentGradient, State) {
  check_gradients(GetParam(), {"state", 3, 2, 2, {9}, true, false, false, false, true});
}
TEST_P(RecurrentGradient, OneStep) {
  check_gradients(GetParam(), {"one", 1, 1, 1, {1}, true, false, false, false, true});
}
TEST_P(RecurrentGradient, NoBias) {
  check_gradients(GetParam(), {"nobias", 3, 2, 3, {4}, false, false, false, false, true});
}
TEST_P(RecurrentGradient, Stack) {
  check_gradients(GetParam(), {"stack", 3, 2, 3, {5, 3}, true, false, false, false, true});
}
TEST_P(RecurrentGradient, Bidirectional) {
  check_gradients(GetParam(), {"both", 3, 2, 2, {3, 2}, true, true, false, false, true});
}
TEST_P(RecurrentGradient, LengthsAndResets) {
  check_gradients(GetParam(), {"masked", 5, 6, 2, {3}, true, true, true, true, true});
}
TEST_P(RecurrentGradient, WiderThanAPanel) {
  check_gradients(GetParam(), {"wide", 2, 7, 2, {19}, true, false, false, false, false});
}

TEST_P(RecurrentGradient, InTraining) {
  check_gradients(GetParam(), {"training", 4, 3, 3, {5, 4}, true, true, false, false, true, true});
}
TEST_P(RecurrentGradient, InTrainingWithLengthsAndResets) {
  check_gradients(GetParam(), {"training masked", 5, 6, 2, {3}, true, false, true, true, true, true});
}

// Bitwise equalities, in float32 and at sizes with ragged panels ------------------------------------------------

class RecurrentBits : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override { threads_ = get_num_threads(); }
  void TearDown() override { set_num_threads(threads_); }
  int threads_ = 1;
};
INSTANTIATE_TEST_SUITE_P(Cells, RecurrentBits, testing::ValuesIn(kCells), cell_label);

// Forward and backward of sum(y * w); returns y, the final states and every gradient.
std::vector<Tensor> evaluate(const RecurrentSpec& spec, const std::vector<Tensor>& values, RecurrentInput input) {
  std::vector<Tensor> parameters;
  for (const Tensor& v : values) parameters.push_back(test::leaf(v));
  input.x = test::leaf(input.x);
  const RecurrentOutput out = recurrent(spec, parameters, input);
  sum(mul(out.y, numbers(out.y.shape(), 5, out.y.dtype()))).backward();
  std::vector<Tensor> results = {out.y};
  for (const Tensor& h : out.state.h) results.push_back(h);
  for (const Tensor& c : out.state.c) results.push_back(c);
  results.push_back(input.x.grad());
  for (const Tensor& p : parameters) results.push_back(p.grad());
  return results;
}

TEST_P(RecurrentBits, ThreadsDoNotMatter) {
  for (const std::int64_t H : {13, 70, 200})
    for (const std::int64_t N : {1, 5, 40}) {
      const RecurrentSpec spec = make_spec(GetParam(), 31, {H, H});
      const std::vector<Tensor> parameters = make_parameters(spec, DType::float32);
      RecurrentInput input;
      input.x = numbers({9, N, 31}, 3, DType::float32);
      Generator generator(3);
      input.training = true;
      input.generator = &generator;
      set_num_threads(1);
      const std::vector<Tensor> one = evaluate(spec, parameters, input);
      for (const int threads : {2, 3}) {
        set_num_threads(threads);
        generator.set_state(3, 0);
        const std::vector<Tensor> many = evaluate(spec, parameters, input);
        for (std::size_t i = 0; i < one.size(); ++i)
          expect_same_bits(one[i], many[i], label(spec) + " N=" + std::to_string(N) + " result " + std::to_string(i));
      }
    }
}

TEST_P(RecurrentBits, ChunksStreamAndSequenceAgree) {
  const std::int64_t T = 130, N = 3, I = 7;
  const RecurrentSpec spec = make_spec(GetParam(), I, {37, 20});
  const std::vector<Tensor> parameters = make_parameters(spec, DType::float32);
  const NoGradGuard guard;
  RecurrentInput input;
  input.x = numbers({T, N, I}, 3, DType::float32);
  const RecurrentOutput whole = recurrent(spec, parameters, input);
  RecurrentInput chunk;
  std::vector<Tensor> parts;
  for (std::int64_t t = 0; t < T; t += 50) {
    chunk.x = slice(input.x, 0, t, std::min(T, t + 50));
    RecurrentOutput out = recurrent(spec, parameters, chunk);
    parts.push_back(out.y);
    chunk.state = out.state;
  }
  expect_same_bits(cat(parts, 0), whole.y, "chunks");
  Stream stream(spec, parameters, N);
  const std::int64_t O = spec.output_size();
  Tensor streamed = Tensor::zeros({T, N, O});
  for (std::int64_t t = 0; t < T; ++t)
    stream.step(input.x.data<float>() + t * N * I, streamed.mutable_data<float>() + t * N * O);
  expect_same_bits(streamed, whole.y, "stream");
  expect_same_bits(stream.state().h[1], whole.state.h[1], "state of the stream");
}

TEST_P(RecurrentBits, TrainingAndInferenceForwardAgree) {
  const RecurrentSpec spec = make_spec(GetParam(), 8, {24});
  std::vector<Tensor> parameters = make_parameters(spec, DType::float32);
  RecurrentInput input;
  input.x = numbers({120, 4, 8}, 3, DType::float32);
  const RecurrentOutput inference = recurrent(spec, parameters, input);
  for (Tensor& p : parameters) p.set_requires_grad(true);
  expect_same_bits(recurrent(spec, parameters, input).y, inference.y, "y");
}

TEST_P(RecurrentBits, PaddedSequencesEqualEachAlone) {
  const std::int64_t T = 11, N = 4, I = 5;
  const RecurrentSpec spec = make_spec(GetParam(), I, {18}, true, true);
  const std::vector<Tensor> parameters = make_parameters(spec, DType::float32);
  RecurrentInput padded;
  padded.x = numbers({T, N, I}, 3, DType::float32);
  padded.lengths = Tensor::from(std::vector<std::int64_t>{11, 4, 0, 7}, {N});
  const RecurrentOutput all = recurrent(spec, parameters, padded);
  for (const std::int64_t n : {0, 1, 3}) {
    const std::int64_t length = padded.lengths.data<std::int64_t>()[n];
    RecurrentInput alone;
    alone.x = slice(slice(padded.x, 1, n, n + 1), 0, 0, length);
    const RecurrentOutput one = recurrent(spec, parameters, alone);
    expect_same_bits(slice(slice(all.y, 1, n, n + 1), 0, 0, length), one.y, "y of " + std::to_string(n));
    expect_same_bits(slice(all.state.h[0], 0, n, n + 1), one.state.h[0], "h forward");
    expect_same_bits(slice(all.state.h[1], 0, n, n + 1), one.state.h[1], "h reverse");
    const Tensor beyond = slice(slice(all.y, 1, n, n + 1), 0, length, T);
    for (std::int64_t i = 0; i < beyond.numel(); ++i) EXPECT_EQ(beyond.data<float>()[i], 0.0f);
  }
}

TEST_P(RecurrentBits, ResetsEqualSeparateSequences) {
  const std::int64_t T = 9, I = 5, cut = 4;
  const RecurrentSpec spec = make_spec(GetParam(), I, {18}, true, true);
  const std::vector<Tensor> parameters = make_parameters(spec, DType::float32);
  RecurrentInput joined;
  joined.x = numbers({T, 2, I}, 3, DType::float32);
  Tensor mask = Tensor::zeros({T, 2}, DType::uint8);
  mask.mutable_data<std::uint8_t>()[cut * 2 + 1] = 1;  // stream 1 starts anew at step 4
  joined.reset_mask = mask;
  const RecurrentOutput all = recurrent(spec, parameters, joined);
  RecurrentInput first, second, whole;
  first.x = slice(slice(joined.x, 1, 1, 2), 0, 0, cut);
  second.x = slice(slice(joined.x, 1, 1, 2), 0, cut, T);
  whole.x = slice(joined.x, 1, 0, 1);
  expect_same_bits(slice(all.y, 1, 0, 1), recurrent(spec, parameters, whole).y, "the stream without a reset");
  expect_same_bits(slice(slice(all.y, 1, 1, 2), 0, 0, cut), recurrent(spec, parameters, first).y, "before");
  expect_same_bits(slice(slice(all.y, 1, 1, 2), 0, cut, T), recurrent(spec, parameters, second).y, "after");
}

TEST_P(RecurrentBits, EveryTargetAgreesWithTheBestOne) {
  const std::string best = target_name();
  const RecurrentSpec spec = make_spec(GetParam(), 9, {21, 11});
  const std::vector<Tensor> parameters = make_parameters(spec, DType::float64);
  RecurrentInput input;
  input.x = numbers({6, 5, 9}, 3);
  const std::vector<Tensor> reference = evaluate(spec, parameters, input);
  for (const std::string& target : supported_targets()) {
    set_target(target);
    const std::vector<Tensor> got = evaluate(spec, parameters, input);
    for (std::size_t i = 0; i < got.size(); ++i)
      for (std::int64_t j = 0; j < got[i].numel(); ++j)
        ASSERT_NEAR(got[i].data<double>()[j], reference[i].data<double>()[j], 1e-11) << target << " result " << i;
  }
  set_target(best);
}

// Token inputs: the table gives the bits of the lookup, and the same gradients up to the order of sums.
// The gradient of a token is the chain of its steps' gradients in the order of time. A ReLU without recurrence whose
// weights are 1 hands dy through, and these numbers have another sum in any other order.
TEST(RecurrentOrder, TheTokenTableAddsInTheOrderOfTime) {
  RecurrentSpec spec;
  spec.input_size = 1;
  spec.layers = {{CellKind::rnn_relu, 1}};
  spec.bias = false;
  RecurrentInput input;
  input.ids = Tensor::zeros({4, 1}, DType::int64);
  input.embedding = Tensor::full({1, 1}, 1.0).set_requires_grad(true);
  const Tensor y = recurrent(spec, {Tensor::full({1, 1}, 1.0), Tensor::zeros({1, 1})}, input).y;
  y.backward(Tensor::from(std::vector<float>{1, 1e8f, -1e8f, 2}, {4, 1, 1}));
  EXPECT_EQ(input.embedding.grad().item(), 2.0);  // backwards in time it would be 1
}

TEST_P(RecurrentBits, TokenTableEqualsLookup) {
  const std::int64_t T = 30, N = 4, V = 11, I = 6;
  const RecurrentSpec spec = make_spec(GetParam(), I, {13, 9}, true, true);
  const std::vector<Tensor> values = make_parameters(spec);
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < T * N; ++i) ids.push_back(i * i % V);
  const Tensor id_tensor = Tensor::from(ids, {T, N}), matrix = numbers({V, I}, 9);
  std::vector<std::vector<Tensor>> results;
  for (const bool table : {false, true}) {
    std::vector<Tensor> leaves = {test::leaf(matrix)}, parameters;
    for (const Tensor& v : values) parameters.push_back(test::leaf(v));
    RecurrentInput input;
    if (table) {
      input.ids = id_tensor;
      input.embedding = leaves[0];
    } else {
      input.x = embedding(leaves[0], id_tensor);
    }
    input.lengths = Tensor::from(std::vector<std::int64_t>{30, 12, 29, 1}, {N});
    const RecurrentOutput out = recurrent(spec, parameters, input);
    sum(mul(out.y, numbers(out.y.shape(), 5))).backward();
    std::vector<Tensor> result = {out.y, leaves[0].grad()};
    for (const Tensor& p : parameters) result.push_back(p.grad());
    results.push_back(result);
  }
  expect_same_bits(results[0][0], results[1][0], "y");
  for (std::size_t i = 1; i < results[0].size(); ++i)
    for (std::int64_t j = 0; j < results[0][i].numel(); ++j)
      ASSERT_NEAR(results[0][i].data<double>()[j], results[1][i].data<double>()[j],
                  1e-12 * (1 + std::abs(results[0][i].data<double>()[j])))
          << "gradient " << i;
}

TEST(RecurrentErrors, NameTheArgument) {
  const RecurrentSpec spec = make_spec(CellKind::lstm, 3, {4});
  std::vector<Tensor> parameters = make_parameters(spec);
  RecurrentInput input;
  input.x = numbers({2, 2, 5}, 1);
  const auto message = [&]() -> std::string {
    try {
      recurrent(spec, parameters, input);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_NE(message().find("[recurrent] x: expected shape (T, N, 3), got (2, 2, 5)"), std::string::npos) << message();
  input.x = numbers({2, 2, 3}, 1, DType::float32);
  EXPECT_NE(message().find("float64"), std::string::npos) << message();
  input.x = numbers({2, 2, 3}, 1);
  parameters[1] = numbers({4, 16}, 1);
  EXPECT_NE(message().find("weight_hh_l0: expected shape (16, 4), got (4, 16); transposed?"), std::string::npos)
      << message();
}

TEST(RecurrentErrors, AnEmptyBatchIsFine) {
  const RecurrentSpec spec = make_spec(CellKind::gru, 3, {4});
  RecurrentInput input;
  input.x = Tensor::zeros({2, 0, 3}, DType::float64);
  EXPECT_EQ(recurrent(spec, make_parameters(spec), input).y.shape(), (Shape{2, 0, 4}));
}

TEST(RecurrentErrors, ATargetChangedBeforeBackwardIsRefused) {
  const RecurrentSpec spec = make_spec(CellKind::lstm, 3, {4});
  std::vector<Tensor> parameters = make_parameters(spec);
  for (Tensor& p : parameters) p.set_requires_grad(true);
  RecurrentInput input;
  input.x = numbers({2, 2, 3}, 1);
  const Tensor y = sum(recurrent(spec, parameters, input).y);
  set_target(target_name());  // the workspace of another instruction set has another layout
  EXPECT_THROW(y.backward(), ArgumentError);
}

}  // namespace
}  // namespace rnncore
