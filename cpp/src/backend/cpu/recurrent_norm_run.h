// Layer normalisation inside the step, for the drivers: its working memory, and what a team does instead of the step
// kernels. The row kernels and equations: recurrent_norm.h, recurrent_norm-inl.h.
#pragma once

#include <cstring>

#include "backend/cpu/recurrent_layout.h"
#include "backend/cpu/recurrent_norm.h"

namespace rnncore::cpu {

// Parts of RecurrentBuffers::norm. With training every step's part is kept, in the order of time.
template <typename T>
struct NormMemory {
  const Layout<T>& l;
  const NormKernels<T>* kernels = nullptr;  // null: the layer does not normalise
  std::int64_t hat_values, hat_row, steps, input_rows;
  std::int64_t at_scale_hh, at_scale_c, at_shift_c, at_hat, at_rstd, at_c_hat, at_input_hat, at_input_rstd, size;
  T* base;

  NormMemory(const Layout<T>& layout, const backend::RecurrentGeometry& g, void* buffer)
      : l(layout), base(static_cast<T*>(buffer)) {
    size = 0;
    if (!g.options.layer_norm) return;
    const Kernel kernel = kernel_of(g.cell, g.options);
    if constexpr (sizeof(T) == 4)
      kernels = &norm_kernels_f32(active_target(), kernel);
    else
      kernels = &norm_kernels_f64(active_target(), kernel);
    hat_values = l.units * l.k.recurrent_count;
    hat_row = hat_values + Layout<T>::spread(hat_values);
    steps = l.training ? l.T_ : 1;
    input_rows = kernels->input && l.training ? (l.V > 0 ? l.V : l.T_ * l.N) : 0;
    const auto part = [&](std::int64_t values) {
      const std::int64_t at = size;
      size += values;
      return at;
    };
    part(l.gate_values);  // scale_ih
    at_scale_hh = part(hat_values);
    at_scale_c = part(l.units);
    at_shift_c = part(l.units);
    at_hat = part(steps * l.N * hat_row);
    at_rstd = part(steps * l.N * kNormStats);
    at_c_hat = l.k.cell ? part(steps * l.N * l.units) : 0;
    at_input_hat = part(input_rows * l.gates_row);
    at_input_rstd = part(input_rows * kNormStats);
  }

  std::int64_t kept(std::int64_t t) const { return l.training ? t : 0; }
  T* scale_ih() const { return base; }
  T* scale_hh() const { return base + at_scale_hh; }
  T* scale_c() const { return base + at_scale_c; }
  T* shift_c() const { return base + at_shift_c; }
  T* hat(std::int64_t t) const { return base + at_hat + kept(t) * l.N * hat_row; }
  T* rstd(std::int64_t t) const { return base + at_rstd + kept(t) * l.N * kNormStats; }
  T* c_hat(std::int64_t t) const { return base + at_c_hat + kept(t) * l.N * l.units; }
  bool joint() const { return kernels->input == nullptr; }

  // The scales as their rows are laid out.
  void fill(const backend::RecurrentWeights& w) const {
    const T* const ih = static_cast<const T*>(w.norm_ih);
    const T* const hh = static_cast<const T*>(w.norm_hh);
    for (std::int64_t u = 0; u < l.units; ++u) {
      const std::int64_t b = u / l.k.block, i = u % l.k.block;
      for (int s = 0; s < l.k.slots; ++s) {
        const std::int64_t at = l.k.gate[s] * l.H + u;
        const bool in = s >= l.k.input_first && s < l.k.input_first + l.k.input_count;
        scale_ih()[(b * l.k.slots + s) * l.k.block + i] = u < l.H && in && ih ? ih[at] : T(0);
        const int r = s - l.k.recurrent_first;
        if (r >= 0) scale_hh()[(b * l.k.recurrent_count + r) * l.k.block + i] = u < l.H ? hh[at] : T(0);
      }
      scale_c()[u] = u < l.H && w.norm_c ? static_cast<const T*>(w.norm_c)[u] : T(0);
      shift_c()[u] = u < l.H && w.norm_bias_c ? static_cast<const T*>(w.norm_bias_c)[u] : T(0);
    }
  }

  // Input products to normalised gates; `first`: the row's number among those whose normalised values are kept.
  void input(const Member& m, T* gates, std::int64_t first, std::int64_t rows, const T* bias) const {
    NormInput<T> n = input_rows_of(gates, first);
    n.bias = bias;
    const Range mine = m.share(rows);
    n.row_begin = mine.begin;
    n.row_end = mine.end;
    kernels->input(n);
  }
  void input_back(const Member& m, T* gates, std::int64_t rows) const {
    NormInput<T> n = input_rows_of(gates, 0);
    const Range mine = m.share(rows);
    n.row_begin = mine.begin;
    n.row_end = mine.end;
    kernels->input_back(n);
  }
  NormInput<T> input_rows_of(T* gates, std::int64_t first) const {
    NormInput<T> n;
    n.H = l.H;
    n.gates = gates;
    n.gates_row = l.gates_row;
    n.scale = scale_ih();
    if (l.training) {
      n.hat = base + at_input_hat + first * l.gates_row;
      n.rstd = base + at_input_rstd + first * kNormStats;
    }
    return n;
  }
  // d_scale_ih (G*H): sums over the rows in order; members share units. Before input_back.
  void input_scale_gradient(const Member& m, const T* gates, std::int64_t rows, T* out) const {
    const Range units = m.share(l.H);
    const T* const hat = base + at_input_hat;
    for (int s = l.k.input_first; s < l.k.input_first + l.k.input_count; ++s) {
      T* const to = out + l.k.gate[s] * l.H;
      for (std::int64_t u = units.begin; u < units.end; ++u) to[u] = 0;
      for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t u = units.begin; u < units.end; ++u) {
          const std::int64_t at = row * l.gates_row + (u / l.k.block * l.k.slots + s) * l.k.block + u % l.k.block;
          to[u] += gates[at] * hat[at];
        }
    }
  }

