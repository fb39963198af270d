// A recurrent layer backward: the steps in reverse, then dx and the weight gradients as products over all T*N rows.
#include <cstring>

#include "backend/cpu/recurrent_delays.h"

namespace rnncore::cpu {
namespace {

template <typename T>
class Backward {
 public:
  explicit Backward(const backend::RecurrentBackward& b) : b_(b), l_(b.geometry), table_(gemm_table<T>()) {}

  void run() {
    prepare();
    const double input_work = 2 * l_.input_work();
    int threads = threads_for(input_work + 2 * l_.T_ * l_.step_work());
    const std::int64_t panels = (l_.units + l_.k.backward_width - 1) / l_.k.backward_width;
    sharing_ = share_steps(l_, threads, panels, l_.k.backward_tile);
    constexpr double kWorthATeam = 2e7;
    if (sharing_.alone && input_work + l_.T_ * l_.step_work() < kWorthATeam) threads = 1;
    scratch_ =
        Buffer(b_.dw_ih ? std::max(trans_scratch_bytes<T>(l_.I, threads), trans_scratch_bytes<T>(l_.H, threads)) : 0);
    run_team(threads, [&](const Member& m) { work(m); });
    finish();
  }

 private:
  static void load_rows(Buffer& to, const void* from, std::int64_t rows, std::int64_t n, std::int64_t padded) {
    to = Buffer(static_cast<std::size_t>(rows * padded) * sizeof(T));
    std::memset(to.data(), 0, to.bytes());
    for (std::int64_t r = 0; from && r < rows; ++r)
      std::memcpy(static_cast<T*>(to.data()) + r * padded, static_cast<const T*>(from) + r * n,
                  static_cast<std::size_t>(n) * sizeof(T));
  }

  void prepare() {
    load_rows(dh_, b_.dh_n, l_.N, l_.H, l_.units);
    if (l_.k.cell) load_rows(dc_, b_.dc_n, l_.N, l_.H, l_.units);
    if (l_.k.stages == 2) load_rows(dp_, nullptr, l_.N, l_.H, l_.units);
    if (l_.masked) {
      load_rows(dh0_, nullptr, l_.N, l_.H, l_.units);
      if (l_.k.cell) load_rows(dc0_, nullptr, l_.N, l_.H, l_.units);
    }
    if (l_.unit_values()) {
      unit_gradients_ = Buffer(static_cast<std::size_t>(l_.N * l_.unit_values()) * sizeof(T));
      std::memset(unit_gradients_.data(), 0, unit_gradients_.bytes());
    }
    if (!l_.delays.empty()) {
      reached_.resize(l_.delays.size() * static_cast<std::size_t>(l_.T_ * l_.N));
      for (std::size_t i = 0; i < l_.delays.size(); ++i)
        for (std::int64_t step = 0; step + l_.delays[i] < l_.T_; ++step)
          for (std::int64_t n = 0; n < l_.N; ++n)
            reached_[static_cast<std::size_t>(at_of(i, step) + n)] =
                b_.buffers.ages[(step + l_.delays[i]) * l_.N + n] >= l_.delays[i];
      if (b_.dpast) load_rows(dpast_, nullptr, b_.geometry.past_steps() * l_.N, l_.H, l_.units);
    }
    if (!b_.dw_ih) return;
    input_tiles_ = gradient_tiles(l_, l_.k.input_first, l_.k.input_count, table_.row_tile);
    recurrent_tiles_ = gradient_tiles(l_, l_.k.recurrent_first, l_.k.recurrent_count, table_.row_tile);
    if (l_.k.stages == 2) second_tiles_ = gradient_tiles(l_, l_.k.second_first, l_.k.second_count, table_.row_tile);
  }

  T* gates_of(std::int64_t t) const { return static_cast<T*>(b_.buffers.gates) + t * l_.N * l_.gates_row; }

  void work(const Member& m) const {
    if (!sharing_.alone || m.rank == 0) {
      const Member self = sharing_.alone ? Member{} : m;
      for (std::int64_t step = l_.T_ - 1; step >= 0; --step) take_step(self, step);
    }
    m.barrier();
    if (b_.tokens.ids) {
      sum_by_token(m);
      m.barrier();
    }
    if (b_.dh0 && !l_.numbers.truncate_gates) initial_state(m);
    if (!l_.delays.empty() && !l_.numbers.truncate_gates && (b_.dh0 || b_.dpast || b_.dh_reset)) {
      m.barrier();
      delayed_past(m);
    }
    if (b_.dx) input_gradient(m);
    if (!b_.dw_ih) return;
    m.barrier();
    input_weights(m);
    m.barrier();  // the scratch is used again
    recurrent_weights(m);
    if (b_.db_hh) recurrent_bias(m);
  }

