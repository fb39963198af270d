// Stream: the training step kernel, one step at a time, over buffers that were allocated at construction. A plain chain
// of layers with a batch of one is stepped by the backend as a whole (RowStack); else layer by layer, each as a
// sequence of one step.
#include <cstring>

#include "core/stream_wiring.h"
#include "core/time_scales.h"

namespace rnncore {

struct Stream::Impl {
  struct Layer {
    backend::RecurrentForward call;
    LayerParameters parameters;  // own copies of what is read at each step and at resets; weights are packed
    std::vector<Tensor> buffers;
    Tensor h, c, h_next, c_next, y;
    Tensor past;  // a ring: call.past_first says where it begins
    std::int64_t period = 1;
    Tensor running;  // (N, H): which units run at this step (clockwork groups), or undefined
  };
  RecurrentSpec spec;
  std::int64_t batch = 0;
  DType dtype = DType::float32;
  std::vector<Layer> layers;
  std::unique_ptr<StreamWiring> wiring;  // where layers are more than a chain
  Tensor clock;                          // int64 (N): steps since each stream began; where layers have periods
  Tensor embedding, looked_up;           // of token inputs
  void* looked_up_data = nullptr;
  std::unique_ptr<backend::RowStack> rows;  // then the layers' states are copies, up to date after pull()

  // Where the backend serves every layer so.
  void add_rows(const StackParameters& stack) {
    if (batch != 1 || spec.connection != Connection::none || spec.has_periods()) return;
    std::vector<backend::RowStack::Layer> wanted;
    for (std::size_t i = 0; i < spec.layers.size(); ++i) {
      if (!backend::row_stack_serves(Device::cpu, dtype, spec.layers[i])) return;
      wanted.push_back(row_layer(spec.layers[i], stack.layers[i]));
    }
    rows = backend::make_row_stack(Device::cpu, dtype, wanted);
  }
  void pull() const noexcept {
    for (std::size_t i = 0; rows && i < layers.size(); ++i)
      rows->get_state(i, const_cast<void*>(layers[i].call.h0), const_cast<void*>(layers[i].call.c0));
  }
  void push() const noexcept {
    for (std::size_t i = 0; rows && i < layers.size(); ++i) rows->set_state(i, layers[i].call.h0, layers[i].call.c0);
  }

  // The working memory of a step, for the number of threads that it may use.
  void allocate(Layer& layer) const {
    backend::RecurrentForward& call = layer.call;
    call.geometry.parts = call.threads == 1 ? 1 : backend::recurrent_parts(Device::cpu, call.geometry);
    call.bias_ready = call.table_ready = false;
    const backend::RecurrentSizes s = backend::recurrent_sizes(Device::cpu, call.geometry);
    layer.buffers.clear();
    const auto make = [&](std::int64_t size, DType type) -> void* {
      if (size == 0) return nullptr;
      layer.buffers.push_back(Tensor::empty({size}, type));
      return layer.buffers.back().mutable_raw();
    };
    call.buffers.gates = make(s.gates, dtype);
    call.buffers.c = make(s.c, dtype);
    call.buffers.states = make(s.states, dtype);
    call.buffers.p = make(s.p, dtype);
    call.buffers.bias = make(s.bias, dtype);
    call.buffers.unit = make(s.unit, dtype);
    call.buffers.norm = make(s.norm, dtype);
    call.buffers.projected = make(s.projected, dtype);
    call.buffers.delayed = make(s.delayed, dtype);
    call.buffers.table = make(s.table, dtype);
    call.buffers.ages = static_cast<std::int64_t*>(make(s.ages, DType::int64));
  }
  void use_threads(bool on) {
    if (rows) return rows->use_threads(on);
    for (Layer& layer : layers) {
      layer.call.threads = on ? 0 : 1;
      allocate(layer);
    }
  }

