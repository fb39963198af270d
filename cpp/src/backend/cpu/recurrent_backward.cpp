// A recurrent layer backward: the steps in reverse, then dx and the weight gradients as products over all T*N rows.
#include <cstring>
#include <memory>

#include "backend/cpu/recurrent_delays.h"
#include "backend/cpu/recurrent_norm_run.h"
#include "backend/cpu/recurrent_projection.h"
#include "backend/cpu/recurrent_weights.h"

namespace rnncore::cpu {
namespace {

template <typename T>
class Backward {
 public:
  explicit Backward(const backend::RecurrentBackward& b)
      : b_(b),
        l_(b.geometry),
        norm_(l_, b.geometry, b.buffers.norm),
        projection_(l_, b.buffers.projected),
        projected_(l_, projection_) {}

  void run() {
    prepare();
    const double shared_work = 2 * l_.input_work() + l_.T_ * l_.step_work();  // of it the weights' gradients
    const int threads = threads_for(shared_work + l_.T_ * l_.step_work());
    if (b_.dw_ih)
      weights_ = std::make_unique<WeightGradients<T>>(b_, l_, norm_, threads, projection_.m(), projected_.dh());
    run_steps(l_, threads, shared_work, [&](const Member& m, bool alone) { work(m, alone); });
    finish();
  }

 private:
  // One padded row for each of the batch, kept in parts, as (N, width) in `from` or zeros.
  void load_rows(Buffer& to, const void* from, std::int64_t padded, std::int64_t width = 0) const {
    to = Buffer(static_cast<std::size_t>(l_.rows.rows(1) * padded) * sizeof(T));
    if (to.bytes() == 0) return;  // an empty batch
    std::memset(to.data(), 0, to.bytes());
    for (std::int64_t n = 0; from && n < l_.N; ++n)
      std::memcpy(static_cast<T*>(to.data()) + l_.rows.run(1, n).at * padded, static_cast<const T*>(from) + n * width,
                  static_cast<std::size_t>(width) * sizeof(T));
  }
  // Row 0 of such a buffer, as if it were in part p.
  T* rows_of(const Buffer& buffer, std::int64_t p, std::int64_t padded) const {
    return buffer.data() ? static_cast<T*>(buffer.data()) + l_.rows.origin(p, 1, 0) * padded : nullptr;
  }

  void prepare() {
    projected_.prepare();
    load_rows(dh_, b_.dh_n, l_.state_units, l_.R);
    if (l_.k.cell) load_rows(dc_, b_.dc_n, l_.units, l_.H);
    if (l_.k.stages == 2) load_rows(dp_, nullptr, l_.units);
    if (l_.masked) {
      load_rows(dh0_, nullptr, l_.state_units);
      if (l_.k.cell) load_rows(dc0_, nullptr, l_.units);
    }
    if (norm_.kernels) sums_.make(norm_);
    if (l_.dropped) load_rows(product_, nullptr, l_.state_units);
    if (l_.unit_values()) load_rows(unit_gradients_, nullptr, l_.unit_values());
    if (!l_.delays.empty()) {
      reached_.resize(l_.delays.size() * static_cast<std::size_t>(l_.T_ * l_.N));
      for (std::size_t i = 0; i < l_.delays.size(); ++i)
        for (std::int64_t step = 0; step + l_.delays[i] < l_.T_; ++step)
          for (std::int64_t n = 0; n < l_.N; ++n)
            reached_[static_cast<std::size_t>(at_of(i, step) + n)] =
                b_.buffers.ages[(step + l_.delays[i]) * l_.N + n] >= l_.delays[i];
      if (b_.dpast) {
        dpast_ = Buffer(static_cast<std::size_t>(b_.geometry.past_steps() * l_.N * l_.state_units) * sizeof(T));
        std::memset(dpast_.data(), 0, dpast_.bytes());
      }
    }
  }

  // Gates of a step: of row 0, as if it were in part p.
  T* gates_of(std::int64_t p, std::int64_t t) const {
    return static_cast<T*>(b_.buffers.gates) + l_.rows.origin(p, l_.T_, t) * l_.gates_row;
  }

