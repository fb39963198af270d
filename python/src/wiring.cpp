// Stacks of any wiring: the specification as JSON, and states as one dict with a tensor for each part: "h_l0",
// "c_l0", "past_l0" (each with "_reverse" for the second direction) and "clock".
#include "bindings.h"
#include "rnncore/probe.hpp"

namespace rnncore::python {
namespace {

std::string slot_name(const RecurrentSpec& spec, const char* kind, std::size_t slot) {
  const std::size_t directions = static_cast<std::size_t>(spec.directions());
  return std::string(kind) + "_l" + std::to_string(slot / directions) + (slot % directions == 1 ? "_reverse" : "");
}

// f(name, place) for every part that the state may have.
template <typename F>
void each_part(const RecurrentSpec& spec, RecurrentState& state, const F& f) {
  const std::size_t slots = spec.layers.size() * static_cast<std::size_t>(spec.directions());
  for (const auto& [kind, parts] : {std::pair{"h", &state.h}, {"c", &state.c}, {"past", &state.past}}) {
    parts->resize(slots);
    for (std::size_t i = 0; i < slots; ++i) f(slot_name(spec, kind, i), (*parts)[i]);
  }
  f("clock", state.clock);
}

Tensor tensor_of(const py::handle& value) {
  return py::isinstance<Tensor>(value) ? value.cast<Tensor>() : to_tensor(py::reinterpret_borrow<py::object>(value));
}

}  // namespace

RecurrentState state_from_dict(const RecurrentSpec& spec, const py::object& given) {
  RecurrentState state;
  if (given.is_none()) return state;
  if (!py::isinstance<py::dict>(given))
    throw_type("recurrent", "state", "a dict of tensors, as a call returns it",
               py::str(py::type::handle_of(given).attr("__name__")).cast<std::string>());
  const auto dict = py::reinterpret_borrow<py::dict>(given);
  std::size_t used = 0;
  std::string known;
  each_part(spec, state, [&](const std::string& name, Tensor& part) {
    known += (known.empty() ? "" : ", ") + name;
    if (!dict.contains(name)) return;
    part = tensor_of(dict[py::str(name)]);
    ++used;
  });
  for (const auto& item : dict)
    if (used != dict.size() && known.find(py::str(item.first).cast<std::string>()) == std::string::npos)
      throw_argument("recurrent", "state", "names among " + known, py::str(item.first).cast<std::string>());
  return state;
}

py::dict state_to_dict(const RecurrentSpec& spec, RecurrentState state) {
  py::dict result;
  each_part(spec, state, [&](const std::string& name, const Tensor& part) {
    if (part.defined()) result[py::str(name)] = part;
  });
  return result;
}

namespace {

py::tuple run(const RecurrentSpec& spec, const std::vector<Tensor>& parameters, const py::object& x,
              const py::object& state, const py::object& lengths, const py::object& reset_mask, bool training,
              Generator* generator, const std::optional<Tensor>& embedding, RecurrentProbe* probe) {
  RecurrentInput input;
  if (embedding) {
    input.ids = as_ids("recurrent", "input", x);
    input.embedding = *embedding;
  } else {
    input.x = x.cast<Tensor>();
  }
  input.state = state_from_dict(spec, state);
  if (!lengths.is_none()) input.lengths = tensor_of(lengths).to(DType::int64);
  if (!reset_mask.is_none()) input.reset_mask = tensor_of(reset_mask).to(DType::uint8);
  input.training = training;
  input.generator = generator;
  RecurrentOutput output = without_gil(
      [&] { return probe ? recurrent(spec, parameters, input, *probe) : recurrent(spec, parameters, input); });
  return py::make_tuple(output.y, state_to_dict(spec, std::move(output.state)));
}

py::dict start_values(const RecurrentSpec& spec) {
  py::dict values;
  for (const ParameterInfo& info : parameters_of(spec))
    if (info.start) values[py::str(info.name)] = *info.start;
  return values;
}

}  // namespace

void bind_wiring(py::module_& m) {
  m.def("recurrent_spec", &recurrent_spec_from_json, py::arg("json"), "The specification that a JSON text describes.");
  m.def("recurrent_spec_json", [](const RecurrentSpec& spec) { return to_json(spec); }, py::arg("spec"));
  m.def("start_values", &start_values, py::arg("spec"), "Parameters that start from one value, by name.");
  m.def("recurrent_with_state", &run, py::arg("spec"), py::arg("parameters"), py::arg("input"),
        py::arg("state") = py::none(), py::arg("lengths") = py::none(), py::arg("reset_mask") = py::none(),
        py::arg("training") = false, py::arg("generator") = py::none(), py::arg("embedding") = py::none(),
        py::arg("probe") = py::none(),
        "(output (T, N, O), state) of a stack over a sequence; the state is a dict of tensors.");
}

}  // namespace rnncore::python
