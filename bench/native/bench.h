// Shared by the native benchmarks: seeded inputs and the counters that every one reports.
// They see rnncore through its public headers alone, as a user's program does.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "rnncore/rnncore.hpp"

namespace rnncore::bench {

// U(-scale, scale), the same numbers in every run.
inline Tensor uniform(const Shape& shape, double scale, std::uint64_t seed) {
  Tensor tensor = Tensor::empty(shape);
  Generator generator(seed);
  generator.uniform_(tensor, -scale, scale);
  return tensor;
}

// int64 ids in [0, bound).
inline Tensor ids(const Shape& shape, std::int64_t bound, std::uint64_t seed) {
  Generator generator(seed);
  std::vector<std::int64_t> values(static_cast<std::size_t>(numel_of(shape)));
  for (std::int64_t& value : values) value = generator.below(bound);
  return Tensor::from(values, shape);
}

// Operations a second (a multiply-add counts 2), printed with an SI prefix as "FLOPS".
inline void count_flops(benchmark::State& state, double flops_per_iteration) {
  state.counters["FLOPS"] = benchmark::Counter(flops_per_iteration, benchmark::Counter::kIsIterationInvariantRate);
}

// Bytes that must at least be read and written.
inline void count_bytes(benchmark::State& state, double bytes_per_iteration) {
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes_per_iteration * static_cast<double>(state.iterations())));
}

}  // namespace rnncore::bench