  void take_step(const Member& m, std::int64_t step) const {
    const std::int64_t t = l_.time_of(step), width = l_.k.backward_width;
    const std::int64_t panels = (l_.units + width - 1) / width;
    const Range mine = sharing_.by_rows ? Range{0, panels} : m.share(panels);
    const Range rows = sharing_.by_rows ? m.share(l_.N) : Range{0, l_.N};
    BackwardStep<T> s;
    s.H = l_.H;
    s.panel_begin = mine.begin;
    s.panel_end = mine.end;
    s.row_begin = rows.begin;
    s.row_end = rows.end;
    s.gates = gates_of(t);
    if (step + 1 < l_.T_ && !l_.numbers.truncate_gates) s.gates_later = gates_of(l_.time_of(step + 1));
    s.gates_row = l_.gates_row;
    s.weights = b_.weights.recurrent_back->template data<T>();
    s.h_prev = l_.h_entering(static_cast<T*>(b_.buffers.states), static_cast<const T*>(b_.y), step);
    if (l_.k.cell) {
      T* const c = static_cast<T*>(b_.buffers.c);
      s.c_prev = l_.c_entering(c, step);
      s.c = l_.c_entering(c, step + 1);
      s.dc = static_cast<T*>(dc_.data());
      s.dc0 = static_cast<T*>(dc0_.data());
    }
    if (b_.dy) s.dy = static_cast<const T*>(b_.dy) + t * l_.N * l_.H;
    s.dh = static_cast<T*>(dh_.data());
    s.dh0 = static_cast<T*>(dh0_.data());
    if (l_.masked) s.flags = b_.buffers.flags + step * l_.N;
    s.numbers = &l_.numbers;
    s.unit_weights = static_cast<const T*>(b_.buffers.unit);
    s.unit_gradients = static_cast<T*>(unit_gradients_.data());
    DelayedGates<T> delayed[kMostDelays];
    for (std::size_t i = 0; i < l_.delays.size() && step + l_.delays[i] < l_.T_; ++i)
      delayed[s.delays++] = {gates_of(l_.time_of(step + l_.delays[i])), b_.weights.delay_back[i]->template data<T>(),
                             reached_.data() + at_of(i, step)};
    s.delayed = delayed;
    l_.k.backward[0](s);
    if (!sharing_.by_rows) m.barrier();
    if (l_.k.stages == 2) {
      s.weights_second = b_.weights.recurrent_back_second->template data<T>();
      s.dp = static_cast<T*>(dp_.data());
      l_.k.backward[1](s);
      if (!sharing_.by_rows) m.barrier();
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
    RowProduct<T> p = gates_product(gates_of(l_.time_of(0)), l_.N, l_.k.recurrent_first, l_.k.recurrent_count);
    p.b = b_.weights.recurrent_back.get();
    p.c = static_cast<T*>(dh_.data());
    p.c_row = p.columns = l_.units;
    p.start = Start::c;
    row_product(m, p);
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
          if (step < d) add_to_past(m, i, step, d - step, false, 0, l_.N);
          continue;
        }
        for (std::int64_t n = 0; n < l_.N; ++n) {
          const std::int64_t at = step * l_.N + n, number = d - b_.buffers.ages[at];
          const std::uint8_t flags = b_.buffers.flags[at];
          if (number >= 1 && !(flags & kRowAbsent)) add_to_past(m, i, step, number, flags & kRowFresh, n, 1);
        }
      }
  }
  void add_to_past(const Member& m, std::size_t i, std::int64_t step, std::int64_t number, bool fresh, std::int64_t n,
                   std::int64_t rows) const {
    const Buffer* to = number == 1 ? (fresh ? &dh0_ : &dh_) : fresh && l_.own_reset ? nullptr : &dpast_;
    if (!to || !to->data()) return;
    const T* const gates = gates_of(l_.time_of(step)) + n * l_.gates_row;
    RowProduct<T> p = gates_product(gates, rows, l_.k.input_first, l_.k.input_count);
    p.b = b_.weights.delay_back[i].get();
    p.c = static_cast<T*>(to->data()) + (std::max<std::int64_t>(0, number - 2) * l_.N + n) * l_.units;
    p.c_row = p.columns = l_.units;
    p.start = Start::c;
    row_product(m, p);
  }

