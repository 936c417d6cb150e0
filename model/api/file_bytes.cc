#include "model/api/file_bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

constexpr size_t kMaxRead = 64 << 20;  // The most bytes that one system call reads.

class Descriptor {
 public:
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  explicit Descriptor(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FileBytes>> FileBytes::Read(const std::string& path,
                                                           int64_t max_bytes) {
  const Descriptor file(path);
  if (file.get() < 0) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  struct stat status = {};
  if (fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  }
  if (status.st_size > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": it has ", status.st_size,
                                                   " bytes, more than the ", max_bytes,
                                                   " that such a file may have"));
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return std::unique_ptr<FileBytes>(new FileBytes({}));
  void* const memory =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, ": there is no memory for its ", size, " bytes"));
  }
  auto* const bytes = static_cast<char*>(memory);
  std::unique_ptr<FileBytes> result(new FileBytes(absl::string_view(bytes, size)));
  for (size_t at = 0; at < size;) {
    const ssize_t count = read(file.get(), bytes + at, std::min(size - at, kMaxRead));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
    if (count == 0) {
      return absl::NotFoundError(
          absl::StrCat(path, ": cut short to ", at, " of ", size, " bytes while it was read"));
    }
    at += static_cast<size_t>(count);
  }
  mprotect(memory, size, PROT_READ);
  return result;
}

FileBytes::~FileBytes() {
  if (!bytes_.empty()) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

}  // namespace leapstream
