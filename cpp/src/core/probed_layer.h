// A layer step by step for instruments (rnncore/probe.hpp). Internal to core/.
#pragma once

#include "core/recurrent_layer.h"
#include "rnncore/probe.hpp"

namespace rnncore {

// recurrent_layer, or layer_at_period, filling the probe. input: x (no ids), without a generator. clock: as there.
LayerResult probed_layer(const LayerSpec& layer, const LayerParameters& p, const LayerInput& input, const Tensor& clock,
                         LayerProbe& probe);

}  // namespace rnncore
