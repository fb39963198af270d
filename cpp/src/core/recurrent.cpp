// The stack: layers over directions and time scales, connections and dropout between layers, states in and out.
#include "core/probed_layer.h"
#include "core/time_scales.h"
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
    const Shape shape = {N, is_cell ? layer.hidden_size : layer.state_size()};
    const std::string argument = std::string(name) + "[" + std::to_string(i) + "]";
    if (is_cell && states_of(layer.cell) < 2)
      throw_argument(kOp, argument, std::string("none for ") + name_of(layer.cell), "a state", "it has no cell state");
    if (state[i].shape() != shape)
      throw_argument(
          kOp, argument,
          std::string("shape (N, ") + (!is_cell && layer.proj_size > 0 ? "proj_size" : "H") + ") = " + to_string(shape),
          to_string(state[i].shape()));
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
    const Shape shape = {layer.delays.back() - 1, N, layer.state_size()};
    if (past[i].shape() != shape)
      throw_argument(kOp, argument, "shape (d_max-1, N, H) = " + to_string(shape), to_string(past[i].shape()));
    if (past[i].dtype() != dtype) throw_type(kOp, argument, name_of(dtype), name_of(past[i].dtype()));
  }
}

void check_clock(const RecurrentSpec& spec, const Tensor& clock, std::int64_t N) {
  if (!clock.defined()) return;
  if (!spec.has_periods())
    throw_argument(kOp, "clock", "none", "a state", "no layer and no group of units has a period");
  if (clock.dtype() != DType::int64) throw_type(kOp, "clock", "int64", name_of(clock.dtype()));
  if (clock.shape() != Shape{N})
    throw_argument(kOp, "clock", "shape (N,) = " + to_string({N}), to_string(clock.shape()));
  for (std::int64_t n = 0; n < N; ++n)
    if (clock.data<std::int64_t>()[n] < 0)
      throw_argument(kOp, "clock[" + std::to_string(n) + "]", "a number of steps", "a negative number");
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
  check_clock(spec, input.state.clock, steps[1]);
  check_masks(input, steps[0], steps[1]);
  if (input.training && spec.needs_generator() && input.generator == nullptr)
    throw_argument(kOp, "generator", "a Generator, since dropout or zoneout act in training", "none");
}

// One evaluation of a stack.
class StackRun {
 public:
  StackRun(const RecurrentSpec& spec, const std::vector<Tensor>& parameters, const RecurrentInput& input,
           RecurrentProbe* probe)
      : spec_(spec), input_(input), stack_(split_parameters(spec, parameters)), probe_(probe) {
    const Shape& steps = input.ids.defined() ? input.ids.shape() : input.x.shape();
    T_ = steps[0];
    N_ = steps[1];
  }

  RecurrentOutput run() {
    LayerInput in = first_input();
    std::vector<Tensor> seen;  // dense: the input and every output below
    if (spec_.connection == Connection::dense && spec_.layers.size() > 1)
      seen.push_back(in.ids.defined() ? embedding(in.x, in.ids) : in.x);
    Tensor y;
    const std::int64_t layers = static_cast<std::int64_t>(spec_.layers.size());
    for (std::int64_t k = 0; k < layers; ++k) {
      const Tensor below = y;
      y = connected(k, both_directions(k, in), below);
      if (k + 1 == layers) break;
      in.ids = Tensor();
      in.x = dropped(y, spec_.dropout);
      if (seen.empty()) continue;
      seen.push_back(in.x);
      in.x = cat(seen, 2);
    }
    out_.y = dropped(y, spec_.output_dropout);
    if (spec_.has_periods())
      out_.state.clock = advanced_clock(input_.state.clock, input_.lengths, input_.reset_mask, spec_.reverse, T_, N_);
    return std::move(out_);
  }

 private:
  // A table of the input product pays where it has fewer rows than there are steps; else tokens are looked up first.
  LayerInput first_input() const {
    LayerInput in;
    in.lengths = input_.lengths;
    in.generator = input_.training ? input_.generator : nullptr;
    in.reset_mask = input_.reset_mask;
    in.own_reset = spec_.learn_initial_state;
    const bool drops = input_.training && spec_.input_dropout > 0.0;
    if (input_.ids.defined() && !drops && probe_ == nullptr && input_.embedding.size(0) < input_.ids.numel()) {
      in.x = input_.embedding;
      in.ids = input_.ids;
    } else {
      in.x = dropped(input_.ids.defined() ? embedding(input_.embedding, input_.ids) : input_.x, spec_.input_dropout);
    }
    return in;
  }

  // x (T, N, F) with dropout in training: a mask for every step, or one for all steps (Gal & Ghahramani 2016).
  Tensor dropped(const Tensor& x, double p) const {
    if (!input_.training || p == 0.0) return x;
    if (!spec_.same_mask) return dropout(x, p, true, *input_.generator);
    const Tensor ones = Tensor::full({1, x.size(1), x.size(2)}, 1.0, x.dtype());
    return mul(x, dropout(ones, p, true, *input_.generator));
  }

