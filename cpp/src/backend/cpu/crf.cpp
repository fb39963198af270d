// Linear-chain conditional random fields: forward and backward recursions and the best path, in log space and double
// precision. A sequence belongs to one thread, and what sequences add to shared weights is added in their order.
#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/dispatch.h"
#include "backend/pointwise.h"

namespace rnncore {
namespace cpu {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

// log(sum_i exp(f(i))); -infinity where every term is.
template <typename F>
double log_sum_exp(std::int64_t count, const F& f) {
  double max = kNever;
  for (std::int64_t i = 0; i < count; ++i) max = std::max(max, f(i));
  if (max == kNever) return kNever;
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += std::exp(f(i) - max);
  return max + std::log(sum);
}

// One sequence's view of the problem, as double.
template <typename T>
struct Chain {
  const backend::Crf& crf;
  std::int64_t n;
  std::int64_t steps() const { return crf.lengths[n]; }
  double emission(std::int64_t t, std::int64_t k) const {
    return static_cast<double>(static_cast<const T*>(crf.emissions)[(t * crf.N + n) * crf.K + k]);
  }
  double transition(std::int64_t from, std::int64_t to) const {
    return static_cast<double>(static_cast<const T*>(crf.transitions)[from * crf.K + to]);
  }
  double start(std::int64_t k) const { return static_cast<double>(static_cast<const T*>(crf.start)[k]); }
  double end(std::int64_t k) const { return static_cast<double>(static_cast<const T*>(crf.end)[k]); }
  std::int64_t target(std::int64_t t) const { return crf.targets[t * crf.N + n]; }
};

template <typename T>
double gold_score(const Chain<T>& chain) {
  const std::int64_t L = chain.steps();
  double score = chain.start(chain.target(0)) + chain.end(chain.target(L - 1));
  for (std::int64_t t = 0; t < L; ++t) score += chain.emission(t, chain.target(t));
  for (std::int64_t t = 1; t < L; ++t) score += chain.transition(chain.target(t - 1), chain.target(t));
  return score;
}

// alpha_0(k) = start_k + e_0k;  alpha_t(j) = e_tj + log sum_i exp(alpha_{t-1}(i) + A_ij);
// log Z = log sum_k exp(alpha_{L-1}(k) + end_k).
template <typename T>
double forward(const Chain<T>& chain, double* alpha) {
  const std::int64_t K = chain.crf.K, L = chain.steps();
  for (std::int64_t k = 0; k < K; ++k) alpha[k] = chain.start(k) + chain.emission(0, k);
  for (std::int64_t t = 1; t < L; ++t) {
    const double* before = alpha + (t - 1) * K;
    for (std::int64_t j = 0; j < K; ++j)
      alpha[t * K + j] =
          chain.emission(t, j) + log_sum_exp(K, [&](std::int64_t i) { return before[i] + chain.transition(i, j); });
  }
  const double* last = alpha + (L - 1) * K;
  return log_sum_exp(K, [&](std::int64_t k) { return last[k] + chain.end(k); });
}

// beta_{L-1}(k) = end_k;  beta_t(i) = log sum_j exp(A_ij + e_{t+1,j} + beta_{t+1}(j)).
// d(log Z)/d e_tk = p(y_t = k) = exp(alpha_t(k) + beta_t(k) - log Z), and likewise for pairs; the gold path's own
// features are taken off. `weights`: this sequence's share of dA (K, K), dstart (K), dend (K); `beta`: 2 K.
template <typename T>
void gradients(const Chain<T>& chain, const double* alpha, double scale, double* beta, double* weights, T* dx) {
  const std::int64_t K = chain.crf.K, L = chain.steps(), N = chain.crf.N;
  double *dA = weights, *dstart = weights + K * K, *dend = dstart + K;
  const double* last = alpha + (L - 1) * K;
  const double log_z = log_sum_exp(K, [&](std::int64_t k) { return last[k] + chain.end(k); });
  double *now = beta, *next = beta + K;
  for (std::int64_t t = L - 1; t >= 0; --t) {
    if (t == L - 1) {
      for (std::int64_t k = 0; k < K; ++k) now[k] = chain.end(k);
    } else {
      for (std::int64_t i = 0; i < K; ++i) {
        const auto path = [&](std::int64_t j) { return chain.transition(i, j) + chain.emission(t + 1, j) + next[j]; };
        now[i] = log_sum_exp(K, path);
        for (std::int64_t j = 0; j < K; ++j) dA[i * K + j] += scale * std::exp(alpha[t * K + i] + path(j) - log_z);
      }
      dA[chain.target(t) * K + chain.target(t + 1)] -= scale;
    }
    T* to = dx != nullptr ? dx + (t * N + chain.n) * K : nullptr;
    for (std::int64_t k = 0; k < K; ++k) {
      const double p = std::exp(alpha[t * K + k] + now[k] - log_z) - (chain.target(t) == k ? 1.0 : 0.0);
      if (to != nullptr) to[k] = static_cast<T>(scale * p);
      if (t == 0) dstart[k] = scale * p;
      if (t == L - 1) dend[k] = scale * p;
    }
    std::swap(now, next);
  }
}

// delta_t(j) = e_tj + max_i (delta_{t-1}(i) + A_ij); the first of equals. `delta`: 2 K, `back`: (L, K).
template <typename T>
void best_path(const Chain<T>& chain, double* delta, std::int64_t* back, std::int64_t* tags) {
  const std::int64_t K = chain.crf.K, L = chain.steps(), N = chain.crf.N;
  double *now = delta, *before = delta + K;
  for (std::int64_t k = 0; k < K; ++k) now[k] = chain.start(k) + chain.emission(0, k);
  for (std::int64_t t = 1; t < L; ++t) {
    std::swap(now, before);
    for (std::int64_t j = 0; j < K; ++j) {
      std::int64_t best = 0;
      double score = before[0] + chain.transition(0, j);
      for (std::int64_t i = 1; i < K; ++i) {
        const double other = before[i] + chain.transition(i, j);
        if (other > score) {
          score = other;
          best = i;
        }
      }
      now[j] = score + chain.emission(t, j);
      back[t * K + j] = best;
    }
  }
  for (std::int64_t k = 0; k < K; ++k) now[k] += chain.end(k);
  std::int64_t tag = std::max_element(now, now + K) - now;
  for (std::int64_t t = L - 1; t >= 0; --t) {
    tags[t * N + chain.n] = tag;
    if (t > 0) tag = back[t * K + tag];
  }
}

// f(its chain) for every sequence that has a step, on the team.
template <typename T, typename Work>
void for_chains(const backend::Crf& crf, const Work& f) {
  // An exponential for each pair of tags and step costs about ten plain visits.
  const double work = 10.0 * static_cast<double>(crf.T * crf.N) * static_cast<double>(crf.K * crf.K);
  run_team(threads_for(work), [&](const Member& member) {
    const Range mine = member.share(crf.N);
    for (std::int64_t n = mine.begin; n < mine.end; ++n)
      if (crf.lengths[n] > 0) f(Chain<T>{crf, n});
  });
}

}  // namespace
}  // namespace cpu

