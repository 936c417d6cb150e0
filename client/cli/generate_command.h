#ifndef LEAPSTREAM_CLIENT_CLI_GENERATE_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_GENERATE_COMMAND_H_

#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/client.h"
#include "client/texts.h"

namespace leapstream::client {

// The command `leapstream generate`: its flags, and running it.
class GenerateCommand {
 public:
  // Adds the command to `app`, which must not parse once this object is gone. `footer` ends the
  // command's --help.
  void AddTo(CLI::App& app, const std::string& footer);
  // Runs the command; nullopt: it was not chosen.
  std::optional<absl::Status> Run();

 private:
  absl::Status GenerateAll();
  // Goes on with one prompt, and prints what comes.
  absl::Status GenerateOne(Texts& texts, const std::string& prompt);

  CLI::App* command_ = nullptr;
  ClientOptions connection_;
  GenerateOptions options_;
  std::optional<std::string> prompt_;
  bool sampling_ = false;
  std::optional<double> temperature_;
  std::string state_file_;
  std::string save_state_file_;
  bool json_ = false;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_GENERATE_COMMAND_H_
