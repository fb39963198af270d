// Reshape, clone, cast, concatenation, slices, transposition.
#include <algorithm>

#include "core/ops_common.h"

namespace rnncore {
namespace {

// A tensor on `base`'s storage, starting `offset` elements further.
Tensor view(const Tensor& base, Shape shape, std::int64_t offset) {
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = base.impl()->storage;
  impl->shape = std::move(shape);
  impl->dtype = base.dtype();
  impl->offset = base.impl()->offset + offset;
  return Tensor(std::move(impl));
}

Shape inferred(const Tensor& self, Shape shape) {
  std::int64_t known = 1, unknown = -1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1 && unknown < 0) {
      unknown = static_cast<std::int64_t>(i);
    } else if (shape[i] < 0) {
      throw_argument("reshape", "shape", "sizes of at least 0, and at most one -1", to_string(shape));
    } else if (__builtin_mul_overflow(known, std::max<std::int64_t>(1, shape[i]), &known)) {
      throw_argument("reshape", "shape", "a number of elements that fits in 63 bits", to_string(shape));
    }
  }
  if (std::count(shape.begin(), shape.end(), 0) != 0) known = 0;
  const Shape asked = shape;
  if (unknown >= 0 && known != 0 && self.numel() % known == 0)
    shape[static_cast<std::size_t>(unknown)] = self.numel() / known;
  if (std::count(shape.begin(), shape.end(), -1) != 0 || numel_of(shape) != self.numel())
    throw_argument("reshape", "shape", std::to_string(self.numel()) + " elements, as " + to_string(self.shape()),
                   to_string(asked));
  return shape;
}

// The part [start, stop) of `axis`, not recorded. Shares memory where it is contiguous.
Tensor part(const Tensor& a, std::size_t axis, std::int64_t start, std::int64_t stop) {
  Shape shape = a.shape();
  shape[axis] = stop - start;
  const std::int64_t outer = product(a.shape(), 0, axis), inner = product(a.shape(), axis + 1, shape.size());
  if (outer <= 1) return view(a, shape, start * inner);
  Tensor out = Tensor::empty(shape, a.dtype());
  const std::int64_t row = inner * size_of(a.dtype());
  backend::copy_rows(a.device(), outer, (stop - start) * row, static_cast<const char*>(a.raw()) + start * row,
                     a.shape()[axis] * row, out.mutable_raw(), (stop - start) * row);
  return out;
}

// Copies `from` into the part of `into` that starts at `start` on `axis`.
void place(const Tensor& from, Tensor& into, std::size_t axis, std::int64_t start) {
  const std::int64_t outer = product(into.shape(), 0, axis);
  const std::int64_t row = product(into.shape(), axis + 1, into.shape().size()) * size_of(into.dtype());
  char* to = static_cast<char*>(into.mutable_raw()) + start * row;
  if (outer == 1) return backend::copy(into.device(), from.raw(), to, from.shape()[axis] * row);
  backend::copy_rows(into.device(), outer, from.shape()[axis] * row, from.raw(), from.shape()[axis] * row, to,
                     into.shape()[axis] * row);
}

// Adds `from` to the part of `into` that starts at `start` on `axis`.
void add_into(const Tensor& from, Tensor& into, std::size_t axis, std::int64_t start) {
  const std::int64_t outer = product(into.shape(), 0, axis),
                     inner = product(into.shape(), axis + 1, into.shape().size());
  const std::int64_t row = from.shape()[axis] * inner, size = size_of(into.dtype());
  const char* const source = static_cast<const char*>(from.raw());
  char* const to = static_cast<char*>(into.mutable_raw()) + start * inner * size;
  for (std::int64_t i = 0; i < outer; ++i)
    backend::axpy(into.device(), into.dtype(), row, 1.0, source + i * row * size,
                  to + i * into.shape()[axis] * inner * size);
}

Tensor exchanged(const Tensor& a, std::size_t first, std::size_t second) {
  const Shape& in = a.shape();
  Shape shape = in;
  std::swap(shape[first], shape[second]);
  const std::int64_t before = product(in, 0, first), middle = product(in, first + 1, second);
  const std::int64_t after = product(in, second + 1, in.size()), u = in[first], v = in[second];
  const std::int64_t element = size_of(a.dtype());
  Tensor out = Tensor::empty(shape, a.dtype());
  if (middle == 1) {
    backend::exchange(a.device(), element, before, u, v, after, a.raw(), out.mutable_raw());
    return out;
  }
  // (u, middle, v) -> (middle, v, u) -> (v, middle, u)
  Tensor half = Tensor::empty(shape, a.dtype());
  backend::exchange(a.device(), element, before, u, middle * v, after, a.raw(), half.mutable_raw());
  backend::exchange(a.device(), element, before, middle, v, u * after, half.raw(), out.mutable_raw());
  return out;
}

void check_cat(const std::vector<Tensor>& tensors, const char* operation) {
  if (tensors.empty()) throw_argument(operation, "tensors", "at least one tensor", "an empty list");
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::string name = "tensors[" + std::to_string(i) + "]";
    check_same_dtype(operation, name.c_str(), tensors[i], tensors[0].defined() ? tensors[0].dtype() : DType::float32);
  }
}

}  // namespace

Tensor Tensor::reshape(Shape shape) const {
  const Shape before = this->shape();
  Tensor out = view(*this, inferred(*this, std::move(shape)), 0);
  if (should_record({*this}))
    record("reshape", {*this}, {&out},
           [before](const std::vector<Tensor>& grads) -> std::vector<Tensor> { return {grads[0].reshape(before)}; });
  return out;
}

