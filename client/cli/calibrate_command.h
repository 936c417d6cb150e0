#ifndef LEAPSTREAM_CLIENT_CLI_CALIBRATE_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_CALIBRATE_COMMAND_H_

#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace leapstream::client {

// The command `leapstream calibrate`: becomes the program leapstream-calibrate, which has the
// model's engine in it and knows the flags.
class CalibrateCommand {
 public:
  // Adds the command to `app`, which must not parse once this object is gone.
  void AddTo(CLI::App& app, const std::string& footer);
  // Becomes the program if the command was chosen, and does not return then; nullopt if it was not.
  // NOT_FOUND: there is no such program; INTERNAL: it cannot be started.
  std::optional<absl::Status> Run();

 private:
  CLI::App* command_ = nullptr;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_CALIBRATE_COMMAND_H_
