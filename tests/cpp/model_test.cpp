// Model: what it computes is the composition of the operations it stands for; a stream of steps has the bits of the
// sequence; training in place works.
#include <gtest/gtest.h>

#include <cstring>

#include "rnncore/rnncore.hpp"

namespace rnncore {
namespace {

constexpr std::int64_t kTime = 7, kBatch = 3;

struct Kind {
  const char* name;
  ModelKind kind;
  bool tokens;
  Pooling pooling;
  bool bidirectional, tied;
  std::int64_t projection = 0;
  SoftmaxSpec softmax = {};
};
const Kind kKinds[] = {
    {"language model", ModelKind::language_model, true, Pooling::none, false, false},
    {"tied language model", ModelKind::language_model, true, Pooling::none, false, true},
    {"classifier of tokens", ModelKind::classifier, true, Pooling::last, true, false},
    {"classifier by mean", ModelKind::classifier, false, Pooling::mean, true, false},
    {"tagger", ModelKind::tagger, true, Pooling::none, true, false},
    {"forecaster", ModelKind::forecaster, false, Pooling::none, false, false},
    {"forecaster of the end", ModelKind::forecaster, false, Pooling::last, false, false},
    {"transcriber", ModelKind::transcriber, false, Pooling::none, true, false},
    {"multilabel", ModelKind::multilabel, false, Pooling::none, false, false},
    {"classifier by maximum", ModelKind::classifier, true, Pooling::max, true, false},
    {"language model with a projection", ModelKind::language_model, true, Pooling::none, false, false, 4},
    {"tied language model with a projection", ModelKind::language_model, true, Pooling::none, false, true, 6},
    {"adaptive", ModelKind::language_model, true, Pooling::none, false, false, 0, {SoftmaxKind::adaptive, {3, 7}, 2.0}},
    {"tied adaptive", ModelKind::language_model, true, Pooling::none, false, true, 0, {SoftmaxKind::adaptive, {3, 7}}},
    {"classes", ModelKind::language_model, true, Pooling::none, false, false, 0, {SoftmaxKind::classes, {0, 2, 7}}},
    {"tied classes", ModelKind::language_model, true, Pooling::none, false, true, 6, {SoftmaxKind::classes, {0, 2, 7}}},
};

ModelSpec spec_of(const Kind& kind, CellKind cell = CellKind::lstm) {
  ModelSpec spec;
  spec.kind = kind.kind;
  spec.vocab_size = kind.tokens ? 11 : 0;
  spec.embedding_size = kind.tokens ? 6 : 0;
  spec.recurrent.input_size = kind.tokens ? 6 : 4;
  spec.recurrent.layers = {{cell, 5}, {cell, 6}};
  spec.recurrent.bidirectional = kind.bidirectional;
  spec.pooling = kind.pooling;
  spec.output_size = kind.kind == ModelKind::language_model ? 0 : 3;
  spec.tie_weights = kind.tied;
  spec.projection_size = kind.projection;
  spec.softmax = kind.softmax;
  return spec;
}

ModelInput input_of(const ModelSpec& spec, Generator& generator, DType dtype = DType::float32) {
  ModelInput input;
  if (spec.reads_tokens()) {
    input.ids = Tensor::empty({kTime, kBatch}, DType::int64);
    for (std::int64_t i = 0; i < input.ids.numel(); ++i)
      input.ids.mutable_data<std::int64_t>()[i] = generator.below(spec.vocab_size);
  } else {
    input.x = Tensor::empty({kTime, kBatch, spec.recurrent.input_size}, dtype);
    generator.uniform_(input.x, -1, 1);
  }
  return input;
}

// The distribution of a softmax with clusters, by hand: log softmax of the head, and of each cluster's words.
Tensor composed_clusters(const Model& model, const Tensor& y) {
  const ModelSpec& spec = model.spec();
  const bool projected = spec.softmax.kind == SoftmaxKind::adaptive && !spec.tie_weights;
  std::vector<std::int64_t> ends = spec.softmax.cutoffs;
  ends.push_back(spec.vocab_size);
  const std::int64_t first = ends[0];
  Tensor words, bias, head = linear(y, model.parameter("head.head.weight"), model.parameter("head.head.bias"));
  if (!projected) {
    words = model.parameter(spec.tie_weights ? "embedding.weight" : "head.words.weight");
    bias = model.parameter("head.words.bias");
    if (first > 0) head = cat({linear(y, slice(words, 0, 0, first), slice(bias, 0, 0, first)), head}, 2);
  }
  head = log_softmax(head, 2);
  std::vector<Tensor> parts;
  if (first > 0) parts.push_back(slice(head, 2, 0, first));
  for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
    const std::string tail = "head.tail." + std::to_string(i);
    const std::int64_t begin = ends[i], end = ends[i + 1], at = first + static_cast<std::int64_t>(i);
    const Tensor scores =
        projected ? linear(linear(y, model.parameter(tail + ".0.weight")), model.parameter(tail + ".1.weight"))
                  : linear(y, slice(words, 0, begin, end), slice(bias, 0, begin, end));
    parts.push_back(add(log_softmax(scores, 2), slice(head, 2, at, at + 1)));
  }
  return cat(parts, 2);
}

// By hand, from the parameters by name.
Tensor composed(const Model& model, const ModelInput& input) {
  const ModelSpec& spec = model.spec();
  RecurrentInput in;
  in.x = spec.reads_tokens() ? embedding(model.parameter("embedding.weight"), input.ids) : input.x;
  in.lengths = input.lengths;
  const RecurrentOutput out = recurrent(spec.recurrent, model.stack_parameters(), in);
  Tensor y = out.y;
  if (spec.pooling == Pooling::last)
    y = spec.recurrent.bidirectional ? cat({out.state.h[2], out.state.h[3]}, 1) : out.state.h[1];
  if (spec.pooling == Pooling::mean) y = mul(sum(y, 0), 1.0 / kTime);
  if (spec.pooling == Pooling::max) y = max_over_time(y);
  if (spec.projection_size > 0) y = linear(y, model.parameter("projection.weight"));
  if (spec.softmax.kind != SoftmaxKind::full) return composed_clusters(model, y);
  return linear(y, model.parameter(spec.tie_weights ? "embedding.weight" : "head.weight"),
                model.parameter("head.bias"));
}

TEST(Model, ForwardIsTheCompositionOfItsParts) {
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    const ModelSpec spec = spec_of(kind);
    Generator generator(3);
    const Model model(spec, generator, DType::float64);
    const ModelInput input = input_of(spec, generator, DType::float64);
    const Tensor got = model.forward(input).y, want = composed(model, input);
    ASSERT_EQ(got.shape(), want.shape());
    const Shape shape = spec.pooling == Pooling::none ? Shape{kTime, kBatch, spec.outputs()}  //
                                                      : Shape{kBatch, spec.outputs()};
    EXPECT_EQ(got.shape(), shape);
    for (std::int64_t i = 0; i < got.numel(); ++i) EXPECT_NEAR(got.data<double>()[i], want.data<double>()[i], 1e-14);
  }
}