  void work(const Member& m, bool alone) const {
    if (l_.rows.parts > 1) {
      for (std::int64_t p = m.rank; p < l_.rows.parts; p += m.size) walk(p);
    } else if (!alone || m.rank == 0) {
      for (std::int64_t step = l_.T_ - 1; step >= 0; --step) take_step(alone ? Member{} : m, 0, step);
    }
    m.barrier();
    if (b_.tokens.ids) {
      sum_by_token(m);
      m.barrier();
    }
    if (b_.dh0 && b_.weights.recurrent_back && !l_.numbers.truncate_gates) initial_state(m);
    if (!l_.delays.empty() && !l_.numbers.truncate_gates && (b_.dh0 || b_.dpast || b_.dh_reset)) {
      m.barrier();
      delayed_past(m);
    }
    if (b_.dx && b_.tokens.ids)
      input_gradient(m, static_cast<const T*>(b_.buffers.table), l_.V, 1, static_cast<T*>(b_.dx));
    else if (b_.dx && l_.rows.parts == 1)
      input_gradient(m, gates_of(0, 0), l_.T_ * l_.N, 1, static_cast<T*>(b_.dx));
    if (weights_) weights_->run(m);
  }

  // A part of the batch back through time by one member, with the inputs' gradients while the gates' are in cache.
  void walk(std::int64_t p) const {
    const std::int64_t chunk = l_.chunk_steps();
    const Range rows = l_.rows.part(p);
    std::int64_t done = l_.T_;  // steps from here on have their dx
    for (std::int64_t step = l_.T_ - 1; step >= 0; --step) {
      take_step(Member{}, p, step);
      if (!b_.dx || b_.tokens.ids || (done - step < chunk && step > 0)) continue;
      const std::int64_t time = std::min(l_.time_of(step), l_.time_of(done - 1));
      input_gradient(Member{}, gates_of(p, time) + rows.begin * l_.gates_row, rows.size(), done - step,
                     static_cast<T*>(b_.dx) + (time * l_.N + rows.begin) * l_.I);
      done = step;
    }
  }

  void take_step(const Member& m, std::int64_t p, std::int64_t step) const {
    const std::int64_t t = l_.time_of(step), width = l_.k.backward_width;
    const Range mine = m.share((l_.units + width - 1) / width), rows = l_.rows.part(p);
    BackwardStep<T> s;
    s.H = l_.H;
    s.panel_begin = mine.begin;
    s.panel_end = mine.end;
    s.row_begin = rows.begin;
    s.row_end = rows.end;
    s.gates = gates_of(p, t);
    if (step + 1 < l_.T_ && !l_.numbers.truncate_gates) s.gates_later = gates_of(p, l_.time_of(step + 1));
    s.gates_row = l_.gates_row;
    if (b_.weights.recurrent_back) s.weights = b_.weights.recurrent_back->template data<T>();
    s.h_prev = l_.h_entering(static_cast<T*>(b_.buffers.states), static_cast<const T*>(b_.y), step);
    if (l_.k.cell) {
      T* const c = static_cast<T*>(b_.buffers.c);
      s.c_prev = l_.c_entering(c, p, step);
      s.c = l_.c_entering(c, p, step + 1);
      s.dc = rows_of(dc_, p, l_.units);
      s.dc0 = rows_of(dc0_, p, l_.units);
    }
    if (b_.dy) s.dy = static_cast<const T*>(b_.dy) + t * l_.N * l_.R;
    s.dh = rows_of(dh_, p, l_.state_units);
    s.dh0 = rows_of(dh0_, p, l_.state_units);
    if (l_.masked) s.flags = b_.buffers.flags + step * l_.N;
    if (l_.dropped) {
      s.drop = static_cast<const T*>(b_.masks.drop);
      if (s.gates_later) s.product = rows_of(product_, p, l_.state_units);
    }
    if (b_.masks.zone_h) s.zone_h = static_cast<const T*>(b_.masks.zone_h) + t * l_.N * l_.R;
    if (b_.masks.zone_c) s.zone_c = static_cast<const T*>(b_.masks.zone_c) + t * l_.N * l_.H;
    s.numbers = &l_.numbers;
    s.unit_weights = static_cast<const T*>(b_.buffers.unit);
    s.unit_gradients = rows_of(unit_gradients_, p, l_.unit_values());
    if (l_.k.stages == 2) s.dp = rows_of(dp_, p, l_.units);
    if (norm_.kernels) {
      if (s.gates_later && norm_.has_product()) {
        const std::int64_t later = l_.time_of(step + 1);
        norm_.back_product(m, p, later, gates_of(p, later), b_.weights.recurrent_back.get(),
                           s.product ? s.product : s.dh, rows, s.product ? Start::zero : Start::c);
      }
      return sums_.backward(norm_, m, l_.projected ? projected_.step(m, s, t, weights_hr()) : s, p, t,
                            static_cast<const T*>(b_.buffers.bias), b_.weights);
    }
    if (l_.projected) {
      state_gradient(m, p, step, s);
      return run_cell(m, projected_.step(m, s, t, weights_hr()));
    }
    DelayedGates<T> delayed[kMostDelays];
    for (std::size_t i = 0; i < l_.delays.size() && step + l_.delays[i] < l_.T_; ++i)
      delayed[s.delays++] = {gates_of(p, l_.time_of(step + l_.delays[i])), b_.weights.delay_back[i]->template data<T>(),
                             reached_.data() + at_of(i, step)};
    s.delayed = delayed;
    run_cell(m, s);
  }

