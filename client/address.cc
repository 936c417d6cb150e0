#include "client/address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"
#include "base/status.h"

namespace leapstream::client {
namespace {

constexpr int kMaxPort = 65535;
constexpr int kTlsPort = 443;  // The port of gRPC if none is given.

absl::Status Wrong(absl::string_view given, absl::string_view remedy) {
  return absl::InvalidArgumentError(
      absl::StrCat("want host:port of a server, such as localhost:50051, got ", Quoted(given),
                   remedy.empty() ? "" : "; ", remedy));
}

// Whether `host` is an address such as "1.2.3.4", or a short form that systems take ("127.1").
bool IsIpv4(const std::string& host, in_addr* address) {
  return !host.empty() && absl::ascii_isdigit(static_cast<unsigned char>(host.back())) &&
         inet_aton(host.c_str(), address) != 0;
}

// Whether `host` is an IPv6 address, without brackets; a zone ("%eth0") may follow.
bool IsIpv6(const std::string& host, in6_addr* address) {
  const size_t zone = host.find('%');
  if (zone != std::string::npos && zone + 1 == host.size()) return false;
  return inet_pton(AF_INET6, host.substr(0, zone).c_str(), address) == 1;
}

bool IsLoopback(const in_addr& address) {
  const uint32_t bits = ntohl(address.s_addr);
  return bits >> 24 == 127 || bits == INADDR_ANY;  // Connecting to INADDR_ANY reaches loopback.
}

bool IsLoopback(const in6_addr& address) {
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    in_addr mapped;
    std::memcpy(&mapped, address.s6_addr + 12, sizeof(mapped));
    return IsLoopback(mapped);
  }
  return IN6_IS_ADDR_LOOPBACK(&address) || IN6_IS_ADDR_UNSPECIFIED(&address);
}

bool IsLocalhost(absl::string_view host) {
  host = absl::StripSuffix(host, ".");
  return absl::EqualsIgnoreCase(host, "localhost") ||
         absl::EndsWithIgnoreCase(host, ".localhost");
}

bool IsNumber(absl::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == absl::string_view::npos;
}

// The remedy for a wrong port; "" for a good one.
std::string PortRemedy(absl::string_view text, int* port) {
  if (text.empty()) return "the port is missing after the colon";
  if (!IsNumber(text) || !absl::SimpleAtoi(text, port) || *port < 1 || *port > kMaxPort) {
    return absl::StrCat("the port is a number from 1 to ", kMaxPort);
  }
  return "";
}

// Splits "host", "host:port" or "[address]:port" into its parts.
absl::Status SplitHostPort(absl::string_view given, absl::string_view text, bool tls,
                           ServerAddress* out) {
  const auto is_in = [&](absl::string_view characters) {
    return text.find_first_of(characters) != absl::string_view::npos;
  };
  if (is_in(" \t\r\n\v\f")) {
    return Wrong(given, "write it without white space, with commas between several");
  }
  if (is_in(";")) return Wrong(given, "commas separate several");
  if (const size_t slash = text.find('/'); slash != absl::string_view::npos) {
    return Wrong(given, absl::StrCat("leave out ", Quoted(text.substr(slash))));
  }
  if (is_in("@")) {
    return Wrong(given, "names and passwords are no part of it; --token-file has the token");
  }
  const size_t colons = std::count(text.begin(), text.end(), ':');
  absl::string_view port;
  bool has_port = false;
  in6_addr ipv6;
  if (absl::StartsWith(text, "[")) {
    const size_t end = text.find(']');
    if (end == absl::string_view::npos) return Wrong(given, "the closing bracket is missing");
    out->host = std::string(text.substr(1, end - 1));
    const absl::string_view rest = text.substr(end + 1);
    has_port = absl::StartsWith(rest, ":");
    if (!has_port && !rest.empty()) return Wrong(given, "after the bracket comes a colon and a port");
    if (has_port) port = rest.substr(1);
    if (!IsIpv6(out->host, &ipv6)) {
      return Wrong(given, "in brackets stands an IPv6 address, and nothing else does");
    }
    out->is_literal = true;
  } else if (colons > 1) {
    const size_t last = text.rfind(':');
    const std::string head(text.substr(0, last)), all(text);
    int unused = 0;
    if (IsIpv6(head, &ipv6) && PortRemedy(text.substr(last + 1), &unused).empty()) {
      return Wrong(given, absl::StrCat("an IPv6 address stands in brackets: [", head,
                                       "]:", text.substr(last + 1)));
    }
    if (IsIpv6(all, &ipv6)) {
      return Wrong(given, absl::StrCat("an IPv6 address stands in brackets, before a port: [", all,
                                       "]:50051"));
    }
    return Wrong(given, "one colon stands before the port, and commas separate several");
  } else {
    const size_t colon = text.find(':');
    has_port = colon != absl::string_view::npos;
    out->host = std::string(text.substr(0, colon));
    if (has_port) port = text.substr(colon + 1);
    if (out->host.empty()) {
      return Wrong(given, has_port ? absl::StrCat("the host is missing: for this machine localhost",
                                                  text)
                                   : "");
    }
    for (const char c : out->host) {  // Names of other alphabets are the system's concern.
      const auto byte = static_cast<unsigned char>(c);
      if (absl::ascii_isalnum(byte) || byte >= 0x80 || absl::StrContains("-._", c)) continue;
      return Wrong(given, absl::StrCat(Quoted(absl::string_view(&c, 1)), " is in no host name"));
    }
    in_addr ipv4;
    out->is_literal = IsIpv4(out->host, &ipv4);
    if (out->is_literal) {  // gRPC knows no short form.
      char dotted[INET_ADDRSTRLEN];
      out->host = inet_ntop(AF_INET, &ipv4, dotted, sizeof(dotted));
    } else if (out->host.find_first_not_of("0123456789.") == std::string::npos) {
      return Wrong(given, "an IPv4 address is four numbers up to 255, with dots between them");
    }
  }
  if (has_port) {
    const std::string remedy = PortRemedy(port, &out->port);
    if (!remedy.empty()) return Wrong(given, remedy);
    out->authority = WithPort(out->host, out->port);
    return absl::OkStatus();
  }
  if (!tls) return Wrong(given, absl::StrCat("add the port: ", text, ":50051"));
  out->port = kTlsPort;
  out->authority = std::string(text);
  return absl::OkStatus();
}

// Checks the path of "unix:path", "unix:///path" or "unix-abstract:name".
absl::Status CheckSocketPath(absl::string_view given, absl::string_view scheme,
                             absl::string_view path) {
  if (absl::ConsumePrefix(&path, "//") && !absl::StartsWith(path, "/")) {
    return Wrong(given, absl::StrCat("after ", scheme, ":// comes a path from the root: ", scheme,
                                     ":///", path));
  }
  if (path.empty()) return Wrong(given, absl::StrCat("a path comes after ", scheme, ":"));
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return Wrong(given, absl::StrCat("the path of a socket has at most ",
                                     sizeof(sockaddr_un::sun_path) - 1, " bytes"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ServerAddress> ParseServerAddress(absl::string_view given, bool tls) {
  given = absl::StripAsciiWhitespace(given);
  ServerAddress address;
  address.given = std::string(given);
  absl::string_view text = given;
  if (text.empty()) return Wrong(given, "");
  // Before the first colon there is a scheme of gRPC's, or a host.
  const size_t colon = text.find(':');
  const std::string scheme =
      colon == absl::string_view::npos ? "" : absl::AsciiStrToLower(text.substr(0, colon));
  const absl::string_view rest =
      colon == absl::string_view::npos ? absl::string_view() : text.substr(colon + 1);
  if (scheme == "unix" || scheme == "unix-abstract") {
    LEAPSTREAM_RETURN_IF_ERROR(CheckSocketPath(given, scheme, rest));
    address.target = absl::StrCat(scheme, ":", rest);
    address.of_this_machine = true;
    return address;
  }
  bool by_family = false;
  if (scheme == "ipv4" || scheme == "ipv6") {
    by_family = true;
    text = rest;
  } else if (scheme == "dns" && !IsNumber(rest)) {  // With a number after it, `dns` is a host.
    text = rest;
    if (absl::ConsumePrefix(&text, "//")) {
      const size_t slash = text.find('/');
      if (slash == absl::string_view::npos) {
        return Wrong(given, absl::StrCat("a third slash comes before the name: dns:///", text));
      }
      const absl::string_view name_server = text.substr(0, slash);
      text.remove_prefix(slash + 1);
      if (!name_server.empty()) {  // Only gRPC asks another name server than the system's.
        LEAPSTREAM_RETURN_IF_ERROR(SplitHostPort(given, text, tls, &address));
        address.host.clear();
        address.target = address.given;
        return address;
      }
    }
    absl::ConsumePrefix(&text, "/");
  } else if ((scheme == "xds" || scheme == "vsock") && !IsNumber(rest)) {
    address.target = address.given;
    return address;
  } else if (absl::StartsWith(rest, "//")) {
    const std::string left = absl::StrCat(text.substr(0, colon), "://");
    absl::string_view named = rest.substr(2);
    named = named.substr(0, named.find('/'));
    const bool encrypted = scheme == "https" || scheme == "grpcs" || scheme == "wss";
    return Wrong(given, absl::StrCat("leave out ", left, encrypted && !tls ? " and add --tls" : "",
                                     named.empty() ? "" : absl::StrCat(": ", named)));
  }
  LEAPSTREAM_RETURN_IF_ERROR(SplitHostPort(given, text, tls, &address));
  if (by_family && (!address.is_literal || absl::StrContains(address.host, ':') != (scheme == "ipv6"))) {
    return Wrong(given, absl::StrCat("after ", scheme, ": comes an address and a port, such as ",
                                     scheme == "ipv6" ? "ipv6:[::1]:50051" : "ipv4:127.0.0.1:50051"));
  }
  address.target = address.is_literal
                       ? TargetOf(address.host, address.port)
                       : absl::StrCat("dns:///", WithPort(address.host, address.port));
  in_addr ipv4;
  in6_addr ipv6;
  address.of_this_machine = address.is_literal
                                ? (IsIpv6(address.host, &ipv6)   ? IsLoopback(ipv6)
                                   : IsIpv4(address.host, &ipv4) ? IsLoopback(ipv4)
                                                                 : false)
                                : IsLocalhost(address.host);
  return address;
}

std::optional<HttpProxy> ProxyFor(absl::string_view host) {
  // The rule is that of gRPC 1.51: the variables in this order, and http:// as the proxy's only
  // scheme.
  HttpProxy proxy;
  for (const char* variable : {"grpc_proxy", "https_proxy", "http_proxy"}) {
    const char* const value = std::getenv(variable);
    if (value == nullptr) continue;
    proxy.variable = variable;
    proxy.value = value;
    break;
  }
  if (!absl::StartsWithIgnoreCase(proxy.value, "http://")) return std::nullopt;
  const char* exceptions = std::getenv("no_grpc_proxy");
  if (exceptions == nullptr) exceptions = std::getenv("no_proxy");
  if (exceptions != nullptr) {
    for (absl::string_view ending : absl::StrSplit(exceptions, ',')) {
      ending = absl::StripAsciiWhitespace(ending);
      if (!ending.empty() && absl::EndsWithIgnoreCase(host, ending)) return std::nullopt;
    }
  }
  // The part before the @ is a secret.
  if (const size_t at = proxy.value.rfind('@'); at != std::string::npos) {
    proxy.value = absl::StrCat("http://", proxy.value.substr(at + 1));
  }
  return proxy;
}

absl::StatusOr<std::vector<std::string>> LookUp(const std::string& host) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, [](addrinfo* list) {
    if (list != nullptr) freeaddrinfo(list);
  });
  if (error != 0) {
    return absl::UnavailableError(error == EAI_SYSTEM ? std::strerror(errno)
                                                      : gai_strerror(error));
  }
  std::vector<std::string> addresses;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof(text), nullptr, 0,
                    NI_NUMERICHOST) != 0) {
      continue;
    }
    if (std::find(addresses.begin(), addresses.end(), text) == addresses.end()) {
      addresses.emplace_back(text);
    }
  }
  if (addresses.empty()) return absl::UnavailableError("the name has no address");
  return addresses;
}

