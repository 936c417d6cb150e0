#ifndef LEAPSTREAM_CLIENT_CLI_COMPLETION_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_COMPLETION_COMMAND_H_

#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace leapstream::client {

// The command `leapstream completion`: its flags, and running it.
class CompletionCommand {
 public:
  // Adds the command to `app`, which must not parse once this object is gone. `footer` ends the
  // command's --help.
  void AddTo(CLI::App& app, const std::string& footer);
  // Prints the script if the command was chosen; nullopt if not.
  std::optional<absl::Status> Run();

 private:
  const CLI::App* app_ = nullptr;  // The program, which the script describes.
  CLI::App* command_ = nullptr;
  std::string shell_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_COMPLETION_COMMAND_H_
