// The module rnncore._core: exceptions, threads, instruction sets and grad mode; the rest is registered by area.
#include "bindings.h"

namespace rnncore::python {
namespace {

void translate(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const ArgumentError& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const TypeError& e) {
    PyErr_SetString(PyExc_TypeError, e.what());
  } catch (const IoError& e) {
    PyErr_SetString(PyExc_OSError, e.what());
  } catch (const NumericError& e) {
    PyErr_SetString(PyExc_FloatingPointError, e.what());
  } catch (const Error& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
}

void bind_context(py::module_& m) {
  m.def("version", &version, "Version of the engine.");
  m.def("set_num_threads", &set_num_threads, py::arg("threads"),
        "Number of threads the engine uses (>= 1; default: RNNCORE_NUM_THREADS, or the machine's cores).");
  m.def("get_num_threads", &get_num_threads, "Number of threads the engine uses.");
  m.def("target_name", &target_name, "The instruction set in use.");
  m.def("supported_targets", &supported_targets, "Instruction sets this machine supports, best first.");
  m.def("set_target", &set_target, py::arg("name"), "Chooses an instruction set (for tests and benchmarks).");
  m.def("grad_enabled", &grad_enabled, "Whether operations on this thread are recorded on the tape.");
  m.def("set_grad_enabled", &set_grad_enabled, py::arg("enabled"), "Prefer the context manager `no_grad`.");
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "rnncore's C++ engine. Use the names that `rnncore` exports.";
  check_environment();  // a wrong RNNCORE_... variable is an ImportError
  py::register_exception_translator(&translate);
  bind_context(m);
  bind_random(m);
  bind_tensor(m);
  bind_ops(m);
  bind_losses(m);
  bind_recurrent(m);
  bind_wiring(m);
  bind_optim(m);
  bind_files(m);
  bind_model_stream(m);
}

}  // namespace rnncore::python
