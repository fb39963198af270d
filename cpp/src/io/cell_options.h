// CellOptions as JSON: the keys that differ from the default, no others.
#pragma once

#include "io/json.h"
#include "rnncore/cell.hpp"

namespace rnncore::io {

Json options_to_json(const CellOptions& options);
CellOptions options_from_json(const Json& value, const std::string& where);

}  // namespace rnncore::io
