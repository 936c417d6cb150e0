#ifndef LEAPSTREAM_CLIENT_CLI_PULL_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_PULL_COMMAND_H_

#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace leapstream::client {

// The command `leapstream pull`: fetches a model from a hub and exports it.
class PullCommand {
 public:
  // Adds the command to `app`, which must not parse once this object is gone.
  void AddTo(CLI::App& app, const std::string& footer);
  // Fetches and exports if the command was chosen; nullopt if not. Errors: those of Hub, and of
  // leapstream-export, whose messages go to standard error.
  std::optional<absl::Status> Run();

 private:
  absl::Status Pull();

  CLI::App* command_ = nullptr;
  std::string repo_, output_, cache_, endpoint_, token_file_, ca_file_, name_;
  std::string source_language_, target_language_;
  std::vector<std::string> export_flags_;
  bool offline_ = false;
  bool no_export_ = false;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_PULL_COMMAND_H_