// Pooling sees the valid steps alone: each sequence as if it were the only one, cut to its length.
TEST(Model, PoolingLeavesOutWhatLiesBeyondTheLength) {
  for (const Kind& kind : {kKinds[2], kKinds[3], kKinds[6], kKinds[9]}) {
    SCOPED_TRACE(kind.name);
    const ModelSpec spec = spec_of(kind);
    Generator generator(4);
    const Model model(spec, generator, DType::float64);
    ModelInput input = input_of(spec, generator, DType::float64);
    const std::int64_t lengths[] = {7, 2, 5};
    input.lengths = Tensor::from(lengths, {kBatch});
    const Tensor together = model.forward(input).y;
    for (std::int64_t n = 0; n < kBatch; ++n) {
      ModelInput alone;
      if (spec.reads_tokens())
        alone.ids = slice(slice(input.ids, 0, 0, lengths[n]), 1, n, n + 1);
      else
        alone.x = slice(slice(input.x, 0, 0, lengths[n]), 1, n, n + 1);
      const Tensor y = model.forward(alone).y;
      for (std::int64_t j = 0; j < 3; ++j)
        EXPECT_NEAR(together.data<double>()[n * 3 + j], y.data<double>()[j], 1e-14) << n;
    }
  }
}

template <typename T>
void expect_stream_equals_sequence(const Model& model, const ModelInput& input) {
  const ModelSpec& spec = model.spec();
  const Tensor y = model.forward(input).y;
  ModelStream stream = model.stream(kBatch);
  const std::int64_t O = spec.outputs(), I = spec.recurrent.input_size;
  ASSERT_EQ(stream.output_size(), O);
  std::vector<T> out(static_cast<std::size_t>(kBatch * O));
  for (std::int64_t t = 0; t < kTime; ++t) {
    const bool done = spec.reads_tokens() ? stream.step(input.ids.data<std::int64_t>() + t * kBatch, out.data())
                                          : stream.step(input.x.data<T>() + t * kBatch * I, out.data());
    ASSERT_TRUE(done);
    if (spec.pooling == Pooling::none) {
      EXPECT_EQ(std::memcmp(out.data(), y.data<T>() + t * kBatch * O, out.size() * sizeof(T)), 0) << "step " << t;
    }
  }
  if (spec.pooling == Pooling::last) {
    EXPECT_EQ(std::memcmp(out.data(), y.data<T>(), out.size() * sizeof(T)), 0);
  }
}