  void add_layer(std::int64_t index, const LayerParameters& given) {
    Layer layer;
    layer.parameters = given;
    LayerParameters& p = layer.parameters;
    for (Tensor* t :
         {&p.bias_ih, &p.bias_hh, &p.unit, &p.norm_ih, &p.norm_hh, &p.norm_c, &p.norm_bias_c, &p.h_0, &p.c_0})
      if (t->defined()) *t = t->detach().clone();
    const LayerSpec& kind = spec.layers[static_cast<std::size_t>(index)];
    backend::RecurrentGeometry& g = layer.call.geometry;
    g.cell = kind.cell;
    g.options = kind.options;
    g.dtype = dtype;
    g.T = 1;
    g.N = batch;
    g.I = spec.layer_input_size(index);
    g.H = kind.hidden_size;
    g.P = kind.proj_size;
    g.delays = kind.delays;
    layer.period = kind.period;
    if (!kind.options.group_periods.empty()) {
      layer.running = Tensor::zeros({batch, g.H}, dtype);
      layer.call.masks.zone_h = layer.call.masks.zone_c = layer.running.raw();
    }
    layer.call.threads = 1;
    if (!rows) {
      layer.call.weights = forward_weights(kind, p);
      allocate(layer);
    }
    p.weight_ih = p.weight_hh = p.weight_hr = Tensor();
    p.weight_delay.clear();
    if (const std::int64_t steps = g.past_steps()) {
      layer.past = Tensor::zeros({steps, batch, g.R()}, dtype);
      layer.call.past = layer.past.raw();
    }
    layer.h = Tensor::zeros({batch, g.R()}, dtype);
    layer.h_next = Tensor::zeros({batch, g.R()}, dtype);
    layer.y = Tensor::zeros({batch, g.R()}, dtype);
    layer.call.h0 = layer.h.raw();
    layer.call.h_n = layer.h_next.mutable_raw();
    layer.call.y = layer.y.mutable_raw();
    if (states_of(kind.cell) == 2) {
      layer.c = Tensor::zeros({batch, g.H}, dtype);
      layer.c_next = Tensor::zeros({batch, g.H}, dtype);
      layer.call.c0 = layer.c.raw();
      layer.call.c_n = layer.c_next.mutable_raw();
    }
    layers.push_back(std::move(layer));
  }

  // The ring in order.
  Tensor copy_past(const Layer& layer) const {
    Tensor out = Tensor::empty(layer.past.shape(), dtype);
    const std::int64_t bytes = batch * h_bytes(layer.call);
    char* const to = static_cast<char*>(out.mutable_raw());
    for (std::int64_t i = 0; i < layer.call.geometry.past_steps(); ++i)
      std::memcpy(to + i * bytes, past_slot(layer.call, i), static_cast<std::size_t>(bytes));
    return out;
  }

  void set_embedding(const Tensor& given) {
    embedding = given.detach().clone();
    if (rows) return rows->set_embedding(given.size(0), embedding.raw());
    backend::RecurrentForward& first = layers.front().call;
    // A table of all tokens costs as much as V / N steps without one; the lowest layer alone must read the input then.
    constexpr std::int64_t kStepsToRepay = 16;
    const bool tabled = given.size(0) <= kStepsToRepay * batch && !wiring && layers.front().period == 1;
    first.geometry.V = tabled ? given.size(0) : 0;
    allocate(layers.front());
    looked_up = Tensor::empty({batch, spec.input_size}, dtype);
    looked_up_data = looked_up.mutable_raw();
  }

  void step(const std::int64_t* ids, void* out) noexcept {
    if (rows) return rows->step_token(*ids, out);
    backend::RecurrentForward& first = layers.front().call;
    if (first.geometry.V == 0) {
      const std::size_t bytes = static_cast<std::size_t>(spec.input_size * size_of(dtype));
      for (std::int64_t n = 0; n < batch; ++n)
        std::memcpy(static_cast<char*>(looked_up_data) + static_cast<std::size_t>(n) * bytes,
                    static_cast<const char*>(embedding.raw()) + static_cast<std::size_t>(ids[n]) * bytes, bytes);
      return step(static_cast<const void*>(looked_up_data), out);
    }
    first.tokens = {ids, embedding.raw()};
    step(static_cast<const void*>(nullptr), out);
    first.tokens = {};
    first.table_ready = true;
  }

  void step(const void* in, void* out) noexcept {
    if (rows) return rows->step(in, out);
    const void* y = nullptr;
    for (std::size_t k = 0; k < layers.size(); ++k) {
      const void* const below = y;
      const void* const x = wiring ? wiring->input_of(k, in, below) : k == 0 ? in : below;
      y = layers[k].period > 1 ? step_at_period(layers[k], x) : step_layer(layers[k], x);
      if (wiring) y = wiring->joined(k, below, y);
    }
    std::memcpy(out, y, static_cast<std::size_t>(batch * spec.output_size() * size_of(dtype)));
    if (!clock.defined()) return;
    auto* const steps = static_cast<std::int64_t*>(const_cast<void*>(clock.raw()));
    for (std::int64_t n = 0; n < batch; ++n) ++steps[n];
  }

