#ifndef LEAPSTREAM_CLIENT_HUB_CHECKSUM_H_
#define LEAPSTREAM_CLIENT_HUB_CHECKSUM_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace leapstream::client {

// The checksum of a file that a hub tells: the SHA-256 of what is stored in LFS, or git's SHA-1 of
// a file that is in the repository itself. Other tags say nothing.
struct HubChecksum {
  enum class Kind { kNone, kSha256, kGitBlob };
  Kind kind = Kind::kNone;
  std::string hex;
};
// The checksum in an ETag, with quotes or without, weak or not.
HubChecksum ChecksumOfTag(absl::string_view etag);

// OK if the file has the checksum. DATA_LOSS: it has another. NOT_FOUND: it cannot be read.
absl::Status CheckFile(const std::string& path, const HubChecksum& checksum);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_HUB_CHECKSUM_H_
