// The wiring of stacks: every option against the properties of wiring.h. Values are checked against independent NumPy
// references in tests/python/test_wiring.py.
#include "wiring.h"

#include <algorithm>

namespace rnncore {
namespace {

using test::expect_sound_wiring;

RecurrentSpec stack(std::int64_t I, std::vector<LayerSpec> layers) {
  RecurrentSpec spec;
  spec.input_size = I;
  spec.layers = std::move(layers);
  return spec;
}

TEST(Wiring, ACellAndASizePerLayer) {
  expect_sound_wiring(stack(3, {{CellKind::gru, 5}, {CellKind::lstm, 4}, {CellKind::rnn_tanh, 6}}));
}

TEST(Wiring, ACellAndASizePerLayerInBothDirections) {
  RecurrentSpec spec = stack(2, {{CellKind::rnn_tanh, 3}, {CellKind::lstm, 2}});
  spec.bidirectional = true;
  expect_sound_wiring(spec);
}

const std::vector<CellKind> kCells = {CellKind::rnn_tanh, CellKind::rnn_relu, CellKind::rnn_sigmoid,
                                      CellKind::lstm,     CellKind::gru,      CellKind::gru_reset_before,
                                      CellKind::mgu,      CellKind::indrnn};

class WiringOfCells : public testing::TestWithParam<CellKind> {};
std::string cell_label(const testing::TestParamInfo<CellKind>& info) {
  std::string name = name_of(info.param);
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(Cells, WiringOfCells, testing::ValuesIn(kCells), cell_label);

TEST_P(WiringOfCells, Delays) { expect_sound_wiring(stack(3, {{GetParam(), 5, {}, {2, 4}}})); }
TEST_P(WiringOfCells, DelaysInAStack) {
  expect_sound_wiring(stack(2, {{GetParam(), 9, {}, {3}}, {GetParam(), 2, {}, {2, 9}}}));
}
TEST_P(WiringOfCells, DelaysInBothDirections) {
  RecurrentSpec spec = stack(2, {{GetParam(), 4, {}, {2, 3}}});
  spec.bidirectional = true;
  expect_sound_wiring(spec);
}

RecurrentSpec connected(Connection connection, std::vector<LayerSpec> layers) {
  RecurrentSpec spec = stack(3, std::move(layers));
  spec.connection = connection;
  return spec;
}

class WiringOfConnections : public testing::TestWithParam<Connection> {};
INSTANTIATE_TEST_SUITE_P(Connections, WiringOfConnections,
                         testing::Values(Connection::residual, Connection::highway, Connection::dense),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST_P(WiringOfConnections, OneSize) {
  expect_sound_wiring(connected(GetParam(), {{CellKind::lstm, 4}, {CellKind::lstm, 4}, {CellKind::gru, 4}}));
}
TEST_P(WiringOfConnections, ManySizes) {
  expect_sound_wiring(connected(GetParam(), {{CellKind::gru, 4}, {CellKind::rnn_tanh, 18}, {CellKind::lstm, 3}}));
}
TEST_P(WiringOfConnections, BothDirections) {
  for (const Merge merge : {Merge::concat, Merge::sum, Merge::mean}) {
    RecurrentSpec spec = connected(GetParam(), {{CellKind::lstm, 3}, {CellKind::gru, 3}});
    spec.bidirectional = true;
    spec.merge = merge;
    expect_sound_wiring(spec);
  }
}

TEST_P(WiringOfCells, LearntInitialStates) {
  RecurrentSpec spec = stack(2, {{GetParam(), 5}, {GetParam(), 3, {}, {2}}});
  spec.learn_initial_state = true;
  expect_sound_wiring(spec);
}
TEST(Wiring, LearntInitialStatesInBothDirections) {
  RecurrentSpec spec = stack(2, {{CellKind::gru, 3, {}, {2}}, {CellKind::lstm, 3}});
  spec.learn_initial_state = true;
  spec.bidirectional = true;
  expect_sound_wiring(spec);
}

TEST_P(WiringOfCells, Periods) {
  expect_sound_wiring(stack(2, {{GetParam(), 4, {}, {}, 1}, {GetParam(), 3, {}, {}, 3}, {GetParam(), 3, {}, {}, 2}}));
}
LayerSpec grouped(CellKind cell, std::int64_t size, std::vector<std::int64_t> periods,
                  std::vector<std::int64_t> delays = {}) {
  LayerSpec layer{cell, size, {}, std::move(delays)};
  layer.options.group_periods = std::move(periods);
  return layer;
}
TEST_P(WiringOfCells, ClockworkGroups) {
  expect_sound_wiring(stack(2, {grouped(GetParam(), 6, {1, 2, 3}), grouped(GetParam(), 4, {2, 5}, {2})}));
}
TEST(Wiring, ClockworkGroupsInBothDirectionsFromLearntStates) {
  RecurrentSpec spec = stack(2, {grouped(CellKind::lstm, 4, {1, 3}), {CellKind::gru, 3, {}, {}, 2}});
  spec.bidirectional = spec.learn_initial_state = true;
  expect_sound_wiring(spec);
}

// One group is a layer at a period: the same numbers, though the sums are made elsewhere.
TEST(Wiring, OneGroupIsALayerAtItsPeriod) {
  const RecurrentSpec group = stack(3, {grouped(CellKind::lstm, 5, {3})});
  const RecurrentSpec layer = stack(3, {{CellKind::lstm, 5, {}, {}, 3}});
  RecurrentInput input;
  input.x = test::numbers({11, 2, 3}, 1);
  const std::vector<Tensor> parameters = test::make_parameters(group);
  const Tensor a = recurrent(group, parameters, input).y, b = recurrent(layer, parameters, input).y;
  for (std::int64_t i = 0; i < a.numel(); ++i) EXPECT_NEAR(a.data<double>()[i], b.data<double>()[i], 1e-13);
}

// What stands in weight_hh where a group would see a faster one is not read, and gets no gradient.
TEST(Wiring, GroupsDoNotSeeFasterOnes) {
  const std::int64_t H = 6, size = 2;
  const RecurrentSpec spec = stack(2, {grouped(CellKind::gru, H, {1, 2, 4}, {2})});
  std::vector<Tensor> parameters = test::make_parameters(spec);
  RecurrentInput input;
  input.x = test::numbers({9, 2, 2}, 1);
  const auto faster = [&](std::int64_t i) { return i % H / size < i / H % H / size; };
  const Tensor before = recurrent(spec, parameters, input).y;
  for (const std::size_t w : {std::size_t{1}, parameters.size() - 1}) {
    ASSERT_EQ(parameters[w].shape(), (Shape{3 * H, H}));
    for (std::int64_t i = 0; i < parameters[w].numel(); ++i)
      if (faster(i)) parameters[w].mutable_data<double>()[i] = 1e300;
  }
  for (Tensor& p : parameters) p.set_requires_grad(true);
  const Tensor y = recurrent(spec, parameters, input).y;
  test::expect_same_bits(before, y, "y");
  sum(mul(y, y)).backward();
  for (const std::size_t w : {std::size_t{1}, parameters.size() - 1})
    for (std::int64_t i = 0; i < parameters[w].numel(); ++i)
      EXPECT_EQ(parameters[w].grad().data<double>()[i] == 0.0, faster(i)) << w << " " << i;
}

TEST(Wiring, PeriodsInBothDirections) {
  RecurrentSpec spec = stack(2, {{CellKind::lstm, 3, {}, {2, 3}, 2}, {CellKind::gru, 3, {}, {}, 3}});
  spec.bidirectional = true;
  expect_sound_wiring(spec);
}

TEST(Wiring, Everything) {
  RecurrentSpec spec = connected(
      Connection::highway,
      {{CellKind::lstm, 4, {}, {3}, 2}, {CellKind::gru, 5, {}, {}, 3}, {CellKind::gru_reset_before, 4, {}, {2, 5}, 1}});
  spec.learn_initial_state = true;
  expect_sound_wiring(spec);
  spec.connection = Connection::dense;
  expect_sound_wiring(spec);
}

TEST(Wiring, GoingBackwards) {
  RecurrentSpec spec = stack(3, {{CellKind::lstm, 4, {}, {2}}, {CellKind::gru, 3, {}, {}, 2}});
  spec.reverse = true;
  spec.learn_initial_state = true;
  for (const bool lengths : {false, true})
    for (const bool resets : {false, true}) {
      test::expect_wiring_gradients(spec, 7, 3, {lengths, resets}, resets);
      test::expect_threads_agree(spec, 9, 5, {lengths, resets});
    }
  test::expect_padded_equals_alone(spec, true);
  test::expect_resets_equal_separate(spec);
  EXPECT_THROW(Stream(spec, test::make_parameters(spec)), ArgumentError);
  // The same as one direction on the sequence turned round.
  RecurrentInput input;
  input.x = test::numbers({6, 2, 3}, 1);
  const std::vector<Tensor> parameters = test::make_parameters(spec);
  const RecurrentOutput backwards = recurrent(spec, parameters, input);
  const auto turned = [](const Tensor& x) {
    std::vector<Tensor> steps;
    for (std::int64_t t = x.size(0); t-- > 0;) steps.push_back(slice(x, 0, t, t + 1));
    return cat(steps, 0);
  };
  spec.reverse = false;
  input.x = turned(input.x);
  const RecurrentOutput forwards = recurrent(spec, parameters, input);
  test::expect_same_bits(turned(forwards.y), backwards.y, "y");
  test::expect_same_state(forwards.state, backwards.state, "state");
}

// Pieces read from the last to the first, the state carried, are the whole.
TEST(Wiring, GoingBackwardsInChunks) {
  RecurrentSpec spec = stack(3, {{CellKind::lstm, 4, {}, {2, 4}}, {CellKind::gru, 3, {}, {}, 3}});
  spec.reverse = true;
  const std::vector<Tensor> parameters = test::make_parameters(spec, DType::float32);
  RecurrentInput input, chunk;
  input.x = test::numbers({11, 2, 3}, 1, DType::float32);
  const RecurrentOutput whole = recurrent(spec, parameters, input);
  std::vector<Tensor> pieces;
  for (const auto& [first, last] : std::vector<std::pair<std::int64_t, std::int64_t>>{{7, 11}, {6, 7}, {0, 6}}) {
    chunk.x = slice(input.x, 0, first, last);
    const RecurrentOutput out = recurrent(spec, parameters, chunk);
    chunk.state = out.state;
    pieces.insert(pieces.begin(), out.y);
  }
  test::expect_same_bits(cat(pieces, 0), whole.y, "y");
  test::expect_same_state(chunk.state, whole.state, "state");
}

// A given state wins at the start, the learnt one at resets, at the very first step too.
TEST(Wiring, ResetsLeadToTheLearntState) {
  RecurrentSpec spec = stack(2, {{CellKind::lstm, 3, {}, {2}}});
  spec.learn_initial_state = true;
  const std::vector<Tensor> parameters = test::make_parameters(spec);
  RecurrentInput input;
  input.x = test::numbers({4, 2, 2}, 1);
  input.state = test::some_state(spec, 2, DType::float64);
  Tensor mask = Tensor::zeros({4, 2}, DType::uint8);
  mask.mutable_data<std::uint8_t>()[0] = 1;
  input.reset_mask = mask;
  const RecurrentOutput got = recurrent(spec, parameters, input);
  RecurrentInput plain = input;
  plain.reset_mask = Tensor();
  const RecurrentOutput carried = recurrent(spec, parameters, plain);
  plain.state = {};
  const RecurrentOutput fresh = recurrent(spec, parameters, plain);
  test::expect_same_bits(test::row_of(got.y, 0), test::row_of(fresh.y, 0), "the row that begins anew");
  test::expect_same_bits(test::row_of(got.y, 1), test::row_of(carried.y, 1), "the row that goes on");
}

TEST(Wiring, TheStateHasCOnlyWhereACellHasIt) {
  const RecurrentSpec spec = stack(2, {{CellKind::gru, 3}, {CellKind::lstm, 2}});
  RecurrentInput input;
  input.x = test::numbers({2, 1, 2}, 1);
  RecurrentState state = recurrent(spec, test::make_parameters(spec), input).state;
  ASSERT_EQ(state.c.size(), 2u);
  EXPECT_FALSE(state.c[0].defined());
  EXPECT_EQ(state.c[1].shape(), (Shape{1, 2}));
  input.state = state;
  input.state.c[0] = test::numbers({1, 3}, 2);
  EXPECT_THROW(recurrent(spec, test::make_parameters(spec), input), ArgumentError);
}

TEST(Wiring, JsonHoldsEveryOptionAndOnlyThoseThatDiffer) {
  const std::string plain = to_json(stack(2, {{CellKind::gru, 3}}));
  EXPECT_EQ(plain, R"({"bias":true,"bidirectional":false,"dropout":0.0,"input_size":2,)"
                   R"("layers":[{"cell":"gru","hidden_size":3}]})");
  RecurrentSpec spec = connected(Connection::highway, {{CellKind::lstm, 4, {}, {2, 5}, 3}, {CellKind::gru, 5}});
  spec.bidirectional = true;
  spec.merge = Merge::mean;
  spec.learn_initial_state = spec.same_mask = true;
  spec.input_dropout = 0.1;
  spec.output_dropout = 0.2;
  spec.weight_drop = 0.5;
  const std::string json = to_json(spec);
  const RecurrentSpec again = recurrent_spec_from_json(json);
  EXPECT_EQ(to_json(again), json);
  EXPECT_EQ(again.layers[0].delays, (std::vector<std::int64_t>{2, 5}));
  EXPECT_EQ(again.layers[0].period, 3);
  EXPECT_EQ(again.merge, Merge::mean);
  EXPECT_EQ(again.connection, Connection::highway);
  EXPECT_DOUBLE_EQ(again.weight_drop, 0.5);
  spec = stack(2, {{CellKind::gru, 3}});
  spec.reverse = true;
  EXPECT_TRUE(recurrent_spec_from_json(to_json(spec)).reverse);
  EXPECT_THROW(recurrent_spec_from_json(plain.substr(0, plain.size() - 1) + R"(,"delay":[2]})"), ArgumentError);
}

TEST(Wiring, ParametersHaveStableNames) {
  RecurrentSpec spec = connected(Connection::highway, {{CellKind::lstm, 4, {}, {2, 5}}, {CellKind::gru, 5}});
  spec.learn_initial_state = true;
  std::string names;
  for (const ParameterInfo& info : parameters_of(spec)) names += info.name + to_string(info.shape) + " ";
  EXPECT_EQ(names,
            "weight_ih_l0(16, 3) weight_hh_l0(16, 4) bias_ih_l0(16,) bias_hh_l0(16,) weight_delay_l0_d2(16, 4) "
            "weight_delay_l0_d5(16, 4) h_0_l0(4,) c_0_l0(4,) weight_ih_l1(15, 4) weight_hh_l1(15, 5) bias_ih_l1(15,) "
            "bias_hh_l1(15,) h_0_l1(5,) weight_skip_l1(5, 4) weight_highway_l1(5, 4) bias_highway_l1(5,) ");
}

TEST(Wiring, NonsenseIsOneClearError) {
  const auto message = [](const auto& change) -> std::string {
    RecurrentSpec spec = stack(2, {{CellKind::gru, 3}});
    change(spec);
    try {
      check(spec);
    } catch (const ArgumentError& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_NE(message([](RecurrentSpec& s) { s.layers[0].delays = {1}; }).find("[recurrent] delays: expected at most 16"),
            std::string::npos);
  EXPECT_NE(message([](RecurrentSpec& s) { s.layers[0].delays = {3, 3}; }).find("got [3, 3]"), std::string::npos);
  EXPECT_NE(message([](RecurrentSpec& s) { s.layers[0].period = 0; }).find("period"), std::string::npos);
  EXPECT_NE(message([](RecurrentSpec& s) { s.merge = Merge::sum; }).find("merge"), std::string::npos);
  EXPECT_NE(message([](RecurrentSpec& s) { s.same_mask = true; }).find("same_mask"), std::string::npos);
  EXPECT_NE(message([](RecurrentSpec& s) { s.weight_drop = 1.0; }).find("weight_drop"), std::string::npos);
  EXPECT_NE(message([](RecurrentSpec& s) { s.reverse = s.bidirectional = true; }).find("reverse"), std::string::npos);
}

// Regularisers: gradients with the masks held still, one mask for all steps, nothing outside training.
TEST(Wiring, Regularisers) {
  RecurrentSpec spec = connected(Connection::dense, {{CellKind::lstm, 4}, {CellKind::gru, 3}});
  spec.dropout = 0.4;
  spec.input_dropout = 0.3;
  spec.output_dropout = 0.2;
  spec.weight_drop = 0.5;
  for (const bool same_mask : {false, true}) {
    spec.same_mask = same_mask;
    std::vector<Tensor> values = {test::numbers({4, 2, 3}, 1)};
    for (const Tensor& p : test::make_parameters(spec)) values.push_back(p);
    RecurrentInput input;
    const auto run = [&](const std::vector<Tensor>& v, bool training) {
      Generator generator(7);
      input.x = v[0];
      input.training = training;
      input.generator = &generator;
      return recurrent(spec, {v.begin() + 1, v.end()}, input).y;
    };
    test::expect_gradients([&](const std::vector<Tensor>& v) { return run(v, true); }, values, 3e-6);
    const Tensor y = run(values, true);
    std::vector<bool> dropped(6, true);
    for (std::int64_t i = 0; i < y.numel(); ++i)
      if (y.data<double>()[i] != 0.0) dropped[static_cast<std::size_t>(i % 6)] = false;
    std::int64_t zeros = 0;
    for (std::int64_t i = 0; i < y.numel(); ++i) zeros += y.data<double>()[i] == 0.0;
    const auto columns = static_cast<std::int64_t>(std::count(dropped.begin(), dropped.end(), true));
    if (same_mask) {
      EXPECT_EQ(zeros, 4 * columns) << "a dropped unit is dropped at every step";
    }
    RecurrentSpec plain = spec;
    plain.dropout = plain.input_dropout = plain.output_dropout = plain.weight_drop = 0.0;
    plain.same_mask = false;
    const Tensor quiet = run(values, false);
    RecurrentInput other;
    other.x = values[0];
    test::expect_same_bits(quiet, recurrent(plain, {values.begin() + 1, values.end()}, other).y, "outside training");
  }
}

}  // namespace
}  // namespace rnncore
