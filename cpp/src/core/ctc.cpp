// CTC loss: checks, the work space of each sequence, reductions, and the tape. The equations: backend/cpu/ctc.cpp.
#include <algorithm>

#include "core/ops_common.h"

namespace rnncore {
namespace {

constexpr const char* kName = "ctc_loss";

const std::int64_t* check_lengths(const char* argument, const Tensor& lengths, std::int64_t N, std::int64_t most) {
  check_defined(kName, argument, lengths);
  if (lengths.dtype() != DType::int64) throw_type(kName, argument, "int64", name_of(lengths.dtype()));
  if (lengths.shape() != Shape{N})
    throw_argument(kName, argument, "shape (N,) = (" + std::to_string(N) + ",)", to_string(lengths.shape()));
  const std::int64_t* values = lengths.data<std::int64_t>();
  for (std::int64_t n = 0; n < N; ++n)
    if (values[n] < 0 || values[n] > most)
      throw_argument(kName, std::string(argument) + "[" + std::to_string(n) + "]",
                     "a length in [0, " + std::to_string(most) + "]", std::to_string(values[n]));
  return values;
}

// Where each sequence's labels begin: in its row of targets (N, S), or one after the other.
Tensor label_offsets(const Tensor& targets, const std::int64_t* lengths, std::int64_t N) {
  Tensor offsets = Tensor::empty({N}, DType::int64);
  auto* at = offsets.mutable_data<std::int64_t>();
  std::int64_t total = 0;
  for (std::int64_t n = 0; n < N; ++n) {
    at[n] = targets.dim() == 2 ? n * targets.size(1) : total;
    total += lengths[n];
  }
  if (targets.dim() == 1 && total != targets.numel())
    throw_argument(kName, "targets", "the sum of target_lengths, " + std::to_string(total) + " labels",
                   std::to_string(targets.numel()));
  return offsets;
}

void check_labels(const backend::Ctc& ctc) {
  for (std::int64_t n = 0; n < ctc.N; ++n)
    for (std::int64_t s = 0; s < ctc.target_lengths[n]; ++s) {
      const std::int64_t label = ctc.labels[ctc.label_offsets[n] + s];
      if (label < 0 || label >= ctc.C || label == ctc.blank)
        throw_argument(kName, "targets of sequence " + std::to_string(n) + ", label " + std::to_string(s),
                       "a class in [0, " + std::to_string(ctc.C) + ") other than blank " + std::to_string(ctc.blank),
                       std::to_string(label));
    }
}

void check_arguments(const Tensor& log_probs, const Tensor& targets, const CtcOptions& options) {
  check_float(kName, "log_probs", log_probs);
  if (log_probs.dim() != 3 || log_probs.size(2) == 0)
    throw_argument(kName, "log_probs", "shape (T, N, C) with C >= 1", to_string(log_probs.shape()));
  const std::int64_t N = log_probs.size(1), C = log_probs.size(2);
  if (options.blank < 0 || options.blank >= C)
    throw_argument(kName, "blank", "a class in [0, " + std::to_string(C) + ")", std::to_string(options.blank));
  if (N == 0 && options.reduction == Reduction::mean)
    throw_argument(kName, "log_probs", "at least one sequence (the mean is over these)", "none");
  check_defined(kName, "targets", targets);
  if (targets.dtype() != DType::int64) throw_type(kName, "targets", "int64", name_of(targets.dtype()));
  if (targets.dim() != 1 && (targets.dim() != 2 || targets.size(0) != N))
    throw_argument(kName, "targets", "shape (N, S) with N = " + std::to_string(N) + ", or (sum of target_lengths,)",
                   to_string(targets.shape()));
}

// What a sequence's loss counts in the result.
Tensor scales_of(const backend::Ctc& ctc, Reduction reduction) {
  Tensor scales = Tensor::full({ctc.N}, 1.0, DType::float64);
  if (reduction != Reduction::mean) return scales;
  auto* scale = scales.mutable_data<double>();
  for (std::int64_t n = 0; n < ctc.N; ++n)
    scale[n] = 1.0 / static_cast<double>(ctc.N * std::max<std::int64_t>(1, ctc.target_lengths[n]));
  return scales;
}

// Runs all sequences; returns their losses (N).
Tensor run(backend::Ctc& ctc) {
  Tensor losses = Tensor::empty({ctc.N}, DType::float64), offsets = Tensor::empty({ctc.N}, DType::int64);
  auto* at = offsets.mutable_data<std::int64_t>();
  std::int64_t total = 0;
  for (std::int64_t n = 0; n < ctc.N; ++n) {
    at[n] = total;
    total += backend::ctc_space(ctc.input_lengths[n], ctc.target_lengths[n], ctc.gradient != nullptr);
  }
  Tensor space = Tensor::empty({total}, DType::float64);
  ctc.space = space.mutable_data<double>();
  ctc.space_offsets = at;
  ctc.losses = losses.mutable_data<double>();
  backend::ctc_loss(Device::cpu, ctc);
  return losses;
}

Tensor reduced(const Tensor& losses, const Tensor& scales, Reduction reduction, DType dtype) {
  if (reduction == Reduction::none) return losses.to(dtype);
  double total = 0;
  for (std::int64_t n = 0; n < losses.numel(); ++n) total += losses.data<double>()[n] * scales.data<double>()[n];
  return Tensor::full({}, total, dtype);
}

}  // namespace

Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                const Tensor& target_lengths, const CtcOptions& options) {
  check_arguments(log_probs, targets, options);
  backend::Ctc ctc;
  ctc.dtype = log_probs.dtype();
  ctc.T = log_probs.size(0);
  ctc.N = log_probs.size(1);
  ctc.C = log_probs.size(2);
  ctc.blank = options.blank;
  ctc.zero_infinity = options.zero_infinity;
  ctc.log_probs = log_probs.raw();
  ctc.labels = targets.data<std::int64_t>();
  ctc.input_lengths = check_lengths("input_lengths", input_lengths, ctc.N, ctc.T);
  ctc.target_lengths =
      check_lengths("target_lengths", target_lengths, ctc.N, targets.dim() == 2 ? targets.size(1) : targets.numel());
  const Tensor offsets = label_offsets(targets, ctc.target_lengths, ctc.N);
  ctc.label_offsets = offsets.data<std::int64_t>();
  check_labels(ctc);
  const Tensor scales = scales_of(ctc, options.reduction);
  ctc.scales = scales.data<double>();
  const bool on_tape = should_record({log_probs});
  Tensor gradient;
  if (on_tape) {
    gradient = Tensor::empty(log_probs.shape(), log_probs.dtype());
    ctc.gradient = gradient.mutable_raw();
  }
  Tensor out = [&] {
    const NoGradGuard guard;
    return reduced(run(ctc), scales, options.reduction, log_probs.dtype());
  }();
  if (!on_tape) return out;
  const bool none = options.reduction == Reduction::none;
  record(kName, {log_probs}, {&out}, [gradient, none](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    const Tensor upstream = none ? grads[0].reshape({1, -1, 1}) : grads[0];
    return {broadcast_binary(kName, backend::Binary::mul, gradient, upstream)};
  });
  return out;
}

}  // namespace rnncore
