#include "floor.h"

#include <time.h>

#include <stdlib.h>

namespace rnncore::bench {
namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
typedef float Vector __attribute__((vector_size(kBytes)));
constexpr int kChains = 8;

void keep(Vector v) { asm volatile("" : : "m"(v)); }
Vector unknown(float value) {
  Vector v = Vector{} + value;
  asm volatile("" : "+m"(v));
  return v;
}

double now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e9 * static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec);
}

// The best of several runs of f(count), each.
template <typename F>
double best_ns(long count, const F& f) {
  double best = 1e30;
  for (int run = 0; run < 15; ++run) {
    const double start = now_ns();
    f(count);
    const double each = (now_ns() - start) / static_cast<double>(count);
    if (each < best) best = each;
  }
  return best;
}

}  // namespace

double read_ns(long bytes) {
  const long rounds = (bytes + kChains * kBytes - 1) / (kChains * kBytes);
  void* const memory =
      aligned_alloc(4096, static_cast<unsigned long>((rounds * kChains * kBytes + 4095) / 4096 * 4096));
  Vector* const data = static_cast<Vector*>(memory);
  for (long i = 0; i < rounds * kChains; ++i) data[i] = Vector{};
  const Vector half = unknown(0.5f);
  const double each = best_ns(4 + (4L << 20) / bytes, [&](long count) {
    Vector sum[kChains] = {};
    for (long pass = 0; pass < count; ++pass) {
      const Vector* at = data;
      for (long i = 0; i < rounds; ++i, at += kChains) {
#pragma GCC unroll 8
        for (int c = 0; c < kChains; ++c) sum[c] += half * at[c];
      }
      asm volatile("" : : : "memory");
    }
    for (const Vector& s : sum) keep(s);
  });
  free(memory);
  return each;
}

double fma_ns() {
  const Vector factor = unknown(0.5f), term = unknown(0.5f);
  return best_ns(200000, [&](long count) {
    Vector v = term;
    for (long i = 0; i < count; ++i) v = v * factor + term;  // contracted to one FMA
    keep(v);
  });
}

double divide_ns() {
  const Vector one = unknown(1.0f);
  return best_ns(100000, [&](long count) {
    Vector v = one;
    for (long i = 0; i < count; ++i) v = one / v;
    keep(v);
  });
}

}  // namespace rnncore::bench
