// RecurrentSpec, a recurrent stack over a sequence, and Stream. States cross the border as PyTorch has them: one
// tensor (layers * directions, N, H), or one tensor (N, H_k) per layer and direction where the sizes or cells differ
// (None where a cell has no c).
#include "bindings.h"
#include "rnncore/probe.hpp"

namespace rnncore::python {
namespace {

std::int64_t slots_of(const RecurrentSpec& spec) {
  return static_cast<std::int64_t>(spec.layers.size()) * spec.directions();
}

// Features of a layer's h, or of its c.
using Width = std::int64_t (*)(const LayerSpec&);
std::int64_t width_of_h(const LayerSpec& layer) { return layer.state_size(); }
std::int64_t width_of_c(const LayerSpec& layer) { return layer.hidden_size; }

bool has_one_size(const RecurrentSpec& spec, Width width) {
  for (const LayerSpec& layer : spec.layers)
    if (width(layer) != width(spec.layers.front())) return false;
  return true;
}

std::vector<Tensor> split_state(const RecurrentSpec& spec, const char* argument, Width width, const py::object& value,
                                std::int64_t batch) {
  if (value.is_none()) return {};
  if (!py::isinstance<Tensor>(value) && !py::isinstance<py::array>(value)) {
    std::vector<Tensor> parts;
    for (const py::handle part : value) parts.push_back(part.is_none() ? Tensor() : part.cast<Tensor>());
    if (static_cast<std::int64_t>(parts.size()) != slots_of(spec))
      throw_argument("recurrent", argument, std::to_string(slots_of(spec)) + " tensors (layers * directions)",
                     std::to_string(parts.size()));
    return parts;
  }
  const Tensor stacked = value.cast<Tensor>();
  if (!has_one_size(spec, width))
    throw_argument("recurrent", argument, "one tensor per layer, as the layers' sizes differ", "a single tensor");
  const std::int64_t hidden = width(spec.layers.front());
  const Shape wanted = {slots_of(spec), batch, hidden};
  if (stacked.shape() != wanted)
    throw_argument("recurrent", argument, "shape (layers*directions, N, H) = " + to_string(wanted),
                   to_string(stacked.shape()));
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < wanted[0]; ++i) parts.push_back(slice(stacked, 0, i, i + 1).reshape({batch, hidden}));
  return parts;
}

py::object join_state(const RecurrentSpec& spec, Width width, const std::vector<Tensor>& parts) {
  if (parts.empty()) return py::none();
  bool all = true;
  for (const Tensor& part : parts) all = all && part.defined();
  if (!all || !has_one_size(spec, width)) {
    py::tuple result(parts.size());
    for (std::size_t i = 0; i < parts.size(); ++i)
      result[i] = parts[i].defined() ? py::cast(parts[i]) : py::object(py::none());
    return std::move(result);
  }
  if (parts.size() == 1) return py::cast(parts[0].reshape({1, parts[0].size(0), parts[0].size(1)}));
  return py::cast(stack(parts, 0));
}

Tensor optional_tensor(const py::object& value, DType dtype) {
  if (value.is_none()) return {};
  if (py::isinstance<Tensor>(value)) {
    const Tensor& t = value.cast<const Tensor&>();
    return t.dtype() == dtype || is_float(t.dtype()) ? t : t.to(dtype);
  }
  const Tensor t = to_tensor(value);
  return is_float(t.dtype()) && t.numel() > 0 ? t : t.to(dtype);
}

// Nonzero is true, whatever the integers: a cast would make 0 of 256.
Tensor optional_mask(const py::object& value) {
  Tensor mask = optional_tensor(value, DType::int64);
  if (!mask.defined() || mask.dtype() != DType::int64) return mask;
  Tensor out = Tensor::empty(mask.shape(), DType::uint8);
  std::uint8_t* const to = out.mutable_data<std::uint8_t>();
  for (std::int64_t i = 0; i < mask.numel(); ++i) to[i] = mask.data<std::int64_t>()[i] != 0;
  return out;
}

py::tuple run(const RecurrentSpec& spec, const std::vector<Tensor>& parameters, const py::object& x,
              const py::object& h, const py::object& c, const py::object& lengths, const py::object& reset_mask,
              bool training, Generator* generator, const std::optional<Tensor>& embedding, RecurrentProbe* probe) {
  RecurrentInput input;
  if (embedding) {
    input.ids = as_ids("recurrent", "input", x);
    input.embedding = *embedding;
    if (input.ids.dim() != 2) throw_argument("recurrent", "input", "ids (T, N)", to_string(input.ids.shape()));
  } else {
    input.x = x.cast<Tensor>();
    if (input.x.dim() != 3) throw_argument("recurrent", "input", "shape (T, N, I)", to_string(input.x.shape()));
  }
  const std::int64_t batch = embedding ? input.ids.size(1) : input.x.size(1);
  input.state.h = split_state(spec, "h_0", width_of_h, h, batch);
  input.state.c = split_state(spec, "c_0", width_of_c, c, batch);
  input.lengths = optional_tensor(lengths, DType::int64);
  input.reset_mask = optional_mask(reset_mask);
  input.training = training;
  input.generator = generator;
  const RecurrentOutput output = without_gil(
      [&] { return probe ? recurrent(spec, parameters, input, *probe) : recurrent(spec, parameters, input); });
  return py::make_tuple(output.y, join_state(spec, width_of_h, output.state.h),
                        join_state(spec, width_of_c, output.state.c));
}

// options: None, or a dict as the "options" of a layer in a model file, for every layer.
CellOptions to_options(const py::object& options) {
  if (options.is_none()) return {};
  return cell_options_from_json(py::module_::import("json").attr("dumps")(options).cast<std::string>());
}
py::object from_options(const CellOptions& options) {
  if (is_plain(options)) return py::none();
  return py::module_::import("json").attr("loads")(to_json(options));
}

RecurrentSpec make_spec(const std::string& cell, std::int64_t input_size, const std::vector<std::int64_t>& hidden_sizes,
                        bool bias, bool bidirectional, double dropout, const py::object& options,
                        std::int64_t proj_size) {
  RecurrentSpec spec;
  spec.input_size = input_size;
  for (const std::int64_t hidden : hidden_sizes) {
    spec.layers.push_back({cell_from_name(cell), hidden, to_options(options)});
    spec.layers.back().proj_size = proj_size;
  }
  spec.bias = bias;
  spec.bidirectional = bidirectional;
  spec.dropout = dropout;
  check(spec);
  return spec;
}

std::vector<std::int64_t> hidden_sizes(const RecurrentSpec& spec) {
  std::vector<std::int64_t> sizes;
  for (const LayerSpec& layer : spec.layers) sizes.push_back(layer.hidden_size);
  return sizes;
}

py::list infos(const std::vector<ParameterInfo>& parameters) {
  py::list result;
  for (const ParameterInfo& p : parameters) result.append(py::make_tuple(p.name, shape_tuple(p.shape), p.fan_hidden));
  return result;
}

// The letters of a cell's gate blocks, in the order of the rows of weight_ih.
std::string gate_letters(const std::string& cell, const py::object& options) {
  return rnncore::gate_letters(LayerSpec{cell_from_name(cell), 1, to_options(options)});
}

// The memory of a C-contiguous array (rows, columns) of Element. A step lasts less than a microsecond, so an array that
// fits is recognised without a call into NumPy.
template <typename Element>
Element* array_argument(const char* name, py::array& array, std::int64_t rows, std::int64_t columns, bool writable) {
  const bool right = py::isinstance<py::array_t<Element, py::array::c_style>>(array) && array.ndim() == 2 &&
                     array.shape(0) == rows && array.shape(1) == columns && (!writable || array.writeable());
  if (!right)
    throw_argument("stream", name,
                   std::string(writable ? "a writable" : "a") + " C-contiguous array of shape " +
                       to_string(Shape{rows, columns}) + " of " + py::str(py::dtype::of<Element>()).cast<std::string>(),
                   to_string(Shape(array.shape(), array.shape() + array.ndim())) + " of " +
                       py::str(array.dtype()).cast<std::string>());
  return static_cast<Element*>(const_cast<void*>(array.data()));
}

py::array as_array(const py::object& input) {
  if (py::isinstance<py::array>(input)) return py::reinterpret_borrow<py::array>(input);
  if (py::isinstance<Tensor>(input)) return numpy_view(input.cast<const Tensor&>());
  return py::module_::import("numpy").attr("asarray")(input).cast<py::array>();
}

// A stream together with the description it was made from.
struct PyStream {
  RecurrentSpec spec;
  Stream stream;
  std::int64_t vocabulary = 0;  // of the embedding, if there is one
};

const std::int64_t* check_ids(const PyStream& s, const py::array& ids) {
  const std::int64_t N = s.stream.batch();
  if (s.vocabulary == 0)
    throw_argument("stream", "input", "features, since the stream has no embedding", "int64 ids",
                   "make it with stream(embedding=...)");
  if (!py::isinstance<py::array_t<std::int64_t, py::array::c_style>>(ids) || ids.ndim() != 1 || ids.shape(0) != N)
    throw_argument("stream", "input", "C-contiguous ids of shape " + to_string(Shape{N}),
                   to_string(Shape(ids.shape(), ids.shape() + ids.ndim())));
  const auto* const values = static_cast<const std::int64_t*>(ids.data());
  for (std::int64_t n = 0; n < N; ++n)
    if (values[n] < 0 || values[n] >= s.vocabulary)
      throw_argument("stream", "input[" + std::to_string(n) + "]", "0 <= id < V = " + std::to_string(s.vocabulary),
                     std::to_string(values[n]));
  return values;
}

template <typename Element>
py::array step(PyStream& s, const py::object& input, const py::object& out) {
  const std::int64_t N = s.stream.batch(), H = s.spec.output_size();
  py::array x = as_array(input);
  const bool tokens = py::isinstance<py::array_t<std::int64_t>>(x);
  const Element* const features = tokens ? nullptr : array_argument<Element>("input", x, N, s.spec.input_size, false);
  const std::int64_t* const ids = tokens ? check_ids(s, x) : nullptr;
  if (!out.is_none() && !py::isinstance<py::array>(out))
    throw_type("stream", "out", "a NumPy array", py::str(py::type::of(out)).cast<std::string>());
  py::array y = out.is_none() ? py::array_t<Element>({N, H}) : py::reinterpret_borrow<py::array>(out);
  Element* const to = array_argument<Element>("out", y, N, H, true);
  without_gil([&] { tokens ? s.stream.step(ids, to) : s.stream.step(features, to); });
  return y;
}

void bind_probe(py::module_& m) {
  py::class_<RecurrentProbe>(
      m, "Probe",
      "What instruments see of a stack; given to `recurrent`, which fills it and then goes step\n"
      "by step.")
      .def(py::init<>())
      .def_property_readonly(
          "layers",
          [](const RecurrentProbe& probe) {
            py::list layers;
            for (const LayerProbe& layer : probe.layers) {
              py::dict parts;
              const auto put = [&](const char* name, const Tensor& value) {
                if (value.defined()) parts[name] = value;
              };
              put("x", layer.x);
              put("h_0", layer.h_0);
              put("c_0", layer.c_0);
              put("h", layer.h);
              put("c", layer.c);
              put("past_0", layer.past_0);
              put("past", layer.past);
              put("gates", layer.gates);
              put("running", layer.running);
              put("begins", layer.begins);
              put("h_added", layer.h_added);
              put("c_added", layer.c_added);
              layers.append(parts);
            }
            return layers;
          },
          "One dict per (layer, direction): x, h_0, h, h_added, gates, where there is a cell state c_0, c, c_added, "
          "and "
          "where not every unit goes on at every step running, begins.");
}

void bind_stream(py::module_& m) {
  py::class_<PyStream>(m, "Stream",
                       "Steps a stack one time step at a time for N parallel streams, with the same bits as a whole\n"
                       "sequence. The parameters are copied; step() takes and returns NumPy arrays (N, I) -> (N, H).")
      .def(py::init([](const RecurrentSpec& spec, const std::vector<Tensor>& parameters, std::int64_t batch) {
             return PyStream{spec, Stream(spec, parameters, batch)};
           }),
           py::arg("spec"), py::arg("parameters"), py::arg("batch") = 1)
      .def_property_readonly("batch", [](const PyStream& s) { return s.stream.batch(); })
      .def_property_readonly("dtype", [](const PyStream& s) { return name_of(s.stream.dtype()); })
      .def(
          "step",
          [](PyStream& s, const py::object& input, const py::object& out) {
            return s.stream.dtype() == DType::float64 ? step<double>(s, input, out) : step<float>(s, input, out);
          },
          py::arg("input"), py::arg("out") = py::none(),
          "One step: features (N, I), or int64 ids (N) with an embedding -> (N, H), into `out` if given.")
      .def(
          "set_embedding",
          [](PyStream& s, const Tensor& embedding) {
            s.stream.set_embedding(embedding);
            s.vocabulary = embedding.size(0);
          },
          py::arg("embedding"), "Token inputs: step(ids) then reads rows of the embedding (V, I), which is copied.")
      .def(
          "use_threads", [](PyStream& s, bool on) { s.stream.use_threads(on); }, py::arg("on"),
          "Whether a step may use several threads where its work deserves them; at first: no.")
      .def("reset", [](PyStream& s) { s.stream.reset(); })
      .def(
          "reset",
          [](PyStream& s, std::int64_t stream) {
            if (stream < 0 || stream >= s.stream.batch())
              throw_argument("stream.reset", "stream", "within [0, " + std::to_string(s.stream.batch()) + ")",
                             std::to_string(stream));
            s.stream.reset(stream);
          },
          py::arg("stream"))
      .def_property_readonly("state",
                             [](const PyStream& s) {
                               const RecurrentState state = s.stream.state();
                               return py::make_tuple(join_state(s.spec, width_of_h, state.h),
                                                     join_state(s.spec, width_of_c, state.c));
                             })
      .def(
          "set_state",
          [](PyStream& s, const py::object& h, const py::object& c) {
            RecurrentState state;
            state.h = split_state(s.spec, "h", width_of_h, h, s.stream.batch());
            state.c = split_state(s.spec, "c", width_of_c, c, s.stream.batch());
            s.stream.set_state(state);
          },
          py::arg("h"), py::arg("c") = py::none())
      .def("state_dict", [](const PyStream& s) { return state_to_dict(s.spec, s.stream.state()); })
      .def(
          "load_state_dict",
          [](PyStream& s, const py::object& state) {
            RecurrentState whole = state_from_dict(s.spec, state);
            const auto drop = [](std::vector<Tensor>& parts, bool kept) {
              if (!kept) parts.clear();
            };
            drop(whole.c, s.spec.has_cell_state());
            drop(whole.past, s.spec.has_delays());
            s.stream.set_state(whole);
          },
          py::arg("state"), "The whole state by name, as state_dict() returns it.");
}

}  // namespace