  void wind(const Layer& layer) noexcept {
    const backend::RecurrentGeometry& g = layer.call.geometry;
    for (std::int64_t n = 0; n < batch; ++n) {
      const std::int64_t now = clock.data<std::int64_t>()[n];
      void* const rows = const_cast<void*>(layer.running.raw());
      if (dtype == DType::float64)
        fill_running(g.options.group_periods, g.H, now, static_cast<double*>(rows) + n * g.H);
      else
        fill_running(g.options.group_periods, g.H, now, static_cast<float*>(rows) + n * g.H);
    }
  }

  const void* step_layer(Layer& layer, const void* x) noexcept {
    backend::RecurrentForward& call = layer.call;
    if (layer.running.defined()) wind(layer);
    call.x = x;
    backend::recurrent_forward(Device::cpu, call);
    call.bias_ready = true;
    // The state just made becomes the state entering the next step.
    const auto bytes = static_cast<std::size_t>(batch * h_bytes(call));
    if (call.past) {  // h_{t-1} takes the place of the oldest
      const std::int64_t steps = call.geometry.past_steps();
      call.past_first = (call.past_first + steps - 1) % steps;
      std::memcpy(past_slot(call, 0), call.h0, bytes);
    }
    std::memcpy(const_cast<void*>(call.h0), call.h_n, bytes);
    if (call.c_n) std::memcpy(const_cast<void*>(call.c0), call.c_n, static_cast<std::size_t>(batch * c_bytes(call)));
    return call.y;
  }

  // Streams whose turn it is take the step; the others keep their state, whose h is the output they hold.
  const void* step_at_period(Layer& layer, const void* x) noexcept {
    backend::RecurrentForward& call = layer.call;
    const auto runs = [&](std::int64_t n) { return clock.data<std::int64_t>()[n] % layer.period == 0; };
    bool any = false;
    for (std::int64_t n = 0; n < batch; ++n) any = any || runs(n);
    if (any) {
      call.x = x;
      backend::recurrent_forward(Device::cpu, call);
      call.bias_ready = true;
    }
    const std::int64_t steps = call.geometry.past_steps();
    const auto move = [&](const void* to, const void* from, std::int64_t n, std::int64_t row) {
      std::memcpy(static_cast<char*>(const_cast<void*>(to)) + n * row, static_cast<const char*>(from) + n * row,
                  static_cast<std::size_t>(row));
    };
    for (std::int64_t n = 0; n < batch; ++n) {
      if (!runs(n)) continue;
      for (std::int64_t i = steps - 1; i >= 0; --i)  // each stream at its own pace: moved along, no ring
        move(past_slot(call, i), i > 0 ? past_slot(call, i - 1) : call.h0, n, h_bytes(call));
      move(call.h0, call.h_n, n, h_bytes(call));
      if (call.c_n) move(call.c0, call.c_n, n, c_bytes(call));
    }
    return call.h0;
  }

  // One row of h (and of the past), and of c.
  std::int64_t h_bytes(const backend::RecurrentForward& call) const noexcept {
    return call.geometry.R() * size_of(dtype);
  }
  std::int64_t c_bytes(const backend::RecurrentForward& call) const noexcept {
    return call.geometry.H * size_of(dtype);
  }

  // Number `i` of the ring, the latest first.
  void* past_slot(const backend::RecurrentForward& call, std::int64_t i) const noexcept {
    const std::int64_t slot = (call.past_first + i) % call.geometry.past_steps();
    return static_cast<char*>(const_cast<void*>(call.past)) + slot * batch * h_bytes(call);
  }

  // f(bytes, size) for everything that the next step depends on, in an order that the steps before do not change.
  template <typename F>
  void each_state(const F& f) const noexcept {
    for (const Layer& layer : layers) {
      const auto size = static_cast<std::size_t>(batch * h_bytes(layer.call));
      f(static_cast<unsigned char*>(const_cast<void*>(layer.call.h0)), size);
      if (layer.call.c0)
        f(static_cast<unsigned char*>(const_cast<void*>(layer.call.c0)),
          static_cast<std::size_t>(batch * c_bytes(layer.call)));
      for (std::int64_t i = 0; i < layer.call.geometry.past_steps(); ++i)
        f(static_cast<unsigned char*>(past_slot(layer.call, i)), size);
    }
    if (clock.defined())
      f(static_cast<unsigned char*>(const_cast<void*>(clock.raw())),
        static_cast<std::size_t>(batch) * sizeof(std::int64_t));
  }