std::string TargetOf(const std::string& address, int port) {
  // A target is a URI, in which the sign before a zone stands for itself only as %25.
  if (absl::StrContains(address, ':')) {
    return absl::StrCat("ipv6:[", absl::StrReplaceAll(address, {{"%", "%25"}}), "]:", port);
  }
  return absl::StrCat("ipv4:", address, ":", port);
}

std::string WithPort(absl::string_view host, int port) {
  const bool ipv6 = absl::StrContains(host, ':');
  return absl::StrCat(ipv6 ? "[" : "", host, ipv6 ? "]" : "", ":", port);
}

bool IsOfThisMachine(const std::string& address) {
  in_addr ipv4;
  in6_addr ipv6;
  const bool is_ipv4 = IsIpv4(address, &ipv4);
  if (!is_ipv4 && !IsIpv6(address, &ipv6)) return false;
  if (is_ipv4 ? IsLoopback(ipv4) : IsLoopback(ipv6)) return true;
  ifaddrs* interfaces = nullptr;
  if (getifaddrs(&interfaces) != 0) return false;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owned(interfaces, &freeifaddrs);
  for (const ifaddrs* each = interfaces; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr) continue;
    if (is_ipv4 && each->ifa_addr->sa_family == AF_INET) {
      const auto* const own = reinterpret_cast<const sockaddr_in*>(each->ifa_addr);
      if (own->sin_addr.s_addr == ipv4.s_addr) return true;
    } else if (!is_ipv4 && each->ifa_addr->sa_family == AF_INET6) {
      const auto* const own = reinterpret_cast<const sockaddr_in6*>(each->ifa_addr);
      if (IN6_ARE_ADDR_EQUAL(&own->sin6_addr, &ipv6)) return true;
    }
  }
  return false;
}

}  // namespace leapstream::client
