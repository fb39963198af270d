// The public load_tensors and save_tensors under another operation's name, for messages that say what the caller did.
#pragma once

#include <string>

#include "rnncore/safetensors.hpp"

namespace rnncore::io {

// memory_map: the tensors are copy-on-write views of the file (those that lie unaligned are copied).
TensorFile load_tensors(const std::string& operation, const std::string& path, bool memory_map = false);
void save_tensors(const std::string& operation, const std::string& path, const TensorFile& file);

}  // namespace rnncore::io
