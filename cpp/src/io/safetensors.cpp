// The safetensors reader and writer. Nothing in a file is believed before it is checked: every tensor's bytes must lie
// inside the file, and together they must fill it without gap or overlap, so what is allocated is bounded by its size.
#include "rnncore/safetensors.hpp"

#include <algorithm>
#include <array>
#include <climits>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <set>

#include "io/file.h"
#include "io/json.h"
#include "io/safetensors.h"

namespace rnncore {
namespace io {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors data is little-endian");

constexpr std::uint64_t kLargestHeader = 100'000'000;  // the format's own limit
constexpr std::size_t kPrefix = 8;
constexpr std::size_t kLargestRank = 32;
constexpr const char* kMetadata = "__metadata__";

struct DTypeName {
  const char* name;
  DType dtype;
};
constexpr std::array<DTypeName, 5> kDTypes{{{"F32", DType::float32},
                                            {"F64", DType::float64},
                                            {"I64", DType::int64},
                                            {"U8", DType::uint8},
                                            {"BOOL", DType::uint8}}};

struct Entry {
  std::string name;
  DType dtype;
  Shape shape;
  std::uint64_t begin, end;  // in the data part
};

// What a file that is no safetensors file may be, told by its first bytes.
std::string foreign_hint(const unsigned char* first) {
  const auto starts = [first](std::string_view magic) { return std::memcmp(first, magic.data(), magic.size()) == 0; };
  if (starts("PK\x03\x04")) return "a zip archive: a PyTorch .pt or Keras .keras file?";
  if (starts("\x80\x02") || starts("\x80\x04")) return "a Python pickle?";
  if (starts("\x89HDF")) return "an HDF5 file?";
  if (starts("GGUF")) return "a GGUF file?";
  return "not a safetensors file?";
}

std::uint64_t header_length(const ByteSource& source) {
  if (source.size() == 0) throw JsonError("expected a safetensors file, got an empty file");
  if (source.size() < kPrefix)
    throw JsonError("expected at least 8 bytes, got " + std::to_string(source.size()) + "; truncated?");
  std::array<unsigned char, kPrefix> prefix{};
  source.read(0, prefix.data(), prefix.size());
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kPrefix; ++i) length |= std::uint64_t{prefix[i]} << (8 * i);
  if (length < 2 || length > kLargestHeader)
    throw JsonError("expected a header of 2 to " + std::to_string(kLargestHeader) + " bytes, got " +
                    std::to_string(length) + "; " + foreign_hint(prefix.data()));
  if (length > source.size() - kPrefix)
    throw JsonError("expected a header of " + std::to_string(length) + " bytes, got " +
                    std::to_string(source.size() - kPrefix) + " bytes after the length; truncated?");
  return length;
}

Shape read_shape(const Json& value, const std::string& where) {
  if (value.size() > kLargestRank)
    throw JsonError(where + ": expected at most " + std::to_string(kLargestRank) + " axes, got " +
                    std::to_string(value.size()));
  Shape shape;
  std::uint64_t numel = 1;  // of the axes that are not empty: a zero must not hide an overflow
  for (const Json& axis : value) {
    const bool fits = axis.is_number_unsigned() && axis.get<std::uint64_t>() <= std::uint64_t{INT64_MAX};
    if (!fits) throw JsonError(where + ": expected sizes of 0 or more, got " + describe(axis));
    const auto size = axis.get<std::uint64_t>();
    if (size > 0 && numel > std::uint64_t{INT64_MAX} / 8 / size) throw JsonError(where + ": its size overflows");
    numel *= std::max<std::uint64_t>(size, 1);
    shape.push_back(static_cast<std::int64_t>(size));
  }
  return shape;
}

Entry read_entry(const std::string& name, const Json& value, std::uint64_t data_size) {
  const std::string where = "tensor " + shown(name);
  ObjectReader reader(value, where);
  Entry entry{name, DType::float32, {}, 0, 0};
  const std::string dtype = reader.string("dtype");
  const auto known = std::find_if(kDTypes.begin(), kDTypes.end(), [&](const auto& d) { return dtype == d.name; });
  if (known == kDTypes.end())
    throw JsonError(where + ": expected dtype F32, F64, I64, U8 or BOOL, got " + shown(dtype));
  entry.dtype = known->dtype;
  entry.shape = read_shape(reader.array("shape"), where + ".shape");
  const Json& offsets = reader.array("data_offsets");
  if (offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    throw JsonError(where + ".data_offsets: expected [begin, end]");
  entry.begin = offsets[0].get<std::uint64_t>();
  entry.end = offsets[1].get<std::uint64_t>();
  reader.finish();
  if (entry.begin > entry.end || entry.end > data_size)
    throw JsonError(where + ".data_offsets: expected begin <= end <= " + std::to_string(data_size) + ", got [" +
                    std::to_string(entry.begin) + ", " + std::to_string(entry.end) + "]; truncated?");
  const auto bytes =
      static_cast<std::uint64_t>(numel_of(entry.shape)) * static_cast<std::uint64_t>(size_of(entry.dtype));
  if (entry.end - entry.begin != bytes)
    throw JsonError(where + ": expected " + std::to_string(bytes) + " bytes for " + dtype + " " +
                    to_string(entry.shape) + ", got " + std::to_string(entry.end - entry.begin));
  return entry;
}

// In file order; together they fill the data part.
std::vector<Entry> read_entries(const Json& header, std::uint64_t data_size) {
  std::vector<Entry> entries;
  for (const auto& item : header.items())
    if (item.key() != kMetadata) entries.push_back(read_entry(item.key(), item.value(), data_size));
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  std::uint64_t reached = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != reached)
      throw JsonError("tensor " + shown(entry.name) + ": expected its data at offset " + std::to_string(reached) +
                      ", got " + std::to_string(entry.begin) +
                      (entry.begin < reached ? "; tensors overlap" : "; a gap"));
    reached = entry.end;
  }
  if (reached != data_size)
    throw JsonError("expected " + std::to_string(reached) + " bytes of data, got " + std::to_string(data_size) +
                    "; bytes that belong to no tensor");
  return entries;
}

