#include "client/gateway/origin.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace leapstream::gateway {

std::string HostName(std::string host) {
  if (const size_t scheme = host.find("://"); scheme != std::string::npos) {
    host.erase(0, scheme + 3);
  }
  if (!host.empty() && host[0] == '[') {
    const size_t end = host.find(']');
    return end == std::string::npos ? "" : host.substr(1, end - 1);
  }
  return absl::AsciiStrToLower(host.substr(0, host.find(':')));
}

bool IsAddress(const std::string& name) {
  char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, name.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, name.c_str(), bytes) == 1;
}

bool IsOrigin(absl::string_view text) {
  if (!absl::ConsumePrefix(&text, "https://") && !absl::ConsumePrefix(&text, "http://")) {
    return false;
  }
  return !HostName(std::string(text)).empty() &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  absl::StrContains("-._:[]", c);
         });
}

bool IsOurName(const std::string& name, const std::set<std::string>& names) {
  return name == "localhost" || IsAddress(name) || names.count(name) > 0;
}

bool MayUse(absl::string_view origin, absl::string_view host,
            const std::vector<std::string>& allowed, const std::set<std::string>& names) {
  for (const std::string& each : allowed) {
    if (each == "*" || absl::EqualsIgnoreCase(each, origin)) return true;
  }
  const size_t scheme = origin.find("://");
  return scheme != absl::string_view::npos &&
         absl::EqualsIgnoreCase(origin.substr(scheme + 3), host) &&
         IsOurName(HostName(std::string(host)), names);
}

}  // namespace leapstream::gateway
