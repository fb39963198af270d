#include "core/recurrent_layer.h"

namespace rnncore {
namespace {

// One packed copy, cached on the weight's storage.
backend::PackedPtr packed(backend::RecurrentPack layout, const LayerSpec& layer, const Tensor& w) {
  const TensorImpl& impl = *w.impl();
  const Device device = w.device();
  // A storage belongs to one weight in practice; the key tells slices and uses with other sizes apart all the same.
  std::uint64_t key = 1 + static_cast<std::uint64_t>(layout) + 8 * static_cast<std::uint64_t>(layer.cell);
  for (const std::int64_t part :
       {layer.hidden_size, w.size(0), w.size(1), impl.offset, static_cast<std::int64_t>(w.dtype())})
    key = (key ^ static_cast<std::uint64_t>(part)) * 0x9E3779B97F4A7C15ull + (key >> 29);
  return impl.storage->packed(key, backend::pack_epoch(device), [&] {
    return backend::pack_recurrent(device, layout, layer, w.dtype(), w.size(1), w.raw());
  });
}

const void* raw_or_null(const Tensor& t) { return t.defined() ? t.raw() : nullptr; }
void* mutable_or_null(Tensor& t) { return t.defined() ? t.mutable_raw() : nullptr; }

// The tensors behind backend::RecurrentBuffers; they live until backward has run.
struct Workspace {
  Tensor gates, c, states, p, bias, unit, flags, table;
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
    buffers.flags = static_cast<std::uint8_t*>(make(flags, s.flags, DType::uint8));
  }
};

// What backward needs from forward.
struct Kept {
  backend::RecurrentGeometry geometry;
  std::uint64_t epoch = 0;  // of the instruction set, which decides the workspace's layout
  std::shared_ptr<Workspace> workspace;
  Saved x, ids, y, h0;
  std::array<Saved, LayerParameters::kCount> parameters;
  bool want_x = false, want_h0 = false, want_c0 = false, want_parameters = false;
};

// Gradients in the order of the node's inputs: x, h0, c0, then the parameters as LayerParameters::all() has them.
std::vector<Tensor> backward(const Kept& kept, const std::vector<Tensor>& dout) {
  const char* const op = name_of(kept.geometry.cell);
  const backend::RecurrentGeometry& g = kept.geometry;
  if (kept.epoch != backend::pack_epoch(Device::cpu))
    throw_argument(std::string(op) + " backward", "target", "the instruction set that the forward pass ran on",
                   "another one", "set_target() was called in between; run the forward computation again");
  LayerParameters p;
  for (std::size_t i = 0; i < LayerParameters::kCount; ++i)
    if (kept.parameters[i].defined()) *p.all()[i] = kept.parameters[i].get(op);
  backend::RecurrentBackward b;
  b.geometry = g;
  b.buffers = kept.workspace->buffers;
  add_backward_weights({g.cell, g.H, g.options}, p, kept.want_x, b.weights);
  const Tensor& x = kept.x.get(op);
  b.x = x.raw();
  if (kept.ids.defined()) b.tokens = {kept.ids.get(op).data<std::int64_t>(), x.raw()};
  b.y = kept.y.get(op).raw();
  b.h0 = kept.h0.defined() ? kept.h0.get(op).raw() : nullptr;
  b.dy = raw_or_null(dout[0]);
  b.dh_n = raw_or_null(dout[1]);
  b.dc_n = dout.size() > 2 ? raw_or_null(dout[2]) : nullptr;
  std::vector<Tensor> grads(3 + LayerParameters::kCount);
  const auto make = [&](std::size_t i, bool wanted, Shape shape) -> void* {
    if (!wanted) return nullptr;
    grads[i] = Tensor::empty(std::move(shape), g.dtype);
    return mutable_or_null(grads[i]);
  };
  b.dx = make(0, kept.want_x, x.shape());
  b.dh0 = make(1, kept.want_h0, {g.N, g.H});
  b.dc0 = make(2, kept.want_c0, {g.N, g.H});
  std::array<void*, LayerParameters::kCount> gradient{};
  for (std::size_t i = 0; i < LayerParameters::kCount; ++i) {
    const Tensor& parameter = *p.all()[i];
    if (parameter.defined()) gradient[i] = make(3 + i, kept.want_parameters, parameter.shape());
  }
  b.dw_ih = gradient[0];
  b.dw_hh = gradient[1];
  b.db_ih = gradient[2];
  b.db_hh = gradient[3];
  b.d_unit = gradient[4];
  backend::recurrent_backward(x.device(), b);
  return grads;
}

bool any_requires_grad(const std::vector<Tensor>& tensors) {
  for (const Tensor& t : tensors)
    if (t.defined() && t.requires_grad()) return true;
  return false;
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
  w.recurrent = packed(backend::RecurrentPack::recurrent, layer, p.weight_hh);
  w.recurrent_second = packed(backend::RecurrentPack::recurrent_second, layer, p.weight_hh);
  w.bias_ih = raw_or_null(p.bias_ih);
  w.bias_hh = raw_or_null(p.bias_hh);
  w.unit = raw_or_null(p.unit);
  return w;
}

void add_backward_weights(const LayerSpec& layer, const LayerParameters& p, bool want_dx,
                          backend::RecurrentWeights& w) {
  if (want_dx) w.input_back = packed(backend::RecurrentPack::input_back, layer, p.weight_ih);
  w.recurrent_back = packed(backend::RecurrentPack::recurrent_back, layer, p.weight_hh);
  w.recurrent_back_second = packed(backend::RecurrentPack::recurrent_back_second, layer, p.weight_hh);
}

LayerResult recurrent_layer(const LayerSpec& layer, const LayerParameters& parameters, const LayerInput& in) {
  LayerParameters p = parameters;
  const Tensor &x = in.x, &h0 = in.h0, &c0 = in.c0;
  const bool tokens = in.ids.defined();
  std::vector<Tensor> inputs = {x, h0, c0};
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
  g.reverse = in.reverse;
  g.masked = in.lengths.defined() || in.reset_mask.defined();
  g.training = recorded;
  LayerResult out;
  out.y = Tensor::empty({g.T, g.N, g.H}, g.dtype);
  out.h = Tensor::empty({g.N, g.H}, g.dtype);
  if (states_of(layer.cell) == 2) out.c = Tensor::empty({g.N, g.H}, g.dtype);
  const std::uint64_t epoch = backend::pack_epoch(x.device());
  auto workspace = std::make_shared<Workspace>(x.device(), g);
  f.weights = forward_weights(layer, p);
  f.buffers = workspace->buffers;
  f.x = x.raw();
  if (tokens) f.tokens = {in.ids.data<std::int64_t>(), x.raw()};
  f.h0 = raw_or_null(h0);
  f.c0 = raw_or_null(c0);
  f.lengths = in.lengths.defined() ? in.lengths.data<std::int64_t>() : nullptr;
  f.reset = in.reset_mask.defined() ? in.reset_mask.data<std::uint8_t>() : nullptr;
  f.y = out.y.mutable_raw();
  f.h_n = out.h.mutable_raw();
  f.c_n = mutable_or_null(out.c);
  if (g.N > 0) backend::recurrent_forward(x.device(), f);
  if (!recorded) return out;

  Kept kept;
  kept.geometry = g;
  kept.epoch = epoch;
  kept.workspace = std::move(workspace);
  kept.x = Saved(x);
  kept.ids = Saved(in.ids);
  kept.y = Saved(out.y);
  kept.h0 = Saved(h0);
  for (std::size_t i = 0; i < LayerParameters::kCount; ++i) kept.parameters[i] = Saved(*p.all()[i]);
  kept.want_x = x.requires_grad();
  kept.want_h0 = h0.defined() && h0.requires_grad();
  kept.want_c0 = c0.defined() && c0.requires_grad();
  kept.want_parameters = any_requires_grad({inputs.begin() + 3, inputs.end()});
  std::vector<Tensor*> outputs = {&out.y, &out.h};
  if (out.c.defined()) outputs.push_back(&out.c);
  record(name_of(layer.cell), std::move(inputs), std::move(outputs),
         [kept = std::move(kept)](const std::vector<Tensor>& dout) { return backward(kept, dout); });
  return out;
}

}  // namespace rnncore