  Tensor both_directions(std::int64_t k, LayerInput& in) {
    std::vector<Tensor> outputs;
    for (std::int64_t direction = 0; direction < spec_.directions(); ++direction) {
      LayerResult r = one_direction(k, direction, in);
      outputs.push_back(r.y);
      out_.state.h.push_back(r.state.h);
      if (spec_.has_cell_state()) out_.state.c.push_back(r.state.c);
      if (spec_.has_delays()) out_.state.past.push_back(r.state.past);
    }
    if (outputs.size() == 1) return outputs[0];
    if (spec_.merge == Merge::concat) return cat(outputs, 2);
    const Tensor total = add(outputs[0], outputs[1]);
    return spec_.merge == Merge::sum ? total : mul(total, 0.5);
  }

  LayerResult one_direction(std::int64_t k, std::int64_t direction, LayerInput in) const {
    const std::size_t i = static_cast<std::size_t>(k * spec_.directions() + direction);
    const LayerSpec& layer = spec_.layers[static_cast<std::size_t>(k)];
    LayerParameters p = stack_.layers[i];
    if (input_.training && spec_.weight_drop > 0.0 && p.weight_hh.defined())
      p.weight_hh = dropout(p.weight_hh, spec_.weight_drop, true, *input_.generator);
    const auto given = [i](const std::vector<Tensor>& kind) { return kind.empty() ? Tensor() : kind[i]; };
    in.start = {given(input_.state.h), given(input_.state.c), given(input_.state.past)};
    in.reverse = direction == 1 || spec_.reverse;
    if (spec_.learn_initial_state) {
      in.reset = {repeated(p.h_0), p.c_0.defined() ? repeated(p.c_0) : Tensor(), {}};
      if (!in.reverse && in.reset_mask.defined()) start_from_reset(in, first_resets());
      if (!in.start.h.defined()) in.start.h = in.reset.h;
      if (!in.start.c.defined()) in.start.c = in.reset.c;
    }
    if (!layer.options.group_periods.empty()) in.running = running_units(layer, in, input_.state.clock);
    if (probe_ != nullptr) return probed_layer(layer, p, in, input_.state.clock, probe_->layers[i]);
    return layer.period > 1 ? layer_at_period(layer, p, in, input_.state.clock) : recurrent_layer(layer, p, in);
  }

  // (H) as (N, H)
  Tensor repeated(const Tensor& row) const { return add(Tensor::zeros({N_, row.size(0)}, row.dtype()), row); }

  // Rows with a reset at the very first step.
  std::vector<std::uint8_t> first_resets() const {
    std::vector<std::uint8_t> flags(static_cast<std::size_t>(N_));
    for (std::int64_t n = 0; n < N_; ++n) {
      const bool present = !input_.lengths.defined() || input_.lengths.data<std::int64_t>()[n] > 0;
      flags[static_cast<std::size_t>(n)] = present && input_.reset_mask.data<std::uint8_t>()[n] != 0;
    }
    return flags;
  }

  // The layer's output joined to the one below.
  Tensor connected(std::int64_t k, const Tensor& y, const Tensor& below) const {
    if (k == 0 || spec_.connection == Connection::none || spec_.connection == Connection::dense) return y;
    const ConnectionParameters& p = stack_.connections[static_cast<std::size_t>(k)];
    const Tensor x = p.weight_skip.defined() ? linear(below, p.weight_skip) : below;
    if (spec_.connection == Connection::residual) return add(y, x);
    const Tensor t = sigmoid(linear(below, p.weight_highway, p.bias_highway));
    return add(mul(sub(y, x), t), x);
  }

  const RecurrentSpec& spec_;
  const RecurrentInput& input_;
  StackParameters stack_;
  RecurrentProbe* probe_;  // or null
  std::int64_t T_ = 0, N_ = 0;
  RecurrentOutput out_;
};

}  // namespace

RecurrentOutput recurrent(const RecurrentSpec& spec, const std::vector<Tensor>& parameters,
                          const RecurrentInput& input) {
  check_input(spec, parameters, input);
  return StackRun(spec, parameters, input, nullptr).run();
}

RecurrentOutput recurrent(const RecurrentSpec& spec, const std::vector<Tensor>& parameters, const RecurrentInput& input,
                          RecurrentProbe& probe) {
  check_input(spec, parameters, input);
  if (input.training) throw_argument(kOp, "training", "false with a probe", "true", "call eval() first");
  probe.layers.assign(spec.layers.size() * static_cast<std::size_t>(spec.directions()), LayerProbe());
  return StackRun(spec, parameters, input, &probe).run();
}

}  // namespace rnncore
