#include "core/recurrent_layer.h"

#include <algorithm>

#include "rnncore/ops.hpp"

namespace rnncore {
namespace {

bool of_state(backend::RecurrentPack layout) {
  return layout != backend::RecurrentPack::input && layout != backend::RecurrentPack::input_back;
}

// Clockwork groups: zeros in a weight of states (G*H, H), or in its gradient, where a group would see a faster one.
template <typename T>
void drop_faster_groups(const LayerSpec& layer, T* w, std::int64_t rows) {
  const std::int64_t H = layer.hidden_size, size = H / static_cast<std::int64_t>(layer.options.group_periods.size());
  for (std::int64_t row = 0; row < rows; ++row) std::fill_n(w + row * H, row % H / size * size, T(0));
}
void drop_faster_groups(const LayerSpec& layer, Tensor w) {
  if (w.dtype() == DType::float64)
    drop_faster_groups(layer, w.mutable_data<double>(), w.size(0));
  else
    drop_faster_groups(layer, w.mutable_data<float>(), w.size(0));
}

// A storage belongs to one weight in practice; the key tells slices and uses with other sizes apart all the same.
std::uint64_t pack_key(backend::RecurrentPack layout, const LayerSpec& layer, const Tensor& w) {
  std::uint64_t key = 1 + static_cast<std::uint64_t>(layout) + 16 * static_cast<std::uint64_t>(layer.cell);
  for (const std::int64_t part :
       {layer.hidden_size, w.size(0), w.size(1), w.impl()->offset, static_cast<std::int64_t>(w.dtype()),
        static_cast<std::int64_t>(layer.options.group_periods.size())})
    key = (key ^ static_cast<std::uint64_t>(part)) * 0x9E3779B97F4A7C15ull + (key >> 29);
  return key;
}

// One packed copy, cached on the weight's storage.
backend::PackedPtr packed(backend::RecurrentPack layout, const LayerSpec& layer, const Tensor& w) {
  const Device device = w.device();
  return w.impl()->storage->packed(pack_key(layout, layer, w), backend::pack_epoch(device), [&] {
    if (of_state(layout) && !layer.options.group_periods.empty()) {
      const Tensor seen = w.detach().clone();
      drop_faster_groups(layer, seen);
      return backend::pack_recurrent(device, layout, layer, w.dtype(), w.size(1), seen.raw());
    }
    return backend::pack_recurrent(device, layout, layer, w.dtype(), w.size(1), w.raw());
  });
}

const void* raw_or_null(const Tensor& t) { return t.defined() ? t.raw() : nullptr; }
void* mutable_or_null(Tensor& t) { return t.defined() ? t.mutable_raw() : nullptr; }

// The tensors behind backend::RecurrentBuffers; they live until backward has run.
struct Workspace {
  Tensor gates, c, states, p, bias, unit, flags, table, delayed, c_reset, entering, norm, projected, ages, past_source;
  backend::RecurrentBuffers buffers;

