// The output layer fused with its loss, for the operations that are made of it. Internal to core/.
#pragma once

#include "core/ops_common.h"

namespace rnncore {

// How many targets (R) count; names the first that is no class.
std::int64_t check_targets(const char* name, const Tensor& targets, std::int64_t rows, std::int64_t classes,
                           const LossOptions& options);
// 1 / counted for the mean, else 1.
double scale_of(const LossOptions& options, std::int64_t counted);
// `scale` times the sum of the rows' cross-entropies, on the tape; the targets were checked. At most one
// block of rows is held, as exponentials.
Tensor output_layer_loss(const char* name, const Tensor& x, const Tensor& weight, const Tensor& bias,
                         const Tensor& targets, const LossOptions& options, double scale);
// The rows' cross-entropies (R), float64, off the tape.
Tensor output_layer_losses(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& targets,
                           const LossOptions& options);

}  // namespace rnncore
