// One step of a stream, I = H: the latency that a real-time program sees.
#include "bench.h"

namespace rnncore::bench {
namespace {

template <CellKind cell>
void stream_step(benchmark::State& state) {
  const std::int64_t H = state.range(0), N = state.range(1);
  RecurrentSpec spec;
  spec.input_size = H;
  spec.layers.assign(1, LayerSpec{cell, H});
  std::vector<Tensor> parameters;
  std::uint64_t seed = 1;
  for (const ParameterInfo& info : parameters_of(spec))
    parameters.push_back(uniform(info.shape, 0.5 / static_cast<double>(H), seed++));
  Stream stream(spec, parameters, N);
  const Tensor x = uniform({N, H}, 1.0, seed);
  std::vector<float> y(static_cast<std::size_t>(N * H));
  const float* in = x.data<float>();
  for (auto _ : state) {
    stream.step(in, y.data());
    benchmark::ClobberMemory();
  }
  count_flops(state, 4.0 * static_cast<double>(N * gates_of(cell) * H * H));
}

void sizes(benchmark::internal::Benchmark* b) {
  for (const std::int64_t H : {8, 16, 32, 64, 128, 256, 512}) b->Args({H, 1});
  b->Args({512, 64})->ArgNames({"H", "N"})->UseRealTime();
}

BENCHMARK_TEMPLATE(stream_step, CellKind::lstm)->Apply(sizes);
BENCHMARK_TEMPLATE(stream_step, CellKind::gru)->Apply(sizes);
BENCHMARK_TEMPLATE(stream_step, CellKind::gru_reset_before)->Apply(sizes);
BENCHMARK_TEMPLATE(stream_step, CellKind::rnn_tanh)->Apply(sizes);

}  // namespace
}  // namespace rnncore::bench
