// Skip connections through time: h_{t-d} enters step t beside x_t. Which row holds it depends on the sequence that the
// row belongs to: with age a = steps since that sequence began, h_{t-d} is d steps back where a >= d, else a state from
// before the sequence: number d - a of its past (1: h_{-1}, the initial state; 2: h_{-2}; ...).
#pragma once

#include <cstring>

#include "backend/cpu/recurrent_layout.h"

namespace rnncore::cpu {

// ages[step, n]; marks in flags the rows whose sequence began at a reset (flags are there if masked).
template <typename T>
void fill_ages(const Layout<T>& l, std::uint8_t* flags, std::int64_t* ages) {
  for (std::int64_t n = 0; n < l.N; ++n) {
    std::int64_t age = 0;
    bool fresh = false;
    for (std::int64_t step = 0; step < l.T_; ++step) {
      const std::int64_t at = step * l.N + n;
      ages[at] = age;
      if (!l.masked) {
        ++age;
        continue;
      }
      if (fresh) flags[at] |= kRowFresh;
      if (!(flags[at] & kRowAbsent)) ++age;
      if (flags[at] & kRowResets) {
        age = 0;
        fresh = true;
      }
    }
  }
}

// The states before a sequence began.
template <typename T>
struct Past {
  std::int64_t N = 0, R = 0, steps = 0, first = 0;
  bool own_reset = false;
  const T *h0 = nullptr, *h_reset = nullptr, *past = nullptr;

  Past(const Layout<T>& l, const backend::RecurrentForward& f)
      : N(l.N),
        R(l.R),
        steps(f.geometry.past_steps()),
        first(f.past_first),
        own_reset(f.geometry.own_reset),
        h0(static_cast<const T*>(f.h0)),
        h_reset(static_cast<const T*>(f.h_reset)),
        past(static_cast<const T*>(f.past)) {}

  // Where h_{-number} stands.
  std::int64_t source(std::int64_t number, bool fresh) const {
    using namespace backend;
    return !(fresh && own_reset) ? kFromStart - number : number == 1 ? kFromReset : kFromNothing;
  }
  // Row n of it, or null: zeros.
  const T* row(std::int64_t n, std::int64_t number, bool fresh) const {
    if (fresh && own_reset) return number == 1 && h_reset ? h_reset + n * R : nullptr;
    if (number == 1) return h0 ? h0 + n * R : nullptr;
    return past ? past + ((first + number - 2) % steps * N + n) * R : nullptr;
  }
};

template <typename T>
void copy_row_or_zero(T* to, const T* from, std::int64_t n) {
  if (from)
    std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(T));
  else
    std::memset(to, 0, static_cast<std::size_t>(n) * sizeof(T));
}

// The delayed states that enter `step`, for rows [begin, end).
template <typename T>
void copy_delayed(const Layout<T>& l, const backend::RecurrentForward& f, std::int64_t step, std::int64_t begin,
                  std::int64_t end) {
  const Past<T> past(l, f);
  const T* const y = static_cast<const T*>(f.y);
  for (std::size_t i = 0; i < l.delays.size(); ++i) {
    const std::int64_t d = l.delays[i];
    T* const to = l.delayed_entering(f.buffers.delayed, i, step);
    for (std::int64_t n = begin; n < end; ++n) {
      const std::int64_t at = step * l.N + n, age = f.buffers.ages[at];
      const bool fresh = l.masked && (f.buffers.flags[at] & kRowFresh);
      copy_row_or_zero(to + n * l.R, age >= d ? y + (l.time_of(step - d) * l.N + n) * l.R : past.row(n, d - age, fresh),
                       l.R);
    }
  }
}

// past_n: the past of the step after the last one, h_{T-2}, h_{T-3}, ... of every row's sequence.
template <typename T>
void copy_past(const Layout<T>& l, const backend::RecurrentForward& f) {
  const Past<T> past(l, f);
  const T* const y = static_cast<const T*>(f.y);
  T* const out = static_cast<T*>(f.past_n);
  for (std::int64_t n = 0; n < l.N; ++n) {
    std::int64_t last = l.T_ - 1;
    const std::int64_t at = last * l.N + n;
    const bool fresh = l.masked && (f.buffers.flags[at] & kRowFresh);
    const bool absent = l.masked && (f.buffers.flags[at] & kRowAbsent);
    const std::int64_t age = f.buffers.ages[at] + (absent ? 0 : 1);
    while (age > 0 && l.masked && (f.buffers.flags[last * l.N + n] & kRowAbsent)) --last;
    for (std::int64_t number = 2; number <= past.steps + 1; ++number) {
      const std::int64_t to = (number - 2) * l.N + n;
      const bool inside = age >= number;
      const std::int64_t row = inside ? l.time_of(last - number + 1) * l.N + n : 0;
      copy_row_or_zero(out + to * l.R, inside ? y + row * l.R : past.row(n, number - age, fresh), l.R);
      if (l.training) f.buffers.past_source[to] = inside ? row : past.source(number - age, fresh);
    }
  }
}

}  // namespace rnncore::cpu