  explicit Workspace(Device device, const backend::RecurrentGeometry& g) {
    const backend::RecurrentSizes s = backend::recurrent_sizes(device, g);
    const auto make = [&](Tensor& t, std::int64_t size, DType dtype) -> void* {
      if (size == 0) return nullptr;
      t = Tensor::empty({size}, dtype);
      return t.mutable_raw();
    };
    buffers.gates = make(gates, s.gates, g.dtype);
    buffers.c = make(c, s.c, g.dtype);
    buffers.states = make(states, s.states, g.dtype);
    buffers.p = make(p, s.p, g.dtype);
    buffers.bias = make(bias, s.bias, g.dtype);
    buffers.unit = make(unit, s.unit, g.dtype);
    buffers.table = make(table, s.table, g.dtype);
    buffers.delayed = make(delayed, s.delayed, g.dtype);
    buffers.norm = make(norm, s.norm, g.dtype);
    buffers.projected = make(projected, s.projected, g.dtype);
    buffers.entering = make(entering, s.entering, g.dtype);
    buffers.c_reset = make(c_reset, s.c_reset, g.dtype);
    buffers.past_source = static_cast<std::int64_t*>(make(past_source, s.past_source, DType::int64));
    buffers.ages = static_cast<std::int64_t*>(make(ages, s.ages, DType::int64));
    buffers.flags = static_cast<std::uint8_t*>(make(flags, s.flags, DType::uint8));
  }
};

// The node's inputs: these, then the parameters as LayerParameters::all() has them. x is the embedding where there are
// ids.
enum Input : std::size_t { kX, kH0, kC0, kPast, kHReset, kCReset, kParameters };
enum Output : std::size_t { kY, kH, kOthers };  // then c and past, where there are any

// One mask each, as `dropout` draws them: 0, or 1 / (1 - p).
struct Masks {
  Tensor zone_h, zone_c, drop;
  backend::Masks raw() const { return {raw_or_null(zone_h), raw_or_null(zone_c), raw_or_null(drop)}; }
};
Masks draw_masks(const CellOptions& options, const backend::RecurrentGeometry& g, Generator* generator) {
  Masks masks;
  if (generator == nullptr) return masks;
  const NoGradGuard guard;
  const auto draw = [&](double p, const Shape& shape) {
    return p > 0.0 ? dropout(Tensor::full(shape, 1.0, g.dtype), p, true, *generator) : Tensor();
  };
  masks.zone_h = draw(options.zoneout_h, {g.T, g.N, g.R()});
  masks.zone_c = draw(options.zoneout_c, {g.T, g.N, g.H});
  masks.drop = draw(options.state_dropout, {g.N, g.R()});
  return masks;
}

// What backward needs from forward.
struct Kept {
  backend::RecurrentGeometry geometry;
  std::uint64_t epoch = 0;  // of the instruction set, which decides the workspace's layout
  std::shared_ptr<Workspace> workspace;
  std::vector<Saved> inputs;
  std::vector<bool> wanted;  // gradients of the inputs
  Saved ids, y;
  bool has_c = false;
  Masks masks;
};

// The gradient of the past that the layer left behind goes where its rows were copied from: steps of y, or the states
// given. `grads` is by Input.
template <typename T>
void spread_past(const Workspace& workspace, const backend::RecurrentGeometry& g, const Tensor& dpast_n, T* dy,
                 std::vector<Tensor>* grads) {
  const auto add = [&](T* to, std::int64_t row, const T* from) {
    for (std::int64_t u = 0; u < g.R(); ++u) to[row * g.R() + u] += from[u];
  };
  const auto start = [&](Input input) {
    Tensor& t = (*grads)[input];
    return t.defined() ? t.mutable_data<T>() : nullptr;
  };
  const std::int64_t* const source = workspace.buffers.past_source;
  for (std::int64_t i = 0; i < g.past_steps() * g.N; ++i) {
    const T* const from = dpast_n.data<T>() + i * g.R();
    const std::int64_t n = i % g.N;
    if (dy) {
      if (source[i] >= 0) add(dy, source[i], from);
    } else if (source[i] == backend::kFromReset) {
      if (T* to = start(kHReset)) add(to, n, from);
    } else if (source[i] < backend::kFromStart) {
      const std::int64_t number = backend::kFromStart - source[i];
      if (T* to = start(number == 1 ? kH0 : kPast)) add(to, number == 1 ? n : (number - 2) * g.N + n, from);
    }
  }
}
void spread_past(const Kept& kept, const Tensor& dpast_n, Tensor* dy, std::vector<Tensor>* grads) {
  if (kept.geometry.dtype == DType::float64)
    spread_past<double>(*kept.workspace, kept.geometry, dpast_n, dy ? dy->mutable_data<double>() : nullptr, grads);
  else
    spread_past<float>(*kept.workspace, kept.geometry, dpast_n, dy ? dy->mutable_data<float>() : nullptr, grads);
}

// What a group does not see of faster ones has no gradient.
void drop_faster_gradients(const backend::RecurrentGeometry& g, LayerParameters& p, std::vector<Tensor>& grads) {
  const std::vector<Tensor*> all = p.all();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool of_states = all[i] == &p.weight_hh || (!p.weight_delay.empty() && all[i] >= &p.weight_delay.front() &&
                                                      all[i] <= &p.weight_delay.back());
    if (of_states && grads[kParameters + i].defined())
      drop_faster_groups({g.cell, g.H, g.options}, grads[kParameters + i]);
  }
}

// Gradients of the node's inputs.
std::vector<Tensor> backward(const Kept& kept, const std::vector<Tensor>& dout) {
  const char* const op = name_of(kept.geometry.cell);
  const backend::RecurrentGeometry& g = kept.geometry;
  if (kept.epoch != backend::pack_epoch(Device::cpu))
    throw_argument(std::string(op) + " backward", "target", "the instruction set that the forward pass ran on",
                   "another one", "set_target() was called in between; run the forward computation again");
  const auto saved = [&](std::size_t i) { return kept.inputs[i].defined() ? kept.inputs[i].get(op) : Tensor(); };
  LayerParameters p;
  p.weight_delay.resize(g.delays.size());
  const std::vector<Tensor*> all = p.all();
  for (std::size_t i = 0; i < all.size(); ++i) *all[i] = saved(kParameters + i);
  backend::RecurrentBackward b;
  b.geometry = g;
  b.buffers = kept.workspace->buffers;
  b.masks = kept.masks.raw();
  LayerSpec layer{g.cell, g.H, g.options};
  layer.proj_size = g.P;
  forget_forward_weights(layer, p, g.T * g.N);
  add_backward_weights(layer, p, kept.wanted[kX], b.weights);
  const Tensor x = saved(kX), h0 = saved(kH0);
  b.x = x.raw();
  if (kept.ids.defined()) b.tokens = {kept.ids.get(op).data<std::int64_t>(), x.raw()};
  b.y = kept.y.get(op).raw();
  b.h0 = raw_or_null(h0);
  const Tensor dpast_n = dout.size() > kOthers + kept.has_c ? dout[kOthers + kept.has_c] : Tensor();
  Tensor dy = dout[kY];
  if (dpast_n.defined()) {
    dy = dy.defined() ? dy.detach().clone() : Tensor::zeros({g.T, g.N, g.R()}, g.dtype);
    spread_past(kept, dpast_n, &dy, nullptr);
  }
  b.dy = raw_or_null(dy);
  b.dh_n = raw_or_null(dout[kH]);
  b.dc_n = kept.has_c ? raw_or_null(dout[kOthers]) : nullptr;
  std::vector<Tensor> grads(kept.inputs.size());
  const auto make = [&](std::size_t i, const Shape& shape, bool wanted) -> void* {
    if (!wanted || !kept.inputs[i].defined()) return nullptr;
    grads[i] = Tensor::empty(shape, g.dtype);
    return mutable_or_null(grads[i]);
  };
  b.dx = make(kX, x.shape(), kept.wanted[kX]);
  const auto state = [&](Input i, const Shape& shape) { return make(i, shape, kept.wanted[i]); };
  b.dh0 = state(kH0, {g.N, g.R()});
  b.dc0 = state(kC0, {g.N, g.H});
  b.dpast = state(kPast, {g.past_steps(), g.N, g.R()});
  b.dh_reset = state(kHReset, {g.N, g.R()});
  b.dc_reset = state(kCReset, {g.N, g.H});
  bool parameters = false;
  for (std::size_t i = kParameters; i < kept.wanted.size(); ++i) parameters = parameters || kept.wanted[i];
  std::vector<void*> gradient;
  for (std::size_t i = 0; i < all.size(); ++i)
    gradient.push_back(all[i]->defined() ? make(kParameters + i, all[i]->shape(), parameters) : nullptr);
  b.dw_ih = gradient[0];
  b.dw_hh = gradient[1];
  b.db_ih = gradient[2];
  b.db_hh = gradient[3];
  b.d_unit = gradient[4];
  b.d_norm_ih = gradient[5];
  b.d_norm_hh = gradient[6];
  b.d_norm_c = gradient[7];
  b.d_norm_bias_c = gradient[8];
  b.dw_hr = gradient[9];
  b.dw_delay.assign(gradient.begin() + 10, gradient.end());
  backend::recurrent_backward(x.device(), b);
  if (!g.options.group_periods.empty()) drop_faster_gradients(g, p, grads);
  if (dpast_n.defined()) spread_past(kept, dpast_n, nullptr, &grads);
  return grads;
}

}  // namespace

