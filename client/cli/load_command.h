#ifndef LEAPSTREAM_CLIENT_CLI_LOAD_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_LOAD_COMMAND_H_

#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/cli/policy_flags.h"
#include "client/client.h"
#include "client/load/load.h"

namespace leapstream::client {

// The command `leapstream load`: its flags, and running it.
class LoadCommand {
 public:
  // Adds the command to `app`, which must not parse once this object is gone. `footer` ends the
  // command's --help.
  void AddTo(CLI::App& app, const std::string& footer);
  // Runs the command if it was chosen; nullopt if not. INTERNAL: a text was wrong. If no session
  // ended well, the error is the first session's.
  std::optional<absl::Status> Run();

 private:
  absl::Status Measure();
  absl::Status Find(Client& client, const std::vector<std::string>& sentences);

  CLI::App* command_ = nullptr;
  ClientOptions connection_;
  PolicyFlags policy_;
  LoadOptions options_;
  std::string source_file_;
  double seconds_ = 10;
  bool find_ = false;
  double most_p99_ms_ = 100;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_LOAD_COMMAND_H_
