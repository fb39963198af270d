// Layer normalisation inside the step, for the drivers: its working memory, and what a team does instead of the step
// kernels. The row kernels and equations: recurrent_norm.h, recurrent_norm-inl.h.
#pragma once

#include <cstring>

#include "backend/cpu/recurrent_layout.h"
#include "backend/cpu/recurrent_norm.h"

namespace rnncore::cpu {

// Parts of RecurrentBuffers::norm. With training every step's part is kept. Rows lie as those of the gates do, in
// parts.
template <typename T>
struct NormMemory {
  const Layout<T>& l;
  const NormKernels<T>* kernels = nullptr;  // null: the layer does not normalise
  std::int64_t product_values = 0, product_row = 0, second_values = 0, second_row = 0, steps = 1, size = 0;
  std::int64_t at_scale_hh = 0, at_scale_c = 0, at_shift_c = 0, at_product = 0, at_second = 0, at_stats = 0;
  T* base;

  NormMemory(const Layout<T>& layout, const backend::RecurrentGeometry& g, void* buffer)
      : l(layout), base(static_cast<T*>(buffer)) {
    if (!g.options.layer_norm) return;
    const Kernel kernel = kernel_of(g.cell, g.options);
    if constexpr (sizeof(T) == 4)
      kernels = &norm_kernels_f32(active_target(), kernel);
    else
      kernels = &norm_kernels_f64(active_target(), kernel);
    product_values = l.units * l.k.recurrent_count;
    product_row = product_values + Layout<T>::spread(product_values);
    second_values = l.units * l.k.second_count;
    second_row = second_values + Layout<T>::spread(second_values);
    if (l.training) steps = l.T_;
    const std::int64_t rows = l.rows.rows(steps);
    const auto part = [&](std::int64_t values) {
      const std::int64_t at = size;
      size += values;
      return at;
    };
    part(l.gate_values);  // scale_ih
    at_scale_hh = part(l.gate_values);
    at_scale_c = part(l.units);
    at_shift_c = part(l.units);
    if (!kernels->joint) at_product = part(rows * product_row);
    at_second = part(rows * second_row);
    at_stats = part(rows * kNormStats);
  }

  bool joint() const { return kernels->joint; }
  bool has_product() const { return product_values > 0; }
  NormScales<T> scales() const { return {base, base + at_scale_hh, base + at_scale_c, base + at_shift_c}; }
  // Of step t: row 0 as if it were in part p. gates: that step's.
  std::int64_t origin(std::int64_t p, std::int64_t t) const { return l.rows.origin(p, steps, l.training ? t : 0); }
  NormRows<T> product(std::int64_t p, std::int64_t t, T* gates) const {
    if (joint()) return {gates, l.gates_row};
    return {base + at_product + origin(p, t) * product_row, product_row};
  }
  NormRows<T> second(std::int64_t p, std::int64_t t) const {
    return {base + at_second + origin(p, t) * second_row, second_row};
  }
  T* stats(std::int64_t p, std::int64_t t) const { return base + at_stats + origin(p, t) * kNormStats; }

  // The scales as their rows are laid out.
  void fill(const backend::RecurrentWeights& w) const {
    const auto value = [](const void* from, std::int64_t at) { return from ? static_cast<const T*>(from)[at] : T(0); };
    for (std::int64_t u = 0; u < l.units; ++u) {
      const bool real = u < l.H;
      for (int s = 0; s < l.k.slots; ++s) {
        const std::int64_t from = l.k.gate[s] * l.H + u;
        const std::int64_t to = (u / l.k.block * l.k.slots + s) * l.k.block + u % l.k.block;
        base[to] = real ? value(w.norm_ih, from) : T(0);
        base[at_scale_hh + to] = real ? value(w.norm_hh, from) : T(0);
      }
      base[at_scale_c + u] = real ? value(w.norm_c, u) : T(0);
      base[at_shift_c + u] = real ? value(w.norm_bias_c, u) : T(0);
    }
  }

  // A step forward, after the input's part: the product of all rows, then each member its rows.
  void forward(const Member& m, const ForwardStep<T>& step, std::int64_t p, std::int64_t t,
               const backend::RecurrentWeights& w) const {
    NormForward<T> n;
    n.step = step;
    n.product = product(p, t, step.gates);
    n.second = second(p, t);
    n.stats = stats(p, t);
    n.scales = scales();
    const Range rows = {step.row_begin, step.row_end}, mine = m.share(rows.size());
    n.step.row_begin = rows.begin + mine.begin;
    n.step.row_end = rows.begin + mine.end;
    if (has_product())
      multiply(m, step.entering, l.R, l.R, w.recurrent.get(), n.product, product_values, rows,
               joint() ? Start::c : Start::zero);
    kernels->forward[0](n);
    m.barrier();
    if (l.k.stages == 1) return;
    multiply(m, step.p, l.units, l.H, w.recurrent_second.get(), n.second, second_values, rows, Start::zero);
    kernels->forward[1](n);
    m.barrier();
  }

