// Files as the engine wants them: random reads of a regular file, and writes that either happen wholly or leave what
// was there. Failures are IoError: "[operation] path: expected E, got G; hint".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace rnncore::io {

// The bytes that a parser reads; `read` copies [offset, offset + size) or throws IoError.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual std::uint64_t size() const = 0;
  virtual void read(std::uint64_t offset, void* out, std::size_t size) const = 0;
  // The bytes from `offset` on as memory that lives as long as it is held, and may be written to; null: there is none.
  virtual std::shared_ptr<void> view(std::uint64_t /*offset*/) const { return nullptr; }
};

class MemorySource final : public ByteSource {
 public:
  MemorySource(const void* bytes, std::size_t size) : bytes_(static_cast<const unsigned char*>(bytes)), size_(size) {}
  std::uint64_t size() const override { return size_; }
  void read(std::uint64_t offset, void* out, std::size_t size) const override;

 private:
  const unsigned char* bytes_;
  std::size_t size_;
};

// A regular file, read by position: where another process cuts it short meanwhile, that is an error and no signal
// (as with MappedSource).
class FileSource final : public ByteSource {
 public:
  FileSource(std::string operation, std::string path);
  ~FileSource() override;
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;
  std::uint64_t size() const override { return size_; }
  void read(std::uint64_t offset, void* out, std::size_t size) const override;
  // The whole file (not empty) as private, copy-on-write memory.
  std::shared_ptr<unsigned char> map() const;

 private:
  std::string operation_, path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

// A file in memory. What is written to it stays in this process. Cutting the file short meanwhile gives SIGBUS at the
// next look beyond its new end: files that are mapped are replaced by renaming, never overwritten.
class MappedSource final : public ByteSource {
 public:
  explicit MappedSource(const FileSource& file) : bytes_(file.map()), size_(file.size()) {}
  std::uint64_t size() const override { return size_; }
  void read(std::uint64_t offset, void* out, std::size_t size) const override {
    MemorySource(bytes_.get(), size_).read(offset, out, size);
  }
  std::shared_ptr<void> view(std::uint64_t offset) const override { return {bytes_, bytes_.get() + offset}; }

 private:
  std::shared_ptr<unsigned char> bytes_;
  std::uint64_t size_;
};

// Writes to a temporary name in the folder of `path`; commit() syncs it, renames it to `path` and syncs the folder.
// Without a commit, and on any failure, the temporary file is removed and what stood at `path` stays.
class AtomicFile {
 public:
  AtomicFile(std::string operation, std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* bytes, std::size_t size);
  void commit();

 private:
  [[noreturn]] void fail(const std::string& expected, int error) const;

  std::string operation_, path_, folder_, temporary_;
  int descriptor_ = -1;
};

}  // namespace rnncore::io