  void run_cell(const Member& m, BackwardStep<T> s) const {
    l_.k.backward[0](s);
    if (l_.independent()) return;
    m.barrier();
    if (l_.k.stages == 2) {
      s.weights_second = b_.weights.recurrent_back_second->template data<T>();
      l_.k.backward[1](s);
      m.barrier();
    }
  }

  const backend::Packed* weights_hr() const { return b_.weights.projection_back.get(); }

  // What later steps send to the state, where it is a projection: the kernels multiply into whole units only.
  void state_gradient(const Member& m, std::int64_t p, std::int64_t step, const BackwardStep<T>& s) const {
    const auto add = [&](const T* gates, int first, int count, const backend::PackedPtr& weights, T* to, Start start,
                         Range rows) {
      RowProduct<T> product = gates_product(gates + rows.begin * l_.gates_row, rows.size(), first, count);
      product.b = weights.get();
      product.c = to + rows.begin * l_.state_units;
      product.c_row = product.columns = l_.state_units;
      product.start = start;
      row_product(m, product);
    };
    if (s.gates_later) {
      add(s.gates_later, l_.k.recurrent_first, l_.k.recurrent_count, b_.weights.recurrent_back,
          s.product ? s.product : s.dh, s.product ? Start::zero : Start::c, {s.row_begin, s.row_end});
      m.barrier();
    }
    for (std::size_t i = 0; i < l_.delays.size() && step + l_.delays[i] < l_.T_; ++i) {
      const std::uint8_t* const reached = reached_.data() + at_of(i, step);
      for (std::int64_t row = s.row_begin; row < s.row_end; ++row) {
        const std::int64_t first = row;
        while (row < s.row_end && reached[row]) ++row;
        if (row > first)
          add(gates_of(p, l_.time_of(step + l_.delays[i])), l_.k.input_first, l_.k.input_count,
              b_.weights.delay_back[i], s.dh, Start::c, {first, row});
      }
      m.barrier();
    }
  }

  // a: gates [rows of slots first .. first + count), as runs.
  RowProduct<T> gates_product(const T* gates, std::int64_t rows, int first, int count) const {
    RowProduct<T> p;
    p.a = gates + first * l_.k.block;
    p.a_row = l_.gates_row;
    p.blocks = count == l_.k.slots ? 1 : l_.blocks;
    p.run = count == l_.k.slots ? l_.gate_values : count * l_.k.block;
    p.a_block = l_.k.slots * l_.k.block;
    p.rows = rows;
    return p;
  }

