#ifndef LEAPSTREAM_SERVER_CONFIG_H_
#define LEAPSTREAM_SERVER_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/server.h"

namespace leapstream {

struct ServerConfig {
  ServerOptions server;
  std::vector<std::string> model_directories;
  absl::Duration drain_timeout = absl::Seconds(30);  // What a signal leaves open sessions.
  std::string port_file;  // Where the port is written once the server listens; empty: nowhere.
  std::string log_level =
      "info";        // spdlog's names: trace, debug, info, warn, error, critical, off.
  std::string help;  // Not empty: asked for help; print it and do nothing else.
};

// Reads the YAML `text` of a configuration into `config`, changing what it names. `path` stands for
// the file in errors. INVALID_ARGUMENT, with file and line: not YAML, an unknown key, a wrong type.
absl::Status ApplyYaml(absl::string_view text, absl::string_view path, ServerConfig* config);

// Whether the settings fit together. INVALID_ARGUMENT: they do not; `config` is not changed.
absl::Status CheckConfig(const ServerConfig& config);

// The configuration that a command line asks for: flags win over the file of --config.
// INVALID_ARGUMENT: an unknown flag or value, no model; NOT_FOUND: no such file.
absl::StatusOr<ServerConfig> ParseCommandLine(int argc, const char* const* argv);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_CONFIG_H_
