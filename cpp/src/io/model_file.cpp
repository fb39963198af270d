// Model files: a safetensors file whose metadata key "rnncore" holds
//   {"version": 1, "model": <specification>, "vocabulary": null or object, "training": null or object}
#include <map>

#include "io/json.h"
#include "io/model_spec.h"
#include "io/safetensors.h"
#include "rnncore/model.hpp"

namespace rnncore {
namespace {

constexpr const char* kKey = "rnncore";
constexpr std::size_t kMostProblemsShown = 20;

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

// The dtype of the whole model: that of its first parameter.
DType model_dtype(const std::vector<ParameterInfo>& wanted, const std::map<std::string, Tensor>& found) {
  for (const ParameterInfo& info : wanted) {
    const auto it = found.find(info.name);
    if (it != found.end() && is_float(it->second.dtype())) return it->second.dtype();
  }
  return DType::float32;
}

// Everything in which `tensors` are not the parameters of `spec`, one line each.
std::vector<std::string> problems_of(const ModelSpec& spec, const NamedTensors& tensors) {
  const std::vector<ParameterInfo> wanted = parameters_of(spec);
  std::vector<std::string> problems;
  std::map<std::string, Tensor> found;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined())
      problems.push_back(name + ": undefined");
    else if (!found.emplace(name, tensor).second)
      problems.push_back(name + ": given twice");
  }
  const DType dtype = model_dtype(wanted, found);
  for (const ParameterInfo& info : wanted) {
    const auto it = found.find(info.name);
    if (it == found.end()) {
      problems.push_back(info.name + ": missing");
      continue;
    }
    const Tensor& tensor = it->second;
    if (tensor.shape() != info.shape)
      problems.push_back(info.name + ": expected shape " + to_string(info.shape) + ", got " +
                         to_string(tensor.shape()));
    if (tensor.dtype() != dtype)
      problems.push_back(info.name + ": expected dtype " + name_of(dtype) + ", got " + name_of(tensor.dtype()));
    found.erase(it);
  }
  for (const auto& [name, tensor] : found) problems.push_back(io::shown(name) + ": unused");
  return problems;
}

std::string joined(const std::vector<std::string>& problems) {
  std::string text = "expected the parameters of its specification, got " + std::to_string(problems.size()) +
                     (problems.size() == 1 ? " problem: " : " problems: ");
  for (std::size_t i = 0; i < problems.size() && i < kMostProblemsShown; ++i) text += (i > 0 ? "; " : "") + problems[i];
  if (problems.size() > kMostProblemsShown)
    text += "; and " + std::to_string(problems.size() - kMostProblemsShown) + " more";
  return text;
}

// Null or an object; the vocabulary's tokens, where it lists them, are as many as the model's.
void check_facts(const ModelSpec& spec, const io::Json& vocabulary, const io::Json& training) {
  const auto check_kind = [](const char* key, const io::Json& value) {
    if (!value.is_null() && !value.is_object())
      throw io::JsonError(std::string(key) + ": expected null or an object, got " + io::describe(value));
  };
  check_kind("vocabulary", vocabulary);
  check_kind("training", training);
  if (!vocabulary.is_object() || !vocabulary.contains("tokens")) return;
  const io::Json& tokens = vocabulary["tokens"];
  if (!tokens.is_array() || tokens.size() != static_cast<std::size_t>(spec.vocab_size))
    throw io::JsonError("vocabulary.tokens: expected an array of vocab_size = " + std::to_string(spec.vocab_size) +
                        " entries, got " + (tokens.is_array() ? std::to_string(tokens.size()) : io::describe(tokens)));
}

ModelFile read_metadata(const TensorFile& file) {
  const auto text = file.metadata.find(kKey);
  if (text == file.metadata.end())
    throw io::JsonError("expected metadata key 'rnncore', got none; a safetensors file, but no rnncore model");
  const io::Json value = io::parse_json(text->second);
  io::ObjectReader reader(value, "");
  io::read_version(reader);
  ModelFile model;
  model.spec = io::spec_from_json(reader.field("model"));
  const io::Json& vocabulary = reader.field("vocabulary");
  const io::Json& training = reader.field("training");
  reader.finish();
  check_facts(model.spec, vocabulary, training);
  model.vocabulary_json = io::dump_json(vocabulary);
  model.training_json = io::dump_json(training);
  return model;
}

}  // namespace

ModelFile load_model(const std::string& path) {
  const char* operation = "load_model";
  TensorFile file = io::load_tensors(operation, path);
  try {
    ModelFile model = read_metadata(file);
    const std::vector<std::string> problems = problems_of(model.spec, file.tensors);
    if (!problems.empty()) throw io::JsonError(joined(problems));
    std::map<std::string, Tensor> by_name(file.tensors.begin(), file.tensors.end());
    for (const ParameterInfo& info : parameters_of(model.spec))
      model.parameters.emplace_back(info.name, std::move(by_name[info.name]));
    return model;
  } catch (const io::JsonError& e) {
    throw IoError(std::string("[") + operation + "] " + path + ": " + e.what());
  }
}

void save_model(const std::string& path, const ModelFile& file) {
  const char* operation = "save_model";
  check(file.spec);
  const std::vector<std::string> problems = problems_of(file.spec, file.parameters);
  if (!problems.empty()) throw ArgumentError(std::string("[") + operation + "] parameters: " + joined(problems));
  TensorFile out;
  out.tensors = file.parameters;
  try {
    const auto facts = [](const std::string& text) { return text.empty() ? io::Json() : io::parse_json(text); };
    const io::Json vocabulary = facts(file.vocabulary_json), training = facts(file.training_json);
    check_facts(file.spec, vocabulary, training);
    out.metadata[kKey] = io::dump_json({{"version", io::kModelVersion},
                                        {"model", io::spec_to_json(file.spec)},
                                        {"vocabulary", vocabulary},
                                        {"training", training}});
  } catch (const io::JsonError& e) {
    throw ArgumentError(std::string("[") + operation + "] " + e.what());
  }
  io::save_tensors(operation, path, out);
}

}  // namespace rnncore
