// Model: fresh parameters, and the forward pass: embedding or features -> stack -> pooling -> head.
#include "rnncore/model.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/ops_common.h"

namespace rnncore {
namespace {

constexpr std::array<const char*, 6> kKinds = {"language_model", "classifier", "tagger",
                                               "forecaster",     "multilabel", "transcriber"};
constexpr std::array<const char*, 3> kPoolings = {"none", "last", "mean"};

template <std::size_t n>
std::size_t index_of(const char* argument, const std::array<const char*, n>& names, const std::string& name) {
  std::string known;
  for (std::size_t i = 0; i < n; ++i) {
    if (name == names[i]) return i;
    known += (i > 0 ? " | " : "") + std::string(names[i]);
  }
  throw_argument("ModelSpec", argument, known, "'" + name + "'");
}

// The mean over the valid steps of y (T, N, H); what stands beyond a sequence's length is zero.
Tensor mean_over_time(const Tensor& y, const Tensor& lengths) {
  if (!lengths.defined()) return mean(y, 0);
  const std::int64_t N = y.size(1);
  Tensor counts = Tensor::empty({N, 1}, y.dtype());
  for (std::int64_t n = 0; n < N; ++n) {
    const auto count = std::max<std::int64_t>(lengths.data<std::int64_t>()[n], 1);
    if (y.dtype() == DType::float32)
      counts.mutable_data<float>()[n] = static_cast<float>(count);
    else
      counts.mutable_data<double>()[n] = static_cast<double>(count);
  }
  return div(sum(y, 0), counts);
}

Tensor last_state(const RecurrentSpec& spec, const RecurrentState& state) {
  const auto directions = static_cast<std::size_t>(spec.directions());
  const std::vector<Tensor> top(state.h.end() - static_cast<std::ptrdiff_t>(directions), state.h.end());
  return directions == 1 ? top[0] : cat(top, 1);
}

bool is_of_stack(const std::string& name) { return name.rfind("rnn.", 0) == 0; }

}  // namespace

const char* name_of(ModelKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }
ModelKind model_kind_from_name(const std::string& name) {
  return static_cast<ModelKind>(index_of("kind", kKinds, name));
}
const char* name_of(Pooling pooling) { return kPoolings[static_cast<std::size_t>(pooling)]; }
Pooling pooling_from_name(const std::string& name) {
  return static_cast<Pooling>(index_of("pooling", kPoolings, name));
}

Model::Model(ModelSpec spec, Generator& generator, DType dtype) : spec_(std::move(spec)) {
  check(spec_);
  if (!is_float(dtype)) throw_type("Model", "dtype", "float32 or float64", name_of(dtype));
  for (const ParameterInfo& info : parameters_of(spec_)) {
    Tensor parameter = Tensor::empty(info.shape, dtype);
    const double bound = 1.0 / std::sqrt(static_cast<double>(info.fan_hidden));
    // A tied head still takes its call of the generator, as Python's does: the same seed, the same model.
    if (info.name == "head.bias" && spec_.tie_weights) generator.next_call();
    if (info.start)
      parameter.fill_(*info.start);
    else if (info.name == "embedding.weight")
      generator.normal_(parameter, 0.0, 1.0);
    else
      generator.uniform_(parameter, -bound, bound);
    parameters_.emplace_back(info.name, std::move(parameter));
  }
}

DType Model::dtype() const { return parameters_.front().second.dtype(); }

std::vector<Tensor> Model::parameters() const {
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : parameters_) tensors.push_back(tensor);
  return tensors;
}

std::vector<Tensor> Model::stack_parameters() const {
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : parameters_)
    if (is_of_stack(name)) tensors.push_back(tensor);
  return tensors;
}

Tensor Model::parameter(const std::string& name) const {
  std::string known;
  for (const auto& [candidate, tensor] : parameters_) {
    if (candidate == name) return tensor;
    known += (known.empty() ? "" : ", ") + candidate;
  }
  throw_argument("Model::parameter", "name", "one of " + known, "'" + name + "'");
}

const Vocabulary& Model::vocabulary() const {
  if (vocabulary_ == nullptr)
    throw_argument("Model::vocabulary", "vocabulary", "one, to read text",
                   vocabulary_json_ == "null" ? "none" : "one of a level that C++ does not read");
  return *vocabulary_;
}

void Model::set_vocabulary(const Vocabulary& vocabulary) {
  if (vocabulary.size() != spec_.vocab_size)
    throw_argument("Model::set_vocabulary", "vocabulary", std::to_string(spec_.vocab_size) + " tokens",
                   std::to_string(vocabulary.size()));
  vocabulary_ = std::make_shared<const Vocabulary>(vocabulary);
  vocabulary_json_ = vocabulary.to_json();
}

void Model::set_requires_grad(bool value) {
  for (auto& [name, tensor] : parameters_) tensor.set_requires_grad(value);
}

ModelOutput Model::features(const ModelInput& input) const {
  const bool drops = input.training && spec_.dropout > 0.0;
  if (drops && input.generator == nullptr)
    throw_argument("Model::forward", "generator", "a Generator, since dropout acts in training", "none");
  const bool tokens = spec_.reads_tokens();
  if (tokens != input.ids.defined() || tokens == input.x.defined())
    throw_argument("Model::forward", tokens ? "ids" : "x", tokens ? "ids alone" : "x alone",
                   input.ids.defined() ? (input.x.defined() ? "both" : "ids") : (input.x.defined() ? "x" : "neither"),
                   tokens ? "this model reads tokens" : "this model reads features");
  RecurrentInput in;
  in.state = input.state;
  in.lengths = input.lengths;
  in.reset_mask = input.reset_mask;
  in.training = input.training;
  in.generator = input.generator;
  if (!tokens) {
    in.x = drops ? dropout(input.x, spec_.dropout, true, *input.generator) : input.x;
  } else if (drops) {
    in.x = dropout(embedding(parameter("embedding.weight"), input.ids), spec_.dropout, true, *input.generator);
  } else {  // nothing stands between the embedding and the first layer: its input product is a table
    in.ids = input.ids;
    in.embedding = parameter("embedding.weight");
  }
  RecurrentOutput out = recurrent(spec_.recurrent, stack_parameters(), in);
  Tensor y = out.y;
  if (spec_.pooling == Pooling::last) y = last_state(spec_.recurrent, out.state);
  if (spec_.pooling == Pooling::mean) y = mean_over_time(y, input.lengths);
  if (drops) y = dropout(y, spec_.dropout, true, *input.generator);
  return {y, std::move(out.state)};
}

ModelOutput Model::forward(const ModelInput& input) const {
  ModelOutput out = features(input);
  out.y = linear(out.y, parameter(spec_.tie_weights ? "embedding.weight" : "head.weight"), parameter("head.bias"));
  return out;
}

ModelStream Model::stream(std::int64_t batch) const { return ModelStream(*this, batch); }

}  // namespace rnncore