void check_parameters(const char* operation, const RecurrentSpec& spec, const std::vector<Tensor>& parameters) {
  const std::vector<ParameterInfo> wanted = parameters_of(spec);
  if (parameters.size() != wanted.size())
    throw_argument(operation, "parameters", std::to_string(wanted.size()) + " tensors",
                   std::to_string(parameters.size()));
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const Tensor& t = parameters[i];
    if (!t.defined()) throw_argument(operation, wanted[i].name, "a tensor", "none");
    if (t.shape() != wanted[i].shape) {
      const Shape& s = t.shape();
      const bool swapped = s.size() == 2 && Shape{s[1], s[0]} == wanted[i].shape;
      throw_argument(operation, wanted[i].name, "shape " + to_string(wanted[i].shape), to_string(s),
                     swapped ? "transposed?" : "");
    }
    if (!is_float(t.dtype())) throw_type(operation, wanted[i].name, "float32 or float64", name_of(t.dtype()));
    if (t.dtype() != parameters[0].dtype())
      throw_type(operation, wanted[i].name, name_of(parameters[0].dtype()), name_of(t.dtype()),
                 "all parameters share one dtype");
  }
}

backend::RecurrentWeights forward_weights(const LayerSpec& layer, const LayerParameters& p) {
  backend::RecurrentWeights w;
  w.input = packed(backend::RecurrentPack::input, layer, p.weight_ih);
  if (p.weight_hh.defined()) {
    w.recurrent = packed(backend::RecurrentPack::recurrent, layer, p.weight_hh);
    w.recurrent_second = packed(backend::RecurrentPack::recurrent_second, layer, p.weight_hh);
  }
  for (const Tensor& d : p.weight_delay) w.delay.push_back(packed(backend::RecurrentPack::delay, layer, d));
  if (p.weight_hr.defined()) w.projection = packed(backend::RecurrentPack::projection, layer, p.weight_hr);
  w.bias_ih = raw_or_null(p.bias_ih);
  w.bias_hh = raw_or_null(p.bias_hh);
  w.unit = raw_or_null(p.unit);
  w.norm_ih = raw_or_null(p.norm_ih);
  w.norm_hh = raw_or_null(p.norm_hh);
  w.norm_c = raw_or_null(p.norm_c);
  w.norm_bias_c = raw_or_null(p.norm_bias_c);
  return w;
}

