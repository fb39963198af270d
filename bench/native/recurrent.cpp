// Recurrent layers over whole sequences, forward alone and forward with backward, at the shapes of bench/compare.py.
#include "bench.h"

namespace rnncore::bench {
namespace {

struct Layer {
  RecurrentSpec spec;
  std::vector<Tensor> parameters;
  RecurrentInput input;
  double product_flops;  // 2*T*N*G*H*H: one (H, G*H) product over all rows

  Layer(CellKind cell, std::int64_t T, std::int64_t N, std::int64_t layers, std::int64_t H) {
    spec.input_size = H;
    spec.layers.assign(static_cast<std::size_t>(layers), LayerSpec{cell, H});
    std::uint64_t seed = 1;
    for (const ParameterInfo& info : parameters_of(spec))
      parameters.push_back(uniform(info.shape, 0.5 / static_cast<double>(H), seed++));
    input.x = uniform({T, N, H}, 1.0, seed);
    product_flops = 2.0 * static_cast<double>(T * N * gates_of(cell) * H * H);
  }
};

template <CellKind cell>
void recurrent_forward(benchmark::State& state) {
  const Layer layer(cell, state.range(0), state.range(1), state.range(2), state.range(3));
  const NoGradGuard no_grad;
  for (auto _ : state) benchmark::DoNotOptimize(recurrent(layer.spec, layer.parameters, layer.input).y.raw());
  count_flops(state, 2.0 * layer.product_flops * static_cast<double>(state.range(2)));
}

template <CellKind cell>
void recurrent_training(benchmark::State& state) {
  Layer layer(cell, state.range(0), state.range(1), state.range(2), state.range(3));
  for (Tensor& parameter : layer.parameters) parameter.set_requires_grad(true);
  const Tensor dy = uniform({state.range(0), state.range(1), state.range(3)}, 1.0, 99);
  for (auto _ : state) {
    for (Tensor& parameter : layer.parameters) parameter.set_grad({});
    recurrent(layer.spec, layer.parameters, layer.input).y.backward(dy);
    benchmark::DoNotOptimize(layer.parameters[0].grad().raw());
  }
  count_flops(state, layer.product_flops * (6.0 * static_cast<double>(state.range(2)) - 1.0));  // x needs no gradient
}

void shapes(benchmark::internal::Benchmark* b) {
  b->Args({35, 20, 2, 200})->Args({35, 20, 2, 650})->Args({50, 50, 2, 128})->Args({50, 64, 3, 512});
  b->Args({100, 32, 1, 256})->Args({100, 1, 1, 64})->Args({1000, 1, 1, 32})->Args({784, 16, 1, 100});
  b->ArgNames({"T", "N", "L", "H"})->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK_TEMPLATE(recurrent_forward, CellKind::lstm)->Apply(shapes);
BENCHMARK_TEMPLATE(recurrent_forward, CellKind::gru)->Apply(shapes);
BENCHMARK_TEMPLATE(recurrent_forward, CellKind::rnn_tanh)->Apply(shapes);
BENCHMARK_TEMPLATE(recurrent_training, CellKind::lstm)->Apply(shapes);
BENCHMARK_TEMPLATE(recurrent_training, CellKind::gru)->Apply(shapes);
BENCHMARK_TEMPLATE(recurrent_training, CellKind::rnn_tanh)->Apply(shapes);

}  // namespace
}  // namespace rnncore::bench
