// RecurrentSpec as JSON. Keys that newer versions added are written only where they differ from the default, so files
// stay readable both ways as long as they do not need them; unknown keys are errors.
//   always: input_size, layers [{cell, hidden_size}], bias, bidirectional, dropout
//   in a layer: options (cell_options.h), delays [2, 4], period, proj_size
//   in a stack: merge, connection, reverse, learn_initial_state, input_dropout, output_dropout, same_mask, weight_drop
#pragma once

#include "io/json.h"
#include "rnncore/recurrent.hpp"

namespace rnncore::io {

Json recurrent_to_json(const RecurrentSpec& spec);
RecurrentSpec recurrent_from_json(const Json& value, const std::string& where);

}  // namespace rnncore::io
