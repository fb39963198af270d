#include "core/stream_wiring.h"

#include <algorithm>
#include <cstring>

#include "backend/pointwise.h"

namespace rnncore {
namespace {

// Elements of a call that the backend computes on the calling thread.
constexpr std::int64_t kOneThread = 8192;

backend::PackedPtr packed(const Tensor& w) {
  if (!w.defined()) return nullptr;
  return backend::pack_matrix(w.device(), w.dtype(), true, w.size(0), w.size(1), w.raw(), w.size(1));
}

}  // namespace

StreamWiring::StreamWiring(const RecurrentSpec& spec, const StackParameters& stack, std::int64_t batch, DType dtype)
    : batch_(batch), dtype_(dtype), links_(spec.layers.size()), input_size_(spec.input_size) {
  const NoGradGuard guard;
  for (std::size_t k = 1; k < links_.size(); ++k) {
    Link& link = links_[k];
    link.below = spec.layer_output_size(static_cast<std::int64_t>(k) - 1);
    link.size = spec.layer_output_size(static_cast<std::int64_t>(k));
    if (spec.connection == Connection::dense) {
      link.seen = Tensor::zeros({batch, spec.layer_input_size(static_cast<std::int64_t>(k))}, dtype);
      continue;
    }
    if (spec.connection == Connection::none) continue;
    const ConnectionParameters& p = stack.connections[k];
    link.residual = spec.connection == Connection::residual;
    link.highway = spec.connection == Connection::highway;
    link.out = Tensor::zeros({batch, link.size}, dtype);
    link.skip = packed(p.weight_skip);
    if (link.skip) link.x = Tensor::zeros({batch, link.size}, dtype);
    if (!link.highway) continue;
    link.gate = packed(p.weight_highway);
    link.bias = p.bias_highway.detach().clone();
    link.t = Tensor::zeros({batch, link.size}, dtype);
  }
}

const void* StreamWiring::input_of(std::size_t k, const void* in, const void* below) noexcept {
  Link& link = links_[k];
  if (k == 0) return in;
  if (!link.seen.defined()) return below;
  // [what the layer below saw, its output]
  const std::int64_t element = size_of(dtype_), before = (link.seen.size(1) - link.below) * element;
  const void* const earlier = k == 1 ? in : links_[k - 1].seen.raw();
  char* const to = static_cast<char*>(link.seen.mutable_raw());
  for (std::int64_t n = 0; n < batch_; ++n) {
    char* const row = to + n * link.seen.size(1) * element;
    std::memcpy(row, static_cast<const char*>(earlier) + n * before, static_cast<std::size_t>(before));
    std::memcpy(row + before, static_cast<const char*>(below) + n * link.below * element,
                static_cast<std::size_t>(link.below * element));
  }
  return link.seen.raw();
}

const void* StreamWiring::joined(std::size_t k, const void* below, const void* y) noexcept {
  Link& link = links_[k];
  if (!link.residual && !link.highway) return y;
  const void* x = below;
  if (link.skip) {
    multiply(link, link.skip.get(), below, link.x, {});
    x = link.x.raw();
  }
  const std::int64_t n = batch_ * link.size;
  void* const out = link.out.mutable_raw();
  if (link.residual) {
    binary(backend::Binary::add, n, y, x, out);
    return out;
  }
  multiply(link, link.gate.get(), below, link.t, link.bias);
  char* const t = static_cast<char*>(link.t.mutable_raw());
  for (std::int64_t i = 0; i < n; i += kOneThread)
    backend::unary(Device::cpu, backend::Unary::sigmoid, dtype_, std::min(kOneThread, n - i), t + i * size_of(dtype_),
                   t + i * size_of(dtype_), 0.0);
  binary(backend::Binary::sub, n, y, x, out);
  binary(backend::Binary::mul, n, out, t, out);
  binary(backend::Binary::add, n, out, x, out);
  return out;
}

// out = x W^T [+ bias]: started from the bias in c, which is the chain that the kernel starts from a bias.
void StreamWiring::multiply(const Link& link, const backend::Packed* weight, const void* x, Tensor& out,
                            const Tensor& bias) noexcept {
  char* const c = static_cast<char*>(out.mutable_raw());
  const auto bytes = static_cast<std::size_t>(link.size * size_of(dtype_));
  for (std::int64_t n = 0; bias.defined() && n < batch_; ++n)
    std::memcpy(c + n * static_cast<std::int64_t>(bytes), bias.raw(), bytes);
  backend::Gemm g;
  g.dtype = dtype_;
  g.trans_b = true;
  g.M = batch_;
  g.N = link.size;
  g.K = link.below;
  g.a = x;
  g.lda = link.below;
  g.c = c;
  g.ldc = link.size;
  g.accumulate = bias.defined();
  g.packed_b = weight;
  g.threads = 1;
  backend::gemm(Device::cpu, g);
}

void StreamWiring::binary(backend::Binary op, std::int64_t n, const void* a, const void* b, void* y) const noexcept {
  const std::int64_t element = size_of(dtype_);
  for (std::int64_t i = 0; i < n; i += kOneThread) {
    backend::Broadcast part;
    part.dtype = dtype_;
    part.axes = 1;
    part.size[0] = std::min(kOneThread, n - i);
    part.a_stride[0] = part.b_stride[0] = 1;
    part.a = static_cast<const char*>(a) + i * element;
    part.b = static_cast<const char*>(b) + i * element;
    part.y = static_cast<char*>(y) + i * element;
    backend::binary(Device::cpu, op, part);
  }
}

}  // namespace rnncore
