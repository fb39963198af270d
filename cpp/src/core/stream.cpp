// Stream: the training step kernel, one step at a time, over buffers that were allocated at construction.
#include <cstring>

#include "core/recurrent_layer.h"

namespace rnncore {

struct Stream::Impl {
  struct Layer {
    backend::RecurrentForward call;
    LayerParameters parameters;  // own copies: biases are read at each step
    std::vector<Tensor> buffers;
    Tensor h, c, h_next, c_next, y;
    Tensor past;  // a ring: call.past_first says where it begins
  };
  RecurrentSpec spec;
  std::int64_t batch = 0;
  DType dtype = DType::float32;
  std::vector<Layer> layers;

  void add_layer(std::int64_t index, const LayerParameters& given) {
    Layer layer;
    layer.parameters = given;
    for (Tensor* t : layer.parameters.all())
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
    g.delays = kind.delays;
    layer.call.threads = 1;
    layer.call.weights = forward_weights(kind, layer.parameters);
    const backend::RecurrentSizes s = backend::recurrent_sizes(Device::cpu, g);
    const auto make = [&](std::int64_t size) -> void* {
      if (size == 0) return nullptr;
      layer.buffers.push_back(Tensor::empty({size}, dtype));
      return layer.buffers.back().mutable_raw();
    };
    layer.call.buffers.gates = make(s.gates);
    layer.call.buffers.c = make(s.c);
    layer.call.buffers.states = make(s.states);
    layer.call.buffers.p = make(s.p);
    layer.call.buffers.bias = make(s.bias);
    layer.call.buffers.unit = make(s.unit);
    layer.call.buffers.delayed = make(s.delayed);
    if (s.ages > 0) {
      layer.buffers.push_back(Tensor::empty({s.ages}, DType::int64));
      layer.call.buffers.ages = layer.buffers.back().mutable_data<std::int64_t>();
      layer.past = Tensor::zeros({g.past_steps(), batch, g.H}, dtype);
      layer.call.past = layer.past.raw();
    }
    layer.h = Tensor::zeros({batch, g.H}, dtype);
    layer.h_next = Tensor::zeros({batch, g.H}, dtype);
    layer.y = Tensor::zeros({batch, g.H}, dtype);
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
    const std::int64_t bytes = batch * layer.call.geometry.H * size_of(dtype);
    char* const to = static_cast<char*>(out.mutable_raw());
    for (std::int64_t i = 0; i < layer.call.geometry.past_steps(); ++i)
      std::memcpy(to + i * bytes, past_slot(layer.call, i), static_cast<std::size_t>(bytes));
    return out;
  }

  void step(const void* in, void* out) noexcept {
    const void* x = in;
    for (Layer& layer : layers) {
      backend::RecurrentForward& call = layer.call;
      call.x = x;
      backend::recurrent_forward(Device::cpu, call);
      call.bias_ready = true;
      // The state just made becomes the state entering the next step.
      const std::size_t bytes = static_cast<std::size_t>(batch * call.geometry.H * size_of(dtype));
      if (call.past) {  // h_{t-1} takes the place of the oldest
        const std::int64_t steps = call.geometry.past_steps();
        call.past_first = (call.past_first + steps - 1) % steps;
        std::memcpy(past_slot(call, 0), call.h0, bytes);
      }
      std::memcpy(const_cast<void*>(call.h0), call.h_n, bytes);
      if (call.c_n) std::memcpy(const_cast<void*>(call.c0), call.c_n, bytes);
      x = call.y;
    }
    std::memcpy(out, x, static_cast<std::size_t>(batch * spec.layers.back().hidden_size * size_of(dtype)));
  }

  // Number `i` of the ring, the latest first.
  void* past_slot(const backend::RecurrentForward& call, std::int64_t i) const noexcept {
    const std::int64_t slot = (call.past_first + i) % call.geometry.past_steps();
    return static_cast<char*>(const_cast<void*>(call.past)) + slot * batch * call.geometry.H * size_of(dtype);
  }