  // A step forward, after the input's part: the product of all rows, then each member its rows.
  void forward(const Member& m, const ForwardStep<T>& step, std::int64_t t, const backend::Packed* weights) const {
    NormForward<T> n;
    n.step = step;
    n.hat = hat(t);
    n.hat_row = hat_row;
    n.rstd = rstd(t);
    n.scale = scale_hh();
    n.scale_c = scale_c();
    n.shift_c = shift_c();
    n.c_hat = c_hat(t);
    const Range rows = m.share(l.N);
    if (joint()) {
      for (std::int64_t r = rows.begin; r < rows.end; ++r)
        std::memcpy(n.hat + r * hat_row, step.gates + r * step.gates_row,
                    static_cast<std::size_t>(hat_values) * sizeof(T));
      m.barrier();
    }
    RowProduct<T> p;
    p.a = step.entering;
    p.a_row = p.run = l.R;
    p.b = weights;
    p.c = n.hat;
    p.c_row = hat_row;
    p.rows = l.N;
    p.columns = hat_values;
    p.start = joint() ? Start::c : Start::zero;
    row_product(m, p);
    m.barrier();
    n.step.row_begin = rows.begin;
    n.step.row_end = rows.end;
    kernels->forward(n);
    m.barrier();
  }

  // dh [+]= gradient of the step's product times W_hh.
  RowProduct<T> back_product(std::int64_t t, const backend::Packed* weights, T* dh, Start start) const {
    RowProduct<T> p;
    p.a = hat(t);
    p.a_row = hat_row;
    p.run = hat_values;
    p.b = weights;
    p.c = dh;
    p.c_row = p.columns = l.state_units;
    p.rows = l.N;
    p.start = start;
    return p;
  }
};

// What backward sums up for the scales and shifts, one row for each of the batch.
template <typename T>
struct NormSums {
  Buffer scratch, d_scale, d_bias, d_scale_c, d_shift_c;

  void make(const NormMemory<T>& n) {
    const Layout<T>& l = n.l;
    const auto zeros = [&](Buffer& b, std::int64_t values) {
      b = Buffer(static_cast<std::size_t>(l.N * values) * sizeof(T));
      std::memset(b.data(), 0, b.bytes());
    };
    zeros(scratch, n.hat_values + l.units);
    zeros(d_scale, n.hat_row);
    zeros(d_bias, l.gates_row);
    zeros(d_scale_c, l.units);
    zeros(d_shift_c, l.units);
  }

  // A step backward; the gradient of the later step's product is in dh (or step.product) already.
  void backward(const NormMemory<T>& memory, const Member& m, const BackwardStep<T>& step, std::int64_t t) const {
    NormBackward<T> n;
    n.step = step;
    n.hat = memory.hat(t);
    n.hat_row = memory.hat_row;
    n.rstd = memory.rstd(t);
    n.scale = memory.scale_hh();
    n.scale_c = memory.scale_c();
    n.shift_c = memory.shift_c();
    n.c_hat = memory.c_hat(t);
    n.scratch = static_cast<T*>(scratch.data());
    n.d_scale = static_cast<T*>(d_scale.data());
    n.d_bias = static_cast<T*>(d_bias.data());
    n.d_scale_c = static_cast<T*>(d_scale_c.data());
    n.d_shift_c = static_cast<T*>(d_shift_c.data());
    const Range rows = m.share(memory.l.N);
    n.step.row_begin = rows.begin;
    n.step.row_end = rows.end;
    memory.kernels->backward(n);
    m.barrier();
  }

  // Sums over the rows of the batch, in order.
  void write(const NormMemory<T>& memory, const backend::RecurrentBackward& b) const {
    const Layout<T>& l = memory.l;
    const auto sum = [&](const Buffer& from, std::int64_t row, int stride, int slot, T* out) {
      for (std::int64_t u = 0; u < l.H; ++u) {
        T total = 0;
        for (std::int64_t n = 0; n < l.N; ++n)
          total += static_cast<const T*>(
              from.data())[n * row + (u / l.k.block * stride + slot) * l.k.block + u % l.k.block];
        out[u] = total;
      }
    };
    for (int s = 0; s < l.k.slots; ++s) {
      const std::int64_t at = l.k.gate[s] * l.H;
      const int r = s - l.k.recurrent_first;
      const bool in = s >= l.k.input_first && s < l.k.input_first + l.k.input_count;
      if (b.d_norm_hh && r >= 0)
        sum(d_scale, memory.hat_row, l.k.recurrent_count, r, static_cast<T*>(b.d_norm_hh) + at);
      if (b.db_ih && in) sum(d_bias, l.gates_row, l.k.slots, s, static_cast<T*>(b.db_ih) + at);
      if (b.db_hh && r >= 0) sum(d_bias, l.gates_row, l.k.slots, s, static_cast<T*>(b.db_hh) + at);
    }
    if (b.d_norm_c) sum(d_scale_c, l.units, 1, 0, static_cast<T*>(b.d_norm_c));
    if (b.d_norm_bias_c) sum(d_shift_c, l.units, 1, 0, static_cast<T*>(b.d_norm_bias_c));
  }
};

}  // namespace rnncore::cpu
