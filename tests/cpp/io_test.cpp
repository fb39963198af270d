// safetensors and model files: what is written is read back bit for bit; every way in which a file can be wrong gives
// one IoError that says so; a failed save leaves what was there.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "rnncore/model.hpp"
#include "rnncore/safetensors.hpp"

namespace rnncore {
namespace {

namespace fs = std::filesystem;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "rnncore-io-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::size_t entries() const { return static_cast<std::size_t>(std::distance(fs::directory_iterator(path_), {})); }

 private:
  fs::path path_;
};

void write_bytes(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A file of this header (any text) and this many bytes of data.
std::string file_of(const std::string& header, std::size_t data_bytes) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(std::uint64_t{header.size()} >> (8 * i));
  return bytes + header + std::string(data_bytes, '\1');
}

TensorFile parse(const std::string& bytes) { return parse_tensors(bytes.data(), bytes.size(), "test"); }

// The message with which `action` fails as E; a failure of the test if it does not.
template <typename E>
std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const E& e) {
    return e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "another exception: " << e.what();
    return {};
  }
  ADD_FAILURE() << "no exception";
  return {};
}

TensorFile sample_file() {
  TensorFile file;
  file.tensors.emplace_back("bytes", Tensor::from(std::vector<std::uint8_t>{1, 2, 255}, {3}));
  file.tensors.emplace_back("a", Tensor::from(std::vector<float>{1.5f, -0.0f, 3e-42f, 4, 5, 6}, {2, 3}));
  file.tensors.emplace_back("scalar", Tensor::from(std::vector<double>{0.1}, {}));
  file.tensors.emplace_back("empty", Tensor::empty({0, 7}));
  file.tensors.emplace_back("ids", Tensor::from(std::vector<std::int64_t>{-1, INT64_MIN}, {2}));
  file.metadata = {{"note", "line\n\"quoted\" \xc3\xa9"}, {"empty", ""}};
  return file;
}

void expect_same(const TensorFile& got, const TensorFile& want) {
  EXPECT_EQ(got.metadata, want.metadata);
  ASSERT_EQ(got.tensors.size(), want.tensors.size());
  for (const auto& [name, tensor] : want.tensors) {
    const auto same_name = [&name = name](const auto& t) { return t.first == name; };
    const auto it = std::find_if(got.tensors.begin(), got.tensors.end(), same_name);
    ASSERT_NE(it, got.tensors.end()) << name;
    ASSERT_EQ(it->second.shape(), tensor.shape()) << name;
    ASSERT_EQ(it->second.dtype(), tensor.dtype()) << name;
    const auto bytes = static_cast<std::size_t>(tensor.numel() * size_of(tensor.dtype()));
    EXPECT_TRUE(bytes == 0 || std::memcmp(it->second.raw(), tensor.raw(), bytes) == 0) << name;
  }
}

TEST(Safetensors, RoundTrip) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.safetensors");
  save_tensors(path, sample_file());
  expect_same(load_tensors(path), sample_file());
  const std::string bytes = read_bytes(path);
  expect_same(parse(bytes), sample_file());
  save_tensors(path, load_tensors(path));  // over itself
  expect_same(load_tensors(path), sample_file());
  save_tensors(path, {});
  EXPECT_TRUE(load_tensors(path).tensors.empty());
  EXPECT_EQ(folder.entries(), 1u) << "temporary files are left";
}

TEST(Safetensors, DataIsAlignedWhateverTheOrderOfTensors) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  save_tensors(path, sample_file());
  const std::string bytes = read_bytes(path);
  EXPECT_EQ(static_cast<unsigned char>(bytes[0]) % 8, 0);
  EXPECT_NE(bytes.find(R"("data_offsets":[0,8],"dtype":"F64")"), std::string::npos) << bytes;
}

TEST(Safetensors, ReadsWhatOtherWritersMayWrite) {
  const auto file = parse(file_of(R"({"b":{"dtype":"BOOL","shape":[2],"data_offsets":[4,6]},
    "a":{"shape":[1],"data_offsets":[0,4],"dtype":"F32"}}      )",
                                  6));
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[0].first, "a");  // file order
  EXPECT_EQ(file.tensors[1].second.dtype(), DType::uint8);
}

struct CorruptFile {
  const char* name;
  std::string bytes;
  const char* expected;  // part of the message
};