backend::RowStack::Layer row_layer(const LayerSpec& layer, const LayerParameters& p) {
  backend::RowStack::Layer row;
  row.spec = layer;
  row.I = p.weight_ih.size(1);
  row.input = packed(backend::RecurrentPack::delay, layer, p.weight_ih);
  row.recurrent = packed(backend::RecurrentPack::recurrent, layer, p.weight_hh);
  if (p.weight_hr.defined()) row.projection = packed(backend::RecurrentPack::projection, layer, p.weight_hr);
  row.bias_ih = raw_or_null(p.bias_ih);
  row.bias_hh = raw_or_null(p.bias_hh);
  return row;
}

// An update follows backward in all likelihood and makes these copies stale: after many rows, where packing again would
// cost little, their memory is better given back before backward asks for its own.
void forget_forward_weights(const LayerSpec& layer, const LayerParameters& p, std::int64_t rows) {
  constexpr std::int64_t kManyRows = 512;
  if (rows < kManyRows) return;
  using Pack = backend::RecurrentPack;
  const auto forget = [&](Pack layout, const Tensor& w) {
    w.impl()->storage->forget_packed(pack_key(layout, layer, w));
  };
  forget(Pack::input, p.weight_ih);
  if (!p.weight_hh.defined()) return;
  forget(Pack::recurrent, p.weight_hh);
  forget(Pack::recurrent_second, p.weight_hh);
}

void add_backward_weights(const LayerSpec& layer, const LayerParameters& p, bool want_dx,
                          backend::RecurrentWeights& w) {
  if (want_dx) w.input_back = packed(backend::RecurrentPack::input_back, layer, p.weight_ih);
  if (p.weight_hh.defined()) {
    w.recurrent_back = packed(backend::RecurrentPack::recurrent_back, layer, p.weight_hh);
    w.recurrent_back_second = packed(backend::RecurrentPack::recurrent_back_second, layer, p.weight_hh);
  }
  if (p.weight_hr.defined()) w.projection_back = packed(backend::RecurrentPack::projection_back, layer, p.weight_hr);
  for (const Tensor& d : p.weight_delay) w.delay_back.push_back(packed(backend::RecurrentPack::delay_back, layer, d));
}

