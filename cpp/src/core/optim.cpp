// Optimizer: which state each rule keeps, the coefficients of a step, clipping; the arithmetic is backend::update.
#include "rnncore/optim.hpp"

#include <cmath>
#include <unordered_set>

#include "backend/pointwise.h"
#include "core/ops_common.h"
#include "core/tensor_impl.h"

namespace rnncore {
namespace {

struct KindName {
  OptimizerKind kind;
  const char* name;
};
constexpr KindName kKinds[] = {{OptimizerKind::sgd, "sgd"},
                               {OptimizerKind::adam, "adam"},
                               {OptimizerKind::adamw, "adamw"},
                               {OptimizerKind::rmsprop, "rmsprop"},
                               {OptimizerKind::asgd, "asgd"}};

// A parameter, its place in the caller's list, and its state.
struct Entry {
  Tensor parameter;
  std::int64_t index = 0;
  std::int64_t steps = 0;  // updates of this parameter: it may have had no gradient in some steps
  Tensor slot[3];
};

void check_range(const char* argument, double value, bool good, const char* expected) {
  if (!good || !std::isfinite(value)) throw_argument("Optimizer", argument, expected, std::to_string(value));
}

void check_options(const OptimizerOptions& o) {
  check_range("lr", o.lr, o.lr >= 0, "a finite number of at least 0");
  check_range("momentum", o.momentum, o.momentum >= 0, "a finite number of at least 0");
  check_range("dampening", o.dampening, true, "a finite number");
  check_range("weight_decay", o.weight_decay, o.weight_decay >= 0, "a finite number of at least 0");
  check_range("beta1", o.beta1, o.beta1 >= 0 && o.beta1 < 1, "in [0, 1)");
  check_range("beta2", o.beta2, o.beta2 >= 0 && o.beta2 < 1, "in [0, 1)");
  check_range("eps", o.eps, o.eps >= 0, "a finite number of at least 0");
  check_range("alpha", o.alpha, o.alpha >= 0 && o.alpha < 1, "in [0, 1)");
  if (o.kind == OptimizerKind::sgd && o.nesterov && (o.momentum <= 0 || o.dampening != 0))
    throw_argument("Optimizer", "nesterov", "momentum > 0 and dampening = 0",
                   "momentum " + std::to_string(o.momentum) + ", dampening " + std::to_string(o.dampening));
}

std::vector<Entry> distinct(const std::vector<Tensor>& parameters, const char* operation) {
  std::vector<Entry> entries;
  std::unordered_set<const TensorImpl*> seen;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string name = "parameters[" + std::to_string(i) + "]";
    if (!parameters[i].defined()) throw_argument(operation, name, "a tensor", "none (undefined)");
    if (!is_float(parameters[i].dtype()))
      throw_type(operation, name, "float32 or float64", name_of(parameters[i].dtype()));
    if (!parameters[i].is_leaf()) throw_argument(operation, name, "a leaf", "the result of an operation");
    if (!seen.insert(parameters[i].impl().get()).second) continue;  // tied: one update
    Entry entry;
    entry.parameter = parameters[i];
    entry.index = static_cast<std::int64_t>(i);
    entries.push_back(std::move(entry));
  }
  return entries;
}

// Global norm of the gradients; `bad` becomes the index of the first that is not finite. Throws in that case.
double gradient_norm(const char* operation, const std::vector<Entry>& entries, double clip_value, std::int64_t& bad) {
  double total = 0;
  bad = -1;
  for (const Entry& entry : entries) {
    const Tensor grad = entry.parameter.grad();
    if (!grad.defined()) continue;
    const double squares = backend::sum_of_squares(grad.device(), grad.dtype(), grad.numel(), grad.raw(), clip_value);
    if (!std::isfinite(squares) && bad < 0) bad = entry.index;
    total += squares;
  }
  if (bad >= 0)
    throw NumericError(error_message(operation, "gradient of parameter " + std::to_string(bad), "finite numbers",
                                     "NaN or Inf",
                                     "nothing was changed; lower the learning rate or clip the gradients"));
  return std::sqrt(total);
}

// As torch.nn.utils.clip_grad_norm_.
double clip_factor(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace

const char* name_of(OptimizerKind kind) {
  for (const KindName& k : kKinds)
    if (k.kind == kind) return k.name;
  return "?";
}

OptimizerKind optimizer_from_name(const std::string& name) {
  std::string known;
  for (const KindName& k : kKinds) {
    if (name == k.name) return k.kind;
    known += (known.empty() ? "" : ", ") + std::string(k.name);
  }
  throw_argument("optimizer_from_name", "name", "one of " + known, name);
}

struct Optimizer::Impl {
  std::vector<Entry> entries;
  OptimizerOptions options;
  std::int64_t steps = 0;
  std::int64_t bad = -1;

  // Names of the slots in use; nullptr: that slot is not kept.
  void slot_names(const char* names[3]) const {
    names[0] = names[1] = names[2] = nullptr;
    switch (options.kind) {
      case OptimizerKind::sgd:
        if (options.momentum != 0) names[0] = "momentum_buffer";
        break;
      case OptimizerKind::adam:
      case OptimizerKind::adamw:
        names[0] = "exp_avg";
        names[1] = "exp_avg_sq";
        break;
      case OptimizerKind::rmsprop:
        names[0] = "square_avg";
        if (options.centered) names[1] = "grad_avg";
        if (options.momentum != 0) names[2] = "momentum_buffer";
        break;
      case OptimizerKind::asgd:
        names[0] = "ax";
        break;
    }
  }

  void update(Entry& entry, const Tensor& grad, double grad_scale, double clip_value);
  void set_coefficients(backend::UpdateStep& step, std::int64_t t) const;
};

// Coefficients of update number t (from 1) of a parameter.
void Optimizer::Impl::set_coefficients(backend::UpdateStep& step, std::int64_t t) const {
  const OptimizerOptions& o = options;
  step.lr = o.lr;
  step.weight_decay = o.weight_decay;
  step.momentum = o.momentum;
  step.eps = o.eps;
  const double n = static_cast<double>(t);
  switch (o.kind) {
    case OptimizerKind::sgd:
      step.kind = backend::Update::sgd;
      step.dampening = o.dampening;
      step.nesterov = o.nesterov;
      step.first = t == 1;
      break;
    case OptimizerKind::adamw:
    case OptimizerKind::adam:
      step.kind = backend::Update::adam;
      step.beta1 = o.beta1;
      step.beta2 = o.beta2;
      step.step_size = o.lr / (1.0 - std::pow(o.beta1, n));
      step.bias2_sqrt = std::sqrt(1.0 - std::pow(o.beta2, n));
      if (o.kind == OptimizerKind::adamw) {
        step.decay = 1.0 - o.lr * o.weight_decay;
        step.weight_decay = 0.0;
      }
      break;
    case OptimizerKind::rmsprop:
      step.kind = backend::Update::rmsprop;
      step.alpha = o.alpha;
      break;
    case OptimizerKind::asgd:  // eta_t and mu_t in closed form
      step.kind = backend::Update::asgd;
      step.lr = o.lr / std::pow(1.0 + o.lambd * o.lr * (n - 1.0), o.asgd_alpha);
      step.decay = 1.0 - o.lambd * step.lr;
      step.alpha = 1.0 / std::max(1.0, n - 1.0 - o.t0);
      break;
  }
}

void Optimizer::Impl::update(Entry& entry, const Tensor& grad, double grad_scale, double clip_value) {
  const char* names[3];
  slot_names(names);
  backend::UpdateStep step;
  set_coefficients(step, ++entry.steps);
  step.dtype = grad.dtype();
  step.n = grad.numel();
  step.g = grad.raw();
  step.w = entry.parameter.mutable_raw();
  step.grad_scale = grad_scale;
  step.clip_value = clip_value;
  for (int i = 0; i < 3; ++i) {
    if (names[i] == nullptr) continue;
    if (!entry.slot[i].defined()) entry.slot[i] = Tensor::zeros(grad.shape(), grad.dtype());
    step.slot[i] = entry.slot[i].mutable_raw();
  }
  backend::update(grad.device(), step);
  finish_write(entry.parameter);
}

Optimizer::Optimizer(std::vector<Tensor> parameters, const OptimizerOptions& options)
    : impl_(std::make_unique<Impl>()) {
  check_options(options);
  impl_->options = options;
  impl_->entries = distinct(parameters, "Optimizer");
}
Optimizer::~Optimizer() = default;
Optimizer::Optimizer(Optimizer&&) noexcept = default;
Optimizer& Optimizer::operator=(Optimizer&&) noexcept = default;

double Optimizer::step(const StepOptions& options) {
  if (!(options.clip_norm >= 0))
    throw_argument("Optimizer.step", "clip_norm", "at least 0 (0: off)", std::to_string(options.clip_norm));
  if (!(options.clip_value >= 0))
    throw_argument("Optimizer.step", "clip_value", "at least 0 (0: off)", std::to_string(options.clip_value));
  const double norm = gradient_norm("Optimizer.step", impl_->entries, options.clip_value, impl_->bad);
  const double scale = clip_factor(norm, options.clip_norm);
  for (Entry& entry : impl_->entries) {
    const Tensor grad = entry.parameter.grad();
    if (grad.defined()) impl_->update(entry, grad, scale, options.clip_value);
  }
  ++impl_->steps;
  return norm;
}

std::int64_t Optimizer::bad_parameter() const { return impl_->bad; }

void Optimizer::zero_grad() {
  for (Entry& entry : impl_->entries) entry.parameter.set_grad({});
}

double Optimizer::lr() const { return impl_->options.lr; }
void Optimizer::set_lr(double lr) {
  check_range("lr", lr, lr >= 0, "a finite number of at least 0");
  impl_->options.lr = lr;
}
const OptimizerOptions& Optimizer::options() const { return impl_->options; }
std::int64_t Optimizer::step_count() const { return impl_->steps; }

std::vector<std::pair<std::string, Tensor>> Optimizer::state() const {
  const char* names[3];
  impl_->slot_names(names);
  std::vector<std::pair<std::string, Tensor>> out;
  for (const Entry& entry : impl_->entries) {
    const std::string suffix = "." + std::to_string(entry.index);
    out.emplace_back("step" + suffix, Tensor::full({1}, static_cast<double>(entry.steps), DType::int64));
    for (int i = 0; i < 3; ++i)
      if (names[i] != nullptr && entry.slot[i].defined()) out.emplace_back(names[i] + suffix, entry.slot[i].clone());
  }
  return out;
}

void Optimizer::load_state(const std::vector<std::pair<std::string, Tensor>>& state, std::int64_t step_count) {
  if (step_count < 0) throw_argument("Optimizer.load_state", "step_count", "at least 0", std::to_string(step_count));
  const char* names[3];
  impl_->slot_names(names);
  std::vector<Entry> fresh = impl_->entries;  // all or nothing
  for (Entry& entry : fresh) {
    entry.steps = -1;
    for (Tensor& slot : entry.slot) slot = Tensor();
  }
  for (const auto& [name, value] : state) {
    Entry* owner = nullptr;
    int slot = -2;
    for (Entry& entry : fresh) {
      const std::string suffix = "." + std::to_string(entry.index);
      if (name == "step" + suffix) slot = -1;
      for (int i = 0; i < 3; ++i)
        if (names[i] != nullptr && name == names[i] + suffix) slot = i;
      if (slot == -2) continue;
      owner = &entry;
      break;
    }
    if (owner == nullptr)
      throw_argument("Optimizer.load_state", name,
                     std::string("a state of ") + name_of(impl_->options.kind) + " for these parameters",
                     "no such slot", "was it saved by another optimizer or model?");
    if (slot == -1) {
      if (value.dtype() != DType::int64) throw_type("Optimizer.load_state", name, "int64", name_of(value.dtype()));
      owner->steps = static_cast<std::int64_t>(value.item());
      if (owner->steps < 0 || owner->steps > step_count)
        throw_argument("Optimizer.load_state", name, "within [0, step_count = " + std::to_string(step_count) + "]",
                       std::to_string(owner->steps));
      continue;
    }
    if (value.dtype() != owner->parameter.dtype())
      throw_type("Optimizer.load_state", name, name_of(owner->parameter.dtype()), name_of(value.dtype()));
    if (value.shape() != owner->parameter.shape())
      throw_argument("Optimizer.load_state", name, "shape " + to_string(owner->parameter.shape()),
                     to_string(value.shape()));
    owner->slot[slot] = Tensor::from_bytes(value.raw(), value.shape(), value.dtype());
  }
  for (const Entry& entry : fresh) {
    const auto missing = [&entry](const char* name) {
      throw_argument("Optimizer.load_state", name + ("." + std::to_string(entry.index)), "a tensor", "none",
                     "was it saved by another optimizer or model?");
    };
    if (entry.steps < 0) missing("step");
    for (int i = 0; i < 3; ++i)
      if (entry.steps > 0 && names[i] != nullptr && !entry.slot[i].defined()) missing(names[i]);
  }
  impl_->entries = std::move(fresh);
  impl_->steps = step_count;
}

double clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm) {
  if (!(max_norm > 0)) throw_argument("clip_grad_norm_", "max_norm", "above 0", std::to_string(max_norm));
  const std::vector<Entry> entries = distinct(parameters, "clip_grad_norm_");
  std::int64_t bad = -1;
  const double norm = gradient_norm("clip_grad_norm_", entries, 0.0, bad);
  const double scale = clip_factor(norm, max_norm);
  const NoGradGuard guard;
  for (const Entry& entry : entries) {
    Tensor grad = entry.parameter.grad();
    if (grad.defined() && scale < 1.0) grad.mul_(scale);
  }
  return norm;
}

void clip_grad_value_(const std::vector<Tensor>& parameters, double clip_value) {
  if (!(clip_value > 0)) throw_argument("clip_grad_value_", "clip_value", "above 0", std::to_string(clip_value));
  for (const Entry& entry : distinct(parameters, "clip_grad_value_")) {
    Tensor grad = entry.parameter.grad();
    if (grad.defined()) backend::clamp(grad.device(), grad.dtype(), grad.numel(), clip_value, grad.mutable_raw());
  }
}

void dynamic_evaluation_(const Tensor& parameter, const Tensor& start, double lr, double decay, const Tensor& scale,
                         const Tensor& back) {
  const char* name = "dynamic_evaluation_";
  check_float(name, "parameter", parameter);
  if (!parameter.is_leaf()) throw_argument(name, "parameter", "a leaf", "the result of an operation");
  for (const auto& [argument, value] : {std::pair{"lr", lr}, std::pair{"decay", decay}})
    if (!std::isfinite(value)) throw_argument(name, argument, "a finite number", std::to_string(value));
  backend::UpdateStep step;
  step.kind = backend::Update::dynamic;
  const auto read = [&](int slot, const char* argument, const Tensor& t) {
    check_same_dtype(name, argument, t, parameter.dtype());
    if (t.shape() != parameter.shape())
      throw_argument(name, argument, "shape " + to_string(parameter.shape()), to_string(t.shape()));
    step.slot[slot] = const_cast<void*>(t.raw());
  };
  read(0, "start", start);
  if (scale.defined()) read(1, "scale", scale);
  if (back.defined()) read(2, "back", back);
  const Tensor grad = parameter.grad();
  step.g = grad.defined() ? grad.raw() : nullptr;
  step.dtype = parameter.dtype();
  step.n = parameter.numel();
  step.lr = lr;
  step.alpha = decay;
  Tensor w = parameter;
  step.w = w.mutable_raw();
  backend::update(parameter.device(), step);
  finish_write(w);
}

}  // namespace rnncore