std::vector<CorruptFile> corrupt_files() {
  const auto one = [](const std::string& entry, std::size_t data = 8) {
    return file_of("{\"w\":" + entry + "}", data);
  };
  const std::string huge = "9223372036854775807";
  std::string deep(5000, '[');
  return {
      {"empty", "", "got an empty file"},
      {"seven bytes", std::string(7, '\0'), "at least 8 bytes, got 7"},
      {"header length 0", std::string(8, '\0'), "header of 2 to 100000000 bytes, got 0"},
      {"header length 2^64-1", std::string(8, '\xff'), "got 18446744073709551615; not a safetensors file?"},
      {"zip", std::string("PK\x03\x04\x14\0\0\0rest", 12), "PyTorch .pt or Keras .keras file?"},
      {"hdf5", "\x89HDF\r\n\x1a\n", "an HDF5 file?"},
      {"header cut", file_of("{}", 0).substr(0, 9), "header of 2 bytes, got 1 bytes after the length; truncated?"},
      {"no object", file_of("[]", 0), "opens with '{'"},
      {"not JSON", file_of("{\"w\":}", 0), "header: not valid JSON"},
      {"two values", file_of("{}{}", 0), "header: not valid JSON"},
      {"comment", file_of("{/**/}", 0), "header: not valid JSON"},
      {"NUL in the header", file_of(std::string("{}\0", 3), 0), "header: not valid JSON"},
      {"number overflow", one(R"({"dtype":"F32","shape":[1e999],"data_offsets":[0,8]})"), "header: not valid JSON"},
      {"invalid UTF-8", file_of("{\"\xff\":1}", 0), "UTF-8"},
      {"deep", file_of("{\"w\":" + deep, 0), "nested deeper than 32"},
      {"duplicate name",
       file_of(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
               R"("w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
               8),
       "'w' stands twice"},
      {"duplicate field", one(R"({"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})"),
       "'dtype' stands twice"},
      {"duplicate metadata", file_of(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "'a' stands twice"},
      {"metadata number", file_of(R"({"__metadata__":{"a":1}})", 0), "__metadata__ 'a': expected a string, got 1"},
      {"metadata array", file_of(R"({"__metadata__":[]})", 0), "__metadata__: expected an object, got an array"},
      {"entry is no object", one("3"), "tensor 'w': expected an object, got 3"},
      {"no dtype", one(R"({"shape":[2],"data_offsets":[0,8]})"), "tensor 'w'.dtype: missing"},
      {"no shape", one(R"({"dtype":"F32","data_offsets":[0,8]})"), "tensor 'w'.shape: missing"},
      {"no offsets", one(R"({"dtype":"F32","shape":[2]})"), "tensor 'w'.data_offsets: missing"},
      {"unknown field", one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1})"), "unknown key 'x'"},
      {"unknown dtype", one(R"({"dtype":"F16","shape":[4],"data_offsets":[0,8]})"),
       "F32, F64, I64, U8 or BOOL, got 'F16'"},
      {"dtype number", one(R"({"dtype":32,"shape":[2],"data_offsets":[0,8]})"), "dtype: expected a string, got 32"},
      {"negative size", one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), "sizes of 0 or more, got -2"},
      {"fractional size", one(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), "sizes of 0 or more, got 2.0"},
      {"size over int64", one(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})"),
       "sizes of 0 or more"},
      {"product overflow", one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})", 0),
       "overflows"},
      {"overflow behind a zero",
       one(R"({"dtype":"F32","shape":[0,)" + huge + "," + huge + R"(],"data_offsets":[0,0]})", 0), "overflows"},
      {"bytes overflow", one(R"({"dtype":"F64","shape":[2305843009213693953],"data_offsets":[0,8]})"), "overflows"},
      {"too many axes",
       one(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],)"
           R"("data_offsets":[0,8]})"),
       "at most 32 axes, got 33"},
      {"one offset", one(R"({"dtype":"F32","shape":[2],"data_offsets":[8]})"), "expected [begin, end]"},
      {"negative offset", one(R"({"dtype":"F32","shape":[2],"data_offsets":[-8,0]})"), "expected [begin, end]"},
      {"offsets swapped", one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"),
       "expected begin <= end <= 8, got [8, 0]"},
      {"offset past the end", one(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})"), "got [0, 16]; truncated?"},
      {"offset of 2^64-1",
       one(R"({"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551615]})"),
       "expected begin <= end <= 8"},
      {"shape and bytes differ", one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"),
       "12 bytes for F32 (3,), got 8"},
      {"gap at the start", one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})"), "offset 0, got 4; a gap"},
      {"overlap",
       file_of(R"({"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
               R"("w":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
               6),
       "got 2; tensors overlap"},
      {"the same bytes twice",
       file_of(R"({"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
               R"("w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
               4),
       "tensors overlap"},
      {"bytes behind", one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"), "4 bytes of data, got 8"},
  };
}

TEST(Safetensors, EveryCorruptionIsNamed) {
  const TemporaryFolder folder;
  const std::string path = folder.file("bad.safetensors");
  for (const CorruptFile& file : corrupt_files()) {
    SCOPED_TRACE(file.name);
    const std::string parsed = message_of<IoError>([&] { parse(file.bytes); });
    EXPECT_NE(parsed.find(file.expected), std::string::npos) << parsed;
    write_bytes(path, file.bytes);
    const std::string loaded = message_of<IoError>([&] { load_tensors(path); });
    EXPECT_NE(loaded.find(file.expected), std::string::npos) << loaded;
    EXPECT_EQ(loaded.find("[load_tensors] " + path + ": "), 0u) << loaded;
    EXPECT_EQ(loaded.find('\n'), std::string::npos) << loaded;
  }
}

