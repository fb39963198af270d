// What a stack of recurrent layers is made of: names, sizes, parameters.
#include <array>

#include "rnncore/recurrent.hpp"

namespace rnncore {
namespace {

struct CellFacts {
  CellKind kind;
  const char* name;
  std::int64_t gates, states;
};
constexpr std::array<CellFacts, 6> kCells = {{
    {CellKind::rnn_tanh, "rnn-tanh", 1, 1},
    {CellKind::rnn_relu, "rnn-relu", 1, 1},
    {CellKind::rnn_sigmoid, "rnn-sigmoid", 1, 1},
    {CellKind::lstm, "lstm", 4, 2},
    {CellKind::gru, "gru", 3, 1},
    {CellKind::gru_reset_before, "gru-reset-before", 3, 1},
}};

const CellFacts& facts(CellKind cell) { return kCells[static_cast<std::size_t>(cell)]; }

}  // namespace

const char* name_of(CellKind cell) { return facts(cell).name; }
std::int64_t gates_of(CellKind cell) { return facts(cell).gates; }
std::int64_t states_of(CellKind cell) { return facts(cell).states; }

CellKind cell_from_name(const std::string& name) {
  std::string known;
  for (const CellFacts& f : kCells) {
    if (name == f.name) return f.kind;
    known += (known.empty() ? "" : ", ") + std::string(f.name);
  }
  throw_argument("recurrent", "cell", "one of " + known, "'" + name + "'");
}

std::int64_t RecurrentSpec::layer_input_size(std::int64_t layer) const {
  return layer == 0 ? input_size : layers[static_cast<std::size_t>(layer - 1)].hidden_size * directions();
}

std::int64_t RecurrentSpec::output_size() const {
  return layers.empty() ? input_size : layers.back().hidden_size * directions();
}

void check(const RecurrentSpec& spec) {
  const auto positive = [](const char* argument, std::int64_t value) {
    if (value < 1) throw_argument("recurrent", argument, "at least 1", std::to_string(value));
  };
  positive("input_size", spec.input_size);
  positive("num_layers", static_cast<std::int64_t>(spec.layers.size()));
  for (const LayerSpec& layer : spec.layers) {
    positive("hidden_size", layer.hidden_size);
    if (layer.cell != spec.layers.front().cell)
      throw_argument("recurrent", "cell", "one kind for all layers",
                     std::string(name_of(spec.layers.front().cell)) + " and " + name_of(layer.cell));
  }
  if (!(spec.dropout >= 0.0 && spec.dropout < 1.0))
    throw_argument("recurrent", "dropout", "a probability in [0, 1)", std::to_string(spec.dropout));
}

std::vector<ParameterInfo> parameters_of(const RecurrentSpec& spec) {
  check(spec);
  std::vector<ParameterInfo> parameters;
  for (std::size_t k = 0; k < spec.layers.size(); ++k) {
    const std::int64_t H = spec.layers[k].hidden_size, GH = gates_of(spec.layers[k].cell) * H;
    for (std::int64_t direction = 0; direction < spec.directions(); ++direction) {
      const std::string suffix = "_l" + std::to_string(k) + (direction ? "_reverse" : "");
      parameters.push_back({"weight_ih" + suffix, {GH, spec.layer_input_size(static_cast<std::int64_t>(k))}, H});
      parameters.push_back({"weight_hh" + suffix, {GH, H}, H});
      if (!spec.bias) continue;
      parameters.push_back({"bias_ih" + suffix, {GH}, H});
      parameters.push_back({"bias_hh" + suffix, {GH}, H});
    }
  }
  return parameters;
}

}  // namespace rnncore
