// ModelSpec and Vocabulary as JSON, without the envelope that carries the version.
#pragma once

#include "io/json.h"
#include "rnncore/model.hpp"

namespace rnncore::io {

// The version of the specification's JSON and of the model file; older ones are converted here when there are any.
inline constexpr std::int64_t kModelVersion = 1;

Json spec_to_json(const ModelSpec& spec);
// JsonError where a key is missing, unknown or of the wrong type, and where the specification makes no sense.
ModelSpec spec_from_json(const Json& value);
// JsonError where it is none, or of a level that is not known.
Vocabulary vocabulary_from_json(const Json& value);
// Reads and checks the field "version".
void read_version(ObjectReader& reader);

}  // namespace rnncore::io
