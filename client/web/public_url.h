#ifndef LEAPSTREAM_CLIENT_WEB_PUBLIC_URL_H_
#define LEAPSTREAM_CLIENT_WEB_PUBLIC_URL_H_

#include <string>

#include "absl/status/statusor.h"

namespace leapstream::client {

// The parts of a URL such as "https://talks.example.org/live/".
struct PublicUrl {
  std::string origin;  // In lower case, without the default port of its scheme.
  std::string name;
  std::string path;  // "/live"; "" for "/".
};

// INVALID_ARGUMENT: `given` is no such URL; the message says what to write.
absl::StatusOr<PublicUrl> ParsePublicUrl(const std::string& given);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_WEB_PUBLIC_URL_H_
