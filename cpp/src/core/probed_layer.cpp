#include "core/probed_layer.h"

#include <algorithm>

#include "core/time_scales.h"
#include "rnncore/ops.hpp"

namespace rnncore {
namespace {

// Added to a state, and a leaf: its gradient is that of the state.
Tensor added_zeros(const Shape& shape, DType dtype) {
  Tensor zeros = Tensor::zeros(shape, dtype);
  zeros.set_requires_grad(true);
  return zeros;
}

// `parts`, one (1, N, width) for each step, as (T, N, width) off the tape.
Tensor joined(const std::vector<Tensor>& parts) {
  const NoGradGuard guard;
  return cat(parts, 0);
}

// Row t of flags (T, N), as a tensor (N).
Tensor at_step(const std::vector<std::uint8_t>& flags, std::int64_t t, std::int64_t N) {
  const auto first = flags.begin() + t * N;
  return Tensor::from(std::vector<std::int64_t>(first, first + N), {N});
}

// (N) as (1, N, 1) of a floating type.
Tensor as_factors(const Tensor& flags, DType dtype) { return flags.to(dtype).reshape({1, flags.numel(), 1}); }

// (T, N, H): which units run, by their rows (T, N) and, with clockwork groups, by the units (T, N, H).
Tensor running_of(const std::vector<std::uint8_t>& rows, const Tensor& units, std::int64_t T, std::int64_t N,
                  std::int64_t H) {
  Tensor running = units.defined() ? units.to(DType::uint8) : Tensor::full({T, N, H}, 1.0, DType::uint8);
  std::uint8_t* const to = running.mutable_data<std::uint8_t>();
  for (std::size_t row = 0; row < rows.size(); ++row)
    if (rows[row] == 0) std::fill_n(to + static_cast<std::int64_t>(row) * H, H, std::uint8_t{0});
  return running;
}

// Rows of gates (T, N, G*H) that no step has written.
template <typename T>
void clear_rows(const std::vector<std::uint8_t>& rows, std::int64_t width, T* gates) {
  for (std::size_t row = 0; row < rows.size(); ++row)
    if (rows[row] == 0) std::fill_n(gates + static_cast<std::int64_t>(row) * width, width, T(0));
}

}  // namespace

LayerResult probed_layer(const LayerSpec& layer, const LayerParameters& p, const LayerInput& in, const Tensor& clock,
                         LayerProbe& probe) {
  const std::int64_t T = in.x.size(0), N = in.x.size(1), R = layer.state_size(), H = layer.hidden_size;
  const DType dtype = in.x.dtype();
  const bool has_c = states_of(layer.cell) == 2;
  const StepFlags flags = step_flags(in, layer.period, clock);
  const bool every_step = layer.period == 1 && !in.lengths.defined();  // of all rows
  const auto start = [&](const Tensor& given, std::int64_t width) {
    return given.defined() ? given : Tensor::zeros({N, width}, dtype);
  };
  const LayerState fresh = in.own_reset ? LayerState{in.reset.h, in.reset.c, {}} : in.start;
  LayerInput step;
  step.start = {start(in.start.h, R), has_c ? start(in.start.c, H) : Tensor(), in.start.past};
  probe = LayerProbe();
  probe.x = in.x.detach();
  probe.h_0 = step.start.h.detach();
  probe.h_added = added_zeros({T, N, R}, dtype);
  if (has_c) {
    probe.c_0 = step.start.c.detach();
    probe.c_added = added_zeros({T, N, H}, dtype);
  }
  const std::int64_t past_steps = layer.delays.empty() ? 0 : layer.delays.back() - 1;
  if (past_steps > 0)
    probe.past_0 = in.start.past.defined() ? in.start.past.detach() : Tensor::zeros({past_steps, N, R}, dtype);
  if (!every_step || in.running.defined()) probe.running = running_of(flags.runs, in.running, T, N, H);
  if (in.reset_mask.defined()) probe.begins = Tensor::from(flags.begins, {T, N});
  std::vector<Tensor> h(static_cast<std::size_t>(T)), c = h, gates = h, past = h;
  LayerResult result;
  for (std::int64_t i = 0; i < T; ++i) {
    const std::int64_t t = in.reverse ? T - 1 - i : i;
    const std::size_t at = static_cast<std::size_t>(t);
    const std::vector<std::uint8_t> begins(flags.begins.begin() + t * N, flags.begins.begin() + (t + 1) * N);
    if (std::find(begins.begin(), begins.end(), 1) != begins.end()) step.start = restarted(step.start, fresh, begins);
    step.x = slice(in.x, 0, t, t + 1);
    step.gates = layer.options.layer_norm ? nullptr : &gates[at];
    if (!every_step) step.lengths = at_step(flags.runs, t, N);
    if (in.running.defined()) step.running = slice(in.running, 0, t, t + 1);
    result = recurrent_layer(layer, p, step);
    const Tensor added = slice(probe.h_added, 0, t, t + 1);
    result.state.h = add(result.state.h, added.reshape({N, R}));
    if (every_step) {
      h[at] = result.state.h.reshape({1, N, R});
    } else if (layer.period > 1) {  // a row shows its state between the steps at which it runs
      h[at] = mul(result.state.h.reshape({1, N, R}), as_factors(at_step(flags.there, t, N), dtype));
      h[at] = add(h[at], Tensor::zeros({1, N, R}, dtype));  // no negative zeros
    } else {  // beyond its end a row's output is zero, and its state stays
      h[at] = add(result.y, mul(added, as_factors(step.lengths, dtype)));
    }
    if (has_c) {
      c[at] = add(result.state.c.reshape({1, N, H}), slice(probe.c_added, 0, t, t + 1));
      result.state.c = c[at].reshape({N, H});
    }
    if (past_steps > 0) past[at] = result.state.past.detach().reshape({1, past_steps, N, R});
    step.start = result.state;
  }
  result.y = cat(h, 0);
  probe.h = result.y.detach();
  if (has_c) probe.c = joined(c);
  if (past_steps > 0) probe.past = joined(past);
  if (layer.options.layer_norm) return result;
  probe.gates = joined(gates);
  if (every_step) return result;
  const std::int64_t width = probe.gates.size(2);
  if (dtype == DType::float64)
    clear_rows(flags.runs, width, probe.gates.mutable_data<double>());
  else
    clear_rows(flags.runs, width, probe.gates.mutable_data<float>());
  return result;
}

}  // namespace rnncore
