// The wiring of stacks: every option against the properties of wiring.h. Values are checked against independent NumPy
// references in tests/python/test_wiring.py.
#include "wiring.h"

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
                                      CellKind::lstm,     CellKind::gru,      CellKind::gru_reset_before};

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
  expect_sound_wiring(stack(2, {{GetParam(), 21, {}, {3}}, {GetParam(), 3, {}, {2, 9}}}));
}
TEST_P(WiringOfCells, DelaysInBothDirections) {
  RecurrentSpec spec = stack(2, {{GetParam(), 4, {}, {2, 3}}});
  spec.bidirectional = true;
  expect_sound_wiring(spec);
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

}  // namespace
}  // namespace rnncore
