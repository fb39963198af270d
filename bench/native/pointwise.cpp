// Element-wise operations, reductions and lookups: bound by memory unless they compute an exponential.
#include "bench.h"

namespace rnncore::bench {
namespace {

template <Tensor (*operation)(const Tensor&)>
void unary(benchmark::State& state) {
  const Tensor a = uniform({state.range(0)}, 4.0, 1);
  const NoGradGuard no_grad;
  for (auto _ : state) benchmark::DoNotOptimize(operation(a).raw());
  count_bytes(state, 8.0 * static_cast<double>(state.range(0)));
}

void add_tensors(benchmark::State& state) {
  const Tensor a = uniform({state.range(0)}, 1.0, 1), b = uniform({state.range(0)}, 1.0, 2);
  const NoGradGuard no_grad;
  for (auto _ : state) benchmark::DoNotOptimize(add(a, b).raw());
  count_bytes(state, 12.0 * static_cast<double>(state.range(0)));
}

void sum_all(benchmark::State& state) {
  const Tensor a = uniform({state.range(0)}, 1.0, 1);
  const NoGradGuard no_grad;
  for (auto _ : state) benchmark::DoNotOptimize(sum(a).raw());
  count_bytes(state, 4.0 * static_cast<double>(state.range(0)));
}

void embedding_lookup(benchmark::State& state) {
  const std::int64_t V = state.range(0), E = state.range(1), rows = state.range(2);
  const Tensor weight = uniform({V, E}, 1.0, 1), tokens = ids({rows}, V, 2);
  const NoGradGuard no_grad;
  for (auto _ : state) benchmark::DoNotOptimize(embedding(weight, tokens).raw());
  count_bytes(state, 8.0 * static_cast<double>(E * rows));
}

void dropout_half(benchmark::State& state) {
  const Tensor a = uniform({state.range(0)}, 1.0, 1);
  Generator generator(2);
  const NoGradGuard no_grad;
  for (auto _ : state) benchmark::DoNotOptimize(dropout(a, 0.5, true, generator).raw());
  count_bytes(state, 8.0 * static_cast<double>(state.range(0)));
}

constexpr std::int64_t kSmall = 4096, kLarge = 1 << 20;  // within L1; within L3
BENCHMARK_TEMPLATE(unary, tanh)->Arg(kSmall)->Arg(kLarge)->UseRealTime();
BENCHMARK_TEMPLATE(unary, sigmoid)->Arg(kSmall)->Arg(kLarge)->UseRealTime();
BENCHMARK_TEMPLATE(unary, exp)->Arg(kSmall)->Arg(kLarge)->UseRealTime();
BENCHMARK_TEMPLATE(unary, relu)->Arg(kSmall)->Arg(kLarge)->UseRealTime();
BENCHMARK(add_tensors)->Arg(kSmall)->Arg(kLarge)->UseRealTime();
BENCHMARK(sum_all)->Arg(kSmall)->Arg(kLarge)->UseRealTime();
BENCHMARK(dropout_half)->Arg(kSmall)->Arg(kLarge)->UseRealTime();
BENCHMARK(embedding_lookup)
    ->Args({65, 128, 2500})
    ->Args({10000, 200, 700})
    ->ArgNames({"V", "E", "rows"})
    ->UseRealTime();

}  // namespace
}  // namespace rnncore::bench