Tensor Tensor::clone() const {
  Tensor out = from_bytes(raw(), shape(), dtype());
  if (should_record({*this}))
    record("clone", {*this}, {&out},
           [](const std::vector<Tensor>& grads) -> std::vector<Tensor> { return {grads[0]}; });
  return out;
}

Tensor Tensor::to(DType dtype) const {
  const DType before = this->dtype();
  if (before == dtype) return *this;
  Tensor out = empty(shape(), dtype);
  backend::convert(device(), before, dtype, numel(), raw(), out.mutable_raw());
  if (is_float(dtype) && should_record({*this}))
    record("to", {*this}, {&out},
           [before](const std::vector<Tensor>& grads) -> std::vector<Tensor> { return {grads[0].to(before)}; });
  return out;
}

Tensor cat(const std::vector<Tensor>& tensors, std::int64_t axis) {
  check_cat(tensors, "cat");
  const std::size_t k = normal_axis("cat", axis, tensors[0].dim());
  Shape shape = tensors[0].shape();
  std::vector<std::int64_t> sizes;
  shape[k] = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    Shape other = tensors[i].shape();
    if (other.size() == shape.size()) other[k] = 0;
    if (other != shape)
      throw_argument("cat", "tensors[" + std::to_string(i) + "]",
                     "shape " + to_string(tensors[0].shape()) + " but for axis " + std::to_string(k),
                     to_string(tensors[i].shape()));
    sizes.push_back(tensors[i].shape()[k]);
  }
  for (const std::int64_t size : sizes) shape[k] += size;
  Tensor out = Tensor::empty(shape, tensors[0].dtype());
  std::int64_t start = 0;
  for (const Tensor& t : tensors) {
    place(t, out, k, start);
    start += t.shape()[k];
  }
  if (!should_record(tensors)) return out;
  std::vector<bool> needs;
  for (const Tensor& t : tensors) needs.push_back(t.requires_grad());
  record("cat", tensors, {&out}, [k, sizes, needs](const std::vector<Tensor>& grads) {
    std::vector<Tensor> parts(sizes.size());
    std::int64_t at = 0;
    for (std::size_t i = 0; i < sizes.size(); at += sizes[i], ++i)
      if (needs[i]) parts[i] = part(grads[0], k, at, at + sizes[i]);
    return parts;
  });
  return out;
}

Tensor stack(const std::vector<Tensor>& tensors, std::int64_t axis) {
  check_cat(tensors, "stack");
  const std::size_t k = normal_axis("stack", axis, tensors[0].dim() + 1);
  Shape shape = tensors[0].shape();
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(k), 1);
  std::vector<Tensor> expanded;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].shape() != tensors[0].shape())
      throw_argument("stack", "tensors[" + std::to_string(i) + "]", "shape " + to_string(tensors[0].shape()),
                     to_string(tensors[i].shape()));
    expanded.push_back(tensors[i].reshape(shape));
  }
  return cat(expanded, static_cast<std::int64_t>(k));
}

Tensor slice(const Tensor& a, std::int64_t axis, std::int64_t start, std::int64_t stop) {
  check_defined("slice", "a", a);
  const std::size_t k = normal_axis("slice", axis, a.dim());
  const std::int64_t size = a.shape()[k];
  if (start < 0 || stop < start || stop > size)
    throw_argument("slice", "start, stop", "0 <= start <= stop <= " + std::to_string(size),
                   std::to_string(start) + ", " + std::to_string(stop));
  Tensor out = part(a, k, start, stop);
  if (!should_record({a})) return out;
  record_part("slice", a, out, [k, start](const Tensor& dout, Tensor& da) { add_into(dout, da, k, start); });
  return out;
}

std::vector<Tensor> chunk(const Tensor& a, std::int64_t chunks, std::int64_t axis) {
  check_defined("chunk", "a", a);
  if (chunks < 1) throw_argument("chunk", "chunks", "at least 1", std::to_string(chunks));
  const std::size_t k = normal_axis("chunk", axis, a.dim());
  const std::int64_t size = a.shape()[k], each = std::max<std::int64_t>(1, (size + chunks - 1) / chunks);
  std::vector<Tensor> parts;
  for (std::int64_t start = 0; start < size || parts.empty(); start += each)
    parts.push_back(part(a, k, start, std::min(start + each, size)));
  if (!should_record({a})) return parts;
  std::vector<Tensor*> outputs;
  for (Tensor& p : parts) outputs.push_back(&p);
  record("chunk", {a}, outputs,
         [k, each, shape = a.shape(), dtype = a.dtype()](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
           const bool all = std::all_of(grads.begin(), grads.end(), [](const Tensor& g) { return g.defined(); });
           Tensor da = all ? Tensor::empty(shape, dtype) : Tensor::zeros(shape, dtype);
           for (std::size_t i = 0; i < grads.size(); ++i)
             if (grads[i].defined()) place(grads[i], da, k, static_cast<std::int64_t>(i) * each);
           return {da};
         });
  return parts;
}

Tensor transpose(const Tensor& a, std::int64_t axis0, std::int64_t axis1) {
  check_defined("transpose", "a", a);
  const std::size_t u = normal_axis("transpose", axis0, a.dim(), "axis0");
  const std::size_t v = normal_axis("transpose", axis1, a.dim(), "axis1");
  if (u == v) return a;
  const std::size_t first = std::min(u, v), second = std::max(u, v);
  Tensor out = exchanged(a, first, second);
  if (!should_record({a})) return out;
  record("transpose", {a}, {&out}, [first, second](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    return {exchanged(grads[0], first, second)};
  });
  return out;
}

}  // namespace rnncore
