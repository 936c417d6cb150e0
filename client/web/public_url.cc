#include "client/web/public_url.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"
#include "client/gateway/origin.h"

namespace leapstream::client {

absl::StatusOr<PublicUrl> ParsePublicUrl(const std::string& given) {
  const auto wrong = [&](absl::string_view remedy) {
    return absl::InvalidArgumentError(
        absl::StrCat("want the address that browsers have of the page, such as "
                     "https://talks.example.org/live/, as --public-url, got ",
                     Quoted(given), "; ", remedy));
  };
  PublicUrl url;
  absl::string_view rest = given;
  const bool secure = absl::ConsumePrefix(&rest, "https://");
  if (!secure && !absl::ConsumePrefix(&rest, "http://")) {
    return wrong("it begins with https:// or http://");
  }
  const size_t slash = rest.find('/');
  std::string authority = absl::AsciiStrToLower(rest.substr(0, slash));
  authority = std::string(absl::StripSuffix(authority, secure ? ":443" : ":80"));
  url.name = gateway::HostName(authority);
  if (url.name.empty()) return wrong("the host is missing");
  for (const char c : authority) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("-._:[]", c)) {
      continue;
    }
    return wrong(absl::StrCat(Quoted(absl::string_view(&c, 1)), " is in no host name"));
  }
  url.origin = absl::StrCat(secure ? "https://" : "http://", authority);
  if (slash != absl::string_view::npos) url.path = std::string(rest.substr(slash));
  while (absl::EndsWith(url.path, "/")) url.path.pop_back();
  for (const char c : url.path) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("-._~/", c)) {
      continue;
    }
    return wrong("its path is of letters, digits, -, ., _, ~ and /");
  }
  return url;
}

}  // namespace leapstream::client
