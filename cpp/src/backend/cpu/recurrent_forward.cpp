// A recurrent layer forward: input products of a chunk of steps, then the chunk's steps, by one team.
#include <cstring>

#include "backend/cpu/recurrent_delays.h"
#include "backend/cpu/recurrent_norm_run.h"
#include "backend/cpu/recurrent_projection.h"

namespace rnncore::cpu {
namespace {

// flags[step, n]: whether the row is absent at the step, and whether its state is reset when it leaves it.
template <typename T>
void fill_flags(const Layout<T>& l, const backend::RecurrentForward& f, std::uint8_t* flags) {
  for (std::int64_t step = 0; step < l.T_; ++step) {
    const std::int64_t t = l.time_of(step);
    // Going back in time, a sequence that starts at t + 1 separates t from it: the same boundary from the other side.
    const std::int64_t boundary = l.reverse ? t : t + 1;
    for (std::int64_t n = 0; n < l.N; ++n) {
      std::uint8_t value = 0;
      if (f.lengths && t >= f.lengths[n]) value |= kRowAbsent;
      if (f.reset && step + 1 < l.T_ && f.reset[boundary * l.N + n]) value |= kRowResets;
      flags[step * l.N + n] = value;
    }
  }
}

template <typename T>
void copy_rows(T* to, std::int64_t to_row, const T* from, std::int64_t from_row, std::int64_t rows, std::int64_t n) {
  for (std::int64_t r = 0; r < rows; ++r)
    std::memcpy(to + r * to_row, from + r * from_row, static_cast<std::size_t>(n) * sizeof(T));
}

template <typename T>
class Forward {
 public:
  explicit Forward(const backend::RecurrentForward& f)
      : f_(f), l_(f.geometry), norm_(l_, f.geometry, f.buffers.norm), projection_(l_, f.buffers.projected) {}

  void run() {
    T* const states = static_cast<T*>(f_.buffers.states);
    const std::size_t state_bytes = static_cast<std::size_t>(l_.N * l_.R) * sizeof(T);
    if (f_.h0)
      std::memcpy(states, f_.h0, state_bytes);
    else
      std::memset(states, 0, state_bytes);
    if (l_.masked) std::memcpy(l_.h_entering(states, nullptr, 0), states, state_bytes);
    projection_.clear();
    if (l_.k.cell && l_.own_reset) {
      T* const c = static_cast<T*>(f_.buffers.c_reset);
      std::memset(c, 0, static_cast<std::size_t>(l_.N * l_.units) * sizeof(T));
      if (f_.c_reset) copy_rows(c, l_.units, static_cast<const T*>(f_.c_reset), l_.H, l_.N, l_.H);
    }
    if (l_.k.cell) {
      for (std::int64_t p = 0; p < l_.rows.parts; ++p) {
        const Range rows = l_.rows.part(p);
        T* const c = l_.c_entering(static_cast<T*>(f_.buffers.c), p, 0) + rows.begin * l_.units;
        std::memset(c, 0, static_cast<std::size_t>(rows.size() * l_.units) * sizeof(T));
        if (f_.c0) copy_rows(c, l_.units, static_cast<const T*>(f_.c0) + rows.begin * l_.H, l_.H, rows.size(), l_.H);
      }
    }
    if (!f_.bias_ready) {
      if (norm_.kernels) norm_.fill(f_.weights);
      fill_bias(l_, f_.weights.bias_ih, f_.weights.bias_hh, static_cast<T*>(f_.buffers.bias));
      if (const std::int64_t values = l_.unit_values()) {
        T* const unit = static_cast<T*>(f_.buffers.unit);
        std::memset(unit, 0, static_cast<std::size_t>(values) * sizeof(T));
        copy_rows(unit, l_.units, static_cast<const T*>(f_.weights.unit), l_.H, l_.k.unit_weights, l_.H);
      }
    }
    if (l_.masked) fill_flags(l_, f_, f_.buffers.flags);
    if (!l_.delays.empty()) {
      fill_ages(l_, f_.buffers.flags, f_.buffers.ages);
      copy_delayed(l_, f_, 0, 0, l_.N);
    }
    if (l_.dropped) {
      T* const first = l_.product_operand(nullptr, static_cast<T*>(f_.buffers.entering), nullptr, 0);
      const T* const drop = static_cast<const T*>(f_.masks.drop);
      for (std::int64_t i = 0; i < l_.N * l_.R; ++i) first[i] = states[i] * drop[i];
    }
    const double input_work = f_.tokens.ids && f_.table_ready ? 0 : l_.input_work();
    const int threads = f_.threads ? f_.threads : threads_for(input_work + l_.T_ * l_.step_work());
    run_steps(l_, threads, input_work, [&](const Member& m, bool alone) { work(m, alone); });
    if (!l_.masked) std::memcpy(f_.h_n, static_cast<const T*>(f_.y) + l_.time_of(l_.T_ - 1) * l_.N * l_.R, state_bytes);
    for (std::int64_t p = 0; l_.k.cell && p < l_.rows.parts; ++p) {
      const Range rows = l_.rows.part(p);
      copy_rows(static_cast<T*>(f_.c_n) + rows.begin * l_.H, l_.H,
                l_.c_entering(static_cast<T*>(f_.buffers.c), p, l_.T_) + rows.begin * l_.units, l_.units, rows.size(),
                l_.H);
    }
    if (f_.past_n) copy_past(l_, f_);
  }

