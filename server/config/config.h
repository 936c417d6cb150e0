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
  std::string name;          // Empty: the name in its model.json.
  std::string compute_type;  // Empty: that of ServerConfig, or else that of its model.json.
  std::string state_type;    // The same.
  std::string glossary;      // The file of its glossary; empty: it has none.
};

struct ServerConfig {
  ServerOptions server;
  std::vector<ModelSource> models;
  std::string compute_type;    // See ModelSource.
  std::string state_type;      // See ModelSource.
  std::string device = "cpu";  // See LoadOptions.
  int intra_op_threads = 1;    // Threads that share the work of a step.
  // The time from a signal to the drain, in which load balancers notice.
  absl::Duration drain_delay;
  absl::Duration drain_timeout = absl::Seconds(30);  // The time that open sessions have to end.
  std::string port_file;  // The file that gets the port once the server listens; empty: none.
  std::string log_level =
      "info";  // spdlog's names: trace, debug, info, warn, error, critical, off.
  LogFormat log_format = LogFormat::kText;
  bool auth_without_tls = false;  // True: tokens are taken without TLS, which a proxy ends.

  // The place that each setting comes from, unless it is a default: "x.yaml:3", "LEAPSTREAM_LISTEN"
  // or "--listen".
  std::map<std::string, std::string> origins;
  bool check_models = false;  // True: check that a start would take the models, before the output.
  std::string output;         // If it is not empty, print it instead of serving.
};

// Reads the YAML `text` of a configuration into `config`, and changes only the settings that it
// has. `path` stands for the file in errors. INVALID_ARGUMENT, with file and line: `text` is not
// YAML, or has an unknown key or a value of a wrong type.
absl::Status ApplyYaml(absl::string_view text, absl::string_view path, ServerConfig* config);

// OK if the settings fit together. INVALID_ARGUMENT, with the place of one of them: they do not.
absl::Status CheckConfig(const ServerConfig& config);

// OK if the files and hosts that the settings name can be used. Models are not looked at.
// INVALID_ARGUMENT or NOT_FOUND: one of them cannot.
absl::Status CheckFiles(const ServerConfig& config);

// Returns all settings as a configuration file, with the place that each comes from.
std::string PrintConfig(const ServerConfig& config);

// Returns the configuration that a command line and an environment ("NAME=value", with a null
// pointer at the end) ask for. A flag wins over the variable LEAPSTREAM_..., the variable over the
// file of --config, and the file over the default. If neither a file nor models are named, the file
// is the one that was installed with the program; if no models are named, neither in the file, the
// model is. INVALID_ARGUMENT: a setting is unknown or wrong,
// settings contradict each other, or there is no model. NOT_FOUND: a file cannot be read.
absl::StatusOr<ServerConfig> ParseCommandLine(int argc, const char* const* argv,
                                              const char* const* environment = environ);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_CONFIG_CONFIG_H_
