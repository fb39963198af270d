// The output layer and its loss, forward with backward: (rows, hidden, vocabulary).
#include "bench.h"

namespace rnncore::bench {
namespace {

// cross_entropy over given logits.
void loss_from_logits(benchmark::State& state) {
  const std::int64_t rows = state.range(0), V = state.range(2);
  Tensor logits = uniform({rows, V}, 2.0, 1);
  logits.set_requires_grad(true);
  const Tensor targets = ids({rows}, V, 2);
  for (auto _ : state) {
    logits.set_grad({});
    cross_entropy(logits, targets).backward();
    benchmark::DoNotOptimize(logits.grad().raw());
  }
  count_bytes(state, 8.0 * static_cast<double>(rows * V));  // logits read, gradient written
}

struct Head {
  Tensor x, weight, bias, targets;
  Head(std::int64_t rows, std::int64_t H, std::int64_t V)
      : x(uniform({rows, H}, 1.0, 1)),
        weight(uniform({V, H}, 0.1, 2)),
        bias(uniform({V}, 0.1, 3)),
        targets(ids({rows}, V, 4)) {
    for (Tensor* leaf : {&x, &weight, &bias}) leaf->set_requires_grad(true);
  }
  void clear() {
    for (Tensor* leaf : {&x, &weight, &bias}) leaf->set_grad({});
  }
};

void head_and_loss(benchmark::State& state) {
  Head head(state.range(0), state.range(1), state.range(2));
  for (auto _ : state) {
    head.clear();
    cross_entropy(linear(head.x, head.weight, head.bias), head.targets).backward();
  }
  count_flops(state, 6.0 * static_cast<double>(state.range(0) * state.range(1) * state.range(2)));
}

// The same without holding the logits.
void head_and_loss_fused(benchmark::State& state) {
  Head head(state.range(0), state.range(1), state.range(2));
  for (auto _ : state) {
    head.clear();
    linear_cross_entropy(head.x, head.weight, head.bias, head.targets).backward();
  }
  count_flops(state, 6.0 * static_cast<double>(state.range(0) * state.range(1) * state.range(2)));
}

void shapes(benchmark::internal::Benchmark* b) {
  b->Args({2500, 128, 65})
      ->Args({2500, 512, 65})
      ->Args({400, 200, 10000})
      ->Args({700, 200, 10000})
      ->Args({700, 650, 10000})
      ->Args({700, 200, 33278})
      ->Args({700, 1500, 10000})
      ->Args({2400, 512, 2000});
  b->ArgNames({"rows", "H", "V"})->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(loss_from_logits)->Apply(shapes);
BENCHMARK(head_and_loss)->Apply(shapes);
BENCHMARK(head_and_loss_fused)->Apply(shapes);

}  // namespace
}  // namespace rnncore::bench