LayerResult recurrent_layer(const LayerSpec& layer, const LayerParameters& parameters, const LayerInput& in) {
  LayerParameters p = parameters;
  const Tensor& x = in.x;
  const bool tokens = in.ids.defined();
  const bool masked = in.lengths.defined() || in.reset_mask.defined();
  const LayerState reset = in.own_reset && masked ? in.reset : LayerState();
  std::vector<Tensor> inputs = {x, in.start.h, in.start.c, in.start.past, reset.h, reset.c};
  for (const Tensor* t : p.all()) inputs.push_back(*t);
  const bool recorded = should_record(inputs);
  backend::RecurrentForward f;
  backend::RecurrentGeometry& g = f.geometry;
  g.cell = layer.cell;
  g.options = layer.options;
  g.dtype = x.dtype();
  g.T = tokens ? in.ids.size(0) : x.size(0);
  g.N = tokens ? in.ids.size(1) : x.size(1);
  g.I = x.size(-1);
  g.V = tokens ? x.size(0) : 0;
  g.H = layer.hidden_size;
  g.P = layer.proj_size;
  g.reverse = in.reverse;
  g.masked = masked;
  g.training = recorded || in.gates != nullptr;
  g.delays = layer.delays;
  g.own_reset = in.own_reset && masked;
  Masks masks = draw_masks(layer.options, g, in.generator);
  if (in.running.defined()) masks.zone_h = masks.zone_c = in.running;
  g.dropped = masks.drop.defined();
  g.parts = backend::recurrent_parts(x.device(), g);
  LayerResult out;
  out.y = Tensor::empty({g.T, g.N, g.R()}, g.dtype);
  out.state.h = Tensor::empty({g.N, g.R()}, g.dtype);
  if (states_of(layer.cell) == 2) out.state.c = Tensor::empty({g.N, g.H}, g.dtype);
  if (!g.delays.empty()) out.state.past = Tensor::empty({g.past_steps(), g.N, g.R()}, g.dtype);
  const std::uint64_t epoch = backend::pack_epoch(x.device());
  auto workspace = std::make_shared<Workspace>(x.device(), g);
  f.weights = forward_weights(layer, p);
  f.buffers = workspace->buffers;
  f.masks = masks.raw();
  f.x = x.raw();
  if (tokens) f.tokens = {in.ids.data<std::int64_t>(), x.raw()};
  f.h0 = raw_or_null(in.start.h);
  f.c0 = raw_or_null(in.start.c);
  f.past = raw_or_null(in.start.past);
  f.h_reset = raw_or_null(reset.h);
  f.c_reset = raw_or_null(reset.c);
  f.lengths = in.lengths.defined() ? in.lengths.data<std::int64_t>() : nullptr;
  f.reset = in.reset_mask.defined() ? in.reset_mask.data<std::uint8_t>() : nullptr;
  f.y = out.y.mutable_raw();
  f.h_n = out.state.h.mutable_raw();
  f.c_n = mutable_or_null(out.state.c);
  f.past_n = mutable_or_null(out.state.past);
  if (g.N > 0) backend::recurrent_forward(x.device(), f);
  if (in.gates != nullptr) {
    *in.gates = Tensor::empty({g.T, g.N, gates_of(layer) * g.H}, g.dtype);
    if (g.N > 0) backend::recurrent_gates(x.device(), g, f.buffers, in.gates->mutable_raw());
  }
  if (!recorded) return out;

  Kept kept;
  kept.geometry = g;
  kept.epoch = epoch;
  kept.workspace = std::move(workspace);
  for (const Tensor& t : inputs) {
    kept.inputs.emplace_back(t);
    kept.wanted.push_back(t.defined() && t.requires_grad());
  }
  kept.ids = Saved(in.ids);
  kept.y = Saved(out.y);
  kept.has_c = out.state.c.defined();
  kept.masks = std::move(masks);
  std::vector<Tensor*> outputs = {&out.y, &out.state.h};
  for (Tensor* t : {&out.state.c, &out.state.past})
    if (t->defined()) outputs.push_back(t);
  record(name_of(layer.cell), std::move(inputs), std::move(outputs),
         [kept = std::move(kept)](const std::vector<Tensor>& dout) { return backward(kept, dout); });
  return out;
}

}  // namespace rnncore