std::map<std::string, std::string> read_metadata(const Json& header) {
  std::map<std::string, std::string> metadata;
  const auto found = header.find(kMetadata);
  if (found == header.end()) return metadata;
  if (!found->is_object()) throw JsonError("__metadata__: expected an object, got " + describe(*found));
  for (const auto& item : found->items()) {
    if (!item.value().is_string())
      throw JsonError("__metadata__ " + shown(item.key()) + ": expected a string, got " + describe(item.value()));
    metadata[item.key()] = item.value().get<std::string>();
  }
  return metadata;
}

// A tensor of bytes [offset, offset + size): a view where the source is memory that outlives it, else a copy.
Tensor read_tensor(const ByteSource& source, const Entry& entry, std::uint64_t offset) {
  const std::uint64_t size = entry.end - entry.begin;
  if (const std::shared_ptr<void> bytes = source.view(offset); bytes != nullptr && size > 0) {
    const auto alignment = static_cast<std::uintptr_t>(size_of(entry.dtype));
    if (reinterpret_cast<std::uintptr_t>(bytes.get()) % alignment == 0)
      return Tensor::from_shared(bytes, entry.shape, entry.dtype);
  }
  Tensor tensor = Tensor::empty(entry.shape, entry.dtype);
  if (size > 0) source.read(offset, tensor.mutable_raw(), size);
  return tensor;
}

