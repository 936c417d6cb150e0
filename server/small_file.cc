#include "server/small_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"

namespace leapstream {

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  constexpr size_t kMaxBytes = 1 << 20;
  // Not a C++ stream: those throw when the path is a folder's.
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  std::string bytes(kMaxBytes + 1, '\0');
  size_t size = 0;
  if (file != nullptr) size = std::fread(bytes.data(), 1, bytes.size(), file.get());
  if (file == nullptr || std::ferror(file.get()) != 0) {
    return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ", std::strerror(errno)));
  }
  if (size > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has more than ", kMaxBytes, " bytes; is it the right file?"));
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace leapstream
