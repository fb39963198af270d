// The stack: layers over directions, dropout between layers, states in and out.
#include "core/recurrent_layer.h"
#include "rnncore/ops.hpp"

namespace rnncore {
namespace {

constexpr const char* kOp = "recurrent";

void check_state(const RecurrentSpec& spec, const std::vector<Tensor>& state, const char* name, std::int64_t N,
                 DType dtype, bool is_cell) {
  if (state.empty()) return;
  const std::size_t wanted = spec.layers.size() * static_cast<std::size_t>(spec.directions());
  if (state.size() != wanted)
    throw_argument(kOp, name, std::to_string(wanted) + " tensors, one per layer and direction",
                   std::to_string(state.size()));
  for (std::size_t i = 0; i < wanted; ++i) {
    if (!state[i].defined()) continue;
    const LayerSpec& layer = spec.layers[i / static_cast<std::size_t>(spec.directions())];
    const Shape shape = {N, layer.hidden_size};
    const std::string argument = std::string(name) + "[" + std::to_string(i) + "]";
    if (is_cell && states_of(layer.cell) < 2)
      throw_argument(kOp, argument, std::string("none for ") + name_of(layer.cell), "a state", "it has no cell state");
    if (state[i].shape() != shape)
      throw_argument(kOp, argument, "shape (N, H) = " + to_string(shape), to_string(state[i].shape()));
    if (state[i].dtype() != dtype) throw_type(kOp, argument, name_of(dtype), name_of(state[i].dtype()));
  }
}

void check_past(const RecurrentSpec& spec, const std::vector<Tensor>& past, std::int64_t N, DType dtype) {
  if (past.empty()) return;
  const std::size_t wanted = spec.layers.size() * static_cast<std::size_t>(spec.directions());
  if (past.size() != wanted)
    throw_argument(kOp, "past", std::to_string(wanted) + " tensors, one per layer and direction",
                   std::to_string(past.size()));
  for (std::size_t i = 0; i < wanted; ++i) {
    if (!past[i].defined()) continue;
    const LayerSpec& layer = spec.layers[i / static_cast<std::size_t>(spec.directions())];
    const std::string argument = "past[" + std::to_string(i) + "]";
    if (layer.delays.empty()) throw_argument(kOp, argument, "none", "a state", "this layer has no delays");
    const Shape shape = {layer.delays.back() - 1, N, layer.hidden_size};
    if (past[i].shape() != shape)
      throw_argument(kOp, argument, "shape (d_max-1, N, H) = " + to_string(shape), to_string(past[i].shape()));
    if (past[i].dtype() != dtype) throw_type(kOp, argument, name_of(dtype), name_of(past[i].dtype()));
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

void check_features(const RecurrentSpec& spec, const Tensor& x) {
  if (x.dim() != 3 || x.size(2) != spec.input_size)
    throw_argument(kOp, "x", "shape (T, N, " + std::to_string(spec.input_size) + ")", to_string(x.shape()),
                   "time first; the last axis is input_size");
}

void check_tokens(const RecurrentSpec& spec, const Tensor& ids, const Tensor& embedding) {
  if (ids.dtype() != DType::int64) throw_type(kOp, "ids", "int64", name_of(ids.dtype()));
  if (ids.dim() != 2) throw_argument(kOp, "ids", "shape (T, N)", to_string(ids.shape()));
  if (!embedding.defined()) throw_argument(kOp, "embedding", "a tensor (V, I) beside ids", "none");
  if (embedding.dim() != 2 || embedding.size(1) != spec.input_size)
    throw_argument(kOp, "embedding", "shape (V, " + std::to_string(spec.input_size) + ")",
                   to_string(embedding.shape()));
  const std::int64_t V = embedding.size(0), N = ids.size(1);
  const std::int64_t* values = ids.data<std::int64_t>();
  for (std::int64_t i = 0; i < ids.numel(); ++i)
    if (values[i] < 0 || values[i] >= V)
      throw_argument(kOp, "ids[" + std::to_string(i / N) + ", " + std::to_string(i % N) + "]",
                     "0 <= id < V = " + std::to_string(V), std::to_string(values[i]));
}

void check_input(const RecurrentSpec& spec, const std::vector<Tensor>& parameters, const RecurrentInput& input) {
  check_parameters(kOp, spec, parameters);
  const bool tokens = input.ids.defined();
  if (tokens == input.x.defined())
    throw_argument(kOp, "x", "either x, or ids and embedding", tokens ? "both" : "neither");
  if (tokens)
    check_tokens(spec, input.ids, input.embedding);
  else
    check_features(spec, input.x);
  const Tensor& read = tokens ? input.embedding : input.x;
  if (read.dtype() != parameters[0].dtype())
    throw_type(kOp, tokens ? "embedding" : "x", name_of(parameters[0].dtype()), name_of(read.dtype()),
               "the parameters' dtype; convert it");
  const Shape& steps = tokens ? input.ids.shape() : input.x.shape();
  if (steps[0] < 1) throw_argument(kOp, tokens ? "ids" : "x", "at least one time step", to_string(steps));
  check_state(spec, input.state.h, "h_0", steps[1], read.dtype(), false);
  check_state(spec, input.state.c, "c_0", steps[1], read.dtype(), true);
  check_past(spec, input.state.past, steps[1], read.dtype());
  check_masks(input, steps[0], steps[1]);
  if (input.training && spec.dropout > 0.0 && spec.layers.size() > 1 && input.generator == nullptr)
    throw_argument(kOp, "generator", "a Generator, since dropout acts in training", "none");
}

// A table of the input product pays where it has fewer rows than there are steps; else tokens are looked up first.
LayerInput first_input(const RecurrentInput& input) {
  LayerInput in;
  in.lengths = input.lengths;
  in.reset_mask = input.reset_mask;
  if (!input.ids.defined()) {
    in.x = input.x;
  } else if (input.embedding.size(0) < input.ids.numel()) {
    in.x = input.embedding;
    in.ids = input.ids;
  } else {
    in.x = embedding(input.embedding, input.ids);
  }
  return in;
}

}  // namespace

RecurrentOutput recurrent(const RecurrentSpec& spec, const std::vector<Tensor>& parameters,
                          const RecurrentInput& input) {
  check_input(spec, parameters, input);
  RecurrentOutput out;
  LayerInput in = first_input(input);
  const bool cells = spec.has_cell_state(), delays = spec.has_delays();
  const StackParameters stack = split_parameters(spec, parameters);
  const std::int64_t layers = static_cast<std::int64_t>(spec.layers.size());
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    std::vector<Tensor> outputs;
    for (std::int64_t direction = 0; direction < spec.directions(); ++direction) {
      const std::size_t i = static_cast<std::size_t>(layer * spec.directions() + direction);
      const auto given = [i](const std::vector<Tensor>& kind) { return kind.empty() ? Tensor() : kind[i]; };
      in.start = {given(input.state.h), given(input.state.c), given(input.state.past)};
      in.reverse = direction == 1;
      LayerResult r = recurrent_layer(spec.layers[static_cast<std::size_t>(layer)], stack.layers[i], in);
      outputs.push_back(r.y);
      out.state.h.push_back(r.state.h);
      if (cells) out.state.c.push_back(r.state.c);
      if (delays) out.state.past.push_back(r.state.past);
    }
    in.ids = Tensor();
    in.x = outputs.size() == 1 ? outputs[0] : cat(outputs, 2);
    if (layer + 1 < layers && input.training && spec.dropout > 0.0)
      in.x = dropout(in.x, spec.dropout, true, *input.generator);
  }
  out.y = in.x;
  return out;
}

}  // namespace rnncore
