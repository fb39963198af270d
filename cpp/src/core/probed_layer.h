// A layer step by step for instruments (rnncore/probe.hpp). Internal to core/.
#pragma once

#include "core/recurrent_layer.h"
#include "rnncore/probe.hpp"

namespace rnncore {

// recurrent_layer, filling the probe. input: x (no ids), neither reset_mask nor a generator.
LayerResult probed_layer(const LayerSpec& layer, const LayerParameters& p, const LayerInput& input, LayerProbe& probe);

}  // namespace rnncore
