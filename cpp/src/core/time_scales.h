// Several time scales: a layer of period m runs at steps 0, m, 2m, ... of each sequence, counted from the sequence's
// start (in the order in which its direction reads), and holds its output in between. The steps at which a row runs are
// gathered into a shorter sequence of their own, so that the layer is computed as any other; its output is spread out
// again. Rows may begin at different clocks, end at their lengths and restart at resets. Internal to core/.
#pragma once

#include <algorithm>

#include "core/recurrent_layer.h"

namespace rnncore {

// One layer and direction over a sequence: recurrent_layer, at every period-th step. clock: int64 (N), the steps that
// each row's sequence has made before, or undefined: none.
LayerResult layer_at_period(const LayerSpec& layer, const LayerParameters& p, LayerInput input, const Tensor& clock);

// Clockwork groups: 1 where a unit runs, 0 where it keeps its state; (T, N, H). The clock as above.
Tensor running_units(const LayerSpec& layer, const LayerInput& input, const Tensor& clock);
// The same for one step of rows at these clocks, into rows of H values each.
template <typename T>
void fill_running(const std::vector<std::int64_t>& periods, std::int64_t H, std::int64_t clock, T* row) {
  const std::int64_t size = H / static_cast<std::int64_t>(periods.size());
  for (std::size_t i = 0; i < periods.size(); ++i)
    std::fill_n(row + static_cast<std::int64_t>(i) * size, size, clock % periods[i] == 0 ? T(1) : T(0));
}

// The clock after T steps of the (first) direction.
Tensor advanced_clock(const Tensor& clock, const Tensor& lengths, const Tensor& reset_mask, bool reverse,
                      std::int64_t T, std::int64_t N);

// What each row does at each place in time, (T, N): whether the step is there (within the row's length), whether a
// layer of that period runs at it, and whether it is the first of a sequence by reset_mask, in the order of reading.
struct StepFlags {
  std::vector<std::uint8_t> there, runs, begins;
};
StepFlags step_flags(const LayerInput& input, std::int64_t period, const Tensor& clock);

// The state with the rows of flags[n] != 0 taken from `fresh`, where what is undefined is zeros. What is undefined in
// `state` stays so.
LayerState restarted(const LayerState& state, const LayerState& fresh, const std::vector<std::uint8_t>& flags);

// Where input.own_reset and the sequence of a row begins with its very first step (rows with flags[n] != 0), the row
// starts from input.reset and not from the state given.
void start_from_reset(LayerInput& input, const std::vector<std::uint8_t>& flags);

}  // namespace rnncore
