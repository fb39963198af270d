// rnncore.Generator, and tensors filled from a constant or a generator.
#include "bindings.h"

namespace rnncore::python {

namespace {

// An integer (Python's or NumPy's) of 64 bits without a sign.
std::uint64_t to_seed(const py::object& seed) {
  if (PyIndex_Check(seed.ptr()) && !py::isinstance<py::bool_>(seed)) {
    const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(seed.ptr()));
    if (!number) throw py::error_already_set();
    const std::uint64_t value = PyLong_AsUnsignedLongLong(number.ptr());
    if (!PyErr_Occurred()) return value;
    PyErr_Clear();
    throw_argument("Generator", "seed", "0 to 2^64 - 1", py::str(number).cast<std::string>());
  }
  throw_type("Generator", "seed", "an integer", py::repr(seed).cast<std::string>());
}

}  // namespace

void bind_random(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  py::class_<Generator>(m, "Generator",
                        "Counter-based random numbers (Philox): the same seed and calls give the same bits on any\n"
                        "number of threads. State: (seed, call).")
      .def(py::init([](const py::object& seed) { return Generator(to_seed(seed)); }), py::arg("seed"))
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
      [](const Shape& shape, double value, const py::object& dtype) {
        return Tensor::full(shape, value, to_dtype(dtype));
      },
      py::arg("shape"), py::arg("value"), py::arg("dtype") = "float32");
  m.def(
      "empty", [](const Shape& shape, const py::object& dtype) { return Tensor::empty(shape, to_dtype(dtype)); },
      py::arg("shape"), py::arg("dtype") = "float32");
}

}  // namespace rnncore::python
