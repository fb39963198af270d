// Instruments: a stack that is evaluated step by step, so that the state leaving each step can be read and the loss's
// gradient with respect to it asked for. Slower than `recurrent` (a node of the tape for each step of each layer), the
// same bits forward; for looking, not for training. Not part of rnncore.hpp.
#pragma once

#include <vector>

#include "rnncore/recurrent.hpp"

namespace rnncore {

// One layer in one direction. Index t is the place in time, also where the direction reads backwards.
struct LayerProbe {
  Tensor x;         // (T, N, I_k): what the layer read
  Tensor h_0, c_0;  // (N, R), (N, H): the state entering its first step; c_0 and all c undefined without a cell state
  Tensor h, c;      // (T, N, R), (T, N, H): the states leaving the steps
  Tensor past_0, past;  // (D, N, R), (T, D, N, R): with delays, the D = d_max - 1 states before h, latest first,
                        // entering the first step and leaving each
  Tensor gates;    // (T, N, G*H): gates and candidates after their functions, in the rows' order of weight_ih, zeros
                   // where the layer does not run; undefined with layer normalisation, which does not keep them
  Tensor running;  // uint8 (T, N, H): 0 where a unit keeps its state: beyond a row's length, between the steps at
                   // which a layer (period) or its group (group_periods) runs; undefined where all run at all steps
  Tensor begins;   // uint8 (T, N): 1 where the step starts from the initial state, by reset_mask and in the order of
                   // reading, so that nothing of the state before enters it; undefined without a reset_mask
  // Zeros that were added to h_t and c_t on their way out of the step: to h_t for the layer above and for the next
  // step, to c_t for the next step. After backward(), h_added.grad() is dL/dh_t, and c_added.grad() is dL/dc_t with h_t
  // held, as of a state (h_t, c_t) with two parts. Beyond a row's length: of the state that is kept.
  Tensor h_added, c_added;
};

struct RecurrentProbe {
  std::vector<LayerProbe> layers;  // one per (layer, direction), layer-major
};

// As `recurrent`, filling the probe. Refused: training.
RNNCORE_EXPORT RecurrentOutput recurrent(const RecurrentSpec& spec, const std::vector<Tensor>& parameters,
                                         const RecurrentInput& input, RecurrentProbe& probe);

}  // namespace rnncore
