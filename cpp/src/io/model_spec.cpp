// What a ModelSpec must satisfy, the parameters it has, and its JSON:
//   {"version": 1, "model": {"kind": "language_model", "vocab_size": 65, "embedding_size": 128, "tie_weights": false,
//    "dropout": 0.0, "recurrent": {"input_size": 128, "layers": [{"cell": "lstm", "hidden_size": 128}], "bias": true,
//    "bidirectional": false, "dropout": 0.0}, "pooling": "none", "output_size": 65}}
// More keys of the stack: io/recurrent_spec.h. Only where they differ from the default: "characters": {"vocab_size":
// 90, "embedding_size": 25, "recurrent": {...}}, "projection_size": 512, "softmax": {"kind": "adaptive", "cutoffs":
// [2000, 10000], "div_value": 4.0} (or "class", without div_value), "crf": true, "bio": true.
#include "io/model_spec.h"

#include <algorithm>

#include "io/recurrent_spec.h"
#include "rnncore/error.hpp"

namespace rnncore {
namespace {

// Far beyond any use, and small enough that no product of two sizes and a gate count overflows.
constexpr std::int64_t kLargestSize = std::int64_t{1} << 28;
constexpr std::size_t kMostLayers = 1024;
constexpr std::size_t kMostClusters = 65536;

void check_size(const char* argument, std::int64_t size) {
  if (size < 1 || size > kLargestSize)
    throw_argument("ModelSpec", argument, "1 to " + std::to_string(kLargestSize), std::to_string(size));
}

void check_dropout(const char* argument, double dropout) {
  if (!(dropout >= 0.0 && dropout < 1.0))
    throw_argument("ModelSpec", argument, "a probability in [0, 1)", std::to_string(dropout));
}

void check_layers(const RecurrentSpec& stack) {
  if (stack.layers.empty() || stack.layers.size() > kMostLayers)
    throw_argument("ModelSpec", "recurrent.layers", "1 to " + std::to_string(kMostLayers) + " layers",
                   std::to_string(stack.layers.size()));
  for (const LayerSpec& layer : stack.layers) check_size("recurrent.layers.hidden_size", layer.hidden_size);
  check_size("recurrent.input_size", stack.input_size);
  check_dropout("recurrent.dropout", stack.dropout);
  check(stack);
}

// The last layer's state is the stack's whole output.
bool ends_in_state(const RecurrentSpec& stack) {
  return (stack.connection == Connection::none || stack.connection == Connection::dense) &&
         (!stack.bidirectional || stack.merge == Merge::concat) && stack.output_dropout == 0.0;
}

void check_characters(const ModelSpec& spec) {
  const CharacterSpec& characters = spec.characters;
  if (characters.vocab_size == 0) {
    if (characters.embedding_size != 0)
      throw_argument("ModelSpec", "characters.embedding_size", "0 without characters",
                     std::to_string(characters.embedding_size));
    return;
  }
  if (!spec.reads_tokens() || (spec.kind != ModelKind::tagger && spec.kind != ModelKind::classifier))
    throw_argument("ModelSpec", "characters", "none but in a tagger or classifier of tokens", name_of(spec.kind));
  check_size("characters.vocab_size", characters.vocab_size);
  check_size("characters.embedding_size", characters.embedding_size);
  check_layers(characters.recurrent);
  if (characters.recurrent.input_size != characters.embedding_size)
    throw_argument("ModelSpec", "characters.recurrent.input_size",
                   "characters.embedding_size = " + std::to_string(characters.embedding_size),
                   std::to_string(characters.recurrent.input_size));
  if (!ends_in_state(characters.recurrent))
    throw_argument("ModelSpec", "characters.recurrent", "a stack whose output is its top layer's state",
                   "connections, merged directions or output_dropout");
}

void check_stack(const ModelSpec& spec) {
  const RecurrentSpec& stack = spec.recurrent;
  check_layers(stack);
  if (const std::int64_t width = spec.embedding_size + spec.characters.width();
      spec.reads_tokens() && stack.input_size != width)
    throw_argument("ModelSpec", "recurrent.input_size",
                   (spec.characters.vocab_size > 0 ? "embedding_size and the characters' states together = "
                                                   : "embedding_size = ") +
                       std::to_string(width),
                   std::to_string(stack.input_size));
  if (spec.kind == ModelKind::language_model && stack.bidirectional)
    throw_argument("ModelSpec", "recurrent.bidirectional", "false for a language model", "true",
                   "a reverse layer would see the token that is to be predicted");
  if (spec.kind == ModelKind::language_model && stack.reverse)
    throw_argument("ModelSpec", "recurrent.reverse", "false for a language model", "true",
                   "going backwards it would see the tokens that are to be predicted");
}

void check_softmax(const ModelSpec& spec) {
  const SoftmaxSpec& softmax = spec.softmax;
  const bool full = softmax.kind == SoftmaxKind::full;
  const auto refuse = [](const char* argument, const std::string& expected, const std::string& got) {
    throw_argument("ModelSpec", argument, expected, got);
  };
  if (full && !softmax.cutoffs.empty())
    refuse("softmax.cutoffs", "none with a full softmax", to_string(softmax.cutoffs));
  if (full) return;
  if (spec.kind != ModelKind::language_model)
    refuse("softmax", std::string("full for a ") + name_of(spec.kind), name_of(softmax.kind));
  const bool adaptive = softmax.kind == SoftmaxKind::adaptive;
  const std::size_t count = softmax.cutoffs.size();
  bool good = count > 0 && count <= kMostClusters && (adaptive || softmax.cutoffs[0] == 0);
  std::int64_t least = adaptive ? 1 : 0;
  for (std::size_t i = 0; good && i < count; ++i) {
    good = softmax.cutoffs[i] >= least && softmax.cutoffs[i] < spec.vocab_size;
    if (good) least = softmax.cutoffs[i] + 1;
  }
  if (!good)
    refuse("softmax.cutoffs",
           std::string("rising, ") + (adaptive ? "from above 0" : "the first 0") +
               ", below V = " + std::to_string(spec.vocab_size),
           count <= kMostLayers ? to_string(softmax.cutoffs) : std::to_string(count) + " numbers");
  if (!(softmax.div_value >= 1.0 && softmax.div_value <= 1e6))
    refuse("softmax.div_value", "1 to 1000000", std::to_string(softmax.div_value));
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
    throw_argument("ModelSpec", "pooling", "last, mean or max for a classifier", "none");
  if (spec.pooling == Pooling::last && !ends_in_state(spec.recurrent))
    throw_argument("ModelSpec", "pooling", "mean, max or none for this stack", "last",
                   "its output is more than its top layer's state (connections, merged directions, output_dropout)");
  if ((spec.crf || spec.bio) && spec.kind != ModelKind::tagger)
    throw_argument("ModelSpec", spec.crf ? "crf" : "bio", std::string("false for a ") + kind, "true");
  check_softmax(spec);
  if (spec.projection_size != 0) {
    if (!language_model)
      throw_argument("ModelSpec", "projection_size", std::string("0 for a ") + kind,
                     std::to_string(spec.projection_size));
    check_size("projection_size", spec.projection_size);
  }
  if (!spec.tie_weights) return;
  if (!language_model) throw_argument("ModelSpec", "tie_weights", std::string("false for a ") + kind, "true");
  if (spec.head_inputs() != spec.embedding_size)
    throw_argument("ModelSpec", "tie_weights",
                   "a last layer as wide as the embedding, " + std::to_string(spec.embedding_size),
                   std::to_string(spec.head_inputs()));
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
  check_characters(spec);
  check_stack(spec);
  check_head(spec);
}

static void add_clusters(const ModelSpec& spec, std::vector<ParameterInfo>& parameters) {
  const SoftmaxSpec& softmax = spec.softmax;
  const std::int64_t width = spec.head_inputs(), V = spec.vocab_size;
  const auto n = static_cast<std::int64_t>(softmax.cutoffs.size());
  const std::int64_t head = spec.whole_words() ? n : softmax.cutoffs[0] + n;
  parameters.push_back({"head.head.weight", {head, width}, width});
  parameters.push_back({"head.head.bias", {head}, width});
  if (spec.whole_words()) {
    if (!spec.tie_weights) parameters.push_back({"head.words.weight", {V, width}, width});
    parameters.push_back({"head.words.bias", {V}, width});
    return;
  }
  double size = static_cast<double>(width);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::int64_t last = i + 1 < n ? softmax.cutoffs[at + 1] : V;
    size /= softmax.div_value;
    const std::int64_t inner = std::max<std::int64_t>(1, static_cast<std::int64_t>(size));
    const std::string tail = "head.tail." + std::to_string(i);
    parameters.push_back({tail + ".0.weight", {inner, width}, width});
    parameters.push_back({tail + ".1.weight", {last - softmax.cutoffs[at], inner}, inner});
  }
}

std::vector<ParameterInfo> parameters_of(const ModelSpec& spec) {
  const std::int64_t width = spec.recurrent.output_size();
  std::vector<ParameterInfo> parameters;
  if (spec.reads_tokens()) parameters.push_back({"embedding.weight", {spec.vocab_size, spec.embedding_size}, width});
  const auto add_stack = [&parameters](const std::string& prefix, const RecurrentSpec& stack) {
    for (ParameterInfo& info : parameters_of(stack)) {
      info.name = prefix + info.name;
      parameters.push_back(std::move(info));
    }
  };
  if (const CharacterSpec& characters = spec.characters; characters.vocab_size > 0) {
    parameters.push_back(
        {"characters.embedding.weight", {characters.vocab_size, characters.embedding_size}, characters.width()});
    add_stack("characters.rnn.", characters.recurrent);
  }
  add_stack("rnn.", spec.recurrent);
  if (spec.projection_size > 0) parameters.push_back({"projection.weight", {spec.projection_size, width}, width});
  const std::int64_t O = spec.outputs(), inputs = spec.head_inputs();
  if (spec.softmax.kind == SoftmaxKind::full) {
    if (!spec.tie_weights) parameters.push_back({"head.weight", {O, inputs}, inputs});
    parameters.push_back({"head.bias", {O}, inputs});
  } else {
    add_clusters(spec, parameters);
  }
  if (spec.crf) {
    parameters.push_back({"crf.transitions", {O, O}, width, 0.0});
    parameters.push_back({"crf.start", {O}, width, 0.0});
    parameters.push_back({"crf.end", {O}, width, 0.0});
  }
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
  Json value = {{"kind", name_of(spec.kind)},
                {"vocab_size", spec.vocab_size},
                {"embedding_size", spec.embedding_size},
                {"tie_weights", spec.tie_weights},
                {"dropout", spec.dropout},
                {"recurrent", recurrent_to_json(spec.recurrent)},
                {"pooling", name_of(spec.pooling)},
                {"output_size", spec.outputs()}};
  if (const CharacterSpec& characters = spec.characters; characters.vocab_size > 0)
    value["characters"] = {{"vocab_size", characters.vocab_size},
                           {"embedding_size", characters.embedding_size},
                           {"recurrent", recurrent_to_json(characters.recurrent)}};
  if (spec.projection_size != 0) value["projection_size"] = spec.projection_size;
  if (spec.softmax.kind != SoftmaxKind::full) {
    value["softmax"] = {{"kind", name_of(spec.softmax.kind)}, {"cutoffs", spec.softmax.cutoffs}};
    if (spec.softmax.kind == SoftmaxKind::adaptive) value["softmax"]["div_value"] = spec.softmax.div_value;
  }
  if (spec.crf) value["crf"] = true;
  if (spec.bio) value["bio"] = true;
  return value;
}

static CharacterSpec characters_from_json(const Json& value) {
  ObjectReader reader(value, "model.characters");
  CharacterSpec characters;
  characters.vocab_size = reader.integer("vocab_size");
  characters.embedding_size = reader.integer("embedding_size");
  characters.recurrent = recurrent_from_json(reader.field("recurrent"), reader.path_to("recurrent"));
  reader.finish();
  return characters;
}

static SoftmaxSpec softmax_from_json(const Json& value) {
  ObjectReader reader(value, "model.softmax");
  SoftmaxSpec softmax;
  softmax.kind = softmax_kind_from_name(reader.string("kind"));
  for (const Json& cutoff : reader.array("cutoffs")) {
    if (!cutoff.is_number_integer() || cutoff.is_number_unsigned() != (cutoff.get<std::int64_t>() >= 0))
      throw JsonError(reader.path_to("cutoffs") + ": expected ids, got " + describe(cutoff));
    softmax.cutoffs.push_back(cutoff.get<std::int64_t>());
  }
  if (softmax.kind == SoftmaxKind::adaptive) softmax.div_value = reader.number("div_value");
  reader.finish();
  return softmax;
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
    if (reader.has("characters")) spec.characters = characters_from_json(reader.field("characters"));
    if (reader.has("projection_size")) spec.projection_size = reader.integer("projection_size");
    if (reader.has("softmax")) spec.softmax = softmax_from_json(reader.field("softmax"));
    if (reader.has("crf")) spec.crf = reader.boolean("crf");
    if (reader.has("bio")) spec.bio = reader.boolean("bio");
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
