// Parameter updates. One call of step() clips by global norm (fused: one pass computes the norm, one pass
// clips and updates) and returns the norm before clipping. A parameter tensor listed twice (tied) is updated once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rnncore/tensor.hpp"

namespace rnncore {

enum class OptimizerKind : std::uint8_t { sgd, adam, adamw, rmsprop, asgd };
RNNCORE_EXPORT const char* name_of(OptimizerKind kind);
RNNCORE_EXPORT OptimizerKind optimizer_from_name(const std::string& name);

// Meanings and defaults as in torch.optim of the same name (equations there); unused fields are ignored.
struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::sgd;
  double lr = 1e-3;
  double momentum = 0.0;                             // sgd, rmsprop
  double dampening = 0.0;                            // sgd
  bool nesterov = false;                             // sgd
  double weight_decay = 0.0;                         // L2 in the gradient; decoupled for adamw
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;     // adam, adamw (eps: rmsprop too)
  double alpha = 0.99;                               // rmsprop: smoothing
  bool centered = false;                             // rmsprop
  double lambd = 1e-4, asgd_alpha = 0.75, t0 = 1e6;  // asgd (Polyak & Juditsky 1992)
};

struct StepOptions {
  double clip_norm = 0.0;  // > 0: scale all gradients so that their global 2-norm is at most this (Pascanu et al. 2013)
  double clip_value = 0.0;  // > 0: clamp every element first
};

class RNNCORE_EXPORT Optimizer {
 public:
  Optimizer(std::vector<Tensor> parameters, const OptimizerOptions& options);
  ~Optimizer();
  Optimizer(Optimizer&&) noexcept;
  Optimizer& operator=(Optimizer&&) noexcept;

  // Updates every parameter that has a gradient. Returns the global gradient norm before clipping.
  // Throws NumericError, before anything is changed, if that norm is NaN or Inf; the message names the index of the
  // first parameter whose gradient is not finite (also in `bad_parameter()`).
  double step(const StepOptions& options = {});
  std::int64_t bad_parameter() const;
  void zero_grad();

  double lr() const;
  void set_lr(double lr);
  const OptimizerOptions& options() const;
  std::int64_t step_count() const;

  // State for checkpoints: named tensors "{slot}.{index}" (e.g. "exp_avg.0", "momentum_buffer.3", "ax.1") and
  // step_count.
  std::vector<std::pair<std::string, Tensor>> state() const;
  void load_state(const std::vector<std::pair<std::string, Tensor>>& state, std::int64_t step_count);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Norm of all gradients together, and in-place clipping without an update. Return the norm before.
RNNCORE_EXPORT double clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm);
RNNCORE_EXPORT void clip_grad_value_(const std::vector<Tensor>& parameters, double clip_value);

// A step of dynamic evaluation (Krause et al. 2018, section 5), in one pass over a parameter w and its gradient g:
//   w <- w - lr scale g + back (start - w)
// scale, back: of w's shape, or undefined: 1 and `decay`. Without a gradient w only moves back.
// Throws ArgumentError where a shape is not w's, TypeError where a dtype is not.
RNNCORE_EXPORT void dynamic_evaluation_(const Tensor& parameter, const Tensor& start, double lr, double decay,
                                        const Tensor& scale = {}, const Tensor& back = {});

}  // namespace rnncore