 private:
  // Gates of the step (of row 0, as if it were in part p): in inference only one chunk is kept, in the order of time.
  T* gates_at(std::int64_t p, std::int64_t t, std::int64_t chunk_time) const {
    const std::int64_t at = l_.rows.origin(p, l_.training ? l_.T_ : l_.chunk_steps(), l_.training ? t : t - chunk_time);
    return static_cast<T*>(f_.buffers.gates) + at * l_.gates_row;
  }

  // Rows of `groups` steps, N apart in x and as many as they are apart in out; or of one matrix.
  void input_product(const Member& m, const T* x, std::int64_t rows, std::int64_t groups, T* out,
                     bool by_panels = false) const {
    RowProduct<T> p;
    p.by_panels = by_panels;
    p.a = x;
    p.a_row = l_.I;
    p.a_group = l_.N * l_.I;
    p.run = l_.I;
    p.b = f_.weights.input.get();
    p.c = out;
    p.c_row = l_.gates_row;
    p.c_group = rows * l_.gates_row;
    p.groups = groups;
    p.rows = rows;
    p.columns = l_.gate_values;
    p.bias = static_cast<const T*>(f_.buffers.bias);
    p.start = norm_.kernels ? Start::zero : Start::bias;  // the bias comes after normalisation
    row_product(m, p);
  }

  // The gates of tokens: rows of the table, some of their blocks.
  void copy_tokens(const std::int64_t* ids, std::int64_t rows, Range blocks, T* out) const {
    const std::int64_t block = l_.gate_values / l_.blocks, first = blocks.begin * block;
    const T* const table = static_cast<const T*>(f_.buffers.table) + first;
    for (std::int64_t row = 0; row < rows; ++row)
      std::memcpy(out + row * l_.gates_row + first, table + ids[row] * l_.gates_row,
                  static_cast<std::size_t>(blocks.size() * block) * sizeof(T));
  }

  void work(const Member& m, bool alone) const {
    if (f_.tokens.ids && !f_.table_ready) {
      input_product(m, static_cast<const T*>(f_.tokens.embedding), l_.V, 1, static_cast<T*>(f_.buffers.table));
      m.barrier();
    }
    if (l_.rows.parts == 1) return walk(m, 0, alone);
    for (std::int64_t p = m.rank; p < l_.rows.parts; p += m.size) walk(Member{}, p, false);
  }

  // A part of the batch through time: by one member, by all, or (alone) by the first while all make its input products.
  void walk(const Member& m, std::int64_t p, bool alone) const {
    const std::int64_t chunk = l_.chunk_steps();
    for (std::int64_t first = 0; first < l_.T_; first += chunk) {
      const std::int64_t last = std::min(l_.T_, first + chunk) - 1;
      const std::int64_t time = std::min(l_.time_of(first), l_.time_of(last));
      input_gates(m, p, time, last - first + 1, !alone, gates_at(p, time, time));
      m.barrier();
      for (std::int64_t step = first; step <= last; ++step) {
        if (alone && m.rank != 0) continue;
        take_step(alone ? Member{} : m, p, step, gates_at(p, l_.time_of(step), time));
      }
      if (!l_.training) m.barrier();  // the next chunk overwrites these gates
    }
  }

