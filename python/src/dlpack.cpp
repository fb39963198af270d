// DLPack export (https://dmlc.github.io/dlpack, versions 0 and 1). A version-1 consumer gets the tensor's own
// memory, marked read-only: the tape does not see a write behind its back. Not every consumer heeds the mark (PyTorch
// does not), so the weights of an exported tensor are packed at each use. A consumer of version 0 gets a copy.
#include <cstdint>

#include "bindings.h"

namespace rnncore::python {
namespace {

struct DLDevice {
  std::int32_t device_type;
  std::int32_t device_id;
};
struct DLDataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
  struct {
    std::uint32_t major, minor;
  } version;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned*);
  std::uint64_t flags;
  DLTensor dl_tensor;
};
constexpr std::int32_t kDLCPU = 1;
constexpr std::uint64_t kReadOnly = 1, kIsCopied = 2;

// What the consumer keeps alive.
template <typename Managed>
struct Export {
  Tensor tensor;
  Shape shape, strides;
  Managed managed;
};

DLDataType dlpack_dtype(DType dtype) {
  const std::uint8_t code = is_float(dtype) ? 2 : dtype == DType::int64 ? 0 : 1;  // int, uint, float
  return {code, static_cast<std::uint8_t>(8 * size_of(dtype)), 1};
}

template <typename Managed>
Managed* make_export(Tensor tensor) {
  auto* e = new Export<Managed>{std::move(tensor), {}, {}, {}};
  e->shape = e->tensor.shape();
  e->strides.assign(e->shape.size(), 1);
  for (std::size_t i = e->shape.size(); i-- > 1;) e->strides[i - 1] = e->strides[i] * e->shape[i];
  e->managed.dl_tensor = {const_cast<void*>(e->tensor.raw()),
                          {kDLCPU, 0},
                          static_cast<std::int32_t>(e->shape.size()),
                          dlpack_dtype(e->tensor.dtype()),
                          e->shape.data(),
                          e->strides.data(),
                          0};
  e->managed.manager_ctx = e;
  e->managed.deleter = [](Managed* m) { delete static_cast<Export<Managed>*>(m->manager_ctx); };
  return &e->managed;
}

template <typename Managed>
py::capsule capsule_of(Managed* managed, const char* name) {
  // A consumer renames the capsule when it takes the tensor over; only an unused one is freed here.
  PyObject* capsule = PyCapsule_New(managed, name, [](PyObject* c) {
    const char* current = PyCapsule_GetName(c);
    const std::string unused = std::is_same_v<Managed, DLManagedTensor> ? "dltensor" : "dltensor_versioned";
    if (current == nullptr || unused != current) return;
    auto* m = static_cast<Managed*>(PyCapsule_GetPointer(c, current));
    m->deleter(m);
  });
  if (capsule == nullptr) {
    managed->deleter(managed);
    throw py::error_already_set();
  }
  return py::reinterpret_steal<py::capsule>(capsule);
}

py::capsule to_dlpack(const Tensor& t, const py::object& max_version, const std::optional<bool>& copy) {
  const bool versioned = !max_version.is_none() && max_version.cast<py::tuple>()[0].cast<int>() >= 1;
  if (versioned) {
    const bool copied = copy.value_or(false);
    if (!copied) t.share_memory();
    auto* managed = make_export<DLManagedTensorVersioned>(copied ? t.detach().clone() : t.detach());
    managed->version = {1, 0};
    managed->flags = copied ? kIsCopied : kReadOnly;
    return capsule_of(managed, "dltensor_versioned");
  }
  if (copy.has_value() && !*copy)
    throw py::buffer_error(
        "[dlpack] copy: expected a consumer of DLPack 1.0 for a view without a copy, got an older one");
  return capsule_of(make_export<DLManagedTensor>(t.detach().clone()), "dltensor");
}

}  // namespace

void bind_dlpack(py::class_<Tensor>& tensor) {
  tensor.def(
      "__dlpack__",
      [](const Tensor& t, const py::object&, const py::object& max_version, const py::object&,
         const std::optional<bool>& copy) { return to_dlpack(t, max_version, copy); },
      py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
      py::arg("dl_device") = py::none(), py::arg("copy") = py::none());
  tensor.def("__dlpack_device__", [](const Tensor&) { return py::make_tuple(kDLCPU, 0); });
}

}  // namespace rnncore::python
