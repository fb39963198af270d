// rnncore.optim's engine side: one Optimizer class; the Python classes name its kinds and options.
#include "bindings.h"

namespace rnncore::python {
namespace {

OptimizerOptions options_from(const std::string& kind, const py::dict& values) {
  OptimizerOptions o;
  o.kind = optimizer_from_name(kind);
  for (const auto& [key, value] : values) {
    const auto name = key.cast<std::string>();
    if (name == "lr")
      o.lr = value.cast<double>();
    else if (name == "momentum")
      o.momentum = value.cast<double>();
    else if (name == "dampening")
      o.dampening = value.cast<double>();
    else if (name == "nesterov")
      o.nesterov = value.cast<bool>();
    else if (name == "weight_decay")
      o.weight_decay = value.cast<double>();
    else if (name == "beta1")
      o.beta1 = value.cast<double>();
    else if (name == "beta2")
      o.beta2 = value.cast<double>();
    else if (name == "eps")
      o.eps = value.cast<double>();
    else if (name == "alpha")
      o.alpha = value.cast<double>();
    else if (name == "centered")
      o.centered = value.cast<bool>();
    else if (name == "lambd")
      o.lambd = value.cast<double>();
    else if (name == "asgd_alpha")
      o.asgd_alpha = value.cast<double>();
    else if (name == "t0")
      o.t0 = value.cast<double>();
    else
      throw_argument("optimizer", "options", "a known option", "'" + name + "'");
  }
  return o;
}

}  // namespace

void bind_optim(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::class_<Optimizer>(m, "Optimizer", "Engine side of rnncore.optim's classes.")
      .def(py::init([](const std::vector<Tensor>& parameters, const std::string& kind, const py::dict& options) {
             return Optimizer(parameters, options_from(kind, options));
           }),
           py::arg("parameters"), py::arg("kind"), py::arg("options"))
      .def(
          "step",
          [](Optimizer& o, double clip_norm, double clip_value) {
            StepOptions options;
            options.clip_norm = clip_norm;
            options.clip_value = clip_value;
            return o.step(options);
          },
          py::arg("clip_norm") = 0.0, py::arg("clip_value") = 0.0, Release())
      .def("bad_parameter", &Optimizer::bad_parameter)
      .def("zero_grad", &Optimizer::zero_grad)
      .def_property("lr", &Optimizer::lr, &Optimizer::set_lr)
      .def_property_readonly("step_count", &Optimizer::step_count)
      .def("state",
           [](const Optimizer& o) {
             py::dict result;
             for (const auto& [name, tensor] : o.state()) result[py::str(name)] = tensor;
             return result;
           })
      .def(
          "load_state",
          [](Optimizer& o, const py::dict& state, std::int64_t step_count) {
            std::vector<std::pair<std::string, Tensor>> tensors;
            for (const auto& [name, tensor] : state)
              tensors.emplace_back(name.cast<std::string>(), tensor.cast<Tensor>());
            o.load_state(tensors, step_count);
          },
          py::arg("state"), py::arg("step_count"));
  m.def("clip_grad_norm_", &clip_grad_norm_, py::arg("parameters"), py::arg("max_norm"), Release(),
        "Scales all gradients so that their global 2-norm is at most max_norm; returns the norm before.");
  m.def("clip_grad_value_", &clip_grad_value_, py::arg("parameters"), py::arg("clip_value"), Release(),
        "Clamps every gradient element to [-clip_value, clip_value].");
  m.def(
      "dynamic_evaluation_",
      [](const Tensor& parameter, const Tensor& start, double lr, double decay, const std::optional<Tensor>& scale,
         const std::optional<Tensor>& back) {
        dynamic_evaluation_(parameter, start, lr, decay, scale.value_or(Tensor()), back.value_or(Tensor()));
      },
      py::arg("parameter"), py::arg("start"), py::arg("lr"), py::arg("decay") = 0.0, py::arg("scale") = py::none(),
      py::arg("back") = py::none(), Release(), "w <- w - lr scale grad + back (start - w), in one pass.");
}

}  // namespace rnncore::python
