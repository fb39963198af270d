// Tensor: construction, inspection and in-place writes. The tape is in tape.cpp.
#include "rnncore/tensor.hpp"

#include <cstring>
#include <limits>
#include <new>

#include "backend/pointwise.h"
#include "core/tensor_impl.h"

namespace rnncore {
namespace {

thread_local bool grad_mode = true;

const TensorImpl& checked(const std::shared_ptr<TensorImpl>& impl) {
  if (impl == nullptr) throw_argument("Tensor", "self", "a defined tensor", "an undefined one");
  return *impl;
}

std::int64_t checked_numel(const Shape& shape) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) {
    if (size < 0) throw_argument("Tensor", "shape", "sizes of at least 0", to_string(shape));
    if (__builtin_mul_overflow(n, size == 0 ? 1 : size, &n))
      throw_argument("Tensor", "shape", "a number of elements that fits in 63 bits", to_string(shape));
  }
  for (const std::int64_t size : shape)
    if (size == 0) return 0;
  return n;
}

std::shared_ptr<Storage> make_storage(const Shape& shape, DType dtype) {
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(checked_numel(shape), size_of(dtype), &bytes))
    throw_argument("Tensor", "shape", "a size in bytes that fits in 63 bits", to_string(shape));
  try {
    return std::make_shared<Storage>(Device::cpu, static_cast<std::size_t>(bytes));
  } catch (const std::bad_alloc&) {
    throw Error("[Tensor] shape: out of memory, " + std::to_string(bytes) + " bytes asked for " + to_string(shape) +
                " of " + name_of(dtype));
  }
}

// In-place writes are not recorded, so they are refused where a gradient would silently be wrong.
void check_in_place(const char* operation, const Tensor& self, const Tensor& source) {
  checked(self.impl());
  if (!grad_enabled()) return;
  if (self.requires_grad())
    throw_argument(operation, "self", "a tensor that does not require grad, or grad mode off", "one that requires grad",
                   "in-place writes are not recorded: use no_grad, or an operation that makes a new tensor");
  if (source.defined() && source.requires_grad())
    throw_argument(operation, "source", "a tensor that does not require grad, or grad mode off",
                   "one that requires grad", "in-place writes are not recorded: use no_grad or detach()");
}

void check_same(const char* operation, const Tensor& self, const Tensor& other) {
  checked(other.impl());
  if (other.dtype() != self.dtype()) throw_type(operation, "source", name_of(self.dtype()), name_of(other.dtype()));
  if (other.shape() != self.shape())
    throw_argument(operation, "source", "shape " + to_string(self.shape()), to_string(other.shape()));
}

}  // namespace

std::int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return 4;
    case DType::uint8:
      return 1;
    default:
      return 8;
  }
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return "float32";
    case DType::float64:
      return "float64";
    case DType::int64:
      return "int64";
    default:
      return "uint8";
  }
}

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::int64_t numel_of(const Shape& shape) {
  std::int64_t n = 1;
  for (const std::int64_t size : shape) n *= size;
  return n;
}

bool grad_enabled() { return grad_mode; }
void set_grad_enabled(bool enabled) { grad_mode = enabled; }
NoGradGuard::NoGradGuard() : previous_(grad_mode) { grad_mode = false; }
NoGradGuard::~NoGradGuard() { grad_mode = previous_; }

// Construction ------------------------------------------------------------------------------------------------

Tensor Tensor::empty(Shape shape, DType dtype) {
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = make_storage(shape, dtype);
  impl->shape = std::move(shape);
  impl->dtype = dtype;
  return Tensor(std::move(impl));
}

Tensor Tensor::zeros(Shape shape, DType dtype) {
  Tensor out = empty(std::move(shape), dtype);
  backend::zero(out.device(), out.mutable_raw(), out.numel() * size_of(dtype));
  return out;
}

Tensor Tensor::full(Shape shape, double value, DType dtype) {
  Tensor out = empty(std::move(shape), dtype);
  backend::fill(out.device(), dtype, out.numel(), value, out.mutable_raw());
  return out;
}

Tensor Tensor::from_bytes(const void* data, Shape shape, DType dtype) {
  Tensor out = empty(std::move(shape), dtype);
  backend::copy(out.device(), data, out.mutable_raw(), out.numel() * size_of(dtype));
  return out;
}