namespace backend {

void crf_loss(Device, const Crf& crf) {
  std::fill(crf.losses, crf.losses + crf.N, 0.0);
  cpu::with_float(crf.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::for_chains<T>(crf, [&](const cpu::Chain<T>& chain) {
      const double log_z = cpu::forward(chain, crf.alpha + chain.n * crf.T * crf.K);
      crf.losses[chain.n] = log_z - cpu::gold_score(chain);
    });
  });
}

void crf_loss_backward(Device, const Crf& crf, const double* scales, double* space, void* dx, double* dweights) {
  const std::int64_t share = crf.K * crf.K + 2 * crf.K, each = share + 2 * crf.K;
  std::fill(space, space + crf.N * each, 0.0);
  cpu::with_float(crf.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* to = static_cast<T*>(dx);
    if (to != nullptr) std::fill(to, to + crf.T * crf.N * crf.K, T(0));
    cpu::for_chains<T>(crf, [&](const cpu::Chain<T>& chain) {
      double* own = space + chain.n * each;
      cpu::gradients(chain, crf.alpha + chain.n * crf.T * crf.K, scales[chain.n], own + share, own, to);
    });
  });
  std::fill(dweights, dweights + share, 0.0);
  for (std::int64_t n = 0; n < crf.N; ++n)
    for (std::int64_t i = 0; i < share; ++i) dweights[i] += space[n * each + i];
}

void crf_decode(Device, const Crf& crf, double* space, std::int64_t* back, std::int64_t* tags) {
  cpu::with_float(crf.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::for_chains<T>(crf, [&](const cpu::Chain<T>& chain) {
      cpu::best_path(chain, space + chain.n * 2 * crf.K, back + chain.n * crf.T * crf.K, tags);
    });
  });
}

}  // namespace backend
}  // namespace rnncore
