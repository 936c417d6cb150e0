#ifndef LEAPSTREAM_CLIENT_CLI_PROBE_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_PROBE_COMMAND_H_

#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/client.h"

namespace leapstream::client {

// The command `leapstream probe`: its flags, and running it.
class ProbeCommand {
 public:
  // Adds the command to `app`, which must not parse once this object is gone. `footer` ends the
  // command's --help.
  void AddTo(CLI::App& app, const std::string& footer);
  // Waits for the server if the command was chosen; nullopt if not. The errors are those of
  // Client::Connect() and Client::Probe().
  std::optional<absl::Status> Run();

 private:
  absl::Status Probe();

  CLI::App* command_ = nullptr;
  ClientOptions connection_;
  std::string timeout_ = "5s";
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_PROBE_COMMAND_H_
