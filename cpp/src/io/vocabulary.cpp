// Vocabulary as JSON: {"level": "char", "tokens": ["a", "b"], "unknown": null}; {"level": "byte"} has no list.
#include "rnncore/vocabulary.hpp"

#include "io/json.h"
#include "io/model_spec.h"
#include "rnncore/error.hpp"

namespace rnncore {
namespace io {

Vocabulary vocabulary_from_json(const Json& value) {
  ObjectReader reader(value, "vocabulary");
  const std::string level = reader.string("level");
  std::vector<std::string> tokens;
  std::string unknown;
  if (level != "byte" || value.contains("tokens")) {
    for (const Json& token : reader.array("tokens")) {
      if (!token.is_string()) throw JsonError("vocabulary.tokens: expected strings, got " + describe(token));
      tokens.push_back(token.get<std::string>());
    }
  }
  if (value.contains("unknown") && !reader.field("unknown").is_null()) {
    unknown = reader.string("unknown");
    if (unknown.empty()) throw JsonError("vocabulary.unknown: expected a token or null, got an empty one");
  }
  reader.finish();
  try {
    return Vocabulary(text_level_from_name(level), std::move(tokens), unknown);
  } catch (const ArgumentError& e) {
    throw JsonError(e.what());
  }
}

}  // namespace io

Vocabulary Vocabulary::from_json(const std::string& json) {
  try {
    return io::vocabulary_from_json(io::parse_json(json));
  } catch (const io::JsonError& e) {
    throw ArgumentError(std::string("[Vocabulary::from_json] json: ") + e.what());
  }
}

std::string Vocabulary::to_json() const {
  if (level() == TextLevel::byte) return io::dump_json({{"level", name_of(level())}});
  io::Json unknown;
  if (unknown_id() >= 0) unknown = tokens()[static_cast<std::size_t>(unknown_id())];
  try {
    return io::dump_json({{"level", name_of(level())}, {"tokens", tokens()}, {"unknown", unknown}});
  } catch (const io::JsonError& e) {
    throw ArgumentError(std::string("[Vocabulary::to_json] tokens: ") + e.what());
  }
}

}  // namespace rnncore
