// The stack: layers over directions, dropout between layers, states in and out.
#include "core/recurrent_layer.h"
#include "rnncore/ops.hpp"

namespace rnncore {
namespace {

constexpr const char* kOp = "recurrent";

void check_state(const RecurrentSpec& spec, const std::vector<Tensor>& state, const char* name, std::int64_t N, DType dtype) {
  if (state.empty()) return;
  const std::size_t wanted = spec.layers.size() * static_cast<std::size_t>(spec.directions());
  if (state.size() != wanted)
    throw_argument(kOp, name, std::to_string(wanted) + " tensors, one per layer and direction", std::to_string(state.size()));
  for (std::size_t i = 0; i < wanted; ++i) {
    if (!state[i].defined()) continue;
    const Shape shape = {N, spec.layers[i / static_cast<std::size_t>(spec.directions())].hidden_size};
    const std::string argument = std::string(name) + "[" + std::to_string(i) + "]";
    if (state[i].shape() != shape)
      throw_argument(kOp, argument, "shape (N, H) = " + to_string(shape), to_string(state[i].shape()));
    if (state[i].dtype() != dtype) throw_type(kOp, argument, name_of(dtype), name_of(state[i].dtype()));
  }
}

void check_masks(const RecurrentInput& input, std::int64_t T, std::int64_t N) {
  if (const Tensor& lengths = input.lengths; lengths.defined()) {
    if (lengths.dtype() != DType::int64) throw_type(kOp, "lengths", "int64", name_of(lengths.dtype()));
    if (lengths.shape() != Shape{N})
      throw_argument(kOp, "lengths", "shape (N,) = " + to_string({N}), to_string(lengths.shape()));
    const std::int64_t* values = lengths.data<std::int64_t>();
    for (std::int64_t n = 0; n < N; ++n)
      if (values[n] < 0 || values[n] > T)
        throw_argument(kOp, "lengths[" + std::to_string(n) + "]", "0 <= length <= T = " + std::to_string(T),
                       std::to_string(values[n]));
  }
  if (const Tensor& reset = input.reset_mask; reset.defined()) {
    if (reset.dtype() != DType::uint8) throw_type(kOp, "reset_mask", "uint8 (bool)", name_of(reset.dtype()));
    if (reset.shape() != Shape{T, N})
      throw_argument(kOp, "reset_mask", "shape (T, N) = " + to_string({T, N}), to_string(reset.shape()));
  }
}

void check_input(const RecurrentSpec& spec, const std::vector<Tensor>& parameters, const RecurrentInput& input) {
  check_parameters(kOp, spec, parameters);
  const Tensor& x = input.x;
  if (!x.defined()) throw_argument(kOp, "x", "a tensor", "none");
  if (x.dim() != 3 || x.size(2) != spec.input_size)
    throw_argument(kOp, "x", "shape (T, N, " + std::to_string(spec.input_size) + ")", to_string(x.shape()),
                   "time first; the last axis is input_size");
  if (x.size(0) < 1) throw_argument(kOp, "x", "at least one time step", to_string(x.shape()));
  if (x.dtype() != parameters[0].dtype())
    throw_type(kOp, "x", name_of(parameters[0].dtype()), name_of(x.dtype()), "the parameters' dtype; convert x");
  const std::int64_t N = x.size(1);
  check_state(spec, input.state.h, "h_0", N, x.dtype());
  check_state(spec, input.state.c, "c_0", N, x.dtype());
  if (!input.state.c.empty() && states_of(spec.layers[0].cell) < 2)
    throw_argument(kOp, "c_0", std::string("none for ") + name_of(spec.layers[0].cell), "a state", "only the LSTM has a cell state");
  check_masks(input, x.size(0), N);
  if (input.training && spec.dropout > 0.0 && spec.layers.size() > 1 && input.generator == nullptr)
    throw_argument(kOp, "generator", "a Generator, since dropout acts in training", "none");
}

}  // namespace

RecurrentOutput recurrent(const RecurrentSpec& spec, const std::vector<Tensor>& parameters, const RecurrentInput& input) {
  check_input(spec, parameters, input);
  RecurrentOutput out;
  Tensor x = input.x;
  const std::int64_t layers = static_cast<std::int64_t>(spec.layers.size());
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const CellKind cell = spec.layers[static_cast<std::size_t>(layer)].cell;
    std::vector<Tensor> outputs;
    for (std::int64_t direction = 0; direction < spec.directions(); ++direction) {
      const std::size_t i = static_cast<std::size_t>(layer * spec.directions() + direction);
      const Tensor h0 = input.state.h.empty() ? Tensor() : input.state.h[i];
      const Tensor c0 = input.state.c.empty() ? Tensor() : input.state.c[i];
      LayerResult r = recurrent_layer(cell, layer_parameters(spec, parameters, layer, direction), x, h0, c0,
                                      input.lengths, input.reset_mask, direction == 1);
      outputs.push_back(r.y);
      out.state.h.push_back(r.h);
      if (r.c.defined()) out.state.c.push_back(r.c);
    }
    x = outputs.size() == 1 ? outputs[0] : cat(outputs, 2);
    if (layer + 1 < layers && input.training && spec.dropout > 0.0) x = dropout(x, spec.dropout, true, *input.generator);
  }
  out.y = x;
  return out;
}

}  // namespace rnncore
