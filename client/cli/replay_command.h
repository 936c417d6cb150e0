#ifndef LEAPSTREAM_CLIENT_CLI_REPLAY_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_REPLAY_COMMAND_H_

#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/cli/trace.h"

namespace leapstream::client {

// The command `leapstream replay`: its flags, and running it.
class ReplayCommand {
 public:
  // Adds the command to `app`, which must not parse once this object is gone. `footer` ends the
  // command's --help.
  void AddTo(CLI::App& app, const std::string& footer);
  // Shows the recording if the command was chosen; nullopt if not. The errors are those of
  // OpenFile() and Replay().
  std::optional<absl::Status> Run();

 private:
  absl::Status ReplayFile();

  CLI::App* command_ = nullptr;
  std::string file_;
  ReplayOptions options_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_REPLAY_COMMAND_H_
