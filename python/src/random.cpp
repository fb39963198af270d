// rnncore.Generator, and tensors filled from a constant or a generator.
#include "bindings.h"

namespace rnncore::python {

void bind_random(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::class_<Generator>(m, "Generator",
                        "Counter-based random numbers (Philox): the same seed and calls give the same bits on any\n"
                        "number of threads. State: (seed, call).")
      .def(py::init<std::uint64_t>(), py::arg("seed"))
      .def_property_readonly("seed", &Generator::seed)
      .def("get_state", [](const Generator& g) { return std::make_pair(g.seed(), g.call()); })
      .def(
          "set_state", [](Generator& g, std::pair<std::uint64_t, std::uint64_t> s) { g.set_state(s.first, s.second); },
          py::arg("state"))
      .def("uniform_", &Generator::uniform_, py::arg("out"), py::arg("low"), py::arg("high"), Release())
      .def("normal_", &Generator::normal_, py::arg("out"), py::arg("mean"), py::arg("stddev"), Release())
      .def("below", &Generator::below, py::arg("bound"), "One integer in [0, bound).")
      .def("permutation", &Generator::permutation, py::arg("n"), Release())
      .def("__repr__",
           [](const Generator& g) {
             return "Generator(seed=" + std::to_string(g.seed()) + ", call=" + std::to_string(g.call()) + ")";
           })
      .def(py::pickle([](const Generator& g) { return py::make_tuple(g.seed(), g.call()); },
                      [](const py::tuple& s) {
                        Generator g(s[0].cast<std::uint64_t>());
                        g.set_state(s[0].cast<std::uint64_t>(), s[1].cast<std::uint64_t>());
                        return g;
                      }));
  m.def("orthogonal", &orthogonal, py::arg("rows"), py::arg("columns"), py::arg("generator"), Release());
  m.def(
      "full",
      [](const Shape& shape, double value, const std::string& dtype) {
        return Tensor::full(shape, value, dtype_from_name(dtype));
      },
      py::arg("shape"), py::arg("value"), py::arg("dtype") = "float32");
  m.def(
      "empty",
      [](const Shape& shape, const std::string& dtype) { return Tensor::empty(shape, dtype_from_name(dtype)); },
      py::arg("shape"), py::arg("dtype") = "float32");
}

}  // namespace rnncore::python
