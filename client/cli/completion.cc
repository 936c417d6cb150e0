#include "client/cli/completion.h"

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace leapstream::client {
namespace {

struct Flag {
  std::string name;                 // The name with its dashes.
  std::string text;                 // The flag's description.
  std::vector<std::string> values;  // Values that it takes; none: any value, or no value at all.
  bool takes_value = false;
  bool takes_path = false;
};

// The values in "{a,b}", a part of the option's type; none: it takes any value.
std::vector<std::string> Values(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{'), close = type.find('}');
  if (open == std::string::npos || close == std::string::npos) return {};
  return absl::StrSplit(type.substr(open + 1, close - open - 1), ',');
}

std::vector<const CLI::App*> CommandsOf(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// The flags of `app` and of the commands below it, each once.
std::vector<Flag> Flags(const CLI::App& app) {
  std::vector<Flag> flags;
  for (const CLI::Option* option : app.get_options()) {
    Flag flag;
    flag.text = option->get_description();
    flag.takes_value = option->get_expected_min() > 0;
    flag.values = Values(*option);
    const std::string type = option->get_type_name();
    flag.takes_path = absl::StrContains(type, "FILE") || absl::StrContains(type, "DIR") ||
                      absl::StrContains(option->get_name(), "file");
    for (const std::string& name : option->get_lnames()) {
      flag.name = absl::StrCat("--", name);
      flags.push_back(flag);
    }
  }
  for (const CLI::App* command : CommandsOf(app)) {
    for (Flag& flag : Flags(*command)) {
      const auto same = [&](const Flag& other) { return other.name == flag.name; };
      if (absl::c_none_of(flags, same)) flags.push_back(std::move(flag));
    }
  }
  return flags;
}

// Words that may stand after a command without dashes: commands below it, values of its arguments.
std::vector<std::string> Words(const CLI::App& app) {
  std::vector<std::string> words;
  for (const CLI::App* command : CommandsOf(app)) words.push_back(command->get_name());
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) absl::c_copy(Values(*option), std::back_inserter(words));
  }
  return words;
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string Bash(const CLI::App& app) {
  const std::string& name = app.get_name();
  std::string script = absl::StrCat(
      "_", name, "() {\n",
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=''\n",
      "  case ${COMP_WORDS[1]} in\n");
  std::vector<std::string> names;
  for (const CLI::App* command : CommandsOf(app)) {
    names.push_back(command->get_name());
    std::vector<std::string> words = Words(*command);
    absl::StrAppend(&script, "    ", names.back(), ")\n      case $prev in\n");
    for (const Flag& flag : Flags(*command)) {
      words.push_back(flag.name);
      if (!flag.values.empty()) {
        absl::StrAppend(&script, "        ", flag.name, ") COMPREPLY=($(compgen -W '",
                        absl::StrJoin(flag.values, " "), "' -- \"$cur\")); return ;;\n");
      } else if (flag.takes_value) {  // No word of ours fits: `-o default` offers files.
        absl::StrAppend(&script, "        ", flag.name, ") COMPREPLY=(); return ;;\n");
      }
    }
    absl::StrAppend(&script, "      esac\n      words='", absl::StrJoin(words, " "), "' ;;\n");
  }
  absl::StrAppend(&script, "  esac\n  [[ $COMP_CWORD -eq 1 ]] && words='",
                  absl::StrJoin(names, " "), " --help --version'\n",
                  "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n",
                  "complete -o default -F _", name, " ", name, "\n");
  return script;
}

std::string Zsh(const CLI::App& app) {
  const std::string& name = app.get_name();
  const auto quoted = [](const std::string& text) {
    return absl::StrReplaceAll(
        text, {{"'", "'\\''"}, {"[", "\\["}, {"]", "\\]"}, {":", "\\:"}, {"\n", " "}});
  };
  std::string script =
      absl::StrCat("#compdef ", name, "\n_", name,
                   "() {\n  if (( CURRENT == 2 )); then\n    local -a commands=(\n");
  for (const CLI::App* command : CommandsOf(app)) {
    absl::StrAppend(&script, "      '", command->get_name(), ":",
                    quoted(FirstLine(command->get_description())), "'\n");
  }
  absl::StrAppend(&script, "    )\n    _describe command commands\n    return\n  fi\n",
                  "  shift words\n  (( CURRENT-- ))\n  case $words[1] in\n");
  for (const CLI::App* command : CommandsOf(app)) {
    absl::StrAppend(&script, "    ", command->get_name(), ")\n      _arguments");
    for (const Flag& flag : Flags(*command)) {
      absl::StrAppend(&script, " \\\n        '", flag.name, "[", quoted(flag.text), "]");
      if (!flag.values.empty()) {
        absl::StrAppend(&script, ":value:(", absl::StrJoin(flag.values, " "), ")");
      } else if (flag.takes_value) {
        absl::StrAppend(&script, flag.takes_path ? ":file:_files" : ":value:");
      }
      script += "'";
    }
    const std::vector<std::string> words = Words(*command);
    if (!words.empty()) {
      absl::StrAppend(&script, " \\\n        '1:value:(", absl::StrJoin(words, " "), ")'");
    }
    script += " \\\n        '*:file:_files' ;;\n";
  }
  absl::StrAppend(&script, "  esac\n}\n_", name, " \"$@\"\n");
  return script;
}

std::string Fish(const CLI::App& app) {
  const auto quoted = [](const std::string& text) {
    return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}, {"\n", " "}});
  };
  std::string script;
  for (const CLI::App* command : CommandsOf(app)) {
    const std::string name = command->get_name();
    absl::StrAppend(&script, "complete -c ", app.get_name(), " -n __fish_use_subcommand -f -a ",
                    name, " -d '", quoted(FirstLine(command->get_description())), "'\n");
    const std::vector<std::string> words = Words(*command);
    if (!words.empty()) {
      absl::StrAppend(&script, "complete -c ", app.get_name(), " -n '__fish_seen_subcommand_from ",
                      name, "' -f -a '", absl::StrJoin(words, " "), "'\n");
    }
    for (const Flag& flag : Flags(*command)) {
      absl::StrAppend(&script, "complete -c ", app.get_name(), " -n '__fish_seen_subcommand_from ",
                      name, "' -l ", flag.name.substr(2), " -d '", quoted(flag.text), "'");
      if (!flag.values.empty()) {
        absl::StrAppend(&script, " -x -a '", absl::StrJoin(flag.values, " "), "'");
      } else if (flag.takes_value) {
        script += flag.takes_path ? " -r -F" : " -x";
      }
      script += "\n";
    }
  }
  return script;
}

}  // namespace

std::string CompletionScript(const CLI::App& app, const std::string& shell) {
  if (shell == "bash") return Bash(app);
  return shell == "zsh" ? Zsh(app) : Fish(app);
}

}  // namespace leapstream::client
