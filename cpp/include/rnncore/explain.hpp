// What a stack costs, layer by layer: which kernel each runs on, its arithmetic and its memory traffic.
#pragma once

#include <string>
#include <vector>

#include "rnncore/recurrent.hpp"

namespace rnncore {

struct LayerCost {
  std::int64_t layer = 0;
  std::string cell;          // "lstm"
  std::string kernel;        // "lstm": the plain cell's; "lstm with options"; "lstm with options, normalised rows"
  std::string target;        // instruction set, as target_name()
  double multiply_adds = 0;  // of the products for one step of one sequence, all directions, forward
  double activations = 0;    // of the cell, the same way
  double weight_bytes = 0;   // packed recurrent weights read at each step, whatever the batch
  double state_bytes = 0;    // h and c of one sequence
  double saved_bytes = 0;    // kept for backward for one step of one sequence, beside input and output
};
RNNCORE_EXPORT std::vector<LayerCost> explain(const RecurrentSpec& spec, DType dtype = DType::float32);

}  // namespace rnncore
