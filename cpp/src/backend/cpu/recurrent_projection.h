// Recurrent projection (Sak, Senior & Beaufays 2014, "Long short-term memory based recurrent neural network
// architectures for large vocabulary speech recognition", equations 11 and 12; proj_size of torch.nn.LSTM).
//
//   forward   m_t = o_t * tanh(c_t)      the cell's output, H units
//             h_t = W_hr m_t             R features: what leaves the step and enters the next one
//   backward  dm_t = W_hr^T dh_t         which the cell takes for its own dh_t
//             dW_hr = sum over t of dh_t m_t^T
//
// The step kernels run as they are, with m in the place of y and no h to keep. Whatever happens to h between two steps
// (zoneout, lengths, resets, the dropped copy) happens here, on rows of R; what happens to c stays with the kernels.
#pragma once

#include <cstring>

#include "backend/cpu/recurrent_delays.h"

namespace rnncore::cpu {

namespace carry {
#include "cells/carry.h"
}  // namespace carry

// The part of a feature's old value that it keeps: drawn where mask is given (0 there), else the same for all.
template <typename T>
struct Kept {
  const T* mask;
  double part;
  bool any() const { return mask != nullptr || part > 0; }
  T at(std::int64_t i) const { return mask == nullptr ? T(part) : mask[i] == T(0) ? T(1) : T(0); }
};

// What the kernels are given about a state that is not theirs: m (T, N, H), of one step in inference, and (N, H) zeros.
template <typename T>
class Projection {
 public:
  Projection(const Layout<T>& l, void* buffer) : l_(l), m_(static_cast<T*>(buffer)), numbers_(l.numbers) {
    numbers_.keep_h = 0;
  }
  std::int64_t size() const { return l_.projected ? (steps() + 1) * l_.N * l_.H : 0; }
  const T* m() const { return m_; }

  // Before the first step.
  void clear() const {
    if (l_.projected) std::memset(no_state(), 0, static_cast<std::size_t>(l_.N * l_.H) * sizeof(T));
  }

  // A step as the cell's kernel shall see it.
  ForwardStep<T> of_cell(ForwardStep<T> s, std::int64_t t) const {
    s.y = m_at(t);
    s.h_prev = no_state();
    s.h_next = s.entering_next = nullptr;
    s.h0 = s.zone_h = s.drop = nullptr;
    s.numbers = &numbers_;
    return s;
  }

  // h_t of rows [s.row_begin, s.row_end), shared by the team.
  void forward(const Member& member, const ForwardStep<T>& s, std::int64_t t, const backend::Packed* weights) const {
    RowProduct<T> p;
    p.a = m_at(t) + s.row_begin * l_.H;
    p.a_row = p.run = l_.H;
    p.b = weights;
    p.c = s.y + s.row_begin * l_.R;
    p.c_row = p.columns = l_.R;
    p.rows = s.row_end - s.row_begin;
    row_product(member, p);
    member.barrier();
    if (!kept(s).any() && !s.flags && !s.drop) return;
    const Range mine = member.share(p.rows);
    for (std::int64_t row = s.row_begin + mine.begin; row < s.row_begin + mine.end; ++row) leave(s, row);
    member.barrier();
  }

  BackwardStep<T> of_cell(BackwardStep<T> s, const T* dm, T* no_gradient) const {
    s.dy = dm;
    s.dh = s.dh0 = no_gradient;  // the LSTM's h goes nowhere but through the product: these stay zero
    s.h_prev = no_state();
    s.gates_later = nullptr;
    s.product = nullptr;
    s.zone_h = s.drop = nullptr;
    s.numbers = &numbers_;
    return s;
  }