TEST(Model, AStreamHasTheBitsOfTheSequence) {
  for (const Kind& kind : kKinds) {
    if (kind.bidirectional) continue;
    for (const CellKind cell : {CellKind::lstm, CellKind::gru, CellKind::rnn_tanh}) {
      SCOPED_TRACE(std::string(kind.name) + " " + name_of(cell));
      const ModelSpec spec = spec_of(kind, cell);
      Generator generator(5);
      const Model single(spec, generator), wide(spec, generator, DType::float64);
      expect_stream_equals_sequence<float>(single, input_of(spec, generator));
      expect_stream_equals_sequence<double>(wide, input_of(spec, generator, DType::float64));
    }
  }
}

TEST(Model, AStreamRefusesWhatItCannotStep) {
  Generator generator(6);
  const Model tokens(spec_of(kKinds[0]), generator), features(spec_of(kKinds[5]), generator);
  ModelStream stream = tokens.stream(2), other = features.stream();
  std::vector<float> out(22, -1.0f);
  std::vector<double> wide(22);
  const std::int64_t good[] = {0, 10}, high[] = {0, 11}, low[] = {-1, 0};
  const float x[] = {0, 0, 0, 0};
  EXPECT_FALSE(stream.step(high, out.data()));
  EXPECT_FALSE(stream.step(low, out.data()));
  EXPECT_FALSE(stream.step(x, out.data()));
  EXPECT_FALSE(stream.step(good, wide.data()));
  EXPECT_FALSE(other.step(good, out.data()));
  EXPECT_EQ(out, std::vector<float>(22, -1.0f)) << "nothing was written";
  EXPECT_TRUE(stream.step(good, out.data()));
  EXPECT_TRUE(other.step(x, out.data()));
  EXPECT_THROW(Model(spec_of(kKinds[2]), generator).stream(), ArgumentError);  // bidirectional
  EXPECT_THROW(Model(spec_of(kKinds[3]), generator).stream(), ArgumentError);  // mean pooling
  EXPECT_THROW(tokens.stream(0), ArgumentError);
}

