// What a stack of recurrent layers is made of: names, sizes, parameters.
#include "core/recurrent_layer.h"

namespace rnncore {

std::int64_t RecurrentSpec::layer_input_size(std::int64_t layer) const {
  return layer == 0 ? input_size : layers[static_cast<std::size_t>(layer - 1)].hidden_size * directions();
}

std::int64_t RecurrentSpec::output_size() const {
  return layers.empty() ? input_size : layers.back().hidden_size * directions();
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
  }
  if (!(spec.dropout >= 0.0 && spec.dropout < 1.0))
    throw_argument("recurrent", "dropout", "a probability in [0, 1)", std::to_string(spec.dropout));
}

namespace {

// Calls visit(name, shape, tensor) for every parameter, in order: the one place that knows the order. `tensor` is where
// the parameter stands in `stack`, which gets the shape of the spec.
template <class Visit>
void visit_parameters(const RecurrentSpec& spec, StackParameters& stack, const Visit& visit) {
  stack.layers.resize(spec.layers.size() * static_cast<std::size_t>(spec.directions()));
  for (std::size_t i = 0; i < stack.layers.size(); ++i) {
    const std::int64_t k = static_cast<std::int64_t>(i) / spec.directions();
    const bool reverse = static_cast<std::int64_t>(i) % spec.directions() == 1;
    const LayerSpec& layer = spec.layers[static_cast<std::size_t>(k)];
    const std::int64_t H = layer.hidden_size, GH = gates_of(layer) * H;
    LayerParameters& p = stack.layers[i];
    const auto own = [&](const char* base, Shape shape, Tensor& tensor, std::int64_t delay = 0) {
      const auto name = [&] {
        return base + ("_l" + std::to_string(k)) + (delay > 0 ? "_d" + std::to_string(delay) : "") +
               (reverse ? "_reverse" : "");
      };
      visit(name, std::move(shape), H, tensor);
    };
    own("weight_ih", {GH, spec.layer_input_size(k)}, p.weight_ih);
    own("weight_hh", {GH, H}, p.weight_hh);
    if (spec.bias) {
      own("bias_ih", {GH}, p.bias_ih);
      own("bias_hh", {GH}, p.bias_hh);
    }
    if (const std::int64_t rows = unit_weights_of(layer)) own("weight_peephole", {rows, H}, p.unit);
    p.weight_delay.resize(layer.delays.size());
    for (std::size_t d = 0; d < layer.delays.size(); ++d)
      own("weight_delay", {GH, H}, p.weight_delay[d], layer.delays[d]);
  }
}

}  // namespace

std::vector<ParameterInfo> parameters_of(const RecurrentSpec& spec) {
  check(spec);
  std::vector<ParameterInfo> parameters;
  StackParameters stack;
  visit_parameters(spec, stack, [&](const auto& name, Shape shape, std::int64_t hidden, Tensor&) {
    parameters.push_back({name(), std::move(shape), hidden});
  });
  return parameters;
}

StackParameters split_parameters(const RecurrentSpec& spec, const std::vector<Tensor>& parameters) {
  StackParameters stack;
  std::size_t next = 0;
  visit_parameters(spec, stack,
                   [&](const auto&, const Shape&, std::int64_t, Tensor& tensor) { tensor = parameters[next++]; });
  return stack;
}

}  // namespace rnncore