  // From what arrives at h_t: into `out` what goes to W_hr m_t; s.dh keeps what goes straight to h_{t-1}.
  void gather(const BackwardStep<T>& s, std::int64_t row, T* out) const {
    T* const dh = s.dh + row * l_.state_units;
    const std::uint8_t flags = s.flags ? s.flags[row] : 0;
    if (s.product) {
      const T *const later = s.product + row * l_.state_units, *const drop = s.drop + row * l_.R;
      for (std::int64_t u = 0; u < l_.R; ++u) dh[u] += later[u] * drop[u];
    }
    if (flags & kRowResets) {
      T* const dh0 = s.dh0 + row * l_.state_units;
      for (std::int64_t u = 0; u < l_.R; ++u) {
        dh0[u] += dh[u];
        dh[u] = T(0);
      }
    }
    if (flags & kRowAbsent) return copy_row_or_zero<T>(out, nullptr, l_.R);  // all of dh passes
    const T* const dy = s.dy ? s.dy + row * l_.R : nullptr;
    const Kept<T> part = kept(s);
    for (std::int64_t u = 0; u < l_.R; ++u) {
      T total = dy ? dh[u] + dy[u] : dh[u];
      dh[u] = part.any() ? carry::carried_back(part.at(row * l_.R + u), total) : T(0);
      out[u] = total;
    }
  }

 private:
  std::int64_t steps() const { return l_.training ? l_.T_ : 1; }
  T* m_at(std::int64_t t) const { return m_ + (l_.training ? t : 0) * l_.N * l_.H; }
  T* no_state() const { return m_ + steps() * l_.N * l_.H; }
  template <class Step>
  Kept<T> kept(const Step& s) const {
    return {s.zone_h, l_.numbers.keep_h};
  }

  // A row of h on its way out of the step, as the kernels do it where h is the cell's own.
  void leave(const ForwardStep<T>& s, std::int64_t row) const {
    const std::uint8_t flags = s.flags ? s.flags[row] : 0;
    const std::int64_t at = row * l_.R;
    T* const y = s.y + at;
    const T* h = y;
    if (const Kept<T> part = kept(s); part.any())
      for (std::int64_t u = 0; u < l_.R; ++u) y[u] = carry::carried(part.at(at + u), s.h_prev[at + u], y[u]);
    if (flags & kRowAbsent) {
      copy_row_or_zero<T>(y, nullptr, l_.R);
      h = s.h_prev + at;
    }
    if (flags & kRowResets) h = s.h0 ? s.h0 + at : nullptr;
    if (s.h_next) copy_row_or_zero(s.h_next + at, h, l_.R);
    if (s.entering_next)
      for (std::int64_t u = 0; u < l_.R; ++u) s.entering_next[at + u] = h ? h[u] * s.drop[at + u] : T(0);
  }

  const Layout<T>& l_;
  T* m_;
  CellNumbers numbers_;
};

// Backward: the gradients of every step's h, which dW_hr needs, and of one step's m.
template <typename T>
class ProjectionGradient {
 public:
  ProjectionGradient(const Layout<T>& l, const Projection<T>& projection) : l_(l), projection_(projection) {}

  void prepare() {
    if (!l_.projected) return;
    dh_ = Buffer(static_cast<std::size_t>(l_.T_ * l_.N * l_.R) * sizeof(T));
    dm_ = Buffer(static_cast<std::size_t>(l_.N * l_.H) * sizeof(T));
    none_ = Buffer(static_cast<std::size_t>(l_.N * l_.units) * sizeof(T));
    std::memset(none_.data(), 0, none_.bytes());
  }
  const T* dh() const { return static_cast<const T*>(dh_.data()); }  // (T, N, R)

  // The step as the cell's kernel shall see it, once all that later steps send to h_t is in s.dh or s.product.
  BackwardStep<T> step(const Member& member, const BackwardStep<T>& s, std::int64_t t,
                       const backend::Packed* weights) const {
    const Range rows{s.row_begin, s.row_end}, mine = member.share(rows.size());
    T* const dh = static_cast<T*>(dh_.data()) + t * l_.N * l_.R;
    for (std::int64_t row = rows.begin + mine.begin; row < rows.begin + mine.end; ++row)
      projection_.gather(s, row, dh + row * l_.R);
    member.barrier();
    T* const dm = static_cast<T*>(dm_.data());
    RowProduct<T> p;
    p.a = dh + rows.begin * l_.R;
    p.a_row = p.run = l_.R;
    p.b = weights;
    p.c = dm + rows.begin * l_.H;
    p.c_row = p.columns = l_.H;
    p.rows = rows.size();
    row_product(member, p);
    member.barrier();
    return projection_.of_cell(s, dm, static_cast<T*>(none_.data()));
  }

 private:
  const Layout<T>& l_;
  const Projection<T>& projection_;
  Buffer dh_, dm_, none_;
};

}  // namespace rnncore::cpu
