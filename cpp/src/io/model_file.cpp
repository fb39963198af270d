// Model files: a safetensors file whose metadata key "rnncore" holds
//   {"version": 1, "model": <specification>, "vocabulary": null or object, "training": null or object}
// and, where there is more that belongs to the model, "assets": an object ("labels": names of the outputs).
#include <algorithm>
#include <map>

#include "io/json.h"
#include "io/model_spec.h"
#include "io/safetensors.h"
#include "rnncore/model.hpp"

namespace rnncore {
namespace {

constexpr const char* kKey = "rnncore";
constexpr std::size_t kMostProblemsShown = 20;

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
  std::string text = "expected a model as specified, got " + std::to_string(problems.size()) +
                     (problems.size() == 1 ? " problem: " : " problems: ");
  for (std::size_t i = 0; i < problems.size() && i < kMostProblemsShown; ++i) text += (i > 0 ? "; " : "") + problems[i];
  if (problems.size() > kMostProblemsShown)
    text += "; and " + std::to_string(problems.size() - kMostProblemsShown) + " more";
  return text;
}

void check_facts(const char* key, const io::Json& value) {
  if (!value.is_null() && !value.is_object())
    throw io::JsonError(std::string(key) + ": expected null or an object, got " + io::describe(value));
}

// Null where there is none, or one of a level that only Python reads (as subwords are).
std::shared_ptr<const Vocabulary> read_vocabulary(const std::string& key, std::int64_t size, const io::Json& value) {
  check_facts(key.c_str(), value);
  if (value.is_null()) return nullptr;
  const auto level = value.find("level");
  if (level == value.end() || !level->is_string()) throw io::JsonError(key + ".level: expected a string, got none");
  if (*level != "char" && *level != "byte" && *level != "word") return nullptr;
  auto vocabulary = std::make_shared<const Vocabulary>(io::vocabulary_from_json(value));
  if (vocabulary->size() != size)
    throw io::JsonError(key + ".tokens: expected an array of vocab_size = " + std::to_string(size) + " entries, got " +
                        std::to_string(vocabulary->size()));
  return vocabulary;
}

std::shared_ptr<const Vocabulary> read_characters(const ModelSpec& spec, const io::Json& assets) {
  if (spec.characters.vocab_size == 0 || !assets.is_object() || !assets.contains("characters")) return nullptr;
  return read_vocabulary("assets.characters", spec.characters.vocab_size, assets["characters"]);
}

bool read_lower(const io::Json& assets) {
  if (!assets.is_object() || !assets.contains("lower")) return false;
  if (!assets["lower"].is_boolean())
    throw io::JsonError("assets.lower: expected true or false, got " + io::describe(assets["lower"]));
  return assets["lower"].get<bool>();
}

std::vector<std::string> read_labels(const ModelSpec& spec, const io::Json& assets) {
  check_facts("assets", assets);
  std::vector<std::string> labels;
  if (assets.is_object() && assets.contains("labels")) {
    const io::Json& names = assets["labels"];
    const auto is_text = [](const io::Json& name) { return name.is_string(); };
    const bool good = names.is_array() && std::all_of(names.begin(), names.end(), is_text);
    if (!good || static_cast<std::int64_t>(names.size()) != spec.outputs())
      throw io::JsonError("assets.labels: expected output_size = " + std::to_string(spec.outputs()) + " strings, got " +
                          (good ? std::to_string(names.size()) : io::describe(names)));
    labels = names.get<std::vector<std::string>>();
  }
  if (spec.bio && labels.empty()) throw io::JsonError("assets.labels: expected labels for bio, got none");
  return labels;
}

}  // namespace

// Puts a Model together, whole or not at all.
struct ModelBuilder {
  static Model build(ModelSpec spec, const NamedTensors& tensors, const io::Json& vocabulary, const io::Json& training,
                     const io::Json& assets) {
    Model model;
    std::vector<std::string> problems = problems_of(spec, tensors);
    const auto collect = [&](const auto& check) {
      try {
        check();
      } catch (const io::JsonError& e) {
        problems.emplace_back(e.what());
      }
    };
    collect([&] { check_facts("training", training); });
    collect([&] { model.vocabulary_ = read_vocabulary("vocabulary", spec.vocab_size, vocabulary); });
    collect([&] { model.characters_ = read_characters(spec, assets); });
    collect([&] { model.lower_ = read_lower(assets); });
    collect([&] { model.labels_ = read_labels(spec, assets); });
    if (!problems.empty()) throw io::JsonError(joined(problems));
    model.vocabulary_json_ = io::dump_json(vocabulary);
    model.training_json_ = io::dump_json(training);
    model.assets_json_ = io::dump_json(assets);
    std::map<std::string, Tensor> by_name(tensors.begin(), tensors.end());
    for (const ParameterInfo& info : parameters_of(spec))
      model.parameters_.emplace_back(info.name, std::move(by_name[info.name]));
    model.spec_ = std::move(spec);
    return model;
  }

  static Model read(const TensorFile& file) {
    const auto text = file.metadata.find(kKey);
    if (text == file.metadata.end())
      throw io::JsonError("expected metadata key 'rnncore', got none; a safetensors file, but no rnncore model");
    const io::Json value = io::parse_json(text->second);
    io::ObjectReader reader(value, "");
    io::read_version(reader);
    const io::Json& model = reader.field("model");
    const io::Json& vocabulary = reader.field("vocabulary");
    const io::Json& training = reader.field("training");
    const io::Json assets = reader.has("assets") ? reader.field("assets") : io::Json();
    reader.finish();
    return build(io::spec_from_json(model), file.tensors, vocabulary, training, assets);
  }
};

Model::Model(ModelSpec spec, NamedTensors parameters, const std::string& vocabulary_json, std::string training_json,
             const std::string& assets_json) {
  check(spec);
  try {
    const auto facts = [](const std::string& text) { return text.empty() ? io::Json() : io::parse_json(text); };
    *this = ModelBuilder::build(std::move(spec), parameters, facts(vocabulary_json), facts(training_json),
                                facts(assets_json));
  } catch (const io::JsonError& e) {
    throw ArgumentError(std::string("[Model] ") + e.what());
  }
}

Model load_model(const std::string& path, const LoadOptions& options) {
  const char* operation = "load_model";
  const TensorFile file = io::load_tensors(operation, path, options.memory_map);
  try {
    return ModelBuilder::read(file);
  } catch (const io::JsonError& e) {
    throw IoError(std::string("[") + operation + "] " + path + ": " + e.what());
  }
}

Model parse_model(const void* bytes, std::size_t size, const std::string& origin) {
  const TensorFile file = parse_tensors(bytes, size, origin);
  try {
    return ModelBuilder::read(file);
  } catch (const io::JsonError& e) {
    throw IoError("[parse_model] " + origin + ": " + e.what());
  }
}

void save_model(const std::string& path, const Model& model) {
  io::Json facts = {{"version", io::kModelVersion},
                    {"model", io::spec_to_json(model.spec())},
                    {"vocabulary", io::parse_json(model.vocabulary_json())},
                    {"training", io::parse_json(model.training_json())}};
  if (model.assets_json() != "null") facts["assets"] = io::parse_json(model.assets_json());
  TensorFile out;
  out.tensors = model.named_parameters();
  out.metadata[kKey] = io::dump_json(facts);
  io::save_tensors("save_model", path, out);
}

}  // namespace rnncore
