// Packed: a matrix B (K, N) laid out for the panel kernels. Columns are cut into panels of `width` columns
// (a whole number of vectors; the last panel may be narrower); a panel holds its K rows one after another.
//   element (k, j): panel p = j / width, at p * K * width + k * width_of(p) + (j - p * width)
// Columns and rows may be permuted and zero-padded on the way in (the cells' gate layout).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "backend/backend.h"

namespace rnncore::cpu {

// 64-byte aligned scratch memory from the pool.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes) : bytes_(bytes), data_(bytes ? backend::allocate(Device::cpu, bytes) : nullptr) {}
  ~Buffer() {
    if (data_) backend::release(Device::cpu, data_, bytes_);
  }
  Buffer(Buffer&& other) noexcept : bytes_(other.bytes_), data_(other.data_) {
    other.data_ = nullptr;
    other.bytes_ = 0;
  }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(data_, other.data_);
    return *this;
  }
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
  void* data_ = nullptr;
};

struct PanelLayout {
  std::int64_t K = 0;
  std::int64_t N = 0;       // columns, padded to whole vectors
  std::int64_t width = 0;   // columns of a full panel
  std::int64_t stride = 0;  // columns of the result between two panels (= width, but for layouts with gaps)

  std::int64_t panels() const { return (N + width - 1) / width; }
  std::int64_t width_of(std::int64_t p) const { return p + 1 < panels() ? width : N - p * width; }
  std::int64_t offset(std::int64_t p) const { return p * K * width; }
};

}  // namespace rnncore::cpu

namespace rnncore::backend {

class Packed {
 public:
  Packed(const cpu::PanelLayout& layout, std::int64_t element_bytes)
      : layout_(layout), buffer_(static_cast<std::size_t>(layout.K * layout.N * element_bytes)) {}
  const cpu::PanelLayout& layout() const { return layout_; }
  template <typename T>
  T* data() const {
    return static_cast<T*>(buffer_.data());
  }
  template <typename T>
  const T* panel(std::int64_t p) const {
    return data<T>() + layout_.offset(p);
  }

 private:
  cpu::PanelLayout layout_;
  cpu::Buffer buffer_;
};

}  // namespace rnncore::backend
