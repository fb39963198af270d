#include "floor.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

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

// Memory that is read again and again.
class Block {
 public:
  explicit Block(long bytes) : rounds_((bytes + kChains * kBytes - 1) / (kChains * kBytes)) {
    const long whole = (rounds_ * kChains * kBytes + 4095) / 4096 * 4096;
    data_ = static_cast<Vector*>(aligned_alloc(4096, static_cast<unsigned long>(whole)));
    for (long i = 0; i < rounds_ * kChains; ++i) data_[i] = Vector{};
  }
  ~Block() { free(data_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void read(long passes) const {
    const Vector half = unknown(0.5f);
    Vector sum[kChains] = {};
    for (long pass = 0; pass < passes; ++pass) {
      const Vector* at = data_;
      for (long i = 0; i < rounds_; ++i, at += kChains) {
#pragma GCC unroll 8
        for (int c = 0; c < kChains; ++c) sum[c] += half * at[c];
      }
      asm volatile("" : : : "memory");
    }
    for (const Vector& s : sum) keep(s);
  }

 private:
  long rounds_;
  Vector* data_;
};

long passes_of(long bytes) { return 4 + (4L << 20) / bytes; }

// A thread's part: the same number of passes as the others', begun together.
struct Reader {
  long bytes = 0, passes = 0;
  pthread_barrier_t* together = nullptr;
  double best = 1e30;  // of the slowest, the one that is waited for at the end
  pthread_t thread = 0;
};

void* read_together(void* argument) {
  Reader& mine = *static_cast<Reader*>(argument);
  const Block block(mine.bytes);
  for (int run = 0; run < 15; ++run) {
    pthread_barrier_wait(mine.together);
    const double start = now_ns();
    block.read(mine.passes);
    pthread_barrier_wait(mine.together);
    const double each = (now_ns() - start) / static_cast<double>(mine.passes);
    if (each < mine.best) mine.best = each;
  }
  return nullptr;
}

}  // namespace

double read_ns(long bytes) {
  const Block block(bytes);
  return best_ns(passes_of(bytes), [&](long count) { block.read(count); });
}

double read_ns(long bytes, int threads) {
  constexpr int kMost = 256;
  const int count = threads < 1 ? 1 : threads > kMost ? kMost : threads;
  static Reader readers[kMost];
  pthread_barrier_t together;
  pthread_barrier_init(&together, nullptr, static_cast<unsigned>(count));
  for (int i = 0; i < count; ++i) {
    readers[i] = Reader{bytes / count, 40 + passes_of(bytes / count), &together, 1e30, 0};  // far more than a barrier
    pthread_create(&readers[i].thread, nullptr, read_together, &readers[i]);
  }
  for (int i = 0; i < count; ++i) pthread_join(readers[i].thread, nullptr);
  pthread_barrier_destroy(&together);
  return readers[0].best;
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
