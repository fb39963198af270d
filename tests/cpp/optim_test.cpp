// Optimisers against torch.optim's numbers, clipping, bad gradients, tied parameters, checkpoints.
#include "optim_golden.h"

#include <limits>
#include <map>

#include "gradcheck.h"

namespace rnncore::test {
namespace {

struct Case {
  OptimizerOptions options;
  StepOptions step;
};

Case case_named(const std::string& name) {
  Case c;
  OptimizerOptions& o = c.options;
  o.kind = optimizer_from_name(name.substr(0, name.find('_')));
  if (name == "sgd" || name == "sgd_clip_value") o.lr = 0.1;
  if (name == "sgd_clip_value") c.step.clip_value = 0.5;
  if (name == "sgd_momentum") o.lr = 0.1, o.momentum = 0.9, o.dampening = 0.2, o.weight_decay = 0.01;
  if (name == "sgd_nesterov") o.lr = 0.1, o.momentum = 0.9, o.nesterov = true;
  if (name == "adam") o.lr = 0.05, o.beta1 = 0.8, o.beta2 = 0.95, o.eps = 1e-6, o.weight_decay = 0.02;
  if (name == "adamw") o.lr = 0.05, o.weight_decay = 0.3;
  if (name == "rmsprop") o.lr = 0.05, o.alpha = 0.9, o.eps = 1e-6, o.weight_decay = 0.02;
  if (name == "rmsprop_centered") o.lr = 0.05, o.alpha = 0.9, o.centered = true, o.momentum = 0.7;
  if (name == "asgd") o.lr = 0.1, o.lambd = 0.05, o.asgd_alpha = 0.6, o.t0 = 1.0, o.weight_decay = 0.01;
  if (name == "adam_clip_norm") o.lr = 0.05, c.step.clip_norm = 1.5;
  return c;
}

std::vector<Tensor> parameters(DType dtype) {
  std::vector<Tensor> all;
  for (int k = 0; k < 2; ++k) {
    std::vector<double> values(k == 0 ? 5 : 3);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::cos(static_cast<double>(i) + 10.0 * k);
    const auto n = static_cast<std::int64_t>(values.size());
    all.push_back(Tensor::from(values, {n}).to(dtype));
    all.back().set_requires_grad(true);
  }
  return all;
}

void set_gradients(std::vector<Tensor>& all, int t) {
  for (std::size_t k = 0; k < all.size(); ++k) {
    std::vector<double> g(static_cast<std::size_t>(all[k].numel()));
    for (std::size_t i = 0; i < g.size(); ++i)
      g[i] = 2.0 * std::sin(1.0 + static_cast<double>(i) + 3.0 * t + 7.0 * static_cast<double>(k));
    all[k].set_grad(Tensor::from(g, all[k].shape()).to(all[k].dtype()));
  }
}

double element(const std::vector<Tensor>& all, std::size_t i) {
  const Tensor t = (i < 5 ? all[0] : all[1]).detach().to(DType::float64);
  return t.data<double>()[i < 5 ? i : i - 5];
}

TEST(Optim, FourStepsAsInTorch) {
  for (const OptimGolden& golden : kOptimGoldens)
    for (const DType dtype : {DType::float64, DType::float32}) {
      SCOPED_TRACE(std::string(golden.name) + " " + name_of(dtype));
      const Case c = case_named(golden.name);
      auto all = parameters(dtype);
      Optimizer optimizer(all, c.options);
      double norm = 0;
      for (int t = 0; t < 4; ++t) {
        set_gradients(all, t);
        norm = optimizer.step(c.step);
      }
      // torch keeps asgd's rate in single precision whatever the parameters are.
      const bool asgd = c.options.kind == OptimizerKind::asgd;
      const double tol = dtype == DType::float32 ? 2e-6 : asgd ? 1e-8 : 1e-12;
      EXPECT_NEAR(norm, golden.last_norm, tol * golden.last_norm);
      for (std::size_t i = 0; i < 8; ++i) EXPECT_NEAR(element(all, i), golden.parameters[i], tol) << "element " << i;
      EXPECT_EQ(optimizer.step_count(), 4);
    }
}

// Two steps, save, load into a fresh optimiser, two more: the same bits as four.
TEST(Optim, StateResumesBitForBit) {
  for (const OptimGolden& golden : kOptimGoldens) {
    SCOPED_TRACE(golden.name);
    const Case c = case_named(golden.name);
    auto straight = parameters(DType::float32), resumed = parameters(DType::float32);
    Optimizer whole(straight, c.options);
    auto second = std::make_unique<Optimizer>(resumed, c.options);
    for (int t = 0; t < 4; ++t) {
      set_gradients(straight, t);
      whole.step(c.step);
      if (t == 2) {
        auto fresh = std::make_unique<Optimizer>(resumed, c.options);
        fresh->load_state(second->state(), second->step_count());
        second = std::move(fresh);
      }
      set_gradients(resumed, t);
      second->step(c.step);
    }
    for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(element(straight, i), element(resumed, i)) << "element " << i;
  }
}

TEST(Optim, ForeignStateIsRefusedAndChangesNothing) {
  auto all = parameters(DType::float32);
  Optimizer optimizer(all, case_named("adam").options);
  EXPECT_THROW(optimizer.load_state({{"momentum_buffer.0", Tensor::zeros({5})}}, 1), ArgumentError);
  EXPECT_THROW(optimizer.load_state({{"exp_avg.0", Tensor::zeros({4})}}, 1), ArgumentError);
  EXPECT_THROW(optimizer.load_state({{"exp_avg.0", Tensor::zeros({5}, DType::float64)}}, 1), TypeError);
  EXPECT_THROW(optimizer.load_state({{"exp_avg.9", Tensor::zeros({5})}}, 1), ArgumentError);
  EXPECT_EQ(optimizer.step_count(), 0);
}

TEST(Optim, IncompleteStateIsRefusedAndChangesNothing) {
  for (const OptimGolden& golden : kOptimGoldens) {
    const Case c = case_named(golden.name);
    auto all = parameters(DType::float32);
    Optimizer source(all, c.options);
    set_gradients(all, 0);
    source.step();
    const auto state = source.state();
    Optimizer optimizer(parameters(DType::float32), c.options);
    for (std::size_t without = 0; without < state.size(); ++without) {
      auto part = state;
      part.erase(part.begin() + static_cast<std::ptrdiff_t>(without));
      EXPECT_THROW(optimizer.load_state(part, 1), ArgumentError) << state[without].first;
    }
    EXPECT_THROW(optimizer.load_state(state, 0), ArgumentError) << "more steps of a parameter than of the optimizer";
    EXPECT_EQ(optimizer.step_count(), 0);
    optimizer.load_state(state, 1);
    EXPECT_EQ(optimizer.step_count(), 1);
  }
}

TEST(Optim, BadGradientsAreNamedBeforeAnythingChanges) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    auto all = parameters(DType::float32);
    Optimizer optimizer(all, case_named("adam").options);
    set_gradients(all, 0);
    Tensor g = all[1].grad();
    g.mutable_data<float>()[2] = bad;
    const double before = element(all, 0);
    try {
      optimizer.step();
      FAIL() << "a bad gradient was taken";
    } catch (const NumericError& error) {
      EXPECT_NE(std::string(error.what()).find("parameter 1"), std::string::npos) << error.what();
    }
    EXPECT_EQ(optimizer.bad_parameter(), 1);
    EXPECT_EQ(element(all, 0), before);
    EXPECT_EQ(optimizer.step_count(), 0);
    // Clamping must not hide it.
    EXPECT_THROW(optimizer.step({0.0, 1.0}), NumericError);
  }
}

