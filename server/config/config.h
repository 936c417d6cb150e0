#ifndef LEAPSTREAM_SERVER_CONFIG_CONFIG_H_
#define LEAPSTREAM_SERVER_CONFIG_CONFIG_H_

#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/logging.h"
#include "server/options.h"

namespace leapstream {

struct ModelSource {
  std::string directory;
  std::string name;          // Empty: that of its model.json.
  std::string compute_type;  // Empty: ServerConfig's, or else that of its model.json.
};

struct ServerConfig {
  ServerOptions server;
  std::vector<ModelSource> models;
  std::string compute_type;    // See ModelSource.
  std::string device = "cpu";  // See LoadOptions.
  int intra_op_threads = 1;    // That share the work of a step.
  absl::Duration drain_delay;  // From a signal to the drain; load balancers notice meanwhile.
  absl::Duration drain_timeout = absl::Seconds(30);  // What the drain leaves open sessions.
  std::string port_file;  // Where the port is written once the server listens; empty: nowhere.
  std::string log_level =
      "info";  // spdlog's names: trace, debug, info, warn, error, critical, off.
  LogFormat log_format = LogFormat::kText;
  bool auth_without_tls = false;  // Tokens may go over the wire as they are: TLS ends before us.

  // Where each setting that is not a default comes from: "x.yaml:3", "LEAPSTREAM_LISTEN",
  // "--listen".
  std::map<std::string, std::string> origins;
  bool check_models = false;  // Whether a start would take them, before the output.
  std::string output;  // Not empty: something else was asked for; print it and do nothing else.
};

// Reads the YAML `text` of a configuration into `config`, changing what it names. `path` stands for
// the file in errors. INVALID_ARGUMENT, with file and line: not YAML, an unknown key, a wrong type.
absl::Status ApplyYaml(absl::string_view text, absl::string_view path, ServerConfig* config);

// Whether the settings fit together. INVALID_ARGUMENT, with the place of one of them: they do not.
absl::Status CheckConfig(const ServerConfig& config);

// Whether the files and hosts that the settings name are there, but for the models: whatever a
// start looks at before it binds a port. INVALID_ARGUMENT or NOT_FOUND: they are not.
absl::Status CheckFiles(const ServerConfig& config);

// All settings as a configuration file, with where each comes from.
std::string PrintConfig(const ServerConfig& config);

// The configuration that a command line and an environment ("NAME=value", a null pointer at its
// end) ask for: a flag wins over LEAPSTREAM_..., that over the file of --config, that over the
// default. INVALID_ARGUMENT: an unknown or wrong one, settings that contradict each other, no
// model; NOT_FOUND: no such file.
absl::StatusOr<ServerConfig> ParseCommandLine(int argc, const char* const* argv,
                                              const char* const* environment = environ);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_CONFIG_CONFIG_H_
