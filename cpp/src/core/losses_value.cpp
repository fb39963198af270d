// Losses of real values: squared, absolute, binary cross-entropy with logits, quantiles; with a mask.
#include "core/ops_common.h"

namespace rnncore {
namespace {

using Kind = backend::ValueLoss::Kind;

void check_target(const char* name, const Tensor& input, const Tensor& target, bool quantiles) {
  check_float(name, "input", input);
  check_same_dtype(name, "target", target, input.dtype());
  Shape want = input.shape();
  if (quantiles && !want.empty()) want.pop_back();
  if (target.shape() != want)
    throw_argument(name, "target", "shape " + to_string(want) + (quantiles ? ", input's without its last axis" : ""),
                   to_string(target.shape()));
  if (target.requires_grad() && grad_enabled())
    throw_argument(name, "target", "a tensor that asks for no gradient", "one that does", "use target.detach()");
}

// Elements of the target that one element of the mask stands for.
std::int64_t check_mask(const char* name, const Tensor& mask, const Tensor& target) {
  if (!mask.defined()) return 1;
  if (mask.dtype() != DType::uint8) throw_type(name, "mask", "uint8 (0: does not count)", name_of(mask.dtype()));
  if (mask.shape() == target.shape()) return 1;
  Shape rows = target.shape();
  if (!rows.empty()) rows.pop_back();
  if (mask.shape() != rows)
    throw_argument(name, "mask", "shape " + to_string(target.shape()) + " or " + to_string(rows),
                   to_string(mask.shape()));
  return target.dim() > 0 ? target.shape().back() : 1;
}

// Elements of the input that count.
std::int64_t count_of(const char* name, const backend::ValueLoss& loss, Reduction reduction) {
  std::int64_t count = loss.n;
  if (loss.mask != nullptr) {
    count = 0;
    const std::int64_t entries = loss.n == 0 ? 0 : loss.n / loss.masked;  // rows without elements: masked is 0
    for (std::int64_t i = 0; i < entries; ++i) count += loss.mask[i] != 0 ? loss.masked : 0;
  }
  if (count == 0 && reduction == Reduction::mean)
    throw_argument(name, "input", "at least one element that counts (the mean is over these)",
                   std::to_string(loss.n) + " elements, none counted", "skip such batches, or use reduction sum");
  return count;
}

Tensor value_loss(const char* name, Kind kind, const Tensor& input, const Tensor& target,
                  const std::vector<double>& levels, const ValueLossOptions& options) {
  check_target(name, input, target, kind == Kind::quantile);
  backend::ValueLoss loss;
  loss.kind = kind;
  loss.dtype = input.dtype();
  loss.n = input.numel();
  loss.group = levels.empty() ? 1 : static_cast<std::int64_t>(levels.size());
  loss.masked = check_mask(name, options.mask, target) * loss.group;
  loss.x = input.raw();
  loss.y = target.raw();
  loss.levels = levels.empty() ? nullptr : levels.data();
  loss.mask = options.mask.defined() ? options.mask.data<std::uint8_t>() : nullptr;
  const std::int64_t count = count_of(name, loss, options.reduction);
  const bool none = options.reduction == Reduction::none;
  const double scale = options.reduction == Reduction::mean ? 1.0 / static_cast<double>(count) : 1.0;
  Tensor out = Tensor::empty(none ? input.shape() : Shape{}, input.dtype());
  const double total = backend::value_loss(input.device(), loss, none ? out.mutable_raw() : nullptr);
  if (!none) out.fill_(total * scale);
  if (!should_record({input})) return out;
  const Saved saved_input(input), saved_target(target), saved_mask(options.mask);
  record(name, {input}, {&out}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    backend::ValueLoss again = loss;
    const Tensor& x = saved_input.get(name);
    again.x = x.raw();
    again.y = saved_target.get(name).raw();
    again.levels = levels.empty() ? nullptr : levels.data();
    again.mask = saved_mask.defined() ? saved_mask.get(name).data<std::uint8_t>() : nullptr;
    Tensor dx = Tensor::empty(x.shape(), x.dtype());
    backend::value_loss_backward(x.device(), again, none ? 1.0 : grads[0].item() * scale,
                                 none ? grads[0].raw() : nullptr, dx.mutable_raw());
    return {dx};
  });
  return out;
}

}  // namespace

Tensor mse_loss(const Tensor& input, const Tensor& target, const ValueLossOptions& options) {
  return value_loss("mse_loss", Kind::squared, input, target, {}, options);
}

Tensor l1_loss(const Tensor& input, const Tensor& target, const ValueLossOptions& options) {
  return value_loss("l1_loss", Kind::absolute, input, target, {}, options);
}

Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const ValueLossOptions& options) {
  return value_loss("binary_cross_entropy_with_logits", Kind::logistic, input, target, {}, options);
}

Tensor quantile_loss(const Tensor& input, const Tensor& target, const std::vector<double>& quantiles,
                     const ValueLossOptions& options) {
  const char* name = "quantile_loss";
  check_float(name, "input", input);
  if (quantiles.empty()) throw_argument(name, "quantiles", "at least one", "none");
  for (const double q : quantiles)
    if (!(q > 0.0 && q < 1.0)) throw_argument(name, "quantiles", "numbers in (0, 1)", std::to_string(q));
  const auto Q = static_cast<std::int64_t>(quantiles.size());
  if (input.dim() == 0 || input.shape().back() != Q)
    throw_argument(name, "input", "shape (..., Q) with Q = " + std::to_string(Q) + ", the number of quantiles",
                   to_string(input.shape()));
  return value_loss(name, Kind::quantile, input, target, quantiles, options);
}

}  // namespace rnncore
