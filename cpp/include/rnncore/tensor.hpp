// Tensor: a shared handle to a dense, row-major, contiguous array and its place on the tape.
// Memory: 64-byte aligned, taken from a pooling allocator, so a training loop reuses its buffers; from_shared (as for
// memory-mapped files) takes other memory, aligned to its elements.
// Shapes are int64. Copying a Tensor copies the handle. Standard library only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "rnncore/error.hpp"
#include "rnncore/export.hpp"

namespace rnncore {

enum class DType : std::uint8_t { float32, float64, int64, uint8 };

RNNCORE_EXPORT std::int64_t size_of(DType dtype);  // bytes of one element
RNNCORE_EXPORT const char* name_of(DType dtype);   // "float32", ...
inline bool is_float(DType dtype) { return dtype == DType::float32 || dtype == DType::float64; }

enum class Device : std::uint8_t { cpu, cuda };

using Shape = std::vector<std::int64_t>;
RNNCORE_EXPORT std::string to_string(const Shape& shape);  // "(3, 4)", "(5,)", "()"
RNNCORE_EXPORT std::int64_t numel_of(const Shape& shape);

template <typename T>
struct dtype_of;
template <>
struct dtype_of<float> {
  static constexpr DType value = DType::float32;
};
template <>
struct dtype_of<double> {
  static constexpr DType value = DType::float64;
};
template <>
struct dtype_of<std::int64_t> {
  static constexpr DType value = DType::int64;
};
template <>
struct dtype_of<std::uint8_t> {
  static constexpr DType value = DType::uint8;
};

class Storage;      // the bytes, their version and the packed copies made of them (src/core/storage.h)
struct TensorImpl;  // shape, storage, tape state (src/core/tensor_impl.h)

class RNNCORE_EXPORT Tensor {
 public:
  Tensor() = default;  // undefined: "no tensor"

  static Tensor empty(Shape shape, DType dtype = DType::float32);
  static Tensor zeros(Shape shape, DType dtype = DType::float32);
  static Tensor full(Shape shape, double value, DType dtype = DType::float32);
  // Copies numel_of(shape) elements.
  template <typename T>
  static Tensor from(const T* data, Shape shape) {
    return from_bytes(data, std::move(shape), dtype_of<T>::value);
  }
  template <typename T>
  static Tensor from(const std::vector<T>& data, Shape shape) {
    if (static_cast<std::int64_t>(data.size()) != numel_of(shape))
      throw_argument("Tensor::from", "data",
                     std::to_string(numel_of(shape)) + " elements for shape " + to_string(shape),
                     std::to_string(data.size()));
    return from(data.data(), std::move(shape));
  }
  static Tensor from_bytes(const void* data, Shape shape, DType dtype);
  // Takes memory of somebody else's as it is: written to by in-place operations, held as long as the tensor lives.
  // Whoever else writes to it calls share_memory() first.
  static Tensor from_shared(std::shared_ptr<void> bytes, Shape shape, DType dtype);

  bool defined() const { return impl_ != nullptr; }
  explicit operator bool() const { return defined(); }

  const Shape& shape() const;
  std::int64_t dim() const { return static_cast<std::int64_t>(shape().size()); }
  std::int64_t size(std::int64_t axis) const;  // negative axes count from the end
  std::int64_t numel() const;
  DType dtype() const;
  Device device() const;

  const void* raw() const;
  void* mutable_raw();  // bumps the storage version: packed copies are remade, the tape notices
  template <typename T>
  const T* data() const {
    check_dtype(dtype_of<T>::value);
    return static_cast<const T*>(raw());
  }
  template <typename T>
  T* mutable_data() {
    check_dtype(dtype_of<T>::value);
    return static_cast<T*>(mutable_raw());
  }
  double item() const;  // the single element; ArgumentError if numel() != 1

  // Overwrites in place (same shape and dtype); refused on a leaf that requires grad unless grad mode is off.
  void copy_(const Tensor& source);
  void fill_(double value);
  void add_(const Tensor& other, double alpha = 1.0);  // this += alpha * other
  void mul_(double factor);
  Tensor clone() const;               // differentiable copy
  Tensor to(DType dtype) const;       // differentiable cast between float dtypes; plain cast otherwise
  Tensor detach() const;              // shares the storage, off the tape
  Tensor reshape(Shape shape) const;  // shares the storage; one -1 is inferred; differentiable

  // Tape ------------------------------------------------------------------------------------------------
  bool requires_grad() const;             // true for leaves that ask for it and for results that depend on them
  Tensor& set_requires_grad(bool value);  // leaves with a float dtype only
  bool is_leaf() const;
  Tensor grad() const;         // undefined before backward()
  void set_grad(Tensor grad);  // undefined clears; else same shape and dtype
  // Walks the tape backwards from this tensor, adds into the leaves' grad, and frees the tape.
  // `seed`: dL/dthis, same shape; may be omitted for a single element (then 1).
  void backward(const Tensor& seed = {}) const;

  std::uint64_t version() const;  // of the storage; every write bumps it
  void share_memory() const;      // others may write to it unseen from now on: weights are packed at each use
  const std::shared_ptr<TensorImpl>& impl() const { return impl_; }
  explicit Tensor(std::shared_ptr<TensorImpl> impl) : impl_(std::move(impl)) {}

 private:
  void check_dtype(DType wanted) const;
  std::shared_ptr<TensorImpl> impl_;
};

// While alive, operations on this thread are not recorded.
class RNNCORE_EXPORT NoGradGuard {
 public:
  NoGradGuard();
  ~NoGradGuard();
  NoGradGuard(const NoGradGuard&) = delete;
  NoGradGuard& operator=(const NoGradGuard&) = delete;

 private:
  bool previous_;
};
RNNCORE_EXPORT bool grad_enabled();
RNNCORE_EXPORT void set_grad_enabled(bool enabled);  // for bindings; prefer NoGradGuard

}  // namespace rnncore
