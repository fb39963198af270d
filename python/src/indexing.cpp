// t[...] and t[...] = v. Integers, slices of step 1, None and ... stay on the tape; anything else goes through
// NumPy and is refused where a gradient would be lost.
#include "bindings.h"

namespace rnncore::python {
namespace {

bool on_tape(const Tensor& t) { return t.requires_grad() && grad_enabled(); }

// True for keys made of integers, step-1 slices, None and at most one ellipsis.
bool is_basic(const py::tuple& key) {
  int ellipses = 0;
  for (const py::handle k : key) {
    if (k.ptr() == Py_Ellipsis) {
      if (++ellipses > 1) return false;
    } else if (PySlice_Check(k.ptr())) {
      const auto step = py::reinterpret_borrow<py::object>(k).attr("step");
      if (!step.is_none() && step.cast<std::int64_t>() != 1) return false;
    } else if (k.is_none()) {
      continue;
    } else if (PyBool_Check(k.ptr()) || !PyIndex_Check(k.ptr()) || py::isinstance<py::array>(k)) {
      return false;
    } else if (py::isinstance<Tensor>(k) && k.cast<const Tensor&>().numel() != 1) {
      return false;
    }
  }
  return true;
}

std::int64_t checked_index(py::handle key, std::int64_t size, std::int64_t axis) {
  const Py_ssize_t index = PyNumber_AsSsize_t(key.ptr(), PyExc_IndexError);
  if (index == -1 && PyErr_Occurred()) throw py::error_already_set();
  if (index < -size || index >= size)
    throw py::index_error("[index] axis " + std::to_string(axis) + ": expected an index within [" +
                          std::to_string(-size) + ", " + std::to_string(size) + "), got " + std::to_string(index));
  return index < 0 ? index + size : index;
}

Tensor basic_item(const Tensor& tensor, const py::tuple& key) {
  std::int64_t consumed = 0;
  for (const py::handle k : key) consumed += (k.ptr() != Py_Ellipsis && !k.is_none()) ? 1 : 0;
  if (consumed > tensor.dim())
    throw py::index_error("[index] key: expected at most " + std::to_string(tensor.dim()) + " indices for shape " +
                          to_string(tensor.shape()) + ", got " + std::to_string(consumed));
  Tensor result = tensor;
  Shape shape;  // of the result, integers dropped and None inserted
  std::int64_t axis = 0;
  for (const py::handle k : key) {
    if (k.ptr() == Py_Ellipsis) {
      for (const std::int64_t end = axis + tensor.dim() - consumed; axis < end; ++axis)
        shape.push_back(tensor.size(axis));
      continue;
    }
    if (k.is_none()) {
      shape.push_back(1);
      continue;
    }
    const std::int64_t size = tensor.size(axis);
    if (PySlice_Check(k.ptr())) {
      Py_ssize_t start = 0, stop = 0, step = 1;
      if (PySlice_Unpack(k.ptr(), &start, &stop, &step) < 0) throw py::error_already_set();
      const Py_ssize_t length = PySlice_AdjustIndices(size, &start, &stop, step);
      if (length != size) result = slice(result, axis, start, start + length);
      shape.push_back(length);
    } else {
      const std::int64_t index = checked_index(k, size, axis);
      result = slice(result, axis, index, index + 1);
    }
    ++axis;
  }
  for (; axis < tensor.dim(); ++axis) shape.push_back(tensor.size(axis));
  return shape == result.shape() ? result : result.reshape(shape);
}

// What NumPy understands of a key: tensors become arrays.
py::object numpy_key(const py::object& key) {
  if (py::isinstance<Tensor>(key)) return numpy_view(key.cast<const Tensor&>());
  if (!py::isinstance<py::tuple>(key)) return key;
  const auto parts = py::reinterpret_borrow<py::tuple>(key);
  py::tuple converted(parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i) converted[i] = numpy_key(py::reinterpret_borrow<py::object>(parts[i]));
  return converted;
}

Tensor get_item(const Tensor& tensor, const py::object& key) {
  if (tensor.dim() == 0 && PyIndex_Check(key.ptr()))
    throw_type("index", "tensor", "at least one axis", "shape ()", "use item()");
  const py::tuple parts = py::isinstance<py::tuple>(key) ? py::reinterpret_borrow<py::tuple>(key) : py::make_tuple(key);
  if (is_basic(parts)) return basic_item(tensor, parts);
  if (on_tape(tensor))
    throw_type("index", "key", "integers and slices of step 1 where a gradient is recorded",
               py::repr(py::type::of(key)).cast<std::string>(), "use detach(), or rnncore.embedding for rows");
  return to_tensor(numpy_view(tensor)[numpy_key(key)]);
}

void set_item(Tensor& tensor, const py::object& key, const py::object& value) {
  if (on_tape(tensor))
    throw_argument("setitem", "tensor", "one that requires no grad, or no_grad()", "a tensor on the tape",
                   "an assignment cannot be differentiated");
  const py::object source = py::isinstance<Tensor>(value) ? py::object(numpy_view(value.cast<const Tensor&>())) : value;
  numpy_view(tensor, true)[numpy_key(key)] = source;
}

}  // namespace

void bind_indexing(py::class_<Tensor>& tensor) {
  tensor.def("__getitem__", &get_item, py::arg("key"));
  tensor.def("__setitem__", &set_item, py::arg("key"), py::arg("value"));
}

}  // namespace rnncore::python
