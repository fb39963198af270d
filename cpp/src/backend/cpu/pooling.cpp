// Pooling over time: (T, N, F) -> (N, F) over each sequence's own steps. A sequence belongs to one thread; its steps
// are taken in order.
#include <algorithm>
#include <cmath>

#include "backend/cpu/dispatch.h"
#include "backend/pointwise.h"

namespace rnncore {
namespace cpu {
namespace {

template <typename T>
void pool_max(const backend::TimePool& pool, std::int64_t n, std::int64_t steps) {
  const std::int64_t F = pool.F;
  T* y = static_cast<T*>(pool.y) + n * F;
  std::int32_t* best = pool.best + n * F;
  std::fill(y, y + F, T(0));
  std::fill(best, best + F, steps > 0 ? 0 : -1);
  if (steps > 0) std::copy_n(static_cast<const T*>(pool.x) + n * F, F, y);
  for (std::int64_t t = 1; t < steps; ++t) {
    const T* x = static_cast<const T*>(pool.x) + (t * pool.N + n) * F;
    for (std::int64_t f = 0; f < F; ++f) {
      const bool better = x[f] > y[f] || (std::isnan(x[f]) && !std::isnan(y[f]));  // a NaN is not hidden
      y[f] = better ? x[f] : y[f];
      best[f] = better ? static_cast<std::int32_t>(t) : best[f];
    }
  }
}

template <typename T>
void pool_mean(const backend::TimePool& pool, std::int64_t n, std::int64_t steps) {
  const std::int64_t F = pool.F;
  T* y = static_cast<T*>(pool.y) + n * F;
  std::fill(y, y + F, T(0));
  for (std::int64_t t = 0; t < steps; ++t) {
    const T* x = static_cast<const T*>(pool.x) + (t * pool.N + n) * F;
    for (std::int64_t f = 0; f < F; ++f) y[f] += x[f];
  }
  const T count = static_cast<T>(std::max<std::int64_t>(steps, 1));
  for (std::int64_t f = 0; f < F; ++f) y[f] /= count;
}

template <typename T>
void unpool(const backend::TimePool& pool, std::int64_t n, std::int64_t steps, const T* dy, T* dx) {
  const std::int64_t F = pool.F;
  const T count = static_cast<T>(std::max<std::int64_t>(steps, 1));
  for (std::int64_t t = 0; t < pool.T; ++t) {
    T* to = dx + (t * pool.N + n) * F;
    if (t >= steps) {
      std::fill(to, to + F, T(0));
    } else if (pool.best != nullptr) {
      for (std::int64_t f = 0; f < F; ++f) to[f] = pool.best[n * F + f] == t ? dy[n * F + f] : T(0);
    } else {
      for (std::int64_t f = 0; f < F; ++f) to[f] = dy[n * F + f] / count;
    }
  }
}

// f(sequence, its steps) on the team.
template <typename Work>
void for_sequences(const backend::TimePool& pool, const Work& f) {
  const double work = static_cast<double>(pool.T) * static_cast<double>(pool.N * pool.F);
  run_team(threads_for(work), [&](const Member& member) {
    const Range mine = member.share(pool.N);
    for (std::int64_t n = mine.begin; n < mine.end; ++n) f(n, pool.lengths != nullptr ? pool.lengths[n] : pool.T);
  });
}

}  // namespace
}  // namespace cpu

namespace backend {

void pool_time(Device, const TimePool& pool) {
  cpu::with_float(pool.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::for_sequences(pool, [&](std::int64_t n, std::int64_t steps) {
      pool.best != nullptr ? cpu::pool_max<T>(pool, n, steps) : cpu::pool_mean<T>(pool, n, steps);
    });
  });
}

void pool_time_backward(Device, const TimePool& pool, const void* dy, void* dx) {
  cpu::with_float(pool.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::for_sequences(pool, [&](std::int64_t n, std::int64_t steps) {
      cpu::unpool(pool, n, steps, static_cast<const T*>(dy), static_cast<T*>(dx));
    });
  });
}

}  // namespace backend
}  // namespace rnncore