void bind_recurrent(py::module_& m) {
  py::class_<RecurrentSpec>(m, "RecurrentSpec", "What a recurrent stack is: cell, sizes per layer, directions.")
      .def(py::init(&make_spec), py::arg("cell"), py::arg("input_size"), py::arg("hidden_sizes"), py::kw_only(),
           py::arg("bias") = true, py::arg("bidirectional") = false, py::arg("dropout") = 0.0,
           py::arg("options") = py::none(), py::arg("proj_size") = 0)
      .def_property_readonly("cell", [](const RecurrentSpec& s) { return name_of(s.layers.front().cell); })
      .def_property_readonly(
          "options", [](const RecurrentSpec& s) { return from_options(s.layers.front().options); },
          "What differs from the plain cell, as the dict that the constructor takes; None for a plain cell.")
      .def_readonly("input_size", &RecurrentSpec::input_size)
      .def_property_readonly("hidden_sizes", &hidden_sizes)
      .def_property_readonly(
          "proj_size", [](const RecurrentSpec& s) { return s.layers.front().proj_size; },
          "Features that the first layer's h is projected to; 0: none.")
      .def_readonly("bias", &RecurrentSpec::bias)
      .def_readonly("bidirectional", &RecurrentSpec::bidirectional)
      .def_readonly("dropout", &RecurrentSpec::dropout)
      .def_property_readonly("cells",
                             [](const RecurrentSpec& s) {
                               std::vector<std::string> cells;
                               for (const LayerSpec& layer : s.layers) cells.emplace_back(name_of(layer.cell));
                               return cells;
                             })
      .def_property_readonly("output_size", &RecurrentSpec::output_size)
      .def_property_readonly("has_cell_state", [](const RecurrentSpec& s) { return s.has_cell_state(); })
      .def_property_readonly("state_slots", &slots_of, "layers * directions")
      .def(
          "parameters", [](const RecurrentSpec& s) { return infos(parameters_of(s)); },
          "A list of (name, shape, hidden size), in PyTorch's order.")
      .def(py::pickle([](const RecurrentSpec& s) { return py::make_tuple(to_json(s)); },
                      [](const py::tuple& s) { return recurrent_spec_from_json(s[0].cast<std::string>()); }));
  bind_probe(m);
  m.def("recurrent", &run, py::arg("spec"), py::arg("parameters"), py::arg("input"), py::arg("h_0") = py::none(),
        py::arg("c_0") = py::none(), py::arg("lengths") = py::none(), py::arg("reset_mask") = py::none(),
        py::arg("training") = false, py::arg("generator") = py::none(), py::arg("embedding") = py::none(),
        py::arg("probe") = py::none(),
        "(output (T, N, D*H), h_n, c_n or None) of a stack over a sequence (T, N, I); with embedding (V, I), over\n"
        "ids (T, N).");
  m.def("gate_letters", &gate_letters, py::arg("cell"), py::arg("options") = py::none(),
        "A cell's gate blocks in row order, e.g. 'ifgo'.");
  m.def(
      "explain",
      [](const RecurrentSpec& spec, const py::object& dtype) {
        py::list rows;
        for (const LayerCost& c : explain(spec, to_dtype(dtype))) {
          py::dict row;
          row["layer"] = c.layer;
          row["cell"] = c.cell;
          row["kernel"] = c.kernel;
          row["target"] = c.target;
          row["multiply_adds"] = c.multiply_adds;
          row["activations"] = c.activations;
          row["weight_bytes"] = c.weight_bytes;
          row["state_bytes"] = c.state_bytes;
          row["saved_bytes"] = c.saved_bytes;
          rows.append(row);
        }
        return rows;
      },
      py::arg("spec"), py::arg("dtype") = "float32", "The cost of each layer, as dicts.");
  m.def(
      "activation_names",
      [] {
        std::vector<std::string> names;
        for (const Activation a : all_activations()) names.push_back(name_of(a));
        return names;
      },
      "Activations that cells may be given.");
  bind_stream(m);
}

}  // namespace rnncore::python