  // Gradients of the pre-activations by input row: of every step, or summed by token in the order of the steps.
  T* input_gates() const { return b_.tokens.ids ? static_cast<T*>(b_.buffers.table) : gates_of(0); }
  std::int64_t input_rows() const { return b_.tokens.ids ? l_.V : l_.T_ * l_.N; }

  void sum_by_token(const Member& m) const {
    T* const table = static_cast<T*>(b_.buffers.table);
    const Range mine = m.share(l_.gate_values, l_.k.block);
    for (std::int64_t v = 0; v < l_.V; ++v)
      std::memset(table + v * l_.gates_row + mine.begin, 0, static_cast<std::size_t>(mine.size()) * sizeof(T));
    for (std::int64_t row = 0; row < l_.T_ * l_.N; ++row) {
      const T* const from = gates_of(0) + row * l_.gates_row;
      T* const to = table + b_.tokens.ids[row] * l_.gates_row;
      for (std::int64_t i = mine.begin; i < mine.end; ++i) to[i] += from[i];
    }
  }

  void input_gradient(const Member& m) const {
    RowProduct<T> p = gates_product(input_gates(), input_rows(), l_.k.input_first, l_.k.input_count);
    p.b = b_.weights.input_back.get();
    p.c = static_cast<T*>(b_.dx);
    p.c_row = p.columns = l_.I;
    row_product(m, p);
  }

  TransProduct<T> weight_product(const GradientTiles& tiles, const T* gates, std::int64_t rows, const T* x,
                                 std::int64_t x_row, std::int64_t columns, T* dw) const {
    TransProduct<T> p;
    p.a = gates;
    p.a_row = l_.gates_row;
    p.b = x;
    p.b_row = x_row;
    p.K = rows;
    p.N = columns;
    p.c = dw;
    p.c_row = columns;
    p.tiles = static_cast<std::int64_t>(tiles.row.size());
    p.column = tiles.column.data();
    p.tile_c = tiles.row.data();
    p.tile_rows = tiles.rows.data();
    return p;
  }

  void input_weights(const Member& m) const {
    const void* const x = b_.tokens.ids ? b_.tokens.embedding : b_.x;
    TransProduct<T> p = weight_product(input_tiles_, input_gates(), input_rows(), static_cast<const T*>(x), l_.I, l_.I,
                                       static_cast<T*>(b_.dw_ih));
    p.column_sum = static_cast<T*>(b_.db_ih);
    trans_product(m, p, scratch_.data());
  }

  void recurrent_weights(const Member& m) const {
    T* const dw = static_cast<T*>(b_.dw_hh);
    const T* const states = static_cast<const T*>(b_.buffers.states);
    const std::int64_t NH = l_.N * l_.H;
    if (l_.masked) {
      trans_product(m, weight_product(recurrent_tiles_, gates_of(0), l_.T_ * l_.N, states_by_time(), l_.H, l_.H, dw),
                    scratch_.data());
    } else {
      // The first step processed meets the initial state; every other step t its neighbour's output.
      trans_product(m,
                    weight_product(recurrent_tiles_, gates_of(l_.time_of(0)), b_.h0 ? l_.N : 0, states, l_.H, l_.H, dw),
                    scratch_.data());
      m.barrier();
      TransProduct<T> p = weight_product(recurrent_tiles_, gates_of(l_.reverse ? 0 : 1), (l_.T_ - 1) * l_.N,
                                         static_cast<const T*>(b_.y) + (l_.reverse ? NH : 0), l_.H, l_.H, dw);
      p.accumulate = true;
      trans_product(m, p, scratch_.data());
    }
    for (std::size_t i = 0; i < l_.delays.size(); ++i) {
      m.barrier();
      const T* const delayed = static_cast<const T*>(b_.buffers.delayed) + at_of(i, 0) * l_.H;
      trans_product(
          m,
          weight_product(input_tiles_, gates_of(0), l_.T_ * l_.N, delayed, l_.H, l_.H, static_cast<T*>(b_.dw_delay[i])),
          scratch_.data());
    }
    if (l_.k.stages < 2) return;
    m.barrier();
    trans_product(m,
                  weight_product(second_tiles_, gates_of(0), l_.T_ * l_.N, static_cast<const T*>(b_.buffers.p),
                                 l_.units, l_.H, dw),
                  scratch_.data());
  }