TEST(Optim, TiedParametersAreUpdatedOnce) {
  auto once = parameters(DType::float64), twice = parameters(DType::float64);
  Optimizer a({once[0], once[1]}, case_named("sgd").options),
      b({twice[0], twice[1], twice[0]}, case_named("sgd").options);
  set_gradients(once, 0);
  set_gradients(twice, 0);
  EXPECT_EQ(a.step(), b.step());
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(element(once, i), element(twice, i));
}

TEST(Optim, ClippingInPlace) {
  auto all = parameters(DType::float64);
  set_gradients(all, 0);
  const double norm = clip_grad_norm_(all, 1.0);
  EXPECT_GT(norm, 1.0);
  EXPECT_NEAR(clip_grad_norm_(all, 100.0), 1.0, 1e-5);
  clip_grad_value_(all, 0.1);
  for (const Tensor& p : all)
    for (std::int64_t i = 0; i < p.numel(); ++i) EXPECT_LE(std::abs(p.grad().data<double>()[i]), 0.1);
}

TEST(Optim, NonsenseIsRefused) {
  auto all = parameters(DType::float32);
  OptimizerOptions o;
  o.lr = -1;
  EXPECT_THROW(Optimizer(all, o), ArgumentError);
  o.lr = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(Optimizer(all, o), ArgumentError);
  o = {};
  o.nesterov = true;
  EXPECT_THROW(Optimizer(all, o), ArgumentError);
  EXPECT_THROW(optimizer_from_name("adagrad"), ArgumentError);
  EXPECT_THROW(Optimizer({Tensor::zeros({2}, DType::int64)}, OptimizerOptions()), TypeError);
  EXPECT_THROW(clip_grad_norm_(all, 0.0), ArgumentError);
}

