#include "base/small_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace leapstream {

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  constexpr size_t kMaxBytes = 1 << 20;
  // O_NONBLOCK is set so that opening a pipe does not wait for its writer.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  struct stat status = {};
  if (descriptor >= 0 && fstat(descriptor, &status) == 0 && !S_ISREG(status.st_mode)) {
    close(descriptor);
    return absl::NotFoundError(absl::StrCat(
        "cannot read ", path, ": ",
        S_ISDIR(status.st_mode) ? "Is a directory" : "not a regular file; write it to one"));
  }
  // There is room for the file's size and one byte more, so that its end is seen. If the file grows
  // meanwhile, so do the bytes.
  std::string bytes(std::min(static_cast<size_t>(status.st_size), kMaxBytes) + 1, '\0');
  size_t size = 0;
  ssize_t count = descriptor < 0 ? -1 : 1;
  while (count > 0 && size <= kMaxBytes) {
    if (size == bytes.size()) bytes.resize(std::min(2 * size, kMaxBytes + 1));
    count = read(descriptor, bytes.data() + size, bytes.size() - size);
    if (count < 0 && errno == EINTR) count = 1;
    else if (count > 0) size += static_cast<size_t>(count);
  }
  const int error = errno;
  if (descriptor >= 0) close(descriptor);
  if (count < 0) {
    return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ", std::strerror(error)));
  }
  if (size > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has more than ", kMaxBytes, " bytes; is it the right file?"));
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace leapstream