  void clear(std::int64_t first, std::int64_t count) noexcept {
    if (clock.defined())
      std::memset(static_cast<std::int64_t*>(const_cast<void*>(clock.raw())) + first, 0,
                  static_cast<std::size_t>(count) * sizeof(std::int64_t));
    for (Layer& layer : layers) {
      const auto start = [&](const void* state, const Tensor& learnt, std::int64_t row) {
        if (!state) return;
        char* const rows = static_cast<char*>(const_cast<void*>(state)) + first * row;
        for (std::int64_t n = 0; n < count; ++n)
          if (learnt.defined())
            std::memcpy(rows + n * row, learnt.raw(), static_cast<std::size_t>(row));
          else
            std::memset(rows + n * row, 0, static_cast<std::size_t>(row));
      };
      const std::int64_t row = h_bytes(layer.call);
      start(layer.call.h0, layer.parameters.h_0, row);
      start(layer.call.c0, layer.parameters.c_0, c_bytes(layer.call));
      for (std::int64_t i = 0; i < layer.call.geometry.past_steps(); ++i)
        std::memset(static_cast<char*>(past_slot(layer.call, i)) + first * row, 0,
                    static_cast<std::size_t>(count * row));
    }
    push();
  }
};

Stream::Stream(const RecurrentSpec& spec, const std::vector<Tensor>& parameters, std::int64_t batch)
    : impl_(std::make_unique<Impl>()) {
  check_parameters("Stream", spec, parameters);
  if (spec.bidirectional)
    throw_argument("Stream", "bidirectional", "false", "true", "a stream cannot see the steps that are still to come");
  if (spec.reverse)
    throw_argument("Stream", "reverse", "false", "true", "a stream cannot begin with the steps that are still to come");
  if (batch < 1) throw_argument("Stream", "batch", "at least 1", std::to_string(batch));
  impl_->spec = spec;
  impl_->batch = batch;
  impl_->dtype = parameters[0].dtype();
  const StackParameters stack = split_parameters(spec, parameters);
  impl_->add_rows(stack);
  for (std::size_t i = 0; i < spec.layers.size(); ++i) impl_->add_layer(static_cast<std::int64_t>(i), stack.layers[i]);
  if (spec.connection != Connection::none)
    impl_->wiring = std::make_unique<StreamWiring>(spec, stack, batch, impl_->dtype);
  if (spec.has_periods()) impl_->clock = Tensor::zeros({batch}, DType::int64);
  impl_->clear(0, batch);
}

Stream::~Stream() = default;
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;

std::int64_t Stream::batch() const { return impl_->batch; }
DType Stream::dtype() const { return impl_->dtype; }
void Stream::step(const float* in, float* out) noexcept { impl_->step(in, out); }
void Stream::step(const double* in, double* out) noexcept { impl_->step(in, out); }
void Stream::step(const std::int64_t* ids, float* out) noexcept { impl_->step(ids, out); }
void Stream::step(const std::int64_t* ids, double* out) noexcept { impl_->step(ids, out); }
void Stream::set_embedding(const Tensor& embedding) {
  const std::int64_t I = impl_->spec.input_size;
  if (!embedding.defined() || embedding.dim() != 2 || embedding.size(0) < 1 || embedding.size(1) != I)
    throw_argument("Stream::set_embedding", "embedding", "shape (V, I) = (V, " + std::to_string(I) + ") with V >= 1",
                   embedding.defined() ? to_string(embedding.shape()) : "none");
  if (embedding.dtype() != impl_->dtype)
    throw_type("Stream::set_embedding", "embedding", name_of(impl_->dtype), name_of(embedding.dtype()));
  impl_->set_embedding(embedding);
}
void Stream::use_threads(bool on) { impl_->use_threads(on); }
void Stream::reset() noexcept { impl_->clear(0, impl_->batch); }
void Stream::reset(std::int64_t stream) noexcept {
  if (stream >= 0 && stream < impl_->batch) impl_->clear(stream, 1);
}

RecurrentState Stream::state() const {
  impl_->pull();
  RecurrentState state;
  for (const Impl::Layer& layer : impl_->layers) {
    state.h.push_back(layer.h.clone());
    if (impl_->spec.has_cell_state()) state.c.push_back(layer.c.defined() ? layer.c.clone() : Tensor());
    if (impl_->spec.has_delays()) state.past.push_back(layer.past.defined() ? impl_->copy_past(layer) : Tensor());
  }
  if (impl_->clock.defined()) state.clock = impl_->clock.clone();
  return state;
}

void Stream::set_state(const RecurrentState& state) {
  const NoGradGuard guard;
  const auto check = [&](const std::vector<Tensor>& given, const char* name, Tensor Impl::Layer::* own, bool wanted) {
    if (given.size() != (wanted ? impl_->layers.size() : 0))
      throw_argument("Stream::set_state", name, std::to_string(wanted ? impl_->layers.size() : 0) + " tensors",
                     std::to_string(given.size()));
    for (std::size_t i = 0; i < given.size(); ++i) {
      const Tensor& mine = impl_->layers[i].*own;
      const auto shown = [](const Tensor& t) {
        return t.defined() ? to_string(t.shape()) + " " + name_of(t.dtype()) : "none";
      };
      if (given[i].defined() != mine.defined() ||
          (mine.defined() && (given[i].shape() != mine.shape() || given[i].dtype() != mine.dtype())))
        throw_argument("Stream::set_state", std::string(name) + "[" + std::to_string(i) + "]", shown(mine),
                       shown(given[i]));
    }
  };
  check(state.h, "h", &Impl::Layer::h, true);
  check(state.c, "c", &Impl::Layer::c, impl_->spec.has_cell_state());
  check(state.past, "past", &Impl::Layer::past, impl_->spec.has_delays());
  if (state.clock.defined() != impl_->clock.defined() ||
      (state.clock.defined() && (state.clock.shape() != impl_->clock.shape() || state.clock.dtype() != DType::int64)))
    throw_argument(
        "Stream::set_state", "clock", impl_->clock.defined() ? "int64 (N,)" : "none",
        state.clock.defined() ? to_string(state.clock.shape()) + " " + name_of(state.clock.dtype()) : "none");
  if (state.clock.defined()) impl_->clock.copy_(state.clock);
  for (std::size_t i = 0; i < impl_->layers.size(); ++i) {
    impl_->layers[i].h.copy_(state.h[i]);
    if (impl_->layers[i].c.defined()) impl_->layers[i].c.copy_(state.c[i]);
    if (!impl_->layers[i].past.defined()) continue;
    impl_->layers[i].past.copy_(state.past[i]);
    impl_->layers[i].call.past_first = 0;
  }
  impl_->push();
}

std::size_t Stream::state_bytes() const noexcept {
  std::size_t total = 0;
  impl_->each_state([&](const unsigned char*, std::size_t size) { total += size; });
  return total;
}

void Stream::save_state(void* out) const noexcept {
  impl_->pull();
  auto* to = static_cast<unsigned char*>(out);
  impl_->each_state([&](const unsigned char* state, std::size_t size) {
    std::memcpy(to, state, size);
    to += size;
  });
}

void Stream::restore_state(const void* in) noexcept {
  const auto* from = static_cast<const unsigned char*>(in);
  impl_->each_state([&](unsigned char* state, std::size_t size) {
    std::memcpy(state, from, size);
    from += size;
  });
  impl_->push();
}

// Every part of the state has one row for each stream.
void Stream::save_state(std::int64_t stream, void* out) const noexcept {
  if (stream < 0 || stream >= impl_->batch) return;
  impl_->pull();
  auto* to = static_cast<unsigned char*>(out);
  impl_->each_state([&](const unsigned char* state, std::size_t size) {
    const std::size_t row = size / static_cast<std::size_t>(impl_->batch);
    std::memcpy(to, state + static_cast<std::size_t>(stream) * row, row);
    to += row;
  });
}

void Stream::restore_state(std::int64_t stream, const void* in) noexcept {
  if (stream < 0 || stream >= impl_->batch) return;
  impl_->pull();
  const auto* from = static_cast<const unsigned char*>(in);
  impl_->each_state([&](unsigned char* state, std::size_t size) {
    const std::size_t row = size / static_cast<std::size_t>(impl_->batch);
    std::memcpy(state + static_cast<std::size_t>(stream) * row, from, row);
    from += row;
  });
  impl_->push();
}

}  // namespace rnncore
