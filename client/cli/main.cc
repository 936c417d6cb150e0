#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <tuple>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/standard_descriptors.h"
#include "client/cli/admin_command.h"
#include "client/cli/calibrate_command.h"
#include "client/cli/completion_command.h"
#include "client/cli/evaluation_commands.h"
#include "client/cli/exit_status.h"
#include "client/cli/generate_command.h"
#include "client/cli/load_command.h"
#include "client/cli/models_command.h"
#include "client/cli/output.h"
#include "client/cli/perplexity_command.h"
#include "client/cli/probe_command.h"
#include "client/cli/pull_command.h"
#include "client/cli/replay_command.h"
#include "client/cli/translate_command.h"
#include "client/cli/usage_message.h"
#include "client/cli/web_command.h"

namespace leapstream::client {
namespace {

constexpr char kExamples[] = R"(Examples:
  leapstream translate --k 3 < en.txt > de.txt
  leapstream translate --policy la:2 < en.txt   # for a model that was trained on whole sentences
  leapstream translate --from-file talk.txt --segment sentence --pace 3/s   # watch it, as if spoken
  leapstream translate --server a:50051,b:50051 < en.txt   # goes on at b when a is lost
  leapstream translate --file en.txt --beam 5 --output de.txt   # again: goes on where it ended
  leapstream translate --audio talk.wav         # in real time; --pace max: as fast as it goes
  arecord -t raw -f S16_LE -r 16000 -c 1 | leapstream translate --audio -
  leapstream probe --timeout 30s && leapstream models)";

// The order is that of --help.
using Commands =
    std::tuple<TranslateCommand, ReplayCommand, ModelsCommand, ProbeCommand, CompletionCommand,
               AdminCommand, EvaluationCommands, LoadCommand, CalibrateCommand, PullCommand,
               WebCommand, GenerateCommand, PerplexityCommand>;

// Runs the command that was chosen; nullopt: none was.
std::optional<absl::Status> RunChosen(Commands& commands) {
  std::optional<absl::Status> status;
  std::apply(
      [&](auto&... command) {
        static_cast<void>(((status = command.Run()).has_value() || ...));
      },
      commands);
  return status;
}

int Run(int argc, char** argv) {
  const std::string exit_status = absl::StrCat("\n", kExitStatusHelp);
  const std::string footer = absl::StrCat(exit_status, "\n", kExamples);
  CLI::App app("Translates text while it is still arriving, with a leapstream server.");
  app.name("leapstream");
  app.require_subcommand(0, 1);
  app.footer(footer);
  app.set_version_flag("--version", "leapstream " LEAPSTREAM_VERSION);
  app.set_help_all_flag("--help-all", "Print the help of all subcommands and exit");
  Commands commands;
  std::apply([&](auto&... command) { (command.AddTo(app, exit_status), ...); }, commands);
  app.get_subcommand("translate")->footer(footer);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // It is --help or --version.
    absl::FPrintF(stderr, "%s\n", UsageMessage(app, error));
    return kExitUsage;
  }
  if (const auto status = RunChosen(commands)) return Report(*status);
  absl::FPrintF(stderr, "leapstream: want a command; leapstream --help lists them\n");
  return kExitUsage;
}

}  // namespace
}  // namespace leapstream::client

int main(int argc, char** argv) {
  using leapstream::client::Report;
  if (!leapstream::OpenStandardDescriptors()) return leapstream::client::kExitError;
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);  // Messages of ours say what matters of it.
  signal(SIGPIPE, SIG_IGN);  // A write that nobody reads then fails with EPIPE.
  int status = leapstream::client::kExitError;
  try {
    status = leapstream::client::Run(argc, argv);
  } catch (const std::exception& error) {  // Nothing is known to throw, but memory may end.
    absl::FPrintF(stderr, "leapstream: %s\n", error.what());
  }
  const absl::Status output = leapstream::client::FlushOutput();  // Covers --help, too.
  return status == 0 ? Report(output) : status;
}