Tensor Tensor::from_shared(std::shared_ptr<void> bytes, Shape shape, DType dtype) {
  if (bytes == nullptr) throw_argument("Tensor::from_shared", "bytes", "memory", "none (null)");
  if (reinterpret_cast<std::uintptr_t>(bytes.get()) % static_cast<std::uintptr_t>(size_of(dtype)) != 0)
    throw_argument("Tensor::from_shared", "bytes", std::string("an address aligned for ") + name_of(dtype), "another");
  auto impl = std::make_shared<TensorImpl>();
  const std::int64_t size = checked_numel(shape) * size_of(dtype);
  impl->storage = std::make_shared<Storage>(Device::cpu, static_cast<std::size_t>(size), std::move(bytes));
  impl->shape = std::move(shape);
  impl->dtype = dtype;
  return Tensor(std::move(impl));
}

// Inspection --------------------------------------------------------------------------------------------------

const Shape& Tensor::shape() const { return checked(impl_).shape; }

std::int64_t Tensor::size(std::int64_t axis) const {
  const std::int64_t n = dim(), wanted = axis < 0 ? axis + n : axis;
  if (wanted < 0 || wanted >= n)
    throw_argument("Tensor.size", "axis", "an axis of shape " + to_string(shape()), std::to_string(axis));
  return shape()[static_cast<std::size_t>(wanted)];
}

std::int64_t Tensor::numel() const { return numel_of(shape()); }
DType Tensor::dtype() const { return checked(impl_).dtype; }
Device Tensor::device() const { return checked(impl_).storage->device(); }
std::uint64_t Tensor::version() const { return checked(impl_).storage->version(); }

void Tensor::share_memory() const { checked(impl_).storage->share(); }

const void* Tensor::raw() const {
  const TensorImpl& impl = checked(impl_);
  return static_cast<const char*>(impl.storage->data()) + impl.offset * size_of(impl.dtype);
}

void* Tensor::mutable_raw() {
  void* data = const_cast<void*>(raw());
  impl_->storage->bump();
  return data;
}

void Tensor::check_dtype(DType wanted) const {
  if (dtype() != wanted) throw_type("Tensor.data", "type", name_of(dtype()), name_of(wanted));
}

double Tensor::item() const {
  if (numel() != 1) throw_argument("Tensor.item", "self", "a single element", "shape " + to_string(shape()));
  switch (dtype()) {
    case DType::float32:
      return *data<float>();
    case DType::float64:
      return *data<double>();
    case DType::int64:
      return static_cast<double>(*data<std::int64_t>());
    default:
      return *data<std::uint8_t>();
  }
}

// In-place writes ---------------------------------------------------------------------------------------------

void Tensor::copy_(const Tensor& source) {
  check_in_place("copy_", *this, source);
  check_same("copy_", *this, source);
  const void* from = source.raw();
  backend::copy(device(), from, mutable_raw(), numel() * size_of(dtype()));
  finish_write(*this);
}

void Tensor::fill_(double value) {
  check_in_place("fill_", *this, {});
  backend::fill(device(), dtype(), numel(), value, mutable_raw());
  finish_write(*this);
}

void Tensor::add_(const Tensor& other, double alpha) {
  check_in_place("add_", *this, other);
  check_same("add_", *this, other);
  if (!is_float(dtype())) throw_type("add_", "self", "a float dtype", name_of(dtype()));
  const void* from = other.raw();
  backend::axpy(device(), dtype(), numel(), alpha, from, mutable_raw());
  finish_write(*this);
}

void Tensor::mul_(double factor) {
  check_in_place("mul_", *this, {});
  if (!is_float(dtype())) throw_type("mul_", "self", "a float dtype", name_of(dtype()));
  void* data = mutable_raw();
  backend::unary(device(), backend::Unary::scale, dtype(), numel(), data, data, factor);
  finish_write(*this);
}

Tensor Tensor::detach() const {
  const TensorImpl& impl = checked(impl_);
  auto alias = std::make_shared<TensorImpl>();
  alias->storage = impl.storage;
  alias->shape = impl.shape;
  alias->dtype = impl.dtype;
  alias->offset = impl.offset;
  return Tensor(std::move(alias));
}

}  // namespace rnncore
