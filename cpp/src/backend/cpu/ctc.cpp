// Connectionist temporal classification: Graves, Fernandez, Gomez & Schmidhuber 2006, "Connectionist Temporal
// Classification: Labelling Unsegmented Sequence Data with Recurrent Neural Networks". In log space, with y(t, k) the
// probability of class k at frame t, l' the S labels with a blank before, between and after them (L = 2 S + 1):
//   alpha(t, s) = y(t, l'_s) (alpha(t-1, s) + alpha(t-1, s-1) [+ alpha(t-1, s-2)])           equations 6 and 7
//   p(l | x)    = alpha(T, L) + alpha(T, L-1)                                               equation 8
//   beta(t, s)  = beta(t+1, s) y(t+1, l'_s) + beta(t+1, s+1) y(t+1, l'_s+1) [+ beta(t+1, s+2) y(t+1, l'_s+2)]
// The terms in brackets are there where l'_s (l'_s+2) is no blank and differs from the label two places before it.
// beta is here without the factor y(t, l'_s) that equations 10 and 11 give it, so that alpha beta / p needs no division
// by y. The gradient of -ln p for the logits is equation 16 (with the sign of the loss):
//   y(t, k) - sum over s with l'_s = k of alpha(t, s) beta(t, s) / p(l | x)
#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/dispatch.h"
#include "backend/pointwise.h"

namespace rnncore {
namespace cpu {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();  // ln 0

double log_sum(double a, double b, double c) {
  if (a == kNever && b == kNever && c == kNever) return kNever;
  const double m = std::max({a, b, c});
  return m + std::log(std::exp(a - m) + std::exp(b - m) + std::exp(c - m));
}

// One sequence of the batch.
template <typename T>
struct Sequence {
  const backend::Ctc& ctc;
  std::int64_t n, steps, places;  // places: L
  const std::int64_t* labels;

  Sequence(const backend::Ctc& all, std::int64_t index)
      : ctc(all),
        n(index),
        steps(all.input_lengths[index]),
        places(2 * all.target_lengths[index] + 1),
        labels(all.labels + all.label_offsets[index]) {}

  std::int64_t label(std::int64_t s) const { return s % 2 == 0 ? ctc.blank : labels[s / 2]; }
  bool skips_to(std::int64_t s) const { return s % 2 == 1 && s >= 3 && labels[s / 2] != labels[s / 2 - 1]; }
  std::int64_t row(std::int64_t t) const { return (t * ctc.N + n) * ctc.C; }
  double log_y(std::int64_t t, std::int64_t k) const {
    return static_cast<double>(static_cast<const T*>(ctc.log_probs)[row(t) + k]);
  }

  void first_alpha(double* alpha) const {
    std::fill(alpha, alpha + places, kNever);
    alpha[0] = log_y(0, ctc.blank);
    if (places > 1) alpha[1] = log_y(0, labels[0]);
  }

  void next_alpha(std::int64_t t, const double* before, double* alpha) const {
    for (std::int64_t s = 0; s < places; ++s) {
      const double one = s >= 1 ? before[s - 1] : kNever, two = skips_to(s) ? before[s - 2] : kNever;
      alpha[s] = log_sum(before[s], one, two) + log_y(t, label(s));
    }
  }

  void last_beta(double* beta) const {
    std::fill(beta, beta + places, kNever);
    beta[places - 1] = 0.0;
    if (places > 1) beta[places - 2] = 0.0;
  }

  void next_beta(std::int64_t t, const double* after, double* beta) const {  // t: the frame of beta
    const auto way = [&](std::int64_t to) { return after[to] + log_y(t + 1, label(to)); };
    for (std::int64_t s = 0; s < places; ++s) {
      const bool skip = s + 2 < places && skips_to(s + 2);
      beta[s] = log_sum(way(s), s + 1 < places ? way(s + 1) : kNever, skip ? way(s + 2) : kNever);
    }
  }

  double negative(const double* alpha) const {
    return -log_sum(alpha[places - 1], places > 1 ? alpha[places - 2] : kNever, kNever);
  }

  // Without a gradient: two rows of alpha.
  double loss(double* space) const {
    if (steps == 0) return places == 1 ? 0.0 : -kNever;
    double *now = space, *next = space + places;
    first_alpha(now);
    for (std::int64_t t = 1; t < steps; ++t) {
      next_alpha(t, now, next);
      std::swap(now, next);
    }
    return negative(now);
  }

  T* gradient(std::int64_t t) const { return static_cast<T*>(ctc.gradient) + row(t); }

  void fill_gradient(std::int64_t begin, std::int64_t end, T value) const {
    for (std::int64_t t = begin; t < end; ++t) std::fill(gradient(t), gradient(t) + ctc.C, value);
  }

  // All rows of alpha, then backwards with two rows of beta.
  double loss_with_gradient(double* space) const {
    fill_gradient(steps, ctc.T, T(0));
    if (steps == 0) return loss(space);
    double *alpha = space, *beta = space + steps * places, *other = beta + places;
    first_alpha(alpha);
    for (std::int64_t t = 1; t < steps; ++t) next_alpha(t, alpha + (t - 1) * places, alpha + t * places);
    const double nats = negative(alpha + (steps - 1) * places);
    if (nats == -kNever) {
      fill_gradient(0, steps, ctc.zero_infinity ? T(0) : std::numeric_limits<T>::quiet_NaN());
      return nats;
    }
    last_beta(beta);
    for (std::int64_t t = steps - 1; t >= 0; --t) {
      frame_gradient(t, nats, alpha + t * places, beta);
      if (t == 0) break;
      next_beta(t - 1, beta, other);
      std::swap(beta, other);
    }
    return nats;
  }

  void frame_gradient(std::int64_t t, double nats, const double* alpha, const double* beta) const {
    const double scale = ctc.scales[n];
    T* to = gradient(t);
    for (std::int64_t k = 0; k < ctc.C; ++k) to[k] = static_cast<T>(scale * std::exp(log_y(t, k)));
    for (std::int64_t s = 0; s < places; ++s)
      to[label(s)] -= static_cast<T>(scale * std::exp(alpha[s] + beta[s] + nats));
  }
};

template <typename T>
void run_sequence(const backend::Ctc& ctc, std::int64_t n) {
  const Sequence<T> sequence(ctc, n);
  double* space = ctc.space + ctc.space_offsets[n];
  const double nats = ctc.gradient != nullptr ? sequence.loss_with_gradient(space) : sequence.loss(space);
  ctc.losses[n] = ctc.zero_infinity && nats == -kNever ? 0.0 : nats;
}

double work_of(const backend::Ctc& ctc) {
  double work = 0;
  for (std::int64_t n = 0; n < ctc.N; ++n)
    work += static_cast<double>(ctc.input_lengths[n]) *
            (40.0 * static_cast<double>(2 * ctc.target_lengths[n] + 1) + 20.0 * static_cast<double>(ctc.C));
  return work;
}

}  // namespace
}  // namespace cpu

namespace backend {

std::int64_t ctc_space(std::int64_t steps, std::int64_t labels, bool gradient) {
  return (gradient ? steps + 2 : 2) * (2 * labels + 1);
}

void ctc_loss(Device, const Ctc& ctc) {
  cpu::with_float(ctc.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::run_team(cpu::threads_for(cpu::work_of(ctc)), [&](const cpu::Member& member) {
      const cpu::Range mine = member.share(ctc.N);
      for (std::int64_t n = mine.begin; n < mine.end; ++n) cpu::run_sequence<T>(ctc, n);
    });
  });
}

}  // namespace backend
}  // namespace rnncore
