// Matrix products at the shapes that recurrent models need: (rows, inputs, outputs).
#include "bench.h"

namespace rnncore::bench {
namespace {

// x W^T + b with the packed weight reused, as in inference and within one update.
void linear_packed(benchmark::State& state) {
  const std::int64_t rows = state.range(0), inputs = state.range(1), outputs = state.range(2);
  const Tensor x = uniform({rows, inputs}, 1.0, 1), weight = uniform({outputs, inputs}, 0.1, 2);
  const Tensor bias = uniform({outputs}, 0.1, 3);
  const NoGradGuard no_grad;
  for (auto _ : state) benchmark::DoNotOptimize(linear(x, weight, bias).raw());
  count_flops(state, 2.0 * static_cast<double>(rows * inputs * outputs));
}

// The same after an update: the weight is packed anew each time.
void linear_repacked(benchmark::State& state) {
  const std::int64_t rows = state.range(0), inputs = state.range(1), outputs = state.range(2);
  const Tensor x = uniform({rows, inputs}, 1.0, 1);
  Tensor weight = uniform({outputs, inputs}, 0.1, 2);
  const NoGradGuard no_grad;
  for (auto _ : state) {
    benchmark::DoNotOptimize(weight.mutable_raw());  // bumps the version: the packed copy is stale
    benchmark::DoNotOptimize(linear(x, weight).raw());
  }
  count_flops(state, 2.0 * static_cast<double>(rows * inputs * outputs));
}

// A product of two matrices that both change: nothing can be packed ahead. The shape of a weight gradient.
void matmul_fresh(benchmark::State& state) {
  const std::int64_t rows = state.range(0), inner = state.range(1), columns = state.range(2);
  const Tensor a = uniform({rows, inner}, 1.0, 1);
  Tensor b = uniform({inner, columns}, 1.0, 2);
  const NoGradGuard no_grad;
  for (auto _ : state) {
    benchmark::DoNotOptimize(b.mutable_raw());
    benchmark::DoNotOptimize(matmul(a, b).raw());
  }
  count_flops(state, 2.0 * static_cast<double>(rows * inner * columns));
}

void shapes(benchmark::internal::Benchmark* b) {
  b->Args({1, 64, 256})->Args({20, 200, 800})->Args({64, 512, 2048})->Args({700, 200, 10000})->Args({2500, 128, 512});
  b->Args({3200, 512, 2048})->ArgNames({"M", "K", "N"})->UseRealTime();
}

BENCHMARK(linear_packed)->Apply(shapes);
BENCHMARK(linear_repacked)->Apply(shapes);
BENCHMARK(matmul_fresh)->Args({512, 3200, 2048})->Args({128, 2500, 512})->ArgNames({"M", "K", "N"})->UseRealTime();

}  // namespace
}  // namespace rnncore::bench
