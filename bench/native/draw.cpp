// Drawing a character from three LSTM layers of 512, one text: every weight is used once, so reading them bounds it.
// Beside the time:
//   characters  a second
//   read_ns     reading so many bytes once with the same threads, each its share (floor.h)
//   of_read     that over the time of a character: 1 is the bound
#include "bench.h"
#include "floor.h"

namespace rnncore::bench {
namespace {

constexpr std::int64_t kLetters = 65, kUnits = 512, kLayers = 3;

// The first layer's input product comes from a table, one row of it.
constexpr long kBytes = 4 * (4 * kUnits * kUnits * (2 * kLayers - 1) + kLetters * kUnits);

void draw_character(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(0)), before = get_num_threads();
  ModelSpec spec;
  spec.vocab_size = kLetters;
  spec.embedding_size = spec.recurrent.input_size = kUnits;
  spec.recurrent.layers.assign(kLayers, LayerSpec{CellKind::lstm, kUnits});
  Generator generator(1);
  const Model model(spec, generator);
  set_num_threads(threads);
  ModelStream stream = model.stream(1);
  stream.use_threads(threads > 1);
  Tensor logits = Tensor::zeros({1, kLetters});
  const auto step = [&] {
    const Tensor id = sample(logits, SampleOptions{}, generator);
    stream.step(id.data<std::int64_t>(), logits.mutable_data<float>());
  };
  for (int i = 0; i < 500; ++i) step();  // the table's rows are made as letters come
  for (auto _ : state) step();
  set_num_threads(before);
  const double read = read_ns(kBytes, threads);  // each time: memory is nearer or farther from minute to minute
  state.counters["characters"] = benchmark::Counter(1, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["read_ns"] = read;
  state.counters["of_read"] = benchmark::Counter(read * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

BENCHMARK(draw_character)->Arg(1)->Arg(2)->ArgName("threads")->UseRealTime();

}  // namespace
}  // namespace rnncore::bench
