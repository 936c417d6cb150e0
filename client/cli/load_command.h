#ifndef LEAPSTREAM_CLIENT_CLI_LOAD_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_LOAD_COMMAND_H_

#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/client.h"
#include "client/load/load.h"

namespace leapstream::client {

// `leapstream load`: its flags, and running it.
class LoadCommand {
 public:
  // Adds it to `app`, which must not parse once this object is gone. `footer`: of its --help.
  void AddTo(CLI::App& app, const std::string& footer);
  // Runs it if it was chosen; else nothing. INTERNAL: a text was wrong. If no session ended well,
  // the first one's error.
  std::optional<absl::Status> Run();

 private:
  absl::Status Measure();

  CLI::App* command_ = nullptr;
  ClientOptions connection_;
  LoadOptions options_;
  std::string source_file_;
  double seconds_ = 10;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_LOAD_COMMAND_H_
