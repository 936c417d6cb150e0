#include "client/cli/completion_command.h"

#include <iostream>

#include "client/cli/completion.h"

namespace leapstream::client {

void CompletionCommand::AddTo(CLI::App& app, const std::string& footer) {
  app_ = &app;
  command_ = app.add_subcommand(
      "completion", "Print a script that completes this program's arguments in a shell.");
  command_->add_option("shell", shell_, "which")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command_->footer(footer);
}

std::optional<absl::Status> CompletionCommand::Run() {
  if (!command_->parsed()) return std::nullopt;
  std::cout << CompletionScript(*app_, shell_);
  return absl::OkStatus();
}

}  // namespace leapstream::client