  void initial_state(const Member& m) const {
    for (std::int64_t part = 0; part < l_.rows.parts; ++part) {
      const Range rows = l_.rows.part(part);
      T* const gates = gates_of(part, l_.time_of(0));
      T* const to = rows_of(l_.dropped ? product_ : dh_, part, l_.state_units);
      const Start start = l_.dropped ? Start::zero : Start::c;
      if (norm_.kernels) {
        norm_.back_product(m, part, l_.time_of(0), gates, b_.weights.recurrent_back.get(), to, rows, start);
        continue;
      }
      RowProduct<T> p =
          gates_product(gates + rows.begin * l_.gates_row, rows.size(), l_.k.recurrent_first, l_.k.recurrent_count);
      p.b = b_.weights.recurrent_back.get();
      p.c = to + rows.begin * l_.state_units;
      p.c_row = p.columns = l_.state_units;
      p.start = start;
      row_product(m, p);
    }
    if (!l_.dropped) return;
    m.barrier();
    const Range mine = m.share(l_.N);
    for (std::int64_t n = mine.begin; n < mine.end; ++n) {
      const std::int64_t at = l_.rows.run(1, n).at * l_.state_units;
      const T* const drop = static_cast<const T*>(b_.masks.drop) + n * l_.R;
      for (std::int64_t u = 0; u < l_.R; ++u)
        static_cast<T*>(dh_.data())[at + u] += static_cast<const T*>(product_.data())[at + u] * drop[u];
    }
    m.barrier();
  }

  std::int64_t at_of(std::size_t delay, std::int64_t step) const {
    return (static_cast<std::int64_t>(delay) * l_.T_ + step) * l_.N;
  }

  // What delayed states from before a sequence's first step receive: its initial state and its past.
  void delayed_past(const Member& m) const {
    for (std::size_t i = 0; i < l_.delays.size(); ++i)
      for (std::int64_t step = 0; step < l_.T_; ++step) {
        const std::int64_t d = l_.delays[i];
        if (!l_.masked) {
          for (std::int64_t p = 0; step < d && p < l_.rows.parts; ++p)
            add_to_past(m, i, step, d - step, false, l_.rows.part(p));
          continue;
        }
        for (std::int64_t n = 0; n < l_.N; ++n) {
          const std::int64_t at = step * l_.N + n, number = d - b_.buffers.ages[at];
          const std::uint8_t flags = b_.buffers.flags[at];
          if (number >= 1 && !(flags & kRowAbsent)) add_to_past(m, i, step, number, flags & kRowFresh, {n, n + 1});
        }
      }
  }
  // rows: of one part.
  void add_to_past(const Member& m, std::size_t i, std::int64_t step, std::int64_t number, bool fresh,
                   Range rows) const {
    const Buffer* to = number == 1 ? (fresh ? &dh0_ : &dh_) : fresh && l_.own_reset ? nullptr : &dpast_;
    if (!to || !to->data()) return;
    const std::int64_t part = l_.rows.part_with(rows.begin);
    const T* const gates = gates_of(part, l_.time_of(step)) + rows.begin * l_.gates_row;
    RowProduct<T> p = gates_product(gates, rows.size(), l_.k.input_first, l_.k.input_count);
    p.b = b_.weights.delay_back[i].get();
    T* const first = number == 1 ? rows_of(*to, part, l_.state_units)
                                 : static_cast<T*>(to->data()) + (number - 2) * l_.N * l_.state_units;
    p.c = first + rows.begin * l_.state_units;
    p.c_row = p.columns = l_.state_units;
    p.start = Start::c;
    row_product(m, p);
  }

  // Gradients of the pre-activations by token, in the order of the steps.
  void sum_by_token(const Member& m) const {
    T* const table = static_cast<T*>(b_.buffers.table);
    const Range mine = m.share(l_.gate_values, l_.k.block);
    for (std::int64_t v = 0; v < l_.V; ++v)
      std::memset(table + v * l_.gates_row + mine.begin, 0, static_cast<std::size_t>(mine.size()) * sizeof(T));
    for (std::int64_t row = 0; row < l_.T_ * l_.N; ++row) {
      const T* const from = gates_of(0, 0) + l_.rows.run(l_.T_, row).at * l_.gates_row;
      T* const to = table + b_.tokens.ids[row] * l_.gates_row;
      for (std::int64_t i = mine.begin; i < mine.end; ++i) to[i] += from[i];
    }
  }