  // What the input gives to the gates of `steps` steps from `time` on. Where a step's units are shared, each member
  // makes what it will read: a line that another core has written is far away.
  void input_gates(const Member& m, std::int64_t p, std::int64_t time, std::int64_t steps, bool shared, T* out) const {
    const Range rows = l_.rows.part(p), mine = m.share(l_.blocks);
    const std::int64_t first = time * l_.N + rows.begin;
    out += rows.begin * l_.gates_row;
    if (f_.tokens.ids) {
      for (std::int64_t s = 0; s < steps; ++s)
        copy_tokens(f_.tokens.ids + first + s * l_.N, rows.size(), mine, out + s * rows.size() * l_.gates_row);
      return;
    }
    const T* const x = static_cast<const T*>(f_.x) + first * l_.I;
    if (l_.rows.parts == 1) return input_product(m, x, steps * l_.N, 1, out, shared);  // one matrix
    input_product(m, x, rows.size(), steps, out);
  }

  void take_step(const Member& self, std::int64_t p, std::int64_t step, T* gates) const {
    const std::int64_t t = l_.time_of(step);
    if (l_.one_row()) {
      take_row(self, p, step, gates);
      return self.barrier();
    }
    ForwardStep<T> s;
    s.H = l_.H;
    s.R = l_.R;
    const Range blocks = self.share(l_.blocks), rows = l_.rows.part(p);
    s.block_begin = blocks.begin;
    s.block_end = blocks.end;
    s.row_begin = rows.begin;
    s.row_end = rows.end;
    s.gates = gates;
    s.gates_row = l_.gates_row;
    if (f_.weights.recurrent) s.weights = f_.weights.recurrent->template data<T>();
    s.bias = static_cast<const T*>(f_.buffers.bias);
    s.numbers = &l_.numbers;
    s.unit_weights = static_cast<const T*>(f_.buffers.unit);
    T* const states = static_cast<T*>(f_.buffers.states);
    T* const y = static_cast<T*>(f_.y);
    T* const entering = static_cast<T*>(f_.buffers.entering);
    s.h_prev = l_.h_entering(states, y, step);
    s.entering = l_.product_operand(states, entering, y, step);
    if (l_.dropped) {
      s.drop = static_cast<const T*>(f_.masks.drop);
      if (step + 1 < l_.T_) s.entering_next = l_.product_operand(states, entering, y, step + 1);
    }
    if (f_.masks.zone_h) s.zone_h = static_cast<const T*>(f_.masks.zone_h) + t * l_.N * l_.R;
    if (f_.masks.zone_c) s.zone_c = static_cast<const T*>(f_.masks.zone_c) + t * l_.N * l_.H;
    s.y = y + t * l_.N * l_.R;
    if (l_.masked) {
      s.h_next = step + 1 < l_.T_ ? l_.h_entering(states, y, step + 1) : static_cast<T*>(f_.h_n);
      s.flags = f_.buffers.flags + step * l_.N;
      s.h0 = l_.own_reset ? static_cast<const T*>(f_.h_reset) : states;
    }
    if (l_.k.cell) {
      T* const c = static_cast<T*>(f_.buffers.c);
      s.c_prev = l_.c_entering(c, p, step);
      s.c = l_.c_entering(c, p, step + 1);
      s.c0 = l_.own_reset ? static_cast<const T*>(f_.buffers.c_reset) : l_.c_entering(c, p, 0);
    }
    if (!l_.projected) return run_cell(self, s, p, step);
    run_cell(self, projection_.of_cell(s, t), p, step);
    projection_.forward(self, s, t, f_.weights.projection.get());
  }

  void run_cell(const Member& self, ForwardStep<T> s, std::int64_t p, std::int64_t step) const {
    const std::int64_t t = l_.time_of(step);
    DelayedState<T> delayed[kMostDelays];
    for (std::size_t i = 0; i < l_.delays.size(); ++i)
      delayed[i] = {l_.delayed_entering(f_.buffers.delayed, i, step), f_.weights.delay[i]->template data<T>()};
    s.delayed = delayed;
    s.delays = static_cast<int>(l_.delays.size());
    if (s.delays > 0 && step + 1 < l_.T_) {  // of the step before, all delays being at least 2: complete by now
      const Range mine = self.share(s.row_end - s.row_begin);
      copy_delayed(l_, f_, step + 1, s.row_begin + mine.begin, s.row_begin + mine.end);
    }
    if (l_.k.stages == 2) s.p = static_cast<T*>(f_.buffers.p) + (l_.training ? t : 0) * l_.N * l_.units;
    if (norm_.kernels) return norm_.forward(self, s, p, t, f_.weights);
    l_.k.forward[0](s);
    if (l_.independent()) return;
    self.barrier();
    if (l_.k.stages == 2) {
      s.weights = f_.weights.recurrent_second->template data<T>();
      l_.k.forward[1](s);
      self.barrier();
    }
  }

