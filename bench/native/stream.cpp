// One step of a stream, I = H: the latency that a real-time program sees. Beside each time:
//   read_ns     reading the weights once, with the machine's widest loads (floor.h): what bounds large sizes
//   chain_ns    the longest chain of dependent operations, from x to the output: what bounds small ones
//   over_floor  the time over the larger of the two
//   p50_ns, p9999_ns  median and 99.99th percentile of steps timed one by one (each includes reading the clock)
#include "bench.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "floor.h"

namespace rnncore::bench {
namespace {

double read_once_ns(long bytes) {
  static std::map<long, double> known;
  const auto found = known.find(bytes);
  return found != known.end() ? found->second : known[bytes] = read_ns(bytes);
}

// Products of I + H multiply-adds, then the cell: a logistic function and a tangent one after the other (an Elman
// network: one of them), each about 10 operations as long as a multiply-add and a division, and two products.
double chain_ns(CellKind cell, std::int64_t H) {
  static const double fma = fma_ns(), divide = divide_ns();
  const int functions = cell == CellKind::rnn_tanh ? 1 : 2;
  return static_cast<double>(2 * H) * fma + functions * (10 * fma + divide) + 2 * (functions - 1) * fma;
}

void time_single_steps(benchmark::State& state, Stream& stream, const float* in, float* out) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> ns(20000);
  for (double& t : ns) {
    const auto start = Clock::now();
    stream.step(in, out);
    t = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  }
  std::sort(ns.begin(), ns.end());
  state.counters["p50_ns"] = ns[ns.size() / 2];
  state.counters["p9999_ns"] = ns[ns.size() - ns.size() / 10000];
}

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
  const FlushDenormalsGuard flush;  // as a real-time program does
  for (auto _ : state) {
    stream.step(in, y.data());
    benchmark::ClobberMemory();
  }
  const double weights = static_cast<double>(gates_of(cell) * H * 2 * H);
  count_flops(state, 2.0 * static_cast<double>(N) * weights);
  if (N != 1) return;
  const double read = read_once_ns(static_cast<long>(weights * sizeof(float))), chain = chain_ns(cell, H);
  state.counters["read_ns"] = read;
  state.counters["chain_ns"] = chain;
  state.counters["over_floor"] = benchmark::Counter(
      std::max(read, chain) * 1e-9, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  time_single_steps(state, stream, in, y.data());
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