  // f(bytes, size) for everything that the next step depends on, in an order that the steps before do not change.
  template <typename F>
  void each_state(const F& f) const noexcept {
    for (const Layer& layer : layers) {
      const auto size = static_cast<std::size_t>(batch * layer.call.geometry.H * size_of(dtype));
      for (const void* state : {layer.call.h0, layer.call.c0})
        if (state) f(static_cast<unsigned char*>(const_cast<void*>(state)), size);
      for (std::int64_t i = 0; i < layer.call.geometry.past_steps(); ++i)
        f(static_cast<unsigned char*>(past_slot(layer.call, i)), size);
    }
  }

  void clear(std::int64_t first, std::int64_t count) noexcept {
    for (Layer& layer : layers) {
      const std::int64_t row = layer.call.geometry.H * size_of(dtype);
      for (const void* state : {layer.call.h0, layer.call.c0})
        if (state)
          std::memset(static_cast<char*>(const_cast<void*>(state)) + first * row, 0,
                      static_cast<std::size_t>(count * row));
      for (std::int64_t i = 0; i < layer.call.geometry.past_steps(); ++i)
        std::memset(static_cast<char*>(past_slot(layer.call, i)) + first * row, 0,
                    static_cast<std::size_t>(count * row));
    }
  }
};

Stream::Stream(const RecurrentSpec& spec, const std::vector<Tensor>& parameters, std::int64_t batch)
    : impl_(std::make_unique<Impl>()) {
  check_parameters("Stream", spec, parameters);
  if (spec.bidirectional)
    throw_argument("Stream", "bidirectional", "false", "true", "a stream cannot see the steps that are still to come");
  if (batch < 1) throw_argument("Stream", "batch", "at least 1", std::to_string(batch));
  impl_->spec = spec;
  impl_->batch = batch;
  impl_->dtype = parameters[0].dtype();
  const StackParameters stack = split_parameters(spec, parameters);
  for (std::size_t i = 0; i < spec.layers.size(); ++i) impl_->add_layer(static_cast<std::int64_t>(i), stack.layers[i]);
}

Stream::~Stream() = default;
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;

std::int64_t Stream::batch() const { return impl_->batch; }
DType Stream::dtype() const { return impl_->dtype; }
void Stream::step(const float* in, float* out) noexcept { impl_->step(in, out); }
void Stream::step(const double* in, double* out) noexcept { impl_->step(in, out); }
void Stream::reset() noexcept { impl_->clear(0, impl_->batch); }
void Stream::reset(std::int64_t stream) noexcept {
  if (stream >= 0 && stream < impl_->batch) impl_->clear(stream, 1);
}

RecurrentState Stream::state() const {
  RecurrentState state;
  for (const Impl::Layer& layer : impl_->layers) {
    state.h.push_back(layer.h.clone());
    if (impl_->spec.has_cell_state()) state.c.push_back(layer.c.defined() ? layer.c.clone() : Tensor());
    if (impl_->spec.has_delays()) state.past.push_back(layer.past.defined() ? impl_->copy_past(layer) : Tensor());
  }
  return state;
}

void Stream::set_state(const RecurrentState& state) {
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
  for (std::size_t i = 0; i < impl_->layers.size(); ++i) {
    impl_->layers[i].h.copy_(state.h[i]);
    if (impl_->layers[i].c.defined()) impl_->layers[i].c.copy_(state.c[i]);
    if (!impl_->layers[i].past.defined()) continue;
    impl_->layers[i].past.copy_(state.past[i]);
    impl_->layers[i].call.past_first = 0;
  }
}

std::size_t Stream::state_bytes() const noexcept {
  std::size_t total = 0;
  impl_->each_state([&](const unsigned char*, std::size_t size) { total += size; });
  return total;
}

void Stream::save_state(void* out) const noexcept {
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
}

}  // namespace rnncore
