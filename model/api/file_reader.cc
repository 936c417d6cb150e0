#include "model/api/file_reader.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace leapstream {
namespace {

constexpr int64_t kPart = 1 << 20;  // The bytes of a file that are hashed at a time.

}  // namespace

absl::StatusOr<std::unique_ptr<const FileReader>> FileReader::Open(const std::string& path,
                                                                   int64_t max_bytes) {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  struct stat status = {};
  const bool regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  std::unique_ptr<const FileReader> file(new FileReader(path, fd, status.st_size));
  if (!regular) return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  if (file->size() > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": it has ", file->size(),
                                                   " bytes, more than the ", max_bytes,
                                                   " that such a file may have"));
  }
  return file;
}

FileReader::~FileReader() { close(fd_); }

absl::Status FileReader::Read(int64_t offset, int64_t count, void* out) const {
  for (int64_t done = 0; done < count;) {
    const ssize_t got = pread(fd_, static_cast<char*>(out) + done,
                              static_cast<size_t>(count - done), offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::NotFoundError(absl::StrCat(path_, ": ", std::strerror(errno)));
    if (got == 0) {
      return absl::NotFoundError(absl::StrCat(path_, ": cut short to ", offset + done, " of ",
                                              size_, " bytes while it was read"));
    }
    done += got;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> FileReader::Sha256() const {
  std::vector<char> part(std::min(size_, kPart));
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(),
                                                                     &EVP_MD_CTX_free);
  LEAPSTREAM_CHECK(hash != nullptr && EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr) == 1);
  for (int64_t at = 0; at < size_; at += kPart) {
    const int64_t count = std::min(kPart, size_ - at);
    LEAPSTREAM_RETURN_IF_ERROR(Read(at, count, part.data()));
    LEAPSTREAM_CHECK(EVP_DigestUpdate(hash.get(), part.data(), count) == 1);
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int bytes = 0;
  LEAPSTREAM_CHECK(EVP_DigestFinal_ex(hash.get(), digest, &bytes) == 1);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(digest), bytes));
}

std::string FileReader::Stamp() const {
  struct stat status = {};
  if (fstat(fd_, &status) != 0) return "";
  return absl::StrCat(status.st_size, " bytes, changed ", status.st_mtim.tv_sec, ".",
                      status.st_mtim.tv_nsec);
}

}  // namespace leapstream