  // to [+]= a times b, for some rows; then everyone may read it.
  void multiply(const Member& m, const T* a, std::int64_t a_row, std::int64_t run, const backend::Packed* b,
                const NormRows<T>& to, std::int64_t columns, Range rows, Start start) const {
    RowProduct<T> product;
    product.a = a + rows.begin * a_row;
    product.a_row = a_row;
    product.run = run;
    product.b = b;
    product.c = to[rows.begin];
    product.c_row = to.row;
    product.columns = columns;
    product.rows = rows.size();
    product.start = start;
    row_product(m, product);
    m.barrier();
  }
  // to [+]= the gradient of a step's recurrent product times W_hh. gates: that step's.
  void back_product(const Member& m, std::int64_t p, std::int64_t t, T* gates, const backend::Packed* weights, T* to,
                    Range rows, Start start) const {
    const NormRows<T> from = product(p, t, gates);
    multiply(m, from.at, from.row, product_values, weights, {to, l.state_units}, l.state_units, rows, start);
  }
};

// What backward sums up for the scales and shifts, one row for each of the batch.
template <typename T>
struct NormSums {
  Buffer scratch, sums;
  std::int64_t scratch_row = 0;

  void make(const NormMemory<T>& memory) {
    const Layout<T>& l = memory.l;
    scratch_row = l.gate_values + l.units;
    scratch = Buffer(static_cast<std::size_t>(l.rows.rows(1) * scratch_row) * sizeof(T));
    sums = Buffer(static_cast<std::size_t>(l.rows.rows(1) * layout(l).size) * sizeof(T));
    std::memset(sums.data(), 0, sums.bytes());
  }
  static NormSumsLayout layout(const Layout<T>& l) { return {l.gate_values, l.units}; }

  // A step backward; the gradient of the later step's product is in dh (or step.product) already.
  void backward(const NormMemory<T>& memory, const Member& m, const BackwardStep<T>& step, std::int64_t p,
                std::int64_t t, const T* bias, const backend::RecurrentWeights& w) const {
    const Layout<T>& l = memory.l;
    NormBackward<T> n;
    n.step = step;
    n.product = memory.product(p, t, step.gates);
    n.second = memory.second(p, t);
    n.stats = memory.stats(p, t);
    n.scales = memory.scales();
    n.bias = bias;
    const std::int64_t origin = l.rows.origin(p, 1, 0);
    n.scratch = {static_cast<T*>(scratch.data()) + origin * scratch_row, scratch_row};
    n.sums = {static_cast<T*>(sums.data()) + origin * layout(l).size, layout(l).size};
    const Range rows = {step.row_begin, step.row_end}, mine = m.share(rows.size());
    n.step.row_begin = rows.begin + mine.begin;
    n.step.row_end = rows.begin + mine.end;
    memory.kernels->backward[0](n);
    m.barrier();
    if (l.k.stages == 1) return;
    memory.multiply(m, n.second.at, n.second.row, memory.second_values, w.recurrent_back_second.get(),
                    {step.dp, l.units}, l.units, rows, Start::zero);
    memory.kernels->backward[1](n);
    m.barrier();
  }

  // Sums over the rows of the batch, in order.
  void write(const NormMemory<T>& memory, const backend::RecurrentBackward& b) const {
    const Layout<T>& l = memory.l;
    const NormSumsLayout at = layout(l);
    std::vector<T> total(static_cast<std::size_t>(at.size));
    for (std::int64_t n = 0; n < l.N; ++n) {
      const T* const row = static_cast<const T*>(sums.data()) + l.rows.run(1, n).at * at.size;
      for (std::int64_t i = 0; i < at.size; ++i) total[static_cast<std::size_t>(i)] += row[i];
    }
    const auto write_slot = [&](std::int64_t from, int slot, void* to) {
      T* const out = static_cast<T*>(to) + l.k.gate[slot] * l.H;
      for (std::int64_t u = 0; u < l.H; ++u)
        out[u] = total[static_cast<std::size_t>(from + (u / l.k.block * l.k.slots + slot) * l.k.block + u % l.k.block)];
    };
    const auto within = [](int slot, int first, int count) { return slot >= first && slot < first + count; };
    for (int s = 0; s < l.k.slots; ++s) {
      const bool from_input = within(s, l.k.input_first, l.k.input_count);
      const bool from_state = within(s, l.k.recurrent_first, l.k.recurrent_count) ||
                              (l.k.stages == 2 && within(s, l.k.second_first, l.k.second_count));
      if (b.d_norm_ih && from_input) write_slot(at.scale_ih, s, b.d_norm_ih);
      if (b.d_norm_hh && from_state) write_slot(at.scale_hh, s, b.d_norm_hh);
      if (b.db_ih && from_input) write_slot(at.bias, s, b.db_ih);
      if (b.db_hh && from_state) write_slot(at.bias, s, b.db_hh);
    }
    for (const auto& [from, to] : {std::pair{at.scale_c, b.d_norm_c}, {at.shift_c, b.d_norm_bias_c}})
      if (to) std::memcpy(to, total.data() + from, static_cast<std::size_t>(l.H) * sizeof(T));
  }
};

}  // namespace rnncore::cpu
