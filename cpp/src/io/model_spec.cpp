// What a ModelSpec must satisfy, the parameters it has, and its JSON:
//   {"version": 1, "model": {"kind": "language_model", "vocab_size": 65, "embedding_size": 128, "tie_weights": false,
//    "dropout": 0.0, "recurrent": {"input_size": 128, "layers": [{"cell": "lstm", "hidden_size": 128}], "bias": true,
//    "bidirectional": false, "dropout": 0.0}, "pooling": "none", "output_size": 65}}
// More keys of the stack: io/recurrent_spec.h.
#include "io/model_spec.h"

#include "io/recurrent_spec.h"
#include "rnncore/error.hpp"

namespace rnncore {
namespace {

// Far beyond any use, and small enough that no product of two sizes and a gate count overflows.
constexpr std::int64_t kLargestSize = std::int64_t{1} << 28;
constexpr std::size_t kMostLayers = 1024;

void check_size(const char* argument, std::int64_t size) {
  if (size < 1 || size > kLargestSize)
    throw_argument("ModelSpec", argument, "1 to " + std::to_string(kLargestSize), std::to_string(size));
}

void check_dropout(const char* argument, double dropout) {
  if (!(dropout >= 0.0 && dropout < 1.0))
    throw_argument("ModelSpec", argument, "a probability in [0, 1)", std::to_string(dropout));
}

void check_stack(const ModelSpec& spec) {
  const RecurrentSpec& stack = spec.recurrent;
  if (stack.layers.empty() || stack.layers.size() > kMostLayers)
    throw_argument("ModelSpec", "recurrent.layers", "1 to " + std::to_string(kMostLayers) + " layers",
                   std::to_string(stack.layers.size()));
  for (const LayerSpec& layer : stack.layers) check_size("recurrent.layers.hidden_size", layer.hidden_size);
  check_size("recurrent.input_size", stack.input_size);
  if (spec.reads_tokens() && stack.input_size != spec.embedding_size)
    throw_argument("ModelSpec", "recurrent.input_size", "embedding_size = " + std::to_string(spec.embedding_size),
                   std::to_string(stack.input_size));
  if (spec.kind == ModelKind::language_model && stack.bidirectional)
    throw_argument("ModelSpec", "recurrent.bidirectional", "false for a language model", "true",
                   "a reverse layer would see the token that is to be predicted");
  if (spec.kind == ModelKind::language_model && stack.reverse)
    throw_argument("ModelSpec", "recurrent.reverse", "false for a language model", "true",
                   "going backwards it would see the tokens that are to be predicted");
  check_dropout("recurrent.dropout", stack.dropout);
  check(stack);
}

void check_head(const ModelSpec& spec) {
  const bool language_model = spec.kind == ModelKind::language_model;
  const char* kind = name_of(spec.kind);
  if (!language_model)
    check_size("output_size", spec.output_size);
  else if (spec.output_size != 0 && spec.output_size != spec.vocab_size)
    throw_argument("ModelSpec", "output_size", "vocab_size = " + std::to_string(spec.vocab_size),
                   std::to_string(spec.output_size));
  const bool pooled = spec.pooling != Pooling::none;
  if (pooled && (language_model || spec.kind == ModelKind::tagger || spec.kind == ModelKind::transcriber))
    throw_argument("ModelSpec", "pooling", std::string("none for a ") + kind, name_of(spec.pooling));
  if (!pooled && spec.kind == ModelKind::classifier)
    throw_argument("ModelSpec", "pooling", "last or mean for a classifier", "none");
  const RecurrentSpec& stack = spec.recurrent;
  const bool plain = (stack.connection == Connection::none || stack.connection == Connection::dense) &&
                     (!stack.bidirectional || stack.merge == Merge::concat) && stack.output_dropout == 0.0;
  if (spec.pooling == Pooling::last && !plain)
    throw_argument("ModelSpec", "pooling", "mean or none for this stack", "last",
                   "its output is more than its top layer's state (connections, merged directions, output_dropout)");
  if (!spec.tie_weights) return;
  if (!language_model) throw_argument("ModelSpec", "tie_weights", std::string("false for a ") + kind, "true");
  if (spec.recurrent.output_size() != spec.embedding_size)
    throw_argument("ModelSpec", "tie_weights",
                   "a last layer as wide as the embedding, " + std::to_string(spec.embedding_size),
                   std::to_string(spec.recurrent.output_size()));
}

}  // namespace

void check(const ModelSpec& spec) {
  if (spec.reads_tokens() || spec.kind == ModelKind::language_model) {
    check_size("vocab_size", spec.vocab_size);
    check_size("embedding_size", spec.embedding_size);
  } else if (spec.embedding_size != 0 || spec.vocab_size != 0) {
    throw_argument("ModelSpec", "vocab_size, embedding_size", "0, 0 for a model that reads features",
                   std::to_string(spec.vocab_size) + ", " + std::to_string(spec.embedding_size));
  }
  check_dropout("dropout", spec.dropout);
  check_stack(spec);
  check_head(spec);
}

std::vector<ParameterInfo> parameters_of(const ModelSpec& spec) {
  const std::int64_t width = spec.recurrent.output_size();
  std::vector<ParameterInfo> parameters;
  if (spec.reads_tokens()) parameters.push_back({"embedding.weight", {spec.vocab_size, spec.embedding_size}, width});
  for (ParameterInfo& info : parameters_of(spec.recurrent)) {
    info.name = "rnn." + info.name;
    parameters.push_back(std::move(info));
  }
  if (!spec.tie_weights) parameters.push_back({"head.weight", {spec.outputs(), width}, width});
  parameters.push_back({"head.bias", {spec.outputs()}, width});
  return parameters;
}

std::string to_json(const ModelSpec& spec) {
  check(spec);
  return io::dump_json({{"version", io::kModelVersion}, {"model", io::spec_to_json(spec)}});
}

ModelSpec model_spec_from_json(const std::string& json) {
  try {
    const io::Json value = io::parse_json(json);
    io::ObjectReader reader(value, "");
    io::read_version(reader);
    ModelSpec spec = io::spec_from_json(reader.field("model"));
    reader.finish();
    return spec;
  } catch (const io::JsonError& e) {
    throw ArgumentError(std::string("[model_spec_from_json] json: ") + e.what());
  }
}

namespace io {
Json spec_to_json(const ModelSpec& spec) {
  return {{"kind", name_of(spec.kind)},
          {"vocab_size", spec.vocab_size},
          {"embedding_size", spec.embedding_size},
          {"tie_weights", spec.tie_weights},
          {"dropout", spec.dropout},
          {"recurrent", recurrent_to_json(spec.recurrent)},
          {"pooling", name_of(spec.pooling)},
          {"output_size", spec.outputs()}};
}

ModelSpec spec_from_json(const Json& value) {
  try {
    ObjectReader reader(value, "model");
    ModelSpec spec;
    spec.kind = model_kind_from_name(reader.string("kind"));
    spec.vocab_size = reader.integer("vocab_size");
    spec.embedding_size = reader.integer("embedding_size");
    spec.tie_weights = reader.boolean("tie_weights");
    spec.dropout = reader.number("dropout");
    spec.recurrent = recurrent_from_json(reader.field("recurrent"), reader.path_to("recurrent"));
    spec.pooling = pooling_from_name(reader.string("pooling"));
    spec.output_size = reader.integer("output_size");
    reader.finish();
    check(spec);
    return spec;
  } catch (const ArgumentError& e) {
    throw JsonError(e.what());
  }
}

void read_version(ObjectReader& reader) {
  const std::int64_t version = reader.integer("version");
  if (version != kModelVersion)
    throw JsonError("version: expected " + std::to_string(kModelVersion) + ", got " + std::to_string(version) +
                    (version > kModelVersion ? "; written by a newer rnncore" : ""));
}

}  // namespace io
}  // namespace rnncore
