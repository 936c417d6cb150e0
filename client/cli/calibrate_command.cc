#include "client/cli/calibrate_command.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/cli/find_program.h"

namespace leapstream::client {

void CalibrateCommand::AddTo(CLI::App& app, const std::string& /*footer*/) {
  command_ = app.add_subcommand(
      "calibrate",
      "Find what the policies alignatt and adaptive need to know of a model, from a few hundred\n"
      "sentences, and write it to the model's directory. Flags: leapstream calibrate --help.");
  command_->set_help_flag();  // The program has its own.
  command_->prefix_command();
}

std::optional<absl::Status> CalibrateCommand::Run() {
  if (!command_->parsed()) return std::nullopt;
  absl::StatusOr<std::string> program = FindProgram("leapstream-calibrate");
  if (!program.ok()) return program.status();
  std::vector<std::string> arguments = command_->remaining();
  std::vector<char*> argv = {program->data()};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  signal(SIGPIPE, SIG_DFL);
  execv(argv[0], argv.data());
  return absl::InternalError(absl::StrCat("cannot start ", *program, ": ", std::strerror(errno)));
}

}  // namespace leapstream::client
