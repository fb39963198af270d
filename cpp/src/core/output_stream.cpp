#include "core/output_stream.h"

#include <cstring>

#include "backend/pointwise.h"
#include "core/model_head.h"

namespace rnncore {

OutputStream::Product OutputStream::pack(const Tensor& weight, const Tensor& bias) {
  const std::int64_t outputs = weight.size(0), inputs = weight.size(1);
  return {backend::pack_matrix(Device::cpu, weight.dtype(), true, outputs, inputs, weight.raw(), inputs),
          bias.defined() ? bias.clone() : Tensor(), inputs, outputs};
}

OutputStream::OutputStream(const Model& model, std::int64_t batch)
    : batch_(batch), outputs_(model.spec().outputs()), dtype_(model.dtype()) {
  const NoGradGuard guard;
  const ModelSpec& spec = model.spec();
  if (spec.projection_size > 0) {
    projection_ = pack(model.parameter("projection.weight"), {});
    projected_ = Tensor::zeros({batch, spec.projection_size}, dtype_);
  }
  if (spec.softmax.kind == SoftmaxKind::full) {
    head_ = pack(model.parameter(spec.tie_weights ? "embedding.weight" : "head.weight"), model.parameter("head.bias"));
    return;
  }
  const ClusteredSoftmax s = clustered_softmax(model);
  shortlist_ = s.cutoffs[0];
  head_ = pack(s.head_weight, s.head_bias);
  head_out_ = Tensor::zeros({batch, head_.outputs}, dtype_);
  for (std::size_t i = 0; i < s.clusters.size(); ++i) {
    const ClusteredSoftmax::Cluster& from = s.clusters[i];
    Cluster to;
    if (from.projection.defined()) {
      to.projection = pack(from.projection, {});
      to.hidden = Tensor::zeros({batch, to.projection.outputs}, dtype_);
    }
    to.words = pack(from.weight, from.bias);
    to.first = s.cutoffs[i];
    clusters_.push_back(std::move(to));
  }
}

// Starting from c gives the chain that starting from the bias gives, without the kernel's padded copy of it.
void OutputStream::multiply(const Product& p, const void* x, char* y, std::int64_t stride, int threads) const noexcept {
  const auto size = static_cast<std::int64_t>(size_of(dtype_));
  if (p.bias.defined())
    for (std::int64_t n = 0; n < batch_; ++n)
      std::memcpy(y + n * stride * size, p.bias.raw(), static_cast<std::size_t>(p.outputs * size));
  backend::Gemm g;
  g.dtype = dtype_;
  g.trans_b = true;
  g.M = batch_;
  g.N = p.outputs;
  g.K = g.lda = p.inputs;
  g.a = x;
  g.c = y;
  g.ldc = stride;
  g.accumulate = p.bias.defined();
  g.packed_b = p.weight.get();
  g.threads = threads;
  backend::gemm(Device::cpu, g);
}

void OutputStream::log_softmax(char* row, std::int64_t cols, int threads) const noexcept {
  backend::softmax_rows(Device::cpu, dtype_, true, 1, cols, row, row, threads);
}

template <typename T>
void OutputStream::add_to(char* row, std::int64_t cols, double value) const noexcept {
  T* const p = reinterpret_cast<T*>(row);
  for (std::int64_t i = 0; i < cols; ++i) p[i] += static_cast<T>(value);
}

void OutputStream::step(const void* hidden, void* out, int threads) const noexcept {
  char* const to = static_cast<char*>(out);
  if (projected_.defined()) {
    char* const projected = static_cast<char*>(const_cast<void*>(projected_.raw()));
    multiply(projection_, hidden, projected, projection_.outputs, threads);
    hidden = projected;
  }
  if (clusters_.empty()) return multiply(head_, hidden, to, outputs_, threads);
  const auto size = static_cast<std::int64_t>(size_of(dtype_));
  char* const head = static_cast<char*>(const_cast<void*>(head_out_.raw()));
  multiply(head_, hidden, head, head_.outputs, threads);
  for (std::int64_t n = 0; n < batch_; ++n) {
    log_softmax(head + n * head_.outputs * size, head_.outputs, threads);
    std::memcpy(to + n * outputs_ * size, head + n * head_.outputs * size, static_cast<std::size_t>(shortlist_ * size));
  }
  for (std::size_t i = 0; i < clusters_.size(); ++i) {
    const Cluster& c = clusters_[i];
    const void* x = hidden;
    if (c.hidden.defined()) {
      char* const projected = static_cast<char*>(const_cast<void*>(c.hidden.raw()));
      multiply(c.projection, hidden, projected, c.projection.outputs, threads);
      x = projected;
    }
    multiply(c.words, x, to + c.first * size, outputs_, threads);
    for (std::int64_t n = 0; n < batch_; ++n) {
      char* const row = to + (n * outputs_ + c.first) * size;
      log_softmax(row, c.words.outputs, threads);
      const char* at = head + (n * head_.outputs + shortlist_ + static_cast<std::int64_t>(i)) * size;
      if (dtype_ == DType::float32)
        add_to<float>(row, c.words.outputs, static_cast<double>(*reinterpret_cast<const float*>(at)));
      else
        add_to<double>(row, c.words.outputs, *reinterpret_cast<const double*>(at));
    }
  }
}

}  // namespace rnncore