  // The kernel for one row. It wants h in whole vectors: where H is none, h takes turns between two rows of its own.
  void take_row(const Member& m, std::int64_t p, std::int64_t step, T* gates) const {
    T* const states = static_cast<T*>(f_.buffers.states);
    T* const y = static_cast<T*>(f_.y);
    const bool whole = l_.H % l_.k.lanes == 0;
    const Range vectors = m.share((l_.H + l_.k.lanes - 1) / l_.k.lanes);
    RowStep<T> s;
    s.H = s.R = l_.H;
    s.vector_begin = vectors.begin;
    s.vector_end = vectors.end;
    s.downwards = step & 1;
    s.weights = f_.weights.recurrent->template data<T>();
    s.bias = static_cast<const T*>(f_.buffers.bias);
    s.gates = gates;
    s.keep = l_.training;
    if (whole) {
      s.h_prev = l_.h_entering(states, y, step);
      s.h = y + l_.time_of(step) * l_.H;
    } else {
      s.h_prev = states + (step == 0 ? 0 : 1 + (step & 1)) * l_.units;
      s.h = states + (2 - (step & 1)) * l_.units;
      s.y = y + l_.time_of(step) * l_.H;
    }
    if (l_.k.cell) {
      T* const c = static_cast<T*>(f_.buffers.c);
      s.c_prev = l_.c_entering(c, p, step);
      s.c = l_.c_entering(c, p, step + 1);
    }
    l_.k.row(s);
  }

