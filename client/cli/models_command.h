#ifndef LEAPSTREAM_CLIENT_CLI_MODELS_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_MODELS_COMMAND_H_

#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/client.h"

namespace leapstream::client {

// The command `leapstream models`: its flags, and running it.
class ModelsCommand {
 public:
  // Adds the command to `app`, which must not parse once this object is gone. `footer` ends the
  // command's --help.
  void AddTo(CLI::App& app, const std::string& footer);
  // Prints the list if the command was chosen; nullopt if not. The errors are those of
  // Client::Connect() and Client::ListModels().
  std::optional<absl::Status> Run();

 private:
  absl::Status PrintModels();

  CLI::App* command_ = nullptr;
  ClientOptions connection_;
  bool json_ = false;
  bool verbose_ = false;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_MODELS_COMMAND_H_