TEST(Model, SnapshotsTakeStepsBack) {
  Generator generator(7);
  const Model model(spec_of(kKinds[5]), generator);
  const ModelInput input = input_of(model.spec(), generator);
  ModelStream stream = model.stream(kBatch), twin = model.stream(kBatch);
  std::vector<float> first(kBatch * 3), second(kBatch * 3);
  stream.step(input.x.data<float>(), first.data());
  std::vector<unsigned char> snapshot(stream.state_bytes());
  EXPECT_EQ(snapshot.size(), kBatch * 2 * (5 + 6) * sizeof(float));
  stream.save_state(snapshot.data());
  stream.step(input.x.data<float>() + 12, first.data());
  stream.step(input.x.data<float>() + 24, second.data());
  stream.restore_state(snapshot.data());
  stream.step(input.x.data<float>() + 12, second.data());
  EXPECT_EQ(first, second);
  twin.restore_state(snapshot.data());
  twin.step(input.x.data<float>() + 12, second.data());
  EXPECT_EQ(first, second);
  // One stream begins anew, the others go on.
  stream.restore_state(snapshot.data());
  stream.reset(1);
  stream.step(input.x.data<float>() + 12, second.data());
  EXPECT_TRUE(std::equal(first.begin(), first.begin() + 3, second.begin()));
  EXPECT_FALSE(std::equal(first.begin() + 3, first.begin() + 6, second.begin() + 3));
  EXPECT_TRUE(std::equal(first.begin() + 6, first.end(), second.begin() + 6));
}

// The state of one stream goes to any stream of any batch, delayed states among it: the bits after it are the same.
TEST(Model, OneStreamsStateIsHandedOn) {
  for (const bool delayed : {false, true}) {
    ModelSpec spec = spec_of(kKinds[5]);
    if (delayed)
      for (LayerSpec& layer : spec.recurrent.layers) layer.delays = {2, 4};
    Generator generator(13);
    const Model model(spec, generator);
    const ModelInput input = input_of(spec, generator);
    const float* const x = input.x.data<float>();  // (T, kBatch, 4)
    ModelStream one = model.stream(), many = model.stream(kBatch);
    std::vector<float> wanted(3), found(kBatch * 3);
    for (std::int64_t t = 0; t < 4; ++t) one.step(x + t * kBatch * 4, wanted.data());
    std::vector<unsigned char> state(one.state_bytes()), before(many.state_bytes());
    ASSERT_EQ(state.size() * kBatch, before.size());
    one.save_state(0, state.data());
    many.step(x, found.data());  // they stand elsewhere, and so do their rings
    many.save_state(before.data());
    many.restore_state(1, state.data());
    many.restore_state(kBatch, state.data());
    many.restore_state(-1, state.data());
    std::vector<float> in(kBatch * 4);
    for (std::int64_t n = 0; n < kBatch; ++n) std::copy_n(x + 4 * kBatch * 4, 4, in.begin() + n * 4);
    many.step(in.data(), found.data());
    one.step(in.data(), wanted.data());
    EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), found.begin() + 3)) << delayed;
    EXPECT_FALSE(std::equal(wanted.begin(), wanted.end(), found.begin())) << "the others stay where they were";
    // Back to a batch of one, by way of the batch's own bytes.
    std::vector<unsigned char> again(state.size());
    many.restore_state(before.data());
    many.restore_state(2, state.data());
    many.save_state(2, again.data());
    EXPECT_EQ(state, again);
  }
}

// With delayed states a snapshot holds the states before the last one too, wherever their ring stands.
TEST(Model, SnapshotsHoldDelayedStates) {
  ModelSpec spec = spec_of(kKinds[5]);
  for (LayerSpec& layer : spec.recurrent.layers) layer.delays = {2, 4};
  Generator generator(11);
  const Model model(spec, generator);
  const ModelInput input = input_of(spec, generator);
  ModelStream stream = model.stream(kBatch);
  std::vector<float> first(kBatch * 3), second(kBatch * 3);
  std::vector<unsigned char> snapshot(stream.state_bytes());
  const auto run = [&](std::int64_t from, std::int64_t to, std::vector<float>& out) {
    for (std::int64_t t = from; t < to; ++t) stream.step(input.x.data<float>() + t * kBatch * 4, out.data());
  };
  run(0, 4, first);
  stream.save_state(snapshot.data());
  run(4, 6, first);
  run(0, 3, second);
  stream.restore_state(snapshot.data());
  run(4, 6, second);
  EXPECT_EQ(first, second);
}

