#include "io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "rnncore/error.hpp"
#include "rnncore/safetensors.hpp"

namespace rnncore::io {
namespace {

constexpr std::size_t kLargestTransfer = std::size_t{1} << 30;  // Linux moves at most 2 GiB a call

std::string system_text(int error) { return std::system_category().message(error); }

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISREG(mode)) return "a regular file";
  return "a device";
}

std::string hint_for_reading(int error) {
  if (error == ENOENT || error == ENOTDIR) return "check the path";
  if (error == EACCES || error == EPERM) return "check the permissions";
  return {};
}

std::string hint_for_writing(int error) {
  const char* cause = "";
  if (error == ENOSPC || error == EDQUOT) cause = "free some space and save again; ";
  if (error == EFBIG) cause = "the file size limit (ulimit -f) is too low; ";
  if (error == EROFS || error == EACCES || error == EPERM) cause = "choose a folder that can be written; ";
  if (error == ENOENT || error == ENOTDIR) cause = "create the folder first; ";
  return std::string(cause) + "nothing was changed";
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of_file(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

// 0, or the error. Some file systems cannot sync a folder: that is no failure of the write.
int sync_folder(const std::string& folder) noexcept {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return 0;
  const int error = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  return error == EIO || error == ENOSPC ? error : 0;
}

}  // namespace

void MemorySource::read(std::uint64_t offset, void* out, std::size_t size) const {
  if (offset > size_ || size > size_ - offset) throw IoError("[read] buffer: read beyond its end");
  if (size > 0) std::memcpy(out, bytes_ + offset, size);
}

FileSource::FileSource(std::string operation, std::string path)
    : operation_(std::move(operation)), path_(std::move(path)) {
  const auto fail = [this](const std::string& got, const std::string& hint) {
    if (descriptor_ >= 0) ::close(descriptor_);
    throw IoError(error_message(operation_, path_, "a readable file", got, hint));
  };
  if (path_.find('\0') != std::string::npos)
    throw IoError(error_message(operation_, "path", "a file name", "one with a NUL byte"));
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not block here
  if (descriptor_ < 0) fail(system_text(errno), hint_for_reading(errno));
  struct stat status{};
  if (::fstat(descriptor_, &status) != 0) fail(system_text(errno), {});
  if (!S_ISREG(status.st_mode)) fail(kind_of(status.st_mode), {});
  size_ = static_cast<std::uint64_t>(status.st_size);
}

FileSource::~FileSource() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileSource::read(std::uint64_t offset, void* out, std::size_t size) const {
  auto* to = static_cast<unsigned char*>(out);
  while (size > 0) {
    const ssize_t got = ::pread(descriptor_, to, std::min(size, kLargestTransfer), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      const std::string reason = got < 0 ? system_text(errno) : std::string("the end of the file");
      throw IoError(error_message(operation_, path_,
                                  std::to_string(size) + " bytes at offset " + std::to_string(offset), reason,
                                  got < 0 ? "" : "the file was cut short while it was read"));
    }
    to += got;
    offset += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
}

std::shared_ptr<unsigned char> FileSource::map() const {
  const auto size = static_cast<std::size_t>(size_);
  void* bytes = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor_, 0);
  if (bytes == MAP_FAILED)
    throw IoError(error_message(operation_, path_, "to map " + std::to_string(size) + " bytes into memory",
                                system_text(errno), "load it without memory_map"));
  return {static_cast<unsigned char*>(bytes), [size](unsigned char* p) { ::munmap(p, size); }};
}

AtomicFile::AtomicFile(std::string operation, std::string path)
    : operation_(std::move(operation)), path_(std::move(path)), folder_(folder_of(path_)) {
  static std::atomic<unsigned> counter{0};  // two threads of one process may save at once
  if (path_.empty() || path_.find('\0') != std::string::npos)
    throw IoError(
        error_message(operation_, "path", "a file name", path_.empty() ? "an empty one" : "one with a NUL byte"));
  struct stat status{};
  const bool exists = ::stat(path_.c_str(), &status) == 0;
  if ((exists && !S_ISREG(status.st_mode)) || path_.back() == '/')
    throw IoError(error_message(operation_, path_, "a regular file or a new name",
                                exists ? kind_of(status.st_mode) : "the name of a folder", "nothing was changed"));
  temporary_ = folder_ + "/." + name_of_file(path_) + "." + std::to_string(::getpid()) + "." +
               std::to_string(counter++) + ".tmp";
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    const int error = errno;
    temporary_.clear();
    fail("a folder that can be written", error);
  }
  if (exists) (void)::fchmod(descriptor_, status.st_mode & 07777);  // as far as it goes: the owner may be another
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const std::string& expected, int error) const {
  throw IoError(error_message(operation_, path_, expected, system_text(error), hint_for_writing(error)));
}

void AtomicFile::write(const void* bytes, std::size_t size) {
  const auto* from = static_cast<const unsigned char*>(bytes);
  while (size > 0) {
    const ssize_t put = ::write(descriptor_, from, std::min(size, kLargestTransfer));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) fail("to write " + std::to_string(size) + " bytes", put < 0 ? errno : ENOSPC);
    from += put;
    size -= static_cast<std::size_t>(put);
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail("to sync it", errno);
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) fail("to close it", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("to rename the finished file", errno);
  temporary_.clear();
  if (const int error = sync_folder(folder_))
    throw IoError(error_message(operation_, path_, "to sync its folder", system_text(error),
                                "the file was replaced, but a power cut may undo that"));
}

}  // namespace rnncore::io

namespace rnncore {

void write_file_atomically(const std::string& path, const void* bytes, std::size_t size) {
  io::AtomicFile file("write_file_atomically", path);
  file.write(bytes, size);
  file.commit();
}

}  // namespace rnncore