TEST(Safetensors, TruncationAtEveryByteIsAnError) {
  const TemporaryFolder folder;
  save_tensors(folder.file("a"), sample_file());
  const std::string bytes = read_bytes(folder.file("a"));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    message_of<IoError>([&] { parse(bytes.substr(0, size)); });
  }
  message_of<IoError>([&] { parse(bytes + "x"); });
}

// Flipped bytes give another file or an IoError, and nothing else: no crash, no other exception, no huge allocation.
TEST(Safetensors, RandomDamageNeverCrashes) {
  const TemporaryFolder folder;
  save_tensors(folder.file("a"), sample_file());
  const std::string bytes = read_bytes(folder.file("a"));
  std::mt19937 random(1);
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string damaged = bytes;
    const int flips = 1 + static_cast<int>(random() % 4);
    for (int i = 0; i < flips; ++i) damaged[random() % damaged.size()] = static_cast<char>(random());
    try {
      parse(damaged);
    } catch (const IoError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 10000);  // most of the file is header
}

TEST(Safetensors, PathsThatAreNoFiles) {
  const TemporaryFolder folder;
  const std::string fifo = folder.file("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const auto load = [](const std::string& path) { return message_of<IoError>([&] { load_tensors(path); }); };
  EXPECT_NE(load(folder.file("none")).find("No such file or directory; check the path"), std::string::npos);
  EXPECT_NE(load(folder.file("")).find("got a directory"), std::string::npos);
  EXPECT_NE(load(fifo).find("got a pipe"), std::string::npos);
  EXPECT_NE(load("/dev/null").find("got a device"), std::string::npos);
  EXPECT_NE(load(std::string("a\0b", 3)).find("NUL"), std::string::npos);

  const auto save = [](const std::string& path) { return message_of<IoError>([&] { save_tensors(path, {}); }); };
  write_bytes(folder.file("file"), "x");
  EXPECT_NE(save(folder.file("none/a")).find("No such file or directory; create the folder first"), std::string::npos);
  EXPECT_NE(save(folder.file("file/a")).find("Not a directory"), std::string::npos);
  EXPECT_NE(save(folder.file("")).find("got a directory"), std::string::npos);
  EXPECT_NE(save(fifo).find("got a pipe"), std::string::npos);
  EXPECT_NE(save("/dev/full").find("got a device"), std::string::npos);  // and the device is still there:
  struct stat status{};
  ASSERT_EQ(::stat("/dev/full", &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  EXPECT_NE(save("").find("an empty one"), std::string::npos);
  EXPECT_NE(save("/proc/model.safetensors").find("nothing was changed"), std::string::npos);  // read-only to all
}

// A file size limit stands for a full disk: the write fails in the middle.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

TEST(Safetensors, FailedWriteKeepsTheOldFileAndLeavesNothingBehind) {
  const TemporaryFolder folder;
  const std::string path = folder.file("model");
  save_tensors(path, sample_file());
  TensorFile large;
  large.tensors.emplace_back("w", Tensor::zeros({100000}));
  std::string message;
  {
    const FileSizeLimit limit(65536);
    message = message_of<IoError>([&] { save_tensors(path, large); });
  }
  EXPECT_NE(message.find("[save_tensors] " + path + ": expected to write"), std::string::npos) << message;
  EXPECT_NE(message.find("nothing was changed"), std::string::npos) << message;
  EXPECT_EQ(folder.entries(), 1u);
  expect_same(load_tensors(path), sample_file());
  save_tensors(path, large);
  EXPECT_EQ(load_tensors(path).tensors.at(0).second.numel(), 100000);
}

TEST(Safetensors, WriterRefusesWhatCannotBeRead) {
  const TemporaryFolder folder;
  const auto refuse = [&](const TensorFile& file) {
    return message_of<ArgumentError>([&] { save_tensors(folder.file("a"), file); });
  };
  TensorFile file;
  file.tensors = {{"w", Tensor::zeros({1})}, {"w", Tensor::zeros({1})}};
  EXPECT_NE(refuse(file).find("each name once"), std::string::npos);
  file.tensors = {{"__metadata__", Tensor::zeros({1})}};
  EXPECT_NE(refuse(file).find("__metadata__"), std::string::npos);
  file.tensors = {{"w", Tensor()}};
  EXPECT_NE(refuse(file).find("undefined"), std::string::npos);
  file.tensors = {{"\xff", Tensor::zeros({1})}};
  EXPECT_NE(refuse(file).find("UTF-8"), std::string::npos);
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(WriteFileAtomically, KeepsPermissions) {
  const TemporaryFolder folder;
  const std::string path = folder.file("log");
  write_file_atomically(path, "one", 3);
  ::chmod(path.c_str(), 0640);
  write_file_atomically(path, "second", 6);
  EXPECT_EQ(read_bytes(path), "second");
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
  EXPECT_EQ(folder.entries(), 1u);
}

}  // namespace
}  // namespace rnncore