TensorFile read_file(const ByteSource& source) {
  const std::uint64_t length = header_length(source);
  std::string text(length, '\0');
  source.read(kPrefix, text.data(), text.size());
  if (text.front() != '{') throw JsonError("expected a header that opens with '{'; not a safetensors file?");
  Json header;
  try {
    header = parse_json(text);
  } catch (const JsonError& e) {
    throw JsonError(std::string("header: ") + e.what());
  }
  const std::uint64_t data = kPrefix + length;
  TensorFile file;
  file.metadata = read_metadata(header);
  for (const Entry& entry : read_entries(header, source.size() - data))
    file.tensors.emplace_back(entry.name, read_tensor(source, entry, data + entry.begin));
  return file;
}

// The order of the data: widest elements first, so that every tensor is aligned; otherwise as given.
std::vector<std::size_t> data_order(const TensorFile& file) {
  std::vector<std::size_t> order(file.tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return size_of(file.tensors[a].second.dtype()) > size_of(file.tensors[b].second.dtype());
  });
  return order;
}

std::string header_of(const std::string& operation, const TensorFile& file, const std::vector<std::size_t>& order) {
  Json header = Json::object();
  if (!file.metadata.empty()) header[kMetadata] = file.metadata;
  std::int64_t offset = 0;
  for (const std::size_t i : order) {
    const auto& [name, tensor] = file.tensors[i];
    if (header.contains(name) || name == kMetadata)
      throw_argument(operation, "tensors", "each name once, and none '__metadata__'", shown(name));
    const char* dtype = "";
    for (const DTypeName& d : kDTypes)
      if (d.dtype == tensor.dtype() && *dtype == '\0') dtype = d.name;
    const std::int64_t end = offset + tensor.numel() * size_of(tensor.dtype());
    header[name] = {{"dtype", dtype}, {"shape", tensor.shape()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = dump_json(header);
  } catch (const JsonError&) {
    throw_argument(operation, "tensors", "names and metadata in UTF-8", "other bytes");
  }
  constexpr std::size_t kAlignment = 64;  // of the data's start, as of a tensor in memory
  text.resize((kPrefix + text.size() + kAlignment - 1) / kAlignment * kAlignment - kPrefix, ' ');
  if (text.size() > kLargestHeader)
    throw_argument(operation, "metadata", "at most " + std::to_string(kLargestHeader) + " bytes of header",
                   std::to_string(text.size()));
  return text;
}

}  // namespace

TensorFile load_tensors(const std::string& operation, const std::string& path, bool memory_map) {
  const FileSource source(operation, path);
  try {
    return memory_map && source.size() > 0 ? read_file(MappedSource(source)) : read_file(source);
  } catch (const JsonError& e) {
    throw IoError("[" + operation + "] " + path + ": " + e.what());
  }
}

void save_tensors(const std::string& operation, const std::string& path, const TensorFile& file) {
  for (const auto& [name, tensor] : file.tensors)
    if (!tensor.defined()) throw_argument(operation, "tensors", "defined tensors", shown(name) + " undefined");
  const std::vector<std::size_t> order = data_order(file);
  const std::string header = header_of(operation, file, order);
  std::array<unsigned char, kPrefix> prefix{};
  for (std::size_t i = 0; i < kPrefix; ++i)
    prefix[i] = static_cast<unsigned char>(std::uint64_t{header.size()} >> (8 * i));
  AtomicFile out(operation, path);
  out.write(prefix.data(), prefix.size());
  out.write(header.data(), header.size());
  for (const std::size_t i : order) {
    const Tensor& tensor = file.tensors[i].second;
    out.write(tensor.raw(), static_cast<std::size_t>(tensor.numel() * size_of(tensor.dtype())));
  }
  out.commit();
}

}  // namespace io

TensorFile load_tensors(const std::string& path) { return io::load_tensors("load_tensors", path); }

TensorFile parse_tensors(const void* bytes, std::size_t size, const std::string& origin) {
  try {
    return io::read_file(io::MemorySource(bytes, size));
  } catch (const io::JsonError& e) {
    throw IoError("[parse_tensors] " + origin + ": " + e.what());
  }
}

void save_tensors(const std::string& path, const TensorFile& file) { io::save_tensors("save_tensors", path, file); }

}  // namespace rnncore
