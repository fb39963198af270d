// Model: fresh parameters, and the forward pass: embedding or features -> stack -> pooling -> head.
#include "rnncore/model.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/model_head.h"
#include "core/ops_common.h"

namespace rnncore {
namespace {

constexpr std::array<const char*, 6> kKinds = {"language_model", "classifier", "tagger",
                                               "forecaster",     "multilabel", "transcriber"};
constexpr std::array<const char*, 4> kPoolings = {"none", "last", "mean", "max"};
constexpr std::array<const char*, 3> kSoftmaxes = {"full", "adaptive", "class"};

template <std::size_t n>
std::size_t index_of(const char* argument, const std::array<const char*, n>& names, const std::string& name) {
  std::string known;
  for (std::size_t i = 0; i < n; ++i) {
    if (name == names[i]) return i;
    known += (i > 0 ? " | " : "") + std::string(names[i]);
  }
  throw_argument("ModelSpec", argument, known, "'" + name + "'");
}

Tensor last_state(const RecurrentSpec& spec, const RecurrentState& state) {
  const auto directions = static_cast<std::size_t>(spec.directions());
  const std::vector<Tensor> top(state.h.end() - static_cast<std::ptrdiff_t>(directions), state.h.end());
  return directions == 1 ? top[0] : cat(top, 1);
}

std::vector<Tensor> under(const NamedTensors& parameters, const std::string& prefix) {
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : parameters)
    if (name.rfind(prefix, 0) == 0) tensors.push_back(tensor);
  return tensors;
}

bool is_embedding(const std::string& name) {
  return name == "embedding.weight" || name == "characters.embedding.weight";
}

// The last states of each word's characters (U, width), one row for each place (T, N, width).
Tensor character_features(const Model& model, const ModelInput& input) {
  const std::pair<const char*, const Tensor&> wanted[] = {
      {"char_ids", input.char_ids}, {"char_lengths", input.char_lengths}, {"char_index", input.char_index}};
  for (const auto& [argument, tensor] : wanted)
    if (!tensor.defined()) throw_argument("Model::forward", argument, "one, as this model reads characters", "none");
  RecurrentInput in;
  in.ids = input.char_ids;
  in.embedding = model.parameter("characters.embedding.weight");
  in.lengths = input.char_lengths;
  in.training = input.training;
  in.generator = input.generator;
  const RecurrentSpec& spec = model.spec().characters.recurrent;
  const RecurrentOutput out = recurrent(spec, under(model.named_parameters(), "characters.rnn."), in);
  return embedding(last_state(spec, out.state), input.char_index);
}

}  // namespace

const char* name_of(ModelKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }
ModelKind model_kind_from_name(const std::string& name) {
  return static_cast<ModelKind>(index_of("kind", kKinds, name));
}
const char* name_of(Pooling pooling) { return kPoolings[static_cast<std::size_t>(pooling)]; }
Pooling pooling_from_name(const std::string& name) {
  return static_cast<Pooling>(index_of("pooling", kPoolings, name));
}
const char* name_of(SoftmaxKind kind) { return kSoftmaxes[static_cast<std::size_t>(kind)]; }
SoftmaxKind softmax_kind_from_name(const std::string& name) {
  return static_cast<SoftmaxKind>(index_of("softmax", kSoftmaxes, name));
}

Model::Model(ModelSpec spec, Generator& generator, DType dtype) : spec_(std::move(spec)) {
  check(spec_);
  if (!is_float(dtype)) throw_type("Model", "dtype", "float32 or float64", name_of(dtype));
  for (const ParameterInfo& info : parameters_of(spec_)) {
    Tensor parameter = Tensor::empty(info.shape, dtype);
    const double bound = 1.0 / std::sqrt(static_cast<double>(info.fan_hidden));
    // A tied head still takes its call of the generator, as Python's does: the same seed, the same model.
    if (spec_.tie_weights && (info.name == "head.bias" || info.name == "head.words.bias")) generator.next_call();
    if (info.start)
      parameter.fill_(*info.start);
    else if (is_embedding(info.name))
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

std::vector<Tensor> Model::stack_parameters() const { return under(parameters_, "rnn."); }

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
  const bool letters = spec_.characters.vocab_size > 0;
  if (tokens && !drops && !letters) {  // nothing stands between the embedding and the first layer:
    in.ids = input.ids;                // its input product is a table
    in.embedding = parameter("embedding.weight");
  } else {
    in.x = tokens ? embedding(parameter("embedding.weight"), input.ids) : input.x;
    if (letters) in.x = cat({in.x, character_features(*this, input)}, 2);
    if (drops) in.x = dropout(in.x, spec_.dropout, true, *input.generator);
  }
  RecurrentOutput out = recurrent(spec_.recurrent, stack_parameters(), in);
  Tensor y = out.y;
  if (spec_.pooling == Pooling::last) y = last_state(spec_.recurrent, out.state);
  if (spec_.pooling == Pooling::mean) y = mean_over_time(y, input.lengths);
  if (spec_.pooling == Pooling::max) y = max_over_time(y, input.lengths);
  if (drops) y = dropout(y, spec_.dropout, true, *input.generator);
  return {y, std::move(out.state)};
}

ModelOutput Model::forward(const ModelInput& input) const {
  ModelOutput out = features(input);
  out.y = head_logits(*this, out.y);
  return out;
}

Tensor Model::decode(const ModelInput& input) const {
  if (spec_.kind != ModelKind::classifier && spec_.kind != ModelKind::tagger)
    throw_argument("Model::decode", "kind", "classifier or tagger", name_of(spec_.kind));
  const NoGradGuard guard;
  const Tensor scores = forward(input).y;
  if (spec_.kind == ModelKind::classifier) return argmax(scores, 1);
  const std::int64_t O = spec_.outputs();
  CrfWeights weights{Tensor::zeros({O, O}, dtype()), Tensor::zeros({O}, dtype()), Tensor::zeros({O}, dtype())};
  if (spec_.crf) weights = {parameter("crf.transitions"), parameter("crf.start"), parameter("crf.end")};
  if (spec_.bio) {
    const CrfWeights penalties = bio_penalties(labels_, dtype());
    weights.transitions = add(weights.transitions, penalties.transitions);
    weights.start = add(weights.start, penalties.start);
  }
  return crf_decode(scores, weights, input.lengths);
}

ModelStream Model::stream(std::int64_t batch) const { return ModelStream(*this, batch); }

}  // namespace rnncore
