#include "client/cli/output.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/cli/signals.h"

namespace leapstream::client {

absl::Status FlushOutput() {
  static int first_error = 0;  // A later flush of the little that is left may succeed.
  errno = 0;  // std::cout has no buffer of its own while it is in step with stdout.
  if (std::fflush(stdout) != 0 && first_error == 0) first_error = errno;
  if (first_error == EPIPE) return absl::DataLossError("nobody reads the output");
  if (first_error == 0 && std::ferror(stdout) == 0 && std::cout) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("cannot write all of the output",
                   first_error == 0 ? "" : absl::StrCat(": ", std::strerror(first_error))));
}

absl::Status WriteOutput(absl::string_view text) {
  bool signalled = false;  // By a signal that is for whoever polls next.
  while (!text.empty()) {
    pollfd output[] = {{STDOUT_FILENO, POLLOUT, 0}};
    LEAPSTREAM_RETURN_IF_ERROR(
        signals::Poll(absl::MakeSpan(output), SteadyTime::InfiniteFuture()));
    if (output[0].revents == 0) {
      if (signals::CancelWanted()) return absl::CancelledError("cancelled");
      signalled = true;
      continue;
    }
    // PIPE_BUF bytes do not block in a pipe that has room.
    const ssize_t size = write(STDOUT_FILENO, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
    if (size >= 0) {
      text.remove_prefix(static_cast<size_t>(size));
    } else if (errno == EPIPE) {
      return absl::DataLossError("nobody reads the output");
    } else if (errno != EINTR && errno != EAGAIN) {
      return absl::InternalError(absl::StrCat("cannot write the output: ", std::strerror(errno)));
    }
  }
  if (signalled) signals::WakeNextPoll();
  return absl::OkStatus();
}

absl::Status WriteFile(const std::string& path, absl::string_view bytes) {
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot write ", path, ": ", std::strerror(errno)));
  }
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  const int why = errno;
  if (std::fclose(file) == 0 && written) return absl::OkStatus();
  const std::string reason = std::strerror(written ? errno : why);
  struct stat status = {};
  // A part of a file could be taken for all of it.
  const bool removed =
      stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && unlink(path.c_str()) == 0;
  return absl::InternalError(absl::StrCat("cannot write all of ", path, ": ", reason,
                                          removed ? "; the file was removed" : ""));
}

}  // namespace leapstream::client
