// Whole models as data: ModelSpec says what a model is, LanguageModel runs it, and a model file holds both
// (safetensors: parameters under their names; metadata key "rnncore": versioned JSON with spec, vocabulary, facts).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "rnncore/recurrent.hpp"
#include "rnncore/tensor.hpp"

namespace rnncore {

// Embedding (V, E) -> recurrent stack -> linear head (V, H). With tie_weights the head's weight is the embedding's (E =
// H). Parameter names: "embedding.weight", "rnn.<as parameters_of>", "head.weight" (absent when tied), "head.bias".
struct ModelSpec {
  std::string kind = "language_model";
  std::int64_t vocab_size = 0;
  std::int64_t embedding_size = 0;
  RecurrentSpec recurrent;  // input_size = embedding_size
  bool tie_weights = false;
  double dropout = 0.0;  // on the embedding's and the stack's output, in training
};
RNNCORE_EXPORT void check(const ModelSpec& spec);
RNNCORE_EXPORT std::vector<ParameterInfo> parameters_of(const ModelSpec& spec);
RNNCORE_EXPORT std::string to_json(const ModelSpec& spec);
RNNCORE_EXPORT ModelSpec model_spec_from_json(const std::string& json);  // strict: unknown or missing keys are errors

struct ModelFile {
  ModelSpec spec;
  std::vector<std::pair<std::string, Tensor>> parameters;
  std::string vocabulary_json;  // "null", or an object {"level": "char"|"byte"|"word", "tokens": [...], ...}
  std::string training_json;    // facts about the training run: an object, or "null"
};
RNNCORE_EXPORT ModelFile load_model(const std::string& path);  // names, shapes and dtypes checked against the spec
RNNCORE_EXPORT void save_model(const std::string& path, const ModelFile& file);

}  // namespace rnncore
