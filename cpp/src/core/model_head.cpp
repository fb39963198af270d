#include "core/model_head.h"

namespace rnncore {
namespace {

Tensor full_weight(const Model& model) {
  return model.parameter(model.spec().tie_weights ? "embedding.weight" : "head.weight");
}

// What the softmax reads: the stack's output (..., width), or its projection.
Tensor head_input(const Model& model, const Tensor& y) {
  return model.spec().projection_size > 0 ? linear(y, model.parameter("projection.weight")) : y;
}

}  // namespace

ClusteredSoftmax clustered_softmax(const Model& model) {
  const SoftmaxSpec& spec = model.spec().softmax;
  ClusteredSoftmax s;
  s.cutoffs = spec.cutoffs;
  s.cutoffs.push_back(model.spec().vocab_size);
  s.head_weight = model.parameter("head.head.weight");
  s.head_bias = model.parameter("head.head.bias");
  if (!model.spec().whole_words()) {
    for (std::size_t i = 0; i < spec.cutoffs.size(); ++i) {
      const std::string tail = "head.tail." + std::to_string(i);
      s.clusters.push_back({model.parameter(tail + ".0.weight"), model.parameter(tail + ".1.weight"), {}});
    }
    return s;
  }
  const Tensor weight = model.parameter(model.spec().tie_weights ? "embedding.weight" : "head.words.weight");
  const Tensor bias = model.parameter("head.words.bias");
  for (std::size_t i = 0; i + 1 < s.cutoffs.size(); ++i) {
    const std::int64_t first = s.cutoffs[i], last = s.cutoffs[i + 1];
    s.clusters.push_back({{}, slice(weight, 0, first, last), slice(bias, 0, first, last)});
  }
  if (const std::int64_t shortlist = s.cutoffs[0]; shortlist > 0) {
    s.head_weight = cat({slice(weight, 0, 0, shortlist), s.head_weight}, 0);
    s.head_bias = cat({slice(bias, 0, 0, shortlist), s.head_bias}, 0);
  }
  return s;
}

Tensor head_logits(const Model& model, const Tensor& hidden) {
  const ModelSpec& spec = model.spec();
  const Tensor y = head_input(model, hidden);
  if (spec.softmax.kind == SoftmaxKind::full) return linear(y, full_weight(model), model.parameter("head.bias"));
  Shape shape = y.shape();
  const std::int64_t width = shape.back();
  shape.back() = spec.vocab_size;
  return clustered_log_prob(y.reshape({width > 0 ? y.numel() / width : 0, width}), clustered_softmax(model))
      .reshape(shape);
}

Tensor head_loss(const Model& model, const Tensor& hidden, const Tensor& targets, const LossOptions& options) {
  const Tensor y = head_input(model, hidden);
  if (model.spec().softmax.kind != SoftmaxKind::full)
    return clustered_cross_entropy(y, clustered_softmax(model), targets, options);
  return linear_cross_entropy(y, full_weight(model), model.parameter("head.bias"), targets, options);
}

}  // namespace rnncore
