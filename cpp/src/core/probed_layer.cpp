#include "core/probed_layer.h"

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

// (N): the length of each row within step t alone, 1 or 0.
Tensor present_at(const Tensor& lengths, std::int64_t t) {
  std::vector<std::int64_t> present(static_cast<std::size_t>(lengths.numel()));
  for (std::size_t n = 0; n < present.size(); ++n) present[n] = t < lengths.data<std::int64_t>()[n] ? 1 : 0;
  return Tensor::from(present, {lengths.numel()});
}

// (N) as (1, N, 1) of a floating type.
Tensor as_factors(const Tensor& present, DType dtype) { return present.to(dtype).reshape({1, present.numel(), 1}); }

}  // namespace

LayerResult probed_layer(const LayerSpec& layer, const LayerParameters& p, const LayerInput& in, LayerProbe& probe) {
  const std::int64_t T = in.x.size(0), N = in.x.size(1), R = layer.state_size(), H = layer.hidden_size;
  const DType dtype = in.x.dtype();
  const bool has_c = states_of(layer.cell) == 2;
  const auto start = [&](const Tensor& given, std::int64_t width) {
    return given.defined() ? given : Tensor::zeros({N, width}, dtype);
  };
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
  std::vector<Tensor> h(static_cast<std::size_t>(T)), c = h, gates = h;
  LayerResult result;
  for (std::int64_t i = 0; i < T; ++i) {
    const std::int64_t t = in.reverse ? T - 1 - i : i;
    const std::size_t at = static_cast<std::size_t>(t);
    step.x = slice(in.x, 0, t, t + 1);
    step.gates = layer.options.layer_norm ? nullptr : &gates[at];
    if (in.lengths.defined()) step.lengths = present_at(in.lengths, t);
    result = recurrent_layer(layer, p, step);
    const Tensor added = slice(probe.h_added, 0, t, t + 1);
    if (in.lengths.defined()) {  // beyond its end a row's output is zero, and its state stays
      h[at] = add(result.y, mul(added, as_factors(step.lengths, dtype)));
      result.state.h = add(result.state.h, added.reshape({N, R}));
    } else {
      h[at] = add(result.y, added);
      result.state.h = h[at].reshape({N, R});
    }
    if (has_c) {
      c[at] = add(result.state.c.reshape({1, N, H}), slice(probe.c_added, 0, t, t + 1));
      result.state.c = c[at].reshape({N, H});
    }
    step.start = result.state;
  }
  result.y = cat(h, 0);
  probe.h = result.y.detach();
  if (has_c) probe.c = joined(c);
  if (!layer.options.layer_norm) probe.gates = joined(gates);
  return result;
}

}  // namespace rnncore
