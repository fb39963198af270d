// Several time scales: a layer of period m runs at steps 0, m, 2m, ... of each sequence, counted from the sequence's
// start (in the order in which its direction reads), and holds its output in between. The steps at which a row runs are
// gathered into a shorter sequence of their own, so that the layer is computed as any other; its output is spread out
// again. Rows may begin at different clocks, end at their lengths and restart at resets. Internal to core/.
#pragma once

#include "core/recurrent_layer.h"

namespace rnncore {

// One layer and direction over a sequence: recurrent_layer, at every period-th step. clock: int64 (N), the steps that
// each row's sequence has made before, or undefined: none.
LayerResult layer_at_period(const LayerSpec& layer, const LayerParameters& p, LayerInput input, const Tensor& clock);

// The clock after T steps of the (first) direction.
Tensor advanced_clock(const Tensor& clock, const Tensor& lengths, const Tensor& reset_mask, bool reverse,
                      std::int64_t T, std::int64_t N);

// Where input.own_reset and the sequence of a row begins with its very first step (rows with flags[n] != 0), the row
// starts from input.reset and not from the state given.
void start_from_reset(LayerInput& input, const std::vector<std::uint8_t>& flags);

}  // namespace rnncore
