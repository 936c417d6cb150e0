#ifndef LEAPSTREAM_CLIENT_HUB_URL_H_
#define LEAPSTREAM_CLIENT_HUB_URL_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream::client {

// An absolute URL of HTTP.
struct Url {
  bool tls = false;
  std::string user;  // "name:password", or empty.
  std::string host;
  int port = 0;
  std::string path;  // With its query; begins with "/".

  // "https://host:port", as the origin of pages is written.
  std::string Origin() const;
};

// INVALID_ARGUMENT: `text` is no URL of http or https.
absl::StatusOr<Url> ParseUrl(absl::string_view text);
// The URL to which a server redirects from `base`.
absl::StatusOr<Url> ResolveUrl(const Url& base, absl::string_view location);

// The proxy for `url` of an environment: HTTPS_PROXY or HTTP_PROXY, in capitals or not, unless
// NO_PROXY has the host or a domain that it is of. INVALID_ARGUMENT: the variable is no URL.
absl::StatusOr<std::optional<Url>> ProxyFor(const Url& url,
                                            const std::map<std::string, std::string>& environment);

// `text` as a part of a path, with "%" escapes; "/" stays.
std::string EscapePath(absl::string_view text);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_HUB_URL_H_
