#include "base/small_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/clock.h"

namespace leapstream {
namespace {

constexpr size_t kMaxBytes = 1 << 20;

// Waits until the pipe has bytes or has ended. False: the deadline came first.
bool AwaitPipe(int descriptor, SteadyTime deadline) {
  pollfd pipe = {descriptor, POLLIN, 0};
  for (SteadyTime now = SteadyNow(); now < deadline; now = SteadyNow()) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - now) + 1;
    if (poll(&pipe, 1, static_cast<int>(left)) > 0) return true;
  }
  return false;
}

// Reads a regular file, or a pipe until `deadline`. `expected_size` is a guess.
absl::StatusOr<std::string> ReadAll(int descriptor, size_t expected_size, SteadyTime deadline) {
  // There is room for the file's size and one byte more, so that its end is seen. If the file grows
  // meanwhile, so do the bytes.
  std::string bytes(std::min(expected_size, kMaxBytes) + 1, '\0');
  size_t size = 0;
  while (size <= kMaxBytes) {
    if (size == bytes.size()) bytes.resize(std::min(2 * size, kMaxBytes + 1));
    const ssize_t count = read(descriptor, bytes.data() + size, bytes.size() - size);
    if (count == 0) {
      bytes.resize(size);
      return bytes;
    }
    if (count > 0) {
      size += static_cast<size_t>(count);
    } else if (errno == EAGAIN) {  // Only a pipe says so: it has a writer, and no bytes yet.
      if (!AwaitPipe(descriptor, deadline)) {
        return absl::NotFoundError(
            "the writer of this pipe has not ended in time; use a regular file");
      }
    } else if (errno != EINTR) {
      return absl::NotFoundError(std::strerror(errno));
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("it has more than ", kMaxBytes, " bytes; is it the right file?"));
}

absl::StatusOr<std::string> ReadDescriptor(int descriptor, absl::Duration patience) {
  struct stat status = {};
  if (fstat(descriptor, &status) != 0) return absl::NotFoundError(std::strerror(errno));
  if (S_ISDIR(status.st_mode)) return absl::NotFoundError("Is a directory");
  const bool is_pipe = S_ISFIFO(status.st_mode);
  if (is_pipe && patience <= absl::ZeroDuration()) {
    return absl::NotFoundError("a pipe is read once, at the start; use a regular file");
  }
  if (!S_ISREG(status.st_mode) && !is_pipe) {
    return absl::NotFoundError("not a regular file; write it to one");
  }
  auto bytes = ReadAll(descriptor, static_cast<size_t>(status.st_size), SteadyNow() + patience);
  if (is_pipe && bytes.ok() && bytes->empty()) {
    return absl::NotFoundError("this pipe is empty, and nobody writes into it; use a regular file");
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::string> ReadSmallFile(const std::string& path, absl::Duration patience) {
  // O_NONBLOCK is set so that opening a pipe does not wait for its writer.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  absl::StatusOr<std::string> bytes = absl::NotFoundError(std::strerror(errno));
  if (descriptor >= 0) {
    bytes = ReadDescriptor(descriptor, patience);
    close(descriptor);
  }
  if (bytes.ok()) return bytes;
  return absl::Status(bytes.status().code(),
                      absl::StrCat("cannot read ", path, ": ", bytes.status().message()));
}

}  // namespace leapstream
