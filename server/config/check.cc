#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/glossary_text.h"
#include "base/quoted.h"
#include "base/status.h"
#include "server/address.h"
#include "server/config/config.h"
#include "server/control_groups.h"
#include "server/listener.h"
#include "server/resume_token.h"
#include "server/tls_files.h"
#include "server/token_file.h"

namespace leapstream {
namespace {

// The error for a wrong setting, with the place that it comes from.
absl::Status Wrong(const ServerConfig& config, const char* key, absl::string_view message) {
  const auto origin = config.origins.find(key);
  return absl::InvalidArgumentError(absl::StrCat(
      origin == config.origins.end() ? "" : absl::StrCat(origin->second, ": "), key, " ", message));
}

// OK if a start could write the port file.
absl::Status CheckPortFile(const ServerConfig& config) {
  const std::string& path = config.port_file;
  if (path.empty()) return absl::OkStatus();
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  struct stat file {};
  const bool is_folder = stat(path.c_str(), &file) == 0 && S_ISDIR(file.st_mode);
  if (!is_folder && access(folder.c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
  return Wrong(config, "port_file",
               absl::StrCat("must be a file in a folder that can be written to, got ", Quoted(path),
                            ": ", std::strerror(is_folder ? EISDIR : errno)));
}

absl::Status CheckTimes(const ServerConfig& config) {
  const ServerOptions& server = config.server;
  if (server.limits.max_chunk_bytes + (4 << 10) > server.max_message_bytes) {
    return Wrong(config, "max_chunk_bytes",
                 absl::StrCat("must leave room in a message of ", server.max_message_bytes,
                              " bytes, got ", server.limits.max_chunk_bytes));
  }
  if (const absl::Status status = server.pause.Check(); !status.ok()) {
    return Wrong(config, "pause", absl::StrCat("is wrong: ", status.message()));
  }
  if (server.keepalive_time > absl::ZeroDuration()) {
    if (server.keepalive_time < absl::Seconds(1)) {
      return Wrong(config, "keepalive_time", "must be 1s at least: pings cost every peer");
    }
    if (server.keepalive_timeout < absl::Seconds(1)) {
      return Wrong(config, "keepalive_timeout", "must be 1s at least: answers take their time");
    }
  }
  if (server.resume_lifetime < absl::Seconds(1)) {
    return Wrong(config, "resume_lifetime", "must be 1s at least");
  }
  if (server.liveness_timeout < absl::Seconds(1)) {
    return Wrong(config, "liveness_timeout", "must be 1s at least: a step takes some of that");
  }
  return absl::OkStatus();
}

absl::Status CheckThreads(const ServerConfig& config) {
  const ServerOptions& server = config.server;
  // One thread per model is allowed, however many models there are.
  const int threads = server.replicas * config.intra_op_threads;
  const int64_t all_threads = threads * std::max<int64_t>(config.models.size(), 1);
  if (threads > 1 && all_threads > UsableCores()) {
    return Wrong(
        config, config.intra_op_threads > 1 ? "intra_op_threads" : "replicas",
        absl::StrCat("times ", config.intra_op_threads > 1 ? "replicas" : "intra_op_threads",
                     " times models must not be more than the cores that this process may use, "
                     "which are ",
                     UsableCores(), ", got ", all_threads));
  }
  if (config.device != "cpu" && server.max_sessions == 0) {
    return Wrong(
        config, "device",
        absl::StrCat("needs max_sessions, got ", Quoted(config.device),
                     " without: the device has the states of so many sessions from the start"));
  }
  return absl::OkStatus();
}

absl::Status CheckSecurity(const ServerConfig& config) {
  const ServerOptions& server = config.server;
  const TlsFiles& tls = server.tls;
  if (!tls.certificate.empty() && tls.key.empty()) {
    return Wrong(config, "tls_certificate_file", "needs tls_key_file, its private key");
  }
  if (tls.certificate.empty() && !tls.key.empty()) {
    return Wrong(config, "tls_key_file", "needs tls_certificate_file, whose key it is");
  }
  if (tls.certificate.empty() && !tls.client_ca.empty()) {
    return Wrong(config, "tls_client_ca_file",
                 "needs tls_certificate_file: client certificates are part of TLS");
  }
  if (!server.auth_tokens_file.empty() && tls.certificate.empty() && !config.auth_without_tls) {
    return Wrong(config, "auth_tokens_file",
                 "needs tls_certificate_file, since anybody on the way could read the tokens; set "
                 "auth_without_tls if a proxy on this machine ends TLS");
  }
  const std::pair<const char*, int64_t> quotas[] = {
      {"max_sessions_per_principal", server.max_sessions_per_principal},
      {"max_characters_per_minute", server.quotas.per_minute},
      {"max_characters_per_day", server.quotas.per_day}};
  for (const auto& [key, quota] : quotas) {
    if (quota > 0 && server.auth_tokens_file.empty() && tls.client_ca.empty()) {
      return Wrong(config, key,
                   "needs auth_tokens_file or tls_client_ca_file: nobody has a name without");
    }
  }
  if (server.max_sessions > 0 && server.max_sessions_per_principal > server.max_sessions) {
    return Wrong(
        config, "max_sessions_per_principal",
        absl::StrCat("must not be more than max_sessions, which is ", server.max_sessions));
  }
  return absl::OkStatus();
}

absl::Status CheckAddresses(const ServerConfig& config) {
  std::map<int, const char*> ports;
  const std::pair<const char*, const std::string*> addresses[] = {
      {"listen", &config.server.listen},
      {"http_listen", &config.server.http_listen},
      {"metrics_listen", &config.server.metrics_listen},
      {"admin_listen", &config.server.admin_listen}};
  for (const auto& address : addresses) {
    if (address.second->empty()) continue;
    const absl::StatusOr<Address> parsed = ParseAddress(*address.second);
    if (!parsed.ok()) return Wrong(config, address.first, parsed.status().message());
    if (address.second == &config.server.admin_listen && !IsLoopback(*parsed)) {
      return Wrong(config, address.first,
                   absl::StrCat("must be an address of this machine alone, such as "
                                "127.0.0.1:50052, got ",
                                Quoted(*address.second)));
    }
    if (parsed->port == 0) continue;
    const auto added = ports.emplace(parsed->port, address.first);
    if (!added.second) {
      return Wrong(config, address.first,
                   absl::StrCat("must have another port than ", added.first->second));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckConfig(const ServerConfig& config) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckTimes(config));
  LEAPSTREAM_RETURN_IF_ERROR(CheckThreads(config));
  LEAPSTREAM_RETURN_IF_ERROR(CheckSecurity(config));
  return CheckAddresses(config);
}

absl::Status CheckFiles(const ServerConfig& config) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckTlsFiles(config.server.tls));
  if (!config.server.auth_tokens_file.empty()) {
    LEAPSTREAM_RETURN_IF_ERROR(TokenFile::Open(config.server.auth_tokens_file).status());
  }
  if (!config.server.resume_key_file.empty()) {
    LEAPSTREAM_RETURN_IF_ERROR(ResumeSigner::WithKeyFrom(config.server.resume_key_file).status());
  }
  for (const ModelSource& model : config.models) {
    if (!model.glossary.empty()) LEAPSTREAM_RETURN_IF_ERROR(ReadGlossary(model.glossary).status());
  }
  const std::pair<const char*, const std::string*> hosts[] = {
      {"listen", &config.server.listen},
      {"http_listen", &config.server.http_listen},
      {"metrics_listen", &config.server.metrics_listen},
      {"admin_listen", &config.server.admin_listen}};
  for (const auto& [key, listen] : hosts) {
    if (listen->empty()) continue;
    LEAPSTREAM_ASSIGN_OR_RETURN(const Address address, ParseAddress(*listen));
    const absl::Status known = CheckHost(address);
    if (!known.ok()) return Wrong(config, key, absl::StrCat("is wrong: ", known.message()));
  }
  return CheckPortFile(config);
}

}  // namespace leapstream
