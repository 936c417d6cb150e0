#ifndef LEAPSTREAM_CLIENT_CLI_PERPLEXITY_COMMAND_H_
#define LEAPSTREAM_CLIENT_CLI_PERPLEXITY_COMMAND_H_

#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/client.h"
#include "client/evaluation/text_blocks.h"

namespace leapstream::client {

// The command `leapstream perplexity FILE`: its flags, and running it.
class PerplexityCommand {
 public:
  // Adds the command to `app`, which must not parse once this object is gone. `footer` ends the
  // command's --help.
  void AddTo(CLI::App& app, const std::string& footer);
  // Runs the command; nullopt: it was not chosen.
  std::optional<absl::Status> Run();

 private:
  absl::Status Measure();

  CLI::App* command_ = nullptr;
  ClientOptions connection_;
  std::string model_;
  std::string file_;
  BlockOptions blocks_;
  std::optional<int> max_target_positions_;
  bool pieces_ = false;
  bool json_ = false;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_PERPLEXITY_COMMAND_H_
