// What a stack of recurrent layers is made of: names, sizes, parameters.
#include <array>

#include "core/recurrent_layer.h"

namespace rnncore {

namespace {

constexpr std::array<const char*, 3> kMerges = {"concat", "sum", "mean"};
constexpr std::array<const char*, 4> kConnections = {"none", "residual", "highway", "dense"};

template <typename Kind, std::size_t COUNT>
Kind kind_from_name(const std::array<const char*, COUNT>& names, const char* argument, const std::string& name) {
  std::string known;
  for (std::size_t i = 0; i < COUNT; ++i) {
    if (name == names[i]) return static_cast<Kind>(i);
    known += (known.empty() ? "" : ", ") + std::string(names[i]);
  }
  throw_argument("recurrent", argument, "one of " + known, "'" + name + "'");
}

}  // namespace

const char* name_of(Merge merge) { return kMerges[static_cast<std::size_t>(merge)]; }
Merge merge_from_name(const std::string& name) { return kind_from_name<Merge>(kMerges, "merge", name); }
const char* name_of(Connection connection) { return kConnections[static_cast<std::size_t>(connection)]; }
Connection connection_from_name(const std::string& name) {
  return kind_from_name<Connection>(kConnections, "connection", name);
}

std::int64_t RecurrentSpec::layer_output_size(std::int64_t layer) const {
  const bool both = bidirectional && merge == Merge::concat;
  return layers[static_cast<std::size_t>(layer)].state_size() * (both ? 2 : 1);
}

std::int64_t RecurrentSpec::layer_input_size(std::int64_t layer) const {
  if (layer == 0) return input_size;
  if (connection != Connection::dense) return layer_output_size(layer - 1);
  std::int64_t size = input_size;
  for (std::int64_t below = 0; below < layer; ++below) size += layer_output_size(below);
  return size;
}

std::int64_t RecurrentSpec::output_size() const {
  return layers.empty() ? input_size : layer_output_size(static_cast<std::int64_t>(layers.size()) - 1);
}

bool RecurrentSpec::has_periods() const {
  for (const LayerSpec& layer : layers)
    if (layer.period > 1 || !layer.options.group_periods.empty()) return true;
  return false;
}

bool RecurrentSpec::needs_generator() const {
  for (const LayerSpec& layer : layers)
    if (draws_masks(layer.options)) return true;
  return input_dropout > 0.0 || output_dropout > 0.0 || weight_drop > 0.0 || (dropout > 0.0 && layers.size() > 1);
}

bool RecurrentSpec::has_cell_state() const {
  for (const LayerSpec& layer : layers)
    if (states_of(layer.cell) == 2) return true;
  return false;
}

bool RecurrentSpec::has_delays() const {
  for (const LayerSpec& layer : layers)
    if (!layer.delays.empty()) return true;
  return false;
}

namespace {

void check_delays(const std::vector<std::int64_t>& delays) {
  constexpr std::size_t kMost = 16;
  constexpr std::int64_t kLongest = 1 << 16;
  std::string got;
  bool right = delays.size() <= kMost;
  for (std::size_t i = 0; i < delays.size(); ++i) {
    got += (i > 0 ? ", " : "") + std::to_string(delays[i]);
    right = right && delays[i] >= 2 && delays[i] <= kLongest && (i == 0 || delays[i] > delays[i - 1]);
  }
  if (!right)
    throw_argument(
        "recurrent", "delays",
        "at most " + std::to_string(kMost) + " numbers of steps, ascending, from 2 to " + std::to_string(kLongest),
        "[" + got + "]", "h_{t-1} always enters, through weight_hh");
}

}  // namespace

void check(const RecurrentSpec& spec) {
  const auto positive = [](const char* argument, std::int64_t value) {
    if (value < 1) throw_argument("recurrent", argument, "at least 1", std::to_string(value));
  };
  positive("input_size", spec.input_size);
  positive("num_layers", static_cast<std::int64_t>(spec.layers.size()));
  for (const LayerSpec& layer : spec.layers) {
    check(layer);
    check_delays(layer.delays);
    if (spec.weight_drop > 0.0 && !has_recurrent_product(layer.cell))
      throw_argument("recurrent", "weight_drop", std::string("0 for the cell '") + name_of(layer.cell) + "'",
                     std::to_string(spec.weight_drop), "it has no recurrent product");
    if (layer.period < 1 || layer.period > kLongestPeriod)
      throw_argument("recurrent", "period", "a number of steps from 1 to " + std::to_string(kLongestPeriod),
                     std::to_string(layer.period));
  }
  const auto probability = [](const char* argument, double value) {
    if (!(value >= 0.0 && value < 1.0))
      throw_argument("recurrent", argument, "a probability in [0, 1)", std::to_string(value));
  };
  probability("dropout", spec.dropout);
  probability("input_dropout", spec.input_dropout);
  probability("output_dropout", spec.output_dropout);
  probability("weight_drop", spec.weight_drop);
  if (spec.reverse && spec.bidirectional)
    throw_argument("recurrent", "reverse", "false, since bidirectional reads both ways", "true");
  if (spec.merge != Merge::concat && !spec.bidirectional)
    throw_argument("recurrent", "merge", "'concat' with one direction", std::string("'") + name_of(spec.merge) + "'",
                   "there is nothing to merge");
  if (spec.same_mask && spec.input_dropout == 0.0 && spec.dropout == 0.0 && spec.output_dropout == 0.0)
    throw_argument("recurrent", "same_mask", "false, since no dropout acts on inputs, between layers or on outputs",
                   "true");
}

namespace {

// Calls visit(name, shape, fan, start, tensor) for every parameter, in order: the one place that knows the order.
// `tensor` is where the parameter stands in `stack`, which gets the shape of the spec.
template <class Visit>
void visit_layer(const RecurrentSpec& spec, std::int64_t k, bool reverse, LayerParameters& p, const Visit& visit) {
  const LayerSpec& layer = spec.layers[static_cast<std::size_t>(k)];
  const std::int64_t H = layer.hidden_size, R = layer.state_size(), GH = gates_of(layer) * H;
  const auto own = [&](const char* base, Shape shape, Tensor& tensor, std::int64_t delay = 0,
                       std::optional<double> start = std::nullopt) {
    const auto name = [&] {
      return base + ("_l" + std::to_string(k)) + (delay > 0 ? "_d" + std::to_string(delay) : "") +
             (reverse ? "_reverse" : "");
    };
    visit(name, std::move(shape), H, start, tensor);
  };
  own("weight_ih", {GH, spec.layer_input_size(k)}, p.weight_ih);
  const bool product = has_recurrent_product(layer.cell);
  if (product) own("weight_hh", {GH, R}, p.weight_hh);
  if (spec.bias) own("bias_ih", {GH}, p.bias_ih);
  if (spec.bias && product) own("bias_hh", {GH}, p.bias_hh);
  if (layer.proj_size > 0) own("weight_hr", {R, H}, p.weight_hr);
  const std::int64_t rows = unit_weights_of(layer.cell, layer.options);
  if (layer.cell == CellKind::indrnn)
    own("weight_u", {H}, p.unit);
  else if (rows > 0)
    own("weight_peephole", {rows, H}, p.unit);
  if (layer.options.layer_norm) {
    const bool lstm = layer.cell == CellKind::lstm;
    if (!normalises_sum(layer.cell)) own("norm_weight_ih", {GH}, p.norm_ih, 0, 1.0);
    if (product) own("norm_weight_hh", {GH}, p.norm_hh, 0, 1.0);
    if (lstm) own("norm_weight_c", {H}, p.norm_c, 0, 1.0);
    if (lstm && spec.bias) own("norm_bias_c", {H}, p.norm_bias_c, 0, 0.0);
  }
  p.weight_delay.resize(layer.delays.size());
  for (std::size_t d = 0; d < layer.delays.size(); ++d)
    own("weight_delay", {GH, R}, p.weight_delay[d], layer.delays[d]);
  if (!spec.learn_initial_state) return;
  own("h_0", {R}, p.h_0, 0, 0.0);
  if (states_of(layer.cell) == 2) own("c_0", {H}, p.c_0, 0, 0.0);
}

template <class Visit>
void visit_connection(const RecurrentSpec& spec, std::int64_t k, ConnectionParameters& p, const Visit& visit) {
  const bool highway = spec.connection == Connection::highway;
  if (k == 0 || (!highway && spec.connection != Connection::residual)) return;
  const std::int64_t O = spec.layer_output_size(k), below = spec.layer_output_size(k - 1);
  const auto own = [&](const char* base, Shape shape, Tensor& tensor, std::optional<double> start = std::nullopt) {
    visit([&] { return base + ("_l" + std::to_string(k)); }, std::move(shape), O, start, tensor);
  };
  if (O != below) own("weight_skip", {O, below}, p.weight_skip);
  if (!highway) return;
  own("weight_highway", {O, below}, p.weight_highway);
  own("bias_highway", {O}, p.bias_highway, -1.0);
}

template <class Visit>
void visit_parameters(const RecurrentSpec& spec, StackParameters& stack, const Visit& visit) {
  stack.layers.resize(spec.layers.size() * static_cast<std::size_t>(spec.directions()));
  stack.connections.resize(spec.layers.size());
  std::size_t i = 0;
  for (std::int64_t k = 0; k < static_cast<std::int64_t>(spec.layers.size()); ++k) {
    for (std::int64_t direction = 0; direction < spec.directions(); ++direction)
      visit_layer(spec, k, direction == 1, stack.layers[i++], visit);
    visit_connection(spec, k, stack.connections[static_cast<std::size_t>(k)], visit);
  }
}

}  // namespace

std::vector<ParameterInfo> parameters_of(const RecurrentSpec& spec) {
  check(spec);
  std::vector<ParameterInfo> parameters;
  StackParameters stack;
  const auto add = [&](const auto& name, Shape shape, std::int64_t hidden, std::optional<double> start, Tensor&) {
    parameters.push_back({name(), std::move(shape), hidden, start});
  };
  visit_parameters(spec, stack, add);
  return parameters;
}

StackParameters split_parameters(const RecurrentSpec& spec, const std::vector<Tensor>& parameters) {
  StackParameters stack;
  std::size_t next = 0;
  const auto take = [&](const auto&, const Shape&, std::int64_t, std::optional<double>, Tensor& tensor) {
    tensor = parameters[next++];
  };
  visit_parameters(spec, stack, take);
  return stack;
}

}  // namespace rnncore
