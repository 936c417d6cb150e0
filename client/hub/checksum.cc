#include "client/hub/checksum.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace leapstream::client {
namespace {

constexpr size_t kReadBytes = 1 << 20;

}  // namespace

HubChecksum ChecksumOfTag(absl::string_view etag) {
  absl::ConsumePrefix(&etag, "W/");
  absl::ConsumePrefix(&etag, "\"");
  absl::ConsumeSuffix(&etag, "\"");
  HubChecksum checksum;
  for (const char c : etag) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return checksum;
  }
  if (etag.size() == 64) checksum.kind = HubChecksum::Kind::kSha256;
  if (etag.size() == 40) checksum.kind = HubChecksum::Kind::kGitBlob;
  if (checksum.kind != HubChecksum::Kind::kNone) checksum.hex = absl::AsciiStrToLower(etag);
  return checksum;
}

absl::Status CheckFile(const std::string& path, const HubChecksum& checksum) {
  if (checksum.kind == HubChecksum::Kind::kNone) return absl::OkStatus();
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status = {};
  if (file < 0 || fstat(file, &status) != 0) {
    const int error = errno;
    if (file >= 0) close(file);
    return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ", std::strerror(error)));
  }
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free);
  const bool blob = checksum.kind == HubChecksum::Kind::kGitBlob;
  bool good = EVP_DigestInit_ex(context.get(), blob ? EVP_sha1() : EVP_sha256(), nullptr) == 1;
  if (blob) {
    const std::string head = absl::StrCat("blob ", status.st_size);
    good = good && EVP_DigestUpdate(context.get(), head.c_str(), head.size() + 1) == 1;
  }
  std::vector<char> bytes(kReadBytes);
  ssize_t count = 0;
  while (good && (count = read(file, bytes.data(), bytes.size())) > 0) {
    good = EVP_DigestUpdate(context.get(), bytes.data(), static_cast<size_t>(count)) == 1;
  }
  close(file);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  good = good && count == 0 && EVP_DigestFinal_ex(context.get(), digest, &size) == 1;
  if (!good) return absl::NotFoundError(absl::StrCat("cannot read all of ", path));
  const std::string hex =
      absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(digest), size));
  if (hex == checksum.hex) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the checksum of ", path, " must be ", checksum.hex, ", got ", hex));
}

}  // namespace leapstream::client
