// What the binding files share: conversion between Python objects and rnncore's types. Bindings convert, check
// and release the GIL around engine work; they compute nothing.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "rnncore/rnncore.hpp"

namespace rnncore::python {

namespace py = pybind11;

// One file per area registers its classes and functions.
void bind_tensor(py::module_& m);
void bind_dlpack(py::class_<Tensor>& tensor);
void bind_indexing(py::class_<Tensor>& tensor);
void bind_ops(py::module_& m);
void bind_losses(py::module_& m);
void bind_random(py::module_& m);
void bind_recurrent(py::module_& m);
void bind_wiring(py::module_& m);
void bind_optim(py::module_& m);
void bind_files(py::module_& m);
void bind_model_stream(py::module_& m);

DType to_dtype(const py::object& name);  // "float32", "float64", "int64" or "uint8"

// A new tensor with a copy of `data`: Tensor, array, anything with __array__ or __dlpack__, nested lists or a
// scalar. Arrays keep their dtype (bool becomes uint8, other integers int64, float16 float32); Python floats become
// float32, Python ints int64.
Tensor to_tensor(const py::object& data, std::optional<DType> dtype = {});

// A dict of tensors or arrays by name, as tensors off the tape.
NamedTensors named_tensors(const py::dict& tensors);

// Ids and targets: tensors and arrays of any integer dtype, as int64.
Tensor as_ids(const char* operation, const char* argument, const py::object& value);

Reduction reduction_from_name(const std::string& name);  // "mean", "sum" or "none"

// A NumPy array over the tensor's own memory. Views are read-only unless `writeable`, which bumps the version.
py::array numpy_view(const Tensor& tensor, bool writeable = false);

// A real number (Python or NumPy scalar, not bool), or nothing.
std::optional<double> to_scalar(py::handle object);

inline Tensor or_undefined(const std::optional<Tensor>& tensor) { return tensor ? *tensor : Tensor{}; }
inline std::optional<Tensor> or_none(const Tensor& tensor) {
  return tensor.defined() ? std::optional<Tensor>(tensor) : std::nullopt;
}
inline py::tuple shape_tuple(const Shape& shape) {
  py::tuple result(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) result[i] = shape[i];
  return result;
}
// reshape(2, 3), reshape((2, 3)) and reshape([2, 3]) mean the same.
Shape shape_from_args(const py::args& args);

// A state as a dict of tensors by name ("h_l0", "c_l0_reverse", "past_l1", "clock"); None is the initial state.
RecurrentState state_from_dict(const RecurrentSpec& spec, const py::object& given);
py::dict state_to_dict(const RecurrentSpec& spec, RecurrentState state);

// Runs `work` without the GIL.
template <typename Work>
auto without_gil(Work&& work) {
  const py::gil_scoped_release release;
  return work();
}

}  // namespace rnncore::python
