// NumPy arrays, lists and scalars to tensors and back.
#include "bindings.h"

namespace rnncore::python {
namespace {

py::dtype numpy_dtype(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return py::dtype::of<float>();
    case DType::float64:
      return py::dtype::of<double>();
    case DType::int64:
      return py::dtype::of<std::int64_t>();
    case DType::uint8:
      return py::dtype::of<std::uint8_t>();
  }
  throw_type("tensor", "dtype", "a dtype of rnncore", "an unknown one");
}

// The tensor dtype that holds an array's elements without loss (float16 widens to float32).
DType dtype_for(const py::dtype& dtype) {
  const char kind = dtype.kind();
  const auto size = dtype.itemsize();
  if (kind == 'f' && (size == 2 || size == 4)) return DType::float32;
  if (kind == 'f' && size == 8) return DType::float64;
  if (kind == 'b' || (kind == 'u' && size == 1)) return DType::uint8;
  if (kind == 'i' || (kind == 'u' && size < 8)) return DType::int64;
  throw_type("tensor", "data", "numbers (float16/32/64, integers or bool)", py::str(dtype).cast<std::string>());
}

py::array as_array(const py::object& data) {
  if (py::isinstance<py::array>(data)) return py::reinterpret_borrow<py::array>(data);
  if (!py::hasattr(data, "__array__") && py::hasattr(data, "__dlpack__"))
    return py::module_::import("numpy").attr("from_dlpack")(data);
  return py::module_::import("numpy").attr("asarray")(data);
}

// Python's own numbers have no width: their floats become float32, rnncore's default.
bool has_no_dtype(const py::object& data) {
  return PyFloat_CheckExact(data.ptr()) || PyLong_Check(data.ptr()) || PyList_Check(data.ptr()) ||
         PyTuple_Check(data.ptr());
}

}  // namespace

DType to_dtype(const py::object& name) {
  if (py::isinstance<py::str>(name))
    for (const DType dtype : {DType::float32, DType::float64, DType::int64, DType::uint8})
      if (name.cast<std::string>() == name_of(dtype)) return dtype;
  throw_type("tensor", "dtype", "'float32', 'float64', 'int64' or 'uint8'", py::repr(name).cast<std::string>());
}

Tensor to_tensor(const py::object& data, std::optional<DType> dtype) {
  if (py::isinstance<Tensor>(data)) {
    const Tensor source = data.cast<const Tensor&>().detach();
    return dtype && *dtype != source.dtype() ? source.to(*dtype) : source.clone();
  }
  const py::array array = as_array(data);
  DType target = dtype.value_or(DType::float32);
  if (!dtype) {
    target = dtype_for(array.dtype());
    if (target == DType::float64 && has_no_dtype(data)) target = DType::float32;
    if (array.size() == 0 && has_no_dtype(data)) target = DType::float32;
  } else {
    dtype_for(array.dtype());  // refuses what is not numeric
  }
  const py::array dense = array.attr("astype")(numpy_dtype(target), "C", "unsafe", true, false);
  Shape shape(dense.shape(), dense.shape() + dense.ndim());
  return Tensor::from_bytes(dense.data(), std::move(shape), target);
}

Tensor as_ids(const char* operation, const char* argument, const py::object& value) {
  const Tensor t = py::isinstance<Tensor>(value) ? value.cast<const Tensor&>() : to_tensor(value);
  if (t.dtype() == DType::int64) return t;
  if (is_float(t.dtype()) && t.numel() > 0) throw_type(operation, argument, "integers (int64)", name_of(t.dtype()));
  return t.to(DType::int64);
}

py::array numpy_view(const Tensor& tensor, bool writeable) {
  const Shape& shape = tensor.shape();
  Tensor owner = tensor;
  void* data = writeable ? owner.mutable_raw() : const_cast<void*>(owner.raw());
  const py::object base = py::cast(std::move(owner));
  py::array view(numpy_dtype(tensor.dtype()), shape, data, base);
  if (!writeable) py::detail::array_proxy(view.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return view;
}

std::optional<double> to_scalar(py::handle object) {
  PyObject* p = object.ptr();
  if (PyFloat_Check(p)) return PyFloat_AS_DOUBLE(p);  // np.float64 too
  if (PyBool_Check(p)) return std::nullopt;
  if (!PyLong_Check(p)) {
    if (py::isinstance<Tensor>(object) || py::isinstance<py::array>(object)) return std::nullopt;
    const bool numpy_scalar = PyNumber_Check(p) && py::hasattr(object, "dtype") && py::hasattr(object, "ndim") &&
                              object.attr("ndim").cast<int>() == 0;
    if (!numpy_scalar) return std::nullopt;
  }
  const double value = PyFloat_AsDouble(p);
  if (value == -1.0 && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

Shape shape_from_args(const py::args& args) {
  if (args.size() == 1 && !PyLong_Check(args[0].ptr())) return args[0].cast<Shape>();
  return args.cast<Shape>();
}

}  // namespace rnncore::python
