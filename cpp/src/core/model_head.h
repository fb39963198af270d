// The output layer of a model: a projection where there is one, then a linear layer, tied or not, or a softmax in two
// levels. Internal to core/.
#pragma once

#include "rnncore/model.hpp"
#include "rnncore/ops.hpp"

namespace rnncore {

// The parameters of a model whose softmax has clusters, as the operations take them; slices share their memory.
ClusteredSoftmax clustered_softmax(const Model& model);
// y (..., width) -> logits (..., O); of a softmax with clusters the log-probabilities, which are logits too.
Tensor head_logits(const Model& model, const Tensor& y);
// The cross-entropy of targets int64 (R) after the stack's output (R, width), without holding the logits.
Tensor head_loss(const Model& model, const Tensor& y, const Tensor& targets, const LossOptions& options);

}  // namespace rnncore