  const backend::RecurrentForward& f_;
  Layout<T> l_;
  NormMemory<T> norm_;
  Projection<T> projection_;
};

template <typename T>
std::int64_t parts_of(const backend::RecurrentGeometry& g) {
  const Layout<T> l(g);
  return parts_for(l, threads_for(l.input_work() + l.T_ * l.step_work()));
}

template <typename T>
backend::RecurrentSizes sizes_of(const backend::RecurrentGeometry& g) {
  const Layout<T> l(g);
  backend::RecurrentSizes s;
  s.gates = l.rows.rows(g.training ? g.T : l.chunk_steps()) * l.gates_row;
  if (l.k.cell) s.c = l.rows.rows(l.c_steps()) * l.units;
  s.states = l.one_row() ? 3 * l.units : (g.masked ? (g.training ? g.T + 1 : 3) : 1) * g.N * g.R();
  if (l.k.stages == 2) s.p = (g.training ? g.T : 1) * g.N * l.units;
  s.bias = l.gate_values;
  s.unit = l.unit_values();
  if (g.masked) s.flags = g.T * g.N;
  s.table = g.V * l.gates_row;
  s.delayed = static_cast<std::int64_t>(g.delays.size()) * (g.training ? g.T : 2) * g.N * g.R();
  if (!g.delays.empty()) s.ages = g.T * g.N;
  if (g.training) s.past_source = g.past_steps() * g.N;
  s.norm = NormMemory<T>(l, g, nullptr).size;
  if (g.dropped) s.entering = g.T * g.N * g.R();
  s.projected = Projection<T>(l, nullptr).size();
  if (l.k.cell && g.own_reset) s.c_reset = g.N * l.units;
  return s;
}

// Maps of packed gate columns to rows of the weight: (block, slot, unit) -> gate * H + unit, or -1 for padding.
template <typename T>
std::vector<std::int64_t> gate_map(const Layout<T>& l, int first, int count) {
  std::vector<std::int64_t> map;
  map.reserve(static_cast<std::size_t>(l.units * count));
  for (std::int64_t b = 0; b < l.blocks; ++b)
    for (int s = first; s < first + count; ++s)
      for (std::int64_t i = 0; i < l.k.block; ++i) {
        const std::int64_t unit = b * l.k.block + i;
        map.push_back(unit < l.H ? l.k.gate[s] * l.H + unit : -1);
      }
  return map;
}

template <typename T>
backend::PackedPtr pack_of(backend::RecurrentPack which, const LayerSpec& layer, std::int64_t columns, const void* w) {
  using Which = backend::RecurrentPack;
  backend::RecurrentGeometry g;
  g.cell = layer.cell;
  g.options = layer.options;
  g.H = layer.hidden_size;
  const Layout<T> l(g);
  if (which == Which::projection || which == Which::projection_back) {
    const bool back = which == Which::projection_back;
    return backend::pack_matrix(Device::cpu, dtype_of<T>::value, !back, back ? columns : layer.state_size(),
                                back ? layer.state_size() : columns, w, columns);
  }
  const bool second = which == Which::recurrent_second || which == Which::recurrent_back_second;
  if (second && l.k.stages < 2) return nullptr;
  const bool delayed = which == Which::delay || which == Which::delay_back;  // into the input's slots, in the step
  const bool input = which == Which::input || which == Which::input_back || delayed;
  const int first = input ? l.k.input_first : second ? l.k.second_first : l.k.recurrent_first;
  const int count = input ? l.k.input_count : second ? l.k.second_count : l.k.recurrent_count;
  if (count == 0) return nullptr;
  const std::vector<std::int64_t> map = gate_map(l, first, count);
  const GemmTable<T>& table = gemm_table<T>();
  const std::int64_t gates = static_cast<std::int64_t>(map.size());
  PackSource<T> source;
  source.w = static_cast<const T*>(w);
  source.ld = columns;
  PanelLayout layout;
  if (which == Which::input || which == Which::recurrent || which == Which::recurrent_second || which == Which::delay) {
    layout.K = columns;
    layout.N = gates;
    const bool gaps = input && count < l.k.slots;  // the result's rows hold slots that this product does not fill
    layout.width = !input || gaps || delayed ? count * l.k.block : table.row_vectors * table.lanes;
    layout.stride = gaps ? l.k.slots * l.k.block : layout.width;
    source.trans = true;
    source.column = map.data();
  } else {
    layout.K = gates;
    const bool by_tile = input && !delayed;
    layout.N = by_tile ? (columns + table.lanes - 1) / table.lanes * table.lanes : l.whole_blocks(columns);
    layout.width = layout.stride = by_tile ? table.row_vectors * table.lanes : l.k.backward_width;
    source.row = map.data();
    source.columns = columns;
  }
  return pack<T>(layout, source);
}

template <typename T>
backend::RecurrentKernel kernel_report(const LayerSpec& layer) {
  backend::RecurrentGeometry g;
  g.cell = layer.cell;
  g.H = layer.hidden_size;
  g.P = layer.proj_size;
  g.options = layer.options;
  const Layout<T> l(g);
  backend::RecurrentKernel k;
  const Kernel kernel = kernel_of(layer.cell, layer.options);
  const bool plain = static_cast<int>(kernel) < kPlainKernels || is_plain(layer.options);
  k.name = std::string(name_of(layer.cell)) + (plain ? "" : " with options");
  if (layer.options.layer_norm) k.name += ", normalised rows";
  if (l.projected) k.name += ", projected";
  if (!layer.options.group_periods.empty()) k.name += ", clockwork groups";
  k.units = l.units;
  k.projected = l.projected ? l.state_units : 0;
  k.input_slots = l.k.input_count;
  k.recurrent_slots = l.k.recurrent_count + l.k.second_count;
  k.activations = static_cast<int>(gates_of(layer)) + (l.k.cell ? 1 : 0);
  k.saved = l.k.slots + (l.k.cell ? 1 : 0) + (l.k.stages == 2 ? 1 : 0) + (l.projected ? 1 : 0);
  if (layer.options.layer_norm && l.k.slots > 1) k.saved += l.k.recurrent_count + l.k.second_count;
  return k;
}

}  // namespace
}  // namespace rnncore::cpu

namespace rnncore::backend {

RecurrentKernel recurrent_kernel(Device, const LayerSpec& layer, DType dtype) {
  return dtype == DType::float64 ? cpu::kernel_report<double>(layer) : cpu::kernel_report<float>(layer);
}

std::int64_t recurrent_parts(Device, const RecurrentGeometry& g) {
  return g.dtype == DType::float64 ? cpu::parts_of<double>(g) : cpu::parts_of<float>(g);
}

RecurrentSizes recurrent_sizes(Device, const RecurrentGeometry& g) {
  return g.dtype == DType::float64 ? cpu::sizes_of<double>(g) : cpu::sizes_of<float>(g);
}

PackedPtr pack_recurrent(Device, RecurrentPack layout, const LayerSpec& layer, DType dtype, std::int64_t columns,
                         const void* w) {
  return dtype == DType::float64 ? cpu::pack_of<double>(layout, layer, columns, w)
                                 : cpu::pack_of<float>(layout, layer, columns, w);
}

void recurrent_forward(Device, const RecurrentForward& f) {
  if (f.geometry.dtype == DType::float64)
    cpu::Forward<double>(f).run();
  else
    cpu::Forward<float>(f).run();
}

}  // namespace rnncore::backend
