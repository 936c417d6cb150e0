#include "client/hub/url.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"
#include "base/status.h"

namespace leapstream::client {
namespace {

std::string Variable(const std::map<std::string, std::string>& environment,
                     const std::string& name) {
  for (const std::string& spelled : {absl::AsciiStrToLower(name), name}) {
    const auto found = environment.find(spelled);
    if (found != environment.end() && !found->second.empty()) return found->second;
  }
  return "";
}

bool IsExempt(const Url& url, absl::string_view no_proxy) {
  for (absl::string_view entry : absl::StrSplit(no_proxy, ',')) {
    entry = absl::StripAsciiWhitespace(entry);
    if (entry == "*") return true;
    if (absl::EndsWith(entry, absl::StrCat(":", url.port))) {
      entry.remove_suffix(absl::StrCat(":", url.port).size());
    }
    absl::ConsumePrefix(&entry, "*");
    absl::ConsumePrefix(&entry, ".");
    if (entry.empty()) continue;
    if (absl::EqualsIgnoreCase(url.host, entry) ||
        absl::EndsWithIgnoreCase(url.host, absl::StrCat(".", entry))) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string Url::Origin() const {
  const bool v6 = absl::StrContains(host, ':');
  return absl::StrCat(tls ? "https://" : "http://", v6 ? "[" : "", host, v6 ? "]" : "", ":", port);
}

absl::StatusOr<Url> ParseUrl(absl::string_view text) {
  const auto wrong = [text] {
    return absl::InvalidArgumentError(
        absl::StrCat("want a URL such as https://huggingface.co, got ", Quoted(text)));
  };
  Url url;
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "https://")) {
    url.tls = true;
  } else if (!absl::ConsumePrefix(&rest, "http://")) {
    return wrong();
  }
  for (const char c : rest) {
    if (absl::ascii_isspace(static_cast<unsigned char>(c)) ||
        absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      return wrong();
    }
  }
  const size_t slash = rest.find_first_of("/?#");
  absl::string_view authority = rest.substr(0, slash);
  if (slash != absl::string_view::npos) {
    const absl::string_view path = rest.substr(slash, rest.find('#') - slash);
    url.path = absl::StrCat(absl::StartsWith(path, "/") ? "" : "/", path);
  }
  if (url.path.empty()) url.path = "/";
  if (const size_t at = authority.rfind('@'); at != absl::string_view::npos) {
    url.user = std::string(authority.substr(0, at));
    authority.remove_prefix(at + 1);
  }
  absl::string_view host = authority, port;
  if (absl::StartsWith(authority, "[")) {
    const size_t end = authority.find(']');
    if (end == absl::string_view::npos) return wrong();
    host = authority.substr(1, end - 1);
    port = authority.substr(end + 1);
  } else if (const size_t colon = authority.find(':'); colon != absl::string_view::npos) {
    host = authority.substr(0, colon);
    port = authority.substr(colon);
  }
  url.host = std::string(host);
  url.port = url.tls ? 443 : 80;
  const bool has_port = absl::ConsumePrefix(&port, ":");
  if (url.host.empty() || (!has_port && !port.empty())) return wrong();
  if (has_port && (!absl::SimpleAtoi(port, &url.port) || url.port < 1 || url.port > 65535)) {
    return wrong();
  }
  return url;
}

absl::StatusOr<Url> ResolveUrl(const Url& base, absl::string_view location) {
  if (absl::StartsWith(location, "//")) {
    return ParseUrl(absl::StrCat(base.tls ? "https:" : "http:", location));
  }
  if (!absl::StartsWith(location, "/")) return ParseUrl(location);
  return ParseUrl(absl::StrCat(base.Origin(), location));
}

absl::StatusOr<std::optional<Url>> ProxyFor(const Url& url,
                                            const std::map<std::string, std::string>& environment) {
  const char* const name = url.tls ? "HTTPS_PROXY" : "HTTP_PROXY";
  const std::string proxy = Variable(environment, name);
  if (proxy.empty() || IsExempt(url, Variable(environment, "NO_PROXY"))) return std::nullopt;
  const auto parsed =
      ParseUrl(absl::StrContains(proxy, "://") ? proxy : absl::StrCat("http://", proxy));
  if (!parsed.ok() || parsed->tls) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, " must be the URL of a proxy such as http://proxy:3128, got ", Quoted(proxy)));
  }
  return std::optional<Url>(*parsed);
}

std::string EscapePath(absl::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || absl::StrContains("/-._~", c)) {
      escaped.push_back(c);
    } else {
      absl::StrAppendFormat(&escaped, "%%%02X", byte);
    }
  }
  return escaped;
}

}  // namespace leapstream::client