// A stack with wiring: constants where parameters begin with one, and the stream's bits and snapshots as ever.
TEST(Model, WiredStacksStreamToo) {
  ModelSpec spec = spec_of(kKinds[0], CellKind::gru);
  spec.recurrent.connection = Connection::highway;
  spec.recurrent.learn_initial_state = true;
  spec.recurrent.layers[1].period = 2;
  Generator generator(12);
  const Model model(spec, generator);
  EXPECT_EQ(model.parameter("rnn.bias_highway_l1").data<float>()[0], -1.0f);
  expect_stream_equals_sequence<float>(model, input_of(spec, generator));
}

TEST(Model, TrainsInPlace) {
  ModelSpec spec = spec_of(kKinds[5]);
  spec.dropout = 0.1;
  Generator generator(8);
  Model model(spec, generator);
  model.set_requires_grad(true);
  OptimizerOptions options;
  options.kind = OptimizerKind::adam;
  options.lr = 0.02;
  Optimizer optimizer(model.parameters(), options);
  ModelInput input = input_of(spec, generator);
  input.training = true;
  EXPECT_THROW(model.forward(input), ArgumentError) << "dropout needs a generator";
  input.generator = &generator;
  double first = 0, last = 0;
  for (int step = 0; step < 40; ++step) {
    optimizer.zero_grad();
    const Tensor loss = mean(pow(add(model.forward(input).y, -0.5), 2.0));
    loss.backward();
    optimizer.step();
    (step == 0 ? first : last) = loss.item();
  }
  EXPECT_LT(last, 0.3 * first);
}

TEST(Model, InputsOfTheWrongKindAreNamed) {
  Generator generator(9);
  const Model tokens(spec_of(kKinds[0]), generator), features(spec_of(kKinds[5]), generator);
  const ModelInput ids = input_of(tokens.spec(), generator), x = input_of(features.spec(), generator);
  EXPECT_THROW(tokens.forward(x), ArgumentError);
  EXPECT_THROW(features.forward(ids), ArgumentError);
  EXPECT_THROW(features.forward({}), ArgumentError);
  EXPECT_THROW(tokens.parameter("rnn.none"), ArgumentError);
}

TEST(Model, SpecificationsThatMakeNoSenseAreRefused) {
  const auto refused = [](const Kind& kind, void (*change)(ModelSpec&)) {
    ModelSpec spec = spec_of(kind);
    EXPECT_EQ(to_json(model_spec_from_json(to_json(spec))), to_json(spec));
    change(spec);
    EXPECT_THROW(check(spec), ArgumentError);
  };
  refused(kKinds[0], [](ModelSpec& s) { s.pooling = Pooling::last; });
  refused(kKinds[0], [](ModelSpec& s) { s.output_size = 3; });
  refused(kKinds[0], [](ModelSpec& s) { s.vocab_size = 0; });
  refused(kKinds[1], [](ModelSpec& s) { s.projection_size = 5; });  // tied: as wide as the embedding
  refused(kKinds[0], [](ModelSpec& s) { s.projection_size = -1; });
  refused(kKinds[2], [](ModelSpec& s) { s.projection_size = 4; });
  refused(kKinds[2], [](ModelSpec& s) { s.pooling = Pooling::none; });
  refused(kKinds[2], [](ModelSpec& s) { s.tie_weights = true; });
  refused(kKinds[2], [](ModelSpec& s) { s.embedding_size = 7; });
  refused(kKinds[4], [](ModelSpec& s) { s.pooling = Pooling::mean; });
  refused(kKinds[7], [](ModelSpec& s) { s.pooling = Pooling::mean; });
  refused(kKinds[2], [](ModelSpec& s) { s.recurrent.merge = Merge::sum; });
  refused(kKinds[6], [](ModelSpec& s) { s.recurrent.connection = Connection::residual; });
  refused(kKinds[5], [](ModelSpec& s) { s.output_size = 0; });
  refused(kKinds[5], [](ModelSpec& s) { s.embedding_size = 6; });
  refused(kKinds[5], [](ModelSpec& s) { s.recurrent.input_size = std::int64_t{1} << 40; });
}

}  // namespace
}  // namespace rnncore
