#include "client/cli/read_lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "client/cli/characters.h"
#include "client/client.h"

namespace leapstream::client {

absl::StatusOr<std::ifstream> OpenFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code unknown;  // On this error, reading says what is wrong.
  if (!file || std::filesystem::is_directory(path, unknown)) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read ", path, ": ", std::strerror(file ? EISDIR : errno)));
  }
  return file;
}

absl::StatusOr<int> OpenToPoll(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  // Only opening is not to wait.
  if (fd >= 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) == 0) return fd;
  const int why = errno;
  if (fd >= 0) close(fd);
  return absl::InvalidArgumentError(
      absl::StrCat("cannot read ", path, ": ", std::strerror(why)));
}

absl::StatusOr<std::vector<std::string>> ReadLines(const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(std::ifstream file, OpenFile(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    size_t valid = 0;
    if (!IsUtf8(line, &valid)) {
      return absl::InvalidArgumentError(absl::StrCat("want UTF-8, got none at byte ", valid,
                                                     " of line ", lines.size() + 1, " of ", path));
    }
    if (lines.empty() && absl::StartsWith(line, kByteOrderMark)) {
      line.erase(0, kByteOrderMark.size());
    }
    lines.push_back(std::move(line));
  }
  if (file.bad()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read all of ", path, ": ", std::strerror(errno)));
  }
  return lines;
}

}  // namespace leapstream::client
