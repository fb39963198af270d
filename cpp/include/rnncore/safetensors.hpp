// safetensors files: the one reader and writer for C++ and Python. Format: 8 bytes little-endian header length,
// a JSON header {name: {dtype, shape, data_offsets}, "__metadata__": {string: string}}, then the bytes.
// The reader trusts nothing and throws IoError with the reason; the writer never leaves half a file:
// it writes to a temporary name in the same folder, syncs, renames and syncs the folder.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "rnncore/tensor.hpp"

namespace rnncore {

struct TensorFile {
  std::vector<std::pair<std::string, Tensor>> tensors;  // in file order; F32, F64, I64, U8 (and BOOL as uint8)
  std::map<std::string, std::string> metadata;
};

RNNCORE_EXPORT TensorFile load_tensors(const std::string& path);
RNNCORE_EXPORT TensorFile parse_tensors(const void* bytes, std::size_t size, const std::string& origin = "buffer");
RNNCORE_EXPORT void save_tensors(const std::string& path, const TensorFile& file);
// The atomic write alone, for other files of a run.
RNNCORE_EXPORT void write_file_atomically(const std::string& path, const void* bytes, std::size_t size);

}  // namespace rnncore
