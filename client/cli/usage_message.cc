#include "client/cli/usage_message.h"

#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/quoted.h"
#include "base/suggest.h"

namespace leapstream::client {
namespace {

std::vector<std::string> FlagsOf(const CLI::App& command) {
  std::vector<std::string> flags;
  for (const CLI::Option* const option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back(absl::StrCat("--", name));
  }
  return flags;
}

std::vector<std::string> CommandsOf(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* const each : command.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(each->get_name());
  }
  return names;
}

// Says what is wrong with an argument that `command` does not know.
std::string Unexpected(const CLI::App& command, const std::string& argument) {
  if (absl::StartsWith(argument, "-")) {
    const std::string flag = argument.substr(0, argument.find('='));
    const std::optional<std::string> nearest = Nearest(flag, FlagsOf(command));
    return absl::StrCat("unknown flag ", Quoted(flag),
                        nearest.has_value() ? absl::StrCat("; is ", *nearest, " meant?") : "");
  }
  const std::vector<std::string> commands = CommandsOf(command);
  if (!commands.empty() && command.get_subcommands().empty()) {
    return absl::StrCat("unknown command ", Quoted(argument), Suggest(argument, commands));
  }
  return absl::StrCat("want no argument, got ", Quoted(argument),
                      command.get_option_no_throw("--from-file") == nullptr
                          ? ""
                          : "; --from-file reads a file, and so does <");
}

}  // namespace

std::string UsageMessage(CLI::App& app, const CLI::ParseError& error) {
  std::string name = app.get_name();
  const CLI::App* command = &app;
  const CLI::App* refusing = app.remaining_size() > 0 ? &app : nullptr;
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    absl::StrAppend(&name, " ", command->get_name());
    if (command->remaining_size() > 0) refusing = command;
  }
  const bool unexpected =
      error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError) && refusing != nullptr;
  const std::string what =
      unexpected ? Unexpected(*refusing, refusing->remaining().front()) : error.what();
  return absl::StrCat(name, ": ", what, "\n", name, " --help lists what there is");
}

}  // namespace leapstream::client
