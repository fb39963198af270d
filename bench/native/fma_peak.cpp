// The machine's fused-multiply-add peak, float32: each thread keeps twelve independent chains of vector FMAs in
// registers, so neither latency nor memory counts. Stands alone (no rnncore, no Highway), because bench/compare.py
// also compiles it by itself with -march=native:
//   g++ -O3 -march=native -ffp-contract=fast -fopenmp fma_peak.cpp -o fma_peak && ./fma_peak THREADS SECONDS
// Prints one number: GFLOP/s over all threads (one fused multiply-add = 2 operations), the best of several slices.
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
constexpr int kLanes = kBytes / static_cast<int>(sizeof(float));
constexpr int kChains = 12;  // at least latency (4 to 5 cycles) times units (2), within 16 registers
typedef float Vector __attribute__((vector_size(kBytes)));

// Runs `iterations` x kChains vector FMAs; the values converge to 1, so no denormals and no overflow arise.
float chains(long iterations) {
  Vector acc[kChains];
  Vector factor = Vector{} + 0.5f, term = Vector{} + 0.5f;
  asm volatile("" : "+m"(factor), "+m"(term));  // the compiler may not know these values
  for (int c = 0; c < kChains; ++c) acc[c] = Vector{} + 0.1f * static_cast<float>(c);
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) acc[c] = acc[c] * factor + term;  // contracted to one FMA (GNU default)
  }
  Vector total = Vector{};
  for (int c = 0; c < kChains; ++c) total += acc[c];
  return total[0];
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  const double seconds = argc > 2 ? std::atof(argv[2]) : 0.2;
  constexpr long kIterations = 400000;  // about 2 ms a slice
  const double flops = 2.0 * kLanes * kChains * static_cast<double>(kIterations) * threads;
  double best = 0.0;
  float sink = 0.0f;
  const double stop = now() + seconds;
  while (now() < stop) {
    const double start = now();
#pragma omp parallel num_threads(threads) reduction(+ : sink)
    sink += chains(kIterations);
    best = std::max(best, flops / (now() - start));
  }
  if (sink == 12345.0f) std::fprintf(stderr, " ");  // keeps the result alive
  std::printf("%.1f\n", best / 1e9);
  return 0;
}
