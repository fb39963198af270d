// Clipping with the update: bound by the bytes of parameters, gradients and moments.
#include "bench.h"

namespace rnncore::bench {
namespace {

template <OptimizerKind kind>
void update(benchmark::State& state) {
  Tensor parameter = uniform({state.range(0)}, 1.0, 1);
  parameter.set_requires_grad(true);
  parameter.set_grad(uniform({state.range(0)}, 1e-3, 2));
  OptimizerOptions options;
  options.kind = kind;
  options.lr = 1e-6;  // the values hardly move, however long this runs
  Optimizer optimizer({parameter}, options);
  StepOptions step;
  step.clip_norm = 5.0;
  for (auto _ : state) benchmark::DoNotOptimize(optimizer.step(step));
  // SGD: the gradient twice (norm, update), the parameter read and written; Adam: two moments besides.
  const double floats = kind == OptimizerKind::sgd ? 4.0 : 8.0;
  count_bytes(state, 4.0 * floats * static_cast<double>(state.range(0)));
}

BENCHMARK_TEMPLATE(update, OptimizerKind::sgd)->Arg(1 << 18)->Arg(1 << 23)->UseRealTime();
BENCHMARK_TEMPLATE(update, OptimizerKind::adam)->Arg(1 << 18)->Arg(1 << 23)->UseRealTime();

}  // namespace
}  // namespace rnncore::bench