  // dx of rows of some steps (N apart in dx, and as many as they are apart in the gates), or of one matrix.
  void input_gradient(const Member& m, const T* gates, std::int64_t rows, std::int64_t steps, T* dx) const {
    RowProduct<T> p = gates_product(gates, rows, l_.k.input_first, l_.k.input_count);
    p.b = b_.weights.input_back.get();
    p.c = dx;
    p.c_row = p.columns = l_.I;
    p.groups = steps;
    p.a_group = rows * l_.gates_row;
    p.c_group = l_.N * l_.I;
    row_product(m, p);
  }

  void finish() {
    if (b_.d_unit) write_unit_gradients();
    if (norm_.kernels) sums_.write(norm_, b_);
    const bool together = l_.masked && !l_.own_reset;  // resets lead to the initial state
    write_rows(b_.dh0, l_.R, l_.state_units, dh_, together ? &dh0_ : nullptr);
    if (l_.masked) write_rows(b_.dh_reset, l_.R, l_.state_units, dh0_, nullptr);
    for (std::int64_t r = 0; b_.dpast && r < b_.geometry.past_steps() * l_.N; ++r)
      std::memcpy(static_cast<T*>(b_.dpast) + r * l_.R, static_cast<const T*>(dpast_.data()) + r * l_.state_units,
                  static_cast<std::size_t>(l_.R) * sizeof(T));
    if (!l_.k.cell) return;
    write_rows(b_.dc0, l_.H, l_.units, dc_, together ? &dc0_ : nullptr);
    if (l_.masked) write_rows(b_.dc_reset, l_.H, l_.units, dc0_, nullptr);
  }
  // Each row of the batch has its own sum over time; the rows are summed in order.
  void write_unit_gradients() const {
    T* const out = static_cast<T*>(b_.d_unit);
    std::memset(out, 0, static_cast<std::size_t>(l_.k.unit_weights * l_.H) * sizeof(T));
    for (std::int64_t n = 0; n < l_.N; ++n)
      for (std::int64_t i = 0; i < l_.k.unit_weights; ++i) {
        const T* const from =
            static_cast<const T*>(unit_gradients_.data()) + l_.rows.run(1, n).at * l_.unit_values() + i * l_.units;
        for (std::int64_t u = 0; u < l_.H; ++u) out[i * l_.H + u] += from[u];
      }
  }
  void write_rows(void* out, std::int64_t width, std::int64_t padded, const Buffer& from, const Buffer* more) const {
    if (!out) return;
    for (std::int64_t n = 0; n < l_.N; ++n)
      for (std::int64_t u = 0; u < width; ++u) {
        const std::int64_t at = l_.rows.run(1, n).at * padded + u;
        static_cast<T*>(out)[n * width + u] =
            static_cast<const T*>(from.data())[at] + (more ? static_cast<const T*>(more->data())[at] : T(0));
      }
  }

  const backend::RecurrentBackward& b_;
  Layout<T> l_;
  NormMemory<T> norm_;
  NormSums<T> sums_;
  Projection<T> projection_;
  ProjectionGradient<T> projected_;
  Buffer dh_, dc_, dp_, dh0_, dc0_, dpast_, unit_gradients_, product_;
  std::vector<std::uint8_t> reached_;  // (delay, step, row): the step's state entered the step that much later
  std::unique_ptr<WeightGradients<T>> weights_;
};

}  // namespace
}  // namespace rnncore::cpu

namespace rnncore::backend {

void recurrent_backward(Device, const RecurrentBackward& b) {
  if (b.geometry.dtype == DType::float64)
    cpu::Backward<double>(b).run();
  else
    cpu::Backward<float>(b).run();
}

}  // namespace rnncore::backend
