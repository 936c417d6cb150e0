#ifndef LEAPSTREAM_CLIENT_GATEWAY_ORIGIN_H_
#define LEAPSTREAM_CLIENT_GATEWAY_ORIGIN_H_

#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace leapstream::gateway {

// The name of a Host header, or of an Origin's "scheme://name:port", in lower case; "": there is
// none.
std::string HostName(std::string host);

// Whether `name` is an IPv4 or IPv6 address.
bool IsAddress(const std::string& name);

// Whether a browser could send `text` as an Origin: "https://talks.example.org:8443".
bool IsOrigin(absl::string_view text);

// Whether a gateway may be called by this name: localhost, an address, or one of `names`.
bool IsOurName(const std::string& name, const std::set<std::string>& names);

// Whether a page of `origin` may use a gateway that it calls `host`: the origin is one of
// `allowed`, of which "*" stands for all, or is that of the gateway itself.
bool MayUse(absl::string_view origin, absl::string_view host,
            const std::vector<std::string>& allowed, const std::set<std::string>& names);

}  // namespace leapstream::gateway

#endif  // LEAPSTREAM_CLIENT_GATEWAY_ORIGIN_H_
