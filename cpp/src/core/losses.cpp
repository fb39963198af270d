// Negative log-likelihood, cross-entropy with log-softmax fused, and the output layer fused with it.
#include <algorithm>

#include "core/output_layer.h"

namespace rnncore {

std::int64_t check_targets(const char* name, const Tensor& targets, std::int64_t rows, std::int64_t classes,
                           const LossOptions& options) {
  check_defined(name, "targets", targets);
  if (targets.dtype() != DType::int64) throw_type(name, "targets", "int64", name_of(targets.dtype()));
  if (targets.shape() != Shape{rows})
    throw_argument(name, "targets", "shape (R,) = (" + std::to_string(rows) + ",)", to_string(targets.shape()));
  if (!(options.label_smoothing >= 0.0 && options.label_smoothing < 1.0))
    throw_argument(name, "label_smoothing", "in [0, 1)", std::to_string(options.label_smoothing));
  const std::int64_t* t = targets.data<std::int64_t>();
  std::int64_t counted = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    if (t[r] == options.ignore_index) continue;
    if (t[r] < 0 || t[r] >= classes)
      throw_argument(
          name, "targets[" + std::to_string(r) + "]",
          "a class in [0, " + std::to_string(classes) + ") or ignore_index " + std::to_string(options.ignore_index),
          std::to_string(t[r]));
    ++counted;
  }
  if (counted == 0 && options.reduction == Reduction::mean)
    throw_argument(name, "targets", "at least one target that is not ignored (the mean is over these)",
                   std::to_string(rows) + " targets, none counted", "skip such batches, or use reduction sum");
  return counted;
}

double scale_of(const LossOptions& options, std::int64_t counted) {
  return options.reduction == Reduction::mean ? 1.0 / static_cast<double>(counted) : 1.0;
}

namespace {

double total_of(const Tensor& losses) {
  const double* p = losses.data<double>();
  double total = 0;
  for (std::int64_t r = 0; r < losses.numel(); ++r) total += p[r];
  return total;
}

backend::CrossEntropy describe(const LossOptions& options, DType dtype, std::int64_t cols, bool log_probs) {
  backend::CrossEntropy loss;
  loss.dtype = dtype;
  loss.cols = cols;
  loss.ignore_index = options.ignore_index;
  loss.label_smoothing = options.label_smoothing;
  loss.log_probs = log_probs;
  return loss;
}

Tensor row_losses(const char* name, const char* argument, bool log_probs, const Tensor& x, const Tensor& targets,
                  const LossOptions& options) {
  check_float(name, argument, x);
  if (x.dim() != 2) throw_argument(name, argument, "shape (R, V)", to_string(x.shape()), "reshape to two axes");
  const std::int64_t rows = x.size(0), cols = x.size(1);
  if (cols == 0) throw_argument(name, argument, "at least one class", to_string(x.shape()));
  const std::int64_t counted = check_targets(name, targets, rows, cols, options);
  backend::CrossEntropy loss = describe(options, x.dtype(), cols, log_probs);
  Tensor losses = Tensor::empty({rows}, DType::float64), log_sums = Tensor::empty({rows}, DType::float64);
  loss.rows = rows;
  loss.x = x.raw();
  loss.targets = targets.data<std::int64_t>();
  loss.losses = losses.mutable_data<double>();
  loss.log_sums = log_sums.mutable_data<double>();
  backend::cross_entropy(x.device(), loss);

  const bool none = options.reduction == Reduction::none;
  const double scale = scale_of(options, counted);
  Tensor out = none ? losses.to(x.dtype()) : Tensor::full({}, total_of(losses) * scale, x.dtype());
  if (!should_record({x})) return out;
  const Saved saved_x(x), saved_targets(targets);
  record(name, {x}, {&out}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    backend::CrossEntropy again = loss;
    Tensor dx = Tensor::empty({rows, cols}, grads[0].dtype());
    again.x = saved_x.get(name).raw();
    again.targets = saved_targets.get(name).data<std::int64_t>();
    again.log_sums = const_cast<double*>(log_sums.data<double>());
    const void* row_scale = none ? grads[0].raw() : nullptr;
    backend::cross_entropy_backward(dx.device(), again, none ? 1.0 : grads[0].item() * scale, row_scale,
                                    dx.mutable_raw());
    return {dx};
  });
  return out;
}

constexpr std::int64_t kLogits = std::int64_t{1} << 23;  // elements held of a block of rows

// The fused output layer, one block of rows at a time.
struct OutputLayer {
  Tensor x, weight, bias, targets;
  std::int64_t rows, inputs, classes;
  double scale;               // of a row's loss in the result
  Tensor dx, dweight, dbias;  // defined where wanted: d(result)/d...

  // Rows at a time, whose exponentials are held where the weights' gradient is wanted: it is made in one go for all of
  // them.
  std::int64_t block_rows() const {
    constexpr std::int64_t kGrain = 24;  // whole tiles of 6 and of 8 rows
    const std::int64_t most = std::clamp<std::int64_t>(kLogits / classes / kGrain * kGrain, 4 * kGrain, 100 * kGrain);
    const std::int64_t blocks = (rows + most - 1) / most, even = (rows + blocks - 1) / blocks;
    return std::min(rows, (even + kGrain - 1) / kGrain * kGrain);
  }
  template <typename P>
  P* row(P* base, std::int64_t r, std::int64_t cols) const {
    using Byte = std::conditional_t<std::is_const_v<P>, const char, char>;
    return static_cast<Byte*>(base) + r * cols * size_of(x.dtype());
  }
};

