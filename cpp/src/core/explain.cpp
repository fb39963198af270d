// The numbers come from the layouts that the kernels use: padded units count, since they are computed.
#include "rnncore/explain.hpp"

#include "backend/recurrent.h"
#include "rnncore/context.hpp"

namespace rnncore {

std::vector<LayerCost> explain(const RecurrentSpec& spec, DType dtype) {
  check(spec);
  std::vector<LayerCost> costs;
  const double directions = static_cast<double>(spec.directions());
  for (std::size_t k = 0; k < spec.layers.size(); ++k) {
    const LayerSpec& layer = spec.layers[k];
    const backend::RecurrentKernel kernel = backend::recurrent_kernel(Device::cpu, layer, dtype);
    const double H = static_cast<double>(layer.hidden_size), size = static_cast<double>(size_of(dtype));
    const double I = static_cast<double>(spec.layer_input_size(static_cast<std::int64_t>(k)));
    const double units = static_cast<double>(kernel.units);
    LayerCost cost;
    cost.layer = static_cast<std::int64_t>(k);
    cost.cell = name_of(layer.cell);
    cost.kernel = kernel.name;
    cost.target = target_name();
    const double delays = static_cast<double>(layer.delays.size());
    const double R = static_cast<double>(layer.state_size());
    const double recurrent = units * kernel.recurrent_slots * R + delays * units * kernel.input_slots * R +
                             static_cast<double>(kernel.projected) * H;
    cost.multiply_adds = directions * (units * kernel.input_slots * I + recurrent);
    cost.activations = directions * units * kernel.activations;
    cost.weight_bytes = directions * recurrent * size;
    cost.state_bytes = directions * size * (R + (states_of(layer.cell) == 2 ? H : 0));
    cost.saved_bytes = directions * units * kernel.saved * size;
    costs.push_back(cost);
  }
  return costs;
}

}  // namespace rnncore