TEST(Optim, ParametersWithoutGradientAreLeftAlone) {
  auto all = parameters(DType::float32);
  Optimizer optimizer(all, case_named("adamw").options);
  set_gradients(all, 0);
  all[1].set_grad({});
  const double before = element(all, 6);
  optimizer.step();
  EXPECT_EQ(element(all, 6), before);
  optimizer.zero_grad();
  EXPECT_FALSE(all[0].grad().defined());
}

TEST(Optim, DynamicEvaluationIsItsEquation) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    const Tensor w = Tensor::full({37}, 2.0, dtype), start = Tensor::full({37}, 5.0, dtype),
                 scale = Tensor::full({37}, 10.0, dtype), back = Tensor::full({37}, 0.25, dtype);
    const auto moved = [&](const Tensor& g, const Tensor& by, const Tensor& to) {
      Tensor parameter = w.clone();
      parameter.set_requires_grad(true);
      parameter.set_grad(g);
      dynamic_evaluation_(parameter, start, 0.5, 0.125, by, to);
      const Tensor values = parameter.to(DType::float64);
      for (std::int64_t i = 1; i < 37; ++i) EXPECT_EQ(values.data<double>()[i], values.data<double>()[0]);
      return values.data<double>()[36];
    };
    const Tensor g = Tensor::full({37}, 3.0, dtype);
    EXPECT_EQ(moved(g, scale, back), 2.0 - 0.5 * 10.0 * 3.0 + 0.25 * 3.0);
    EXPECT_EQ(moved(g, {}, {}), 2.0 - 0.5 * 3.0 + 0.125 * 3.0);
    EXPECT_EQ(moved({}, scale, {}), 2.0 + 0.125 * 3.0);
  }
  const Tensor w = Tensor::zeros({4}, DType::float32),
               endless = Tensor::full({4}, std::numeric_limits<double>::infinity(), DType::float32);
  dynamic_evaluation_(w, Tensor::full({4}, 1.0, DType::float32), 0.5, 0.25, endless);  // no gradient: no 0 * infinity
  EXPECT_EQ(w.data<float>()[3], 0.25f);
  EXPECT_THROW(dynamic_evaluation_(w, w, std::numeric_limits<double>::quiet_NaN(), 0), ArgumentError);
  EXPECT_THROW(dynamic_evaluation_(w, Tensor::zeros({5}, DType::float32), 1, 0), ArgumentError);
  EXPECT_THROW(dynamic_evaluation_(w, Tensor::zeros({4}, DType::float64), 1, 0), TypeError);
  EXPECT_THROW(dynamic_evaluation_(w, w, 1, 0, Tensor::zeros({2, 2}, DType::float32)), ArgumentError);
}

}  // namespace
}  // namespace rnncore::test