  // With masks every step's entering state was kept, in the order of time, after the initial one.
  const T* states_by_time() const { return static_cast<const T*>(b_.buffers.states) + l_.N * l_.H; }

  // db_hh equals db_ih but for slots that only the recurrent product feeds.
  void recurrent_bias(const Member& m) const {
    if (m.size > 1) m.barrier();
    T* const db = static_cast<T*>(b_.db_hh);
    const T* const db_ih = static_cast<const T*>(b_.db_ih);
    const Range units = m.share(l_.H);
    for (int s = 0; s < l_.k.slots; ++s) {
      T* const out = db + l_.k.gate[s] * l_.H;
      const bool from_input = s >= l_.k.input_first && s < l_.k.input_first + l_.k.input_count;
      const bool from_state = (s >= l_.k.recurrent_first && s < l_.k.recurrent_first + l_.k.recurrent_count) ||
                              (s >= l_.k.second_first && s < l_.k.second_first + l_.k.second_count);
      if (!from_state) continue;
      if (from_input) {
        for (std::int64_t u = units.begin; u < units.end; ++u) out[u] = db_ih[l_.k.gate[s] * l_.H + u];
        continue;
      }
      for (std::int64_t u = units.begin; u < units.end; ++u) out[u] = 0;
      for (std::int64_t row = 0; row < l_.T_ * l_.N; ++row) {
        const T* const gates = gates_of(0) + row * l_.gates_row + s * l_.k.block;
        for (std::int64_t u = units.begin; u < units.end; ++u)
          out[u] += gates[u / l_.k.block * l_.k.slots * l_.k.block + u % l_.k.block];
      }
    }
  }

  void finish() {
    if (b_.d_unit) write_unit_gradients();
    const bool together = l_.masked && !l_.own_reset;  // resets lead to the initial state
    write_rows(b_.dh0, dh_, together ? &dh0_ : nullptr, l_.N);
    write_rows(b_.dpast, dpast_, nullptr, b_.geometry.past_steps() * l_.N);
    if (l_.masked) write_rows(b_.dh_reset, dh0_, nullptr, l_.N);
    if (!l_.k.cell) return;
    write_rows(b_.dc0, dc_, together ? &dc0_ : nullptr, l_.N);
    if (l_.masked) write_rows(b_.dc_reset, dc0_, nullptr, l_.N);
  }
  // Each row of the batch has its own sum over time; the rows are summed in order.
  void write_unit_gradients() const {
    T* const out = static_cast<T*>(b_.d_unit);
    std::memset(out, 0, static_cast<std::size_t>(l_.k.unit_weights * l_.H) * sizeof(T));
    for (std::int64_t n = 0; n < l_.N; ++n)
      for (std::int64_t i = 0; i < l_.k.unit_weights; ++i) {
        const T* const from = static_cast<const T*>(unit_gradients_.data()) + n * l_.unit_values() + i * l_.units;
        for (std::int64_t u = 0; u < l_.H; ++u) out[i * l_.H + u] += from[u];
      }
  }
  void write_rows(void* out, const Buffer& from, const Buffer* more, std::int64_t rows) const {
    if (!out) return;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t u = 0; u < l_.H; ++u) {
        const std::int64_t at = r * l_.units + u;
        static_cast<T*>(out)[r * l_.H + u] =
            static_cast<const T*>(from.data())[at] + (more ? static_cast<const T*>(more->data())[at] : T(0));
      }
  }

  const backend::RecurrentBackward& b_;
  Layout<T> l_;
  const GemmTable<T>& table_;
  Sharing sharing_;
  Buffer dh_, dc_, dp_, dh0_, dc0_, dpast_, unit_gradients_, scratch_;
  std::vector<std::uint8_t> reached_;  // (delay, step, row): the step's state entered the step that much later
  GradientTiles input_tiles_, recurrent_tiles_, second_tiles_;
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
