#include "client/cli/replay_command.h"

#include <fstream>
#include <iostream>

#include "base/status.h"
#include "client/cli/read_lines.h"

namespace leapstream::client {

void ReplayCommand::AddTo(CLI::App& app, const std::string& footer) {
  command_ =
      app.add_subcommand("replay", "Show again what translate --trace recorded, as it came.");
  command_->add_option("trace", file_, "the recorded file; -: standard input")->required();
  command_->add_option("--speed", options_.speed, "times as fast as it was")
      ->check(CLI::Range(0.01, 10000.0))
      ->capture_default_str();
  command_->footer(footer);
}

std::optional<absl::Status> ReplayCommand::Run() {
  if (!command_->parsed()) return std::nullopt;
  return ReplayFile();
}

absl::Status ReplayCommand::ReplayFile() {
  if (file_ == "-") return Replay(std::cin, options_);
  LEAPSTREAM_ASSIGN_OR_RETURN(std::ifstream file, OpenFile(file_));
  return Replay(file, options_);
}

}  // namespace leapstream::client