// The row losses; fills the gradients that are defined.
Tensor run_output_layer(OutputLayer& layer, const LossOptions& options) {
  const NoGradGuard guard;
  const Device device = layer.x.device();
  const std::int64_t block = layer.block_rows();
  Tensor losses = Tensor::empty({layer.rows}, DType::float64), weight_sum;
  const auto packed = packed_weight(layer.weight, true);
  const auto packed_back = layer.dx.defined() ? packed_weight(layer.weight, false) : backend::PackedPtr();
  backend::OutputBlock b;
  b.loss = describe(options, layer.x.dtype(), layer.classes, false);
  b.inputs = layer.inputs;
  b.weight = packed.get();
  b.bias = layer.bias.defined() ? layer.bias.raw() : nullptr;
  if (layer.dx.defined()) {
    b.weight_t = packed_back.get();
    b.weight_rows = layer.weight.raw();
    if (options.label_smoothing > 0.0) {
      weight_sum = sum(layer.weight, 0);
      b.weight_sum = weight_sum.raw();
    }
  }
  b.scale = layer.scale;
  b.dweight = layer.dweight.defined() ? layer.dweight.mutable_raw() : nullptr;
  b.dbias = layer.dbias.defined() ? layer.dbias.mutable_raw() : nullptr;
  for (std::int64_t first = 0; first < layer.rows; first += block) {
    b.loss.rows = std::min(block, layer.rows - first);
    b.loss.targets = layer.targets.data<std::int64_t>() + first;
    b.loss.losses = losses.mutable_data<double>() + first;
    b.x = layer.row(layer.x.raw(), first, layer.inputs);
    b.dx = layer.dx.defined() ? layer.row(layer.dx.mutable_raw(), first, layer.inputs) : nullptr;
    b.accumulate = first > 0;
    backend::output_block(device, b);
  }
  return losses;
}

void check_output_layer(const char* name, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_float(name, "x", x);
  check_same_dtype(name, "weight", weight, x.dtype());
  if (weight.dim() != 2 || weight.size(0) == 0 || weight.size(1) == 0)
    throw_argument(name, "weight", "shape (V, I) with V, I >= 1", to_string(weight.shape()));
  const std::int64_t V = weight.size(0), I = weight.size(1);
  if (x.dim() != 2 || x.size(1) != I)
    throw_argument(name, "x", "shape (R, I) with I = " + std::to_string(I) + " as weight " + to_string(weight.shape()),
                   to_string(x.shape()));
  if (bias.defined()) {
    check_same_dtype(name, "bias", bias, x.dtype());
    if (bias.shape() != Shape{V})
      throw_argument(name, "bias", "shape (V,) = (" + std::to_string(V) + ",)", to_string(bias.shape()));
  }
}

}  // namespace

Tensor nll_loss(const Tensor& log_probs, const Tensor& targets, const LossOptions& options) {
  return row_losses("nll_loss", "log_probs", true, log_probs, targets, options);
}

Tensor cross_entropy(const Tensor& logits, const Tensor& targets, const LossOptions& options) {
  return row_losses("cross_entropy", "logits", false, logits, targets, options);
}

Tensor output_layer_losses(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& targets,
                           const LossOptions& options) {
  OutputLayer layer{x, weight, bias, targets, x.size(0), x.size(1), weight.size(0), 1.0, {}, {}, {}};
  return layer.rows > 0 ? run_output_layer(layer, options) : Tensor::zeros({0}, DType::float64);
}

Tensor output_layer_loss(const char* name, const Tensor& x, const Tensor& weight, const Tensor& bias,
                         const Tensor& targets, const LossOptions& options, double scale) {
  OutputLayer layer{x, weight, bias, targets, x.size(0), x.size(1), weight.size(0), scale, {}, {}, {}};
  const bool on_tape = should_record({x, weight, bias});
  if (on_tape) {
    if (x.requires_grad()) layer.dx = Tensor::empty(x.shape(), x.dtype());
    // Written by the first block; without rows there is none.
    const auto gradient = [&](const Tensor& of) {
      return layer.rows > 0 ? Tensor::empty(of.shape(), x.dtype()) : Tensor::zeros(of.shape(), x.dtype());
    };
    if (weight.requires_grad()) layer.dweight = gradient(weight);
    if (bias.requires_grad()) layer.dbias = gradient(bias);
  }
  const double total = layer.rows > 0 ? total_of(run_output_layer(layer, options)) : 0.0;
  Tensor out = Tensor::full({}, total * scale, x.dtype());
  if (!on_tape) return out;
  record(name, {x, weight, bias}, {&out},
         [gradients = std::vector<Tensor>{layer.dx, layer.dweight, layer.dbias}](const std::vector<Tensor>& grads) {
           const double upstream = grads[0].item();
           std::vector<Tensor> scaled = gradients;
           if (upstream != 1.0)
             for (Tensor& g : scaled)
               if (g.defined()) g.mul_(upstream);  // nobody else holds it, and the tape is walked once
           return scaled;
         });
  return out;
}

Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& targets,
                            const LossOptions& options) {
  const char* name = "linear_cross_entropy";
  check_output_layer(name, x, weight, bias);
  const std::int64_t counted = check_targets(name, targets, x.size(0), weight.size(0), options);
  if (options.reduction != Reduction::none)
    return output_layer_loss(name, x, weight, bias, targets, options, scale_of(options, counted));
  if (should_record({x, weight, bias}))
    throw_argument(name, "reduction", "mean or sum where gradients are wanted", "none",
                   "use cross_entropy(linear(x, weight, bias), targets)");
  return output_layer_losses(x, weight, bias, targets, options).to(x.dtype());
}

}  // namespace rnncore
