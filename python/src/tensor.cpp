// rnncore.Tensor: construction, properties, in-place updates, the tape, operators and methods.
#include "bindings.h"

namespace rnncore::python {
namespace {

using TensorClass = py::class_<Tensor>;
using Release = py::call_guard<py::gil_scoped_release>;

py::object item(const Tensor& t) {
  if (is_float(t.dtype()) || t.numel() != 1) return py::float_(t.item());
  if (t.dtype() == DType::uint8) return py::int_(static_cast<int>(t.data<std::uint8_t>()[0]));
  return py::int_(t.data<std::int64_t>()[0]);
}

std::string repr(const py::object& self) {
  const Tensor& t = self.cast<const Tensor&>();
  const auto name = py::type::of(self).attr("__name__").cast<std::string>();
  const py::object numpy = py::module_::import("numpy");
  const py::object text = numpy.attr("array2string")(numpy_view(t), py::arg("separator") = ", ",
                                                     py::arg("prefix") = name + "(", py::arg("threshold") = 200);
  return name + "(" + text.cast<std::string>() + ", dtype=" + name_of(t.dtype()) +
         (t.requires_grad() ? ", requires_grad=True)" : ")");
}

// The right-hand side of an in-place operation, off the tape, in the dtype of `self`.
Tensor source_like(const Tensor& self, const py::object& value) {
  if (py::isinstance<Tensor>(value)) {
    const Tensor source = value.cast<const Tensor&>().detach();
    return source.dtype() == self.dtype() ? source : source.to(self.dtype());
  }
  if (const auto scalar = to_scalar(value)) return Tensor::full(self.shape(), *scalar, self.dtype());
  return to_tensor(value, self.dtype());
}

void bind_construction(TensorClass& c) {
  c.def(py::init([](const py::object& data, bool requires_grad, const py::object& dtype) {
          Tensor t = to_tensor(data, dtype.is_none() ? std::nullopt : std::optional<DType>(to_dtype(dtype)));
          if (requires_grad) t.set_requires_grad(true);
          return t;
        }),
        py::arg("data"), py::arg("requires_grad") = false, py::arg("dtype") = py::none());
  py::implicitly_convertible<py::array, Tensor>();
  c.def("__reduce__", [](const py::object& self) {
    const Tensor& t = self.cast<const Tensor&>();
    const py::object array = numpy_view(t).attr("copy")();
    return py::make_tuple(py::type::of(self), py::make_tuple(array, t.requires_grad()));
  });
}

void bind_properties(TensorClass& c) {
  c.def_property_readonly("shape", [](const Tensor& t) { return shape_tuple(t.shape()); });
  c.def_property_readonly("dtype", [](const Tensor& t) { return name_of(t.dtype()); });
  c.def_property_readonly("ndim", &Tensor::dim);
  c.def_property_readonly("is_leaf", &Tensor::is_leaf);
  c.def_property_readonly("version", &Tensor::version);
  c.def_property_readonly("data", &Tensor::detach);
  c.def_property_readonly("device", [](const Tensor& t) { return t.device() == Device::cpu ? "cpu" : "cuda"; });
  c.def_property("requires_grad", &Tensor::requires_grad, [](Tensor& t, bool value) { t.set_requires_grad(value); });
  c.def_property(
      "grad", [](const Tensor& t) { return or_none(t.grad()); },
      [](Tensor& t, const std::optional<Tensor>& grad) { t.set_grad(or_undefined(grad)); });
  c.def("size", [](const Tensor& t) { return shape_tuple(t.shape()); });
  c.def("size", &Tensor::size, py::arg("dim"));
  c.def("dim", &Tensor::dim);
  c.def("numel", &Tensor::numel);
  c.def("__len__", [](const Tensor& t) {
    if (t.dim() == 0) throw_type("len", "tensor", "at least one axis", "shape ()");
    return t.size(0);
  });
  c.def("__bool__", [](const Tensor& t) { return t.item() != 0.0; });
  c.def("__float__", &Tensor::item);
  c.def("__int__", [](const Tensor& t) { return py::int_(item(t)); });
  c.def("__index__", [](const Tensor& t) {
    if (is_float(t.dtype())) throw_type("index", "tensor", "an integer dtype", name_of(t.dtype()));
    return item(t);
  });
  c.def("__hash__", [](const Tensor& t) { return py::hash(py::int_(reinterpret_cast<std::size_t>(t.impl().get()))); });
  c.def("__repr__", &repr);
  c.def("item", &item, "The single element as a Python number.");
  c.def("tolist", [](const Tensor& t) { return numpy_view(t).attr("tolist")(); });
  c.def(
      "numpy", [](const Tensor& t) { return numpy_view(t); },
      "A read-only NumPy view of the same memory (no copy). Write through copy_, or take .numpy().copy().");
  c.def(
      "__array__",
      [](const Tensor& t, const py::object& dtype, const py::object& copy) -> py::object {
        const py::array view = numpy_view(t);
        const bool wants_copy = !copy.is_none() && copy.cast<bool>();
        if (dtype.is_none()) return wants_copy ? view.attr("copy")() : py::object(view);
        return view.attr("astype")(dtype, py::arg("copy") = wants_copy);
      },
      py::arg("dtype") = py::none(), py::arg("copy") = py::none());
  c.attr("__array_priority__") = 1000;  // array + tensor is decided by the tensor
}

void bind_in_place(TensorClass& c) {
  c.def(
      "copy_",
      [](py::object self, const py::object& source) {
        Tensor& t = self.cast<Tensor&>();
        t.copy_(source_like(t, source));
        return self;
      },
      py::arg("source"), "Overwrites with `source` (same shape).");
  c.def(
      "fill_",
      [](py::object self, double value) {
        self.cast<Tensor&>().fill_(value);
        return self;
      },
      py::arg("value"));
  c.def("zero_", [](py::object self) {
    self.cast<Tensor&>().fill_(0.0);
    return self;
  });
  c.def(
      "add_",
      [](py::object self, const py::object& other, double alpha) {
        Tensor& t = self.cast<Tensor&>();
        t.add_(source_like(t, other), alpha);
        return self;
      },
      py::arg("other"), py::arg("alpha") = 1.0, "self += alpha * other, in place.");
  c.def(
      "sub_",
      [](py::object self, const py::object& other, double alpha) {
        Tensor& t = self.cast<Tensor&>();
        t.add_(source_like(t, other), -alpha);
        return self;
      },
      py::arg("other"), py::arg("alpha") = 1.0);
  c.def(
      "mul_",
      [](py::object self, double factor) {
        self.cast<Tensor&>().mul_(factor);
        return self;
      },
      py::arg("factor"));
  c.def(
      "requires_grad_",
      [](py::object self, bool value) {
        self.cast<Tensor&>().set_requires_grad(value);
        return self;
      },
      py::arg("requires_grad") = true);
}

void bind_tape(TensorClass& c) {
  c.def(
      "backward",
      [](const Tensor& t, const std::optional<Tensor>& gradient) {
        without_gil([&] { t.backward(or_undefined(gradient)); });
      },
      py::arg("gradient") = py::none(),
      "Adds dself/dleaf into the grad of every leaf and frees the tape. `gradient`: dL/dself, same shape; may be\n"
      "omitted for a single element.");
  c.def("detach", &Tensor::detach, "The same memory, off the tape.");
  c.def("clone", &Tensor::clone, Release());
  c.def("to", [](const Tensor& t, const py::object& dtype) { return t.to(to_dtype(dtype)); }, py::arg("dtype"));
  c.def("float", [](const Tensor& t) { return t.to(DType::float32); });
  c.def("double", [](const Tensor& t) { return t.to(DType::float64); });
  c.def("long", [](const Tensor& t) { return t.to(DType::int64); });
  c.def("contiguous", [](py::object self) { return self; });
  c.def("cpu", [](py::object self) { return self; });
}

// Arithmetic with a tensor, a number or an array on the other side; anything else is NotImplemented.
template <typename WithTensor, typename WithScalar>
py::object arithmetic(const Tensor& a, const py::object& other, const WithTensor& with_tensor,
                      const WithScalar& with_scalar) {
  if (py::isinstance<Tensor>(other)) {
    const Tensor& b = other.cast<const Tensor&>();
    return py::cast(without_gil([&] { return with_tensor(a, b); }));
  }
  if (const auto scalar = to_scalar(other)) return py::cast(without_gil([&] { return with_scalar(a, *scalar); }));
  if (py::isinstance<py::array>(other)) {
    const Tensor b = to_tensor(other, a.dtype());
    return py::cast(without_gil([&] { return with_tensor(a, b); }));
  }
  return py::reinterpret_borrow<py::object>(Py_NotImplemented);
}

Tensor scalar_tensor(double value, const Tensor& like) { return Tensor::full({}, value, like.dtype()); }

void bind_operators(TensorClass& c) {
  using T = const Tensor&;
  using O = const py::object&;
  const auto op = py::is_operator();
  const auto plus = [](T a, O b) {
    return arithmetic(a, b, [](T x, T y) { return add(x, y); }, [](T x, double y) { return add(x, y); });
  };
  const auto times = [](T a, O b) {
    return arithmetic(a, b, [](T x, T y) { return mul(x, y); }, [](T x, double y) { return mul(x, y); });
  };
  c.def("__add__", plus, op).def("__radd__", plus, op).def("__mul__", times, op).def("__rmul__", times, op);
  c.def(
      "__sub__",
      [](T a, O b) {
        return arithmetic(a, b, [](T x, T y) { return sub(x, y); }, [](T x, double y) { return add(x, -y); });
      },
      op);
  c.def(
      "__rsub__",
      [](T a, O b) {
        return arithmetic(a, b, [](T x, T y) { return sub(y, x); }, [](T x, double y) { return add(neg(x), y); });
      },
      op);
  c.def(
      "__truediv__",
      [](T a, O b) {
        return arithmetic(
            a, b, [](T x, T y) { return div(x, y); }, [](T x, double y) { return div(x, scalar_tensor(y, x)); });
      },
      op);
  c.def(
      "__rtruediv__",
      [](T a, O b) {
        return arithmetic(
            a, b, [](T x, T y) { return div(y, x); }, [](T x, double y) { return div(scalar_tensor(y, x), x); });
      },
      op);
  c.def("__matmul__", [](T a, T b) { return matmul(a, b); }, op, Release());
  c.def("__rmatmul__", [](T a, T b) { return matmul(b, a); }, op, Release());
  c.def("__pow__", [](T a, double e) { return pow(a, e); }, op, Release());
  c.def("__neg__", &neg, Release());
  c.def("__abs__", [](T a) { return abs(a); }, Release());
  for (const char* name : {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"})
    c.def(
        name,
        [name](T a, O b) -> py::object {
          if (b.is_none()) return py::reinterpret_borrow<py::object>(Py_NotImplemented);
          const py::object other = py::isinstance<Tensor>(b) ? py::object(numpy_view(b.cast<T>())) : b;
          return numpy_view(a).attr(name)(other);  // a NumPy array of bool
        },
        op);
}

void bind_shape_methods(TensorClass& c) {
  using T = const Tensor&;
  const auto reshaped = [](T t, const py::args& shape) { return t.reshape(shape_from_args(shape)); };
  c.def("reshape", reshaped).def("view", reshaped);
  c.def("flatten", [](T t) { return t.reshape({-1}); });
  c.def("transpose", &transpose, py::arg("dim0"), py::arg("dim1"), Release());
  const auto swapped = [](T t) {
    if (t.dim() < 2) return t;
    if (t.dim() > 2) throw_argument("T", "tensor", "two axes", to_string(t.shape()), "use transpose(dim0, dim1)");
    return transpose(t, 0, 1);
  };
  c.def_property_readonly("T", swapped);
  c.def("t", swapped);
  c.def(
      "unsqueeze",
      [](T t, std::int64_t dim) {
        const std::int64_t axes = t.dim() + 1;
        if (dim < -axes || dim >= axes)
          throw_argument("unsqueeze", "dim", "within [" + std::to_string(-axes) + ", " + std::to_string(axes) + ")",
                         std::to_string(dim));
        Shape shape = t.shape();
        shape.insert(shape.begin() + (dim < 0 ? dim + axes : dim), 1);
        return t.reshape(shape);
      },
      py::arg("dim"));
  c.def(
      "squeeze",
      [](T t, std::optional<std::int64_t> dim) {
        Shape shape;
        const std::int64_t only = dim ? (*dim < 0 ? *dim + t.dim() : *dim) : -1;
        if (dim) t.size(*dim);  // checks the range
        for (std::int64_t i = 0; i < t.dim(); ++i)
          if (t.size(i) != 1 || (dim && i != only)) shape.push_back(t.size(i));
        return t.reshape(shape);
      },
      py::arg("dim") = py::none());
}

}  // namespace

void bind_tensor(py::module_& m) {
  TensorClass c(m, "Tensor",
                "A dense row-major array (float32, float64, int64 or uint8) and its place on the tape.\n\n"
                "Tensor(data, requires_grad=False, dtype=None) copies `data`: an array, nested lists, a number or a\n"
                "tensor. Python floats become float32 and ints int64; arrays keep their dtype.");
  bind_construction(c);
  bind_properties(c);
  bind_in_place(c);
  bind_tape(c);
  bind_operators(c);
  bind_shape_methods(c);
  bind_indexing(c);
  bind_dlpack(c);
}

}  // namespace rnncore::python
