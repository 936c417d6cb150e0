#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/quoted.h"
#include "base/small_file.h"
#include "base/status.h"
#include "base/suggest.h"
#include "server/config/config.h"
#include "server/config/installed_files.h"
#include "server/config/settings.h"
#include "server/token_file.h"

namespace leapstream {
namespace {

// True for a variable that Kubernetes sets, in each container beside a service named leapstream.
bool IsOfKubernetes(absl::string_view name) {
  return absl::EndsWith(name, "_SERVICE_HOST") || absl::StrContains(name, "_SERVICE_PORT") ||
         absl::EndsWith(name, "_PORT") || absl::StrContains(name, "_PORT_");
}

absl::Status ApplyEnvironment(const std::map<std::string, std::string>& environment,
                              ServerConfig* config) {
  for (const auto& variable : environment) {
    const std::string& name = variable.first;
    if (name == VariableOf("config")) continue;
    const Setting* setting = nullptr;
    std::vector<std::string> names = {VariableOf("config")};
    for (const Setting& known : Settings()) {
      names.push_back(VariableOf(known.key));
      if (name == names.back()) setting = &known;
    }
    if (setting == nullptr) {
      if (IsOfKubernetes(name)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("unknown environment variable ", Quoted(name), Suggest(name, names)));
    }
    std::vector<std::string> values = {variable.second};
    if (setting->kind == Setting::Kind::kModels) {
      values = absl::StrSplit(variable.second, ',');
      config->models.clear();
    }
    for (const std::string& value : values) {
      const std::string wrong = setting->set(value, config);
      if (!wrong.empty()) return absl::InvalidArgumentError(absl::StrCat(name, " ", wrong));
    }
    config->origins[setting->key] = name;
  }
  return absl::OkStatus();
}

// The variables LEAPSTREAM_... of an environment.
std::map<std::string, std::string> OwnVariables(const char* const* environment) {
  std::map<std::string, std::string> variables;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const std::pair<std::string, std::string> variable =
        absl::StrSplit(*environment, absl::MaxSplits('=', 1));
    if (absl::StartsWith(variable.first, VariableOf(""))) variables.insert(variable);
  }
  return variables;
}

absl::StatusOr<std::string> MakeToken(const std::string& principal, bool read) {
  std::string token = TokenFile::NewToken();
  if (read && !std::getline(std::cin, token)) token.clear();
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::string entry, TokenFile::Entry(principal, token));
  return absl::StrCat(read ? "" : absl::StrCat(token, "\n"), entry, "\n");
}

// The flags of leapstream-server: one for each setting, and some that ask for something else.
class Flags {
 public:
  Flags();
  // Reads the command line. For --help and --version returns a configuration with that output, and
  // else nullopt. INVALID_ARGUMENT: a flag is unknown or used in a wrong way.
  absl::StatusOr<std::optional<ServerConfig>> Parse(int argc, const char* const* argv);
  // Sets the settings that flags were given for.
  absl::Status Apply(ServerConfig* config) const;
  bool given(const std::string& name) const { return app_.count(name) > 0; }

  std::string config_path, new_token, hash_token;
  bool check = false, print = false;

 private:
  absl::Status UnknownFlag(int argc, const char* const* argv) const;

  CLI::App app_{"Translates text while it is still arriving, over gRPC.", "leapstream-server"};
  std::vector<std::string> names_ = {"--config",    "--check-config", "--print-config",
                                     "--new-token", "--hash-token",   "--version",
                                     "--help"};
  // The values of each setting, in the order of Settings().
  std::vector<std::vector<std::string>> values_{Settings().size()};
  std::vector<CLI::Option*> options_;
};

Flags::Flags() {
  app_.add_option("--config", config_path,
                  "Settings in YAML; flags and LEAPSTREAM_... win over it")
      ->type_name("FILE");
  app_.add_flag("--check-config", check, "Check the settings and the files they name, then end");
  app_.add_flag("--print-config", print, "Print all settings and where they come from, then end");
  app_.add_option("--new-token", new_token,
                  "Print a new token and its line for auth_tokens_file, then end")
      ->type_name("NAME");
  app_.add_option("--hash-token", hash_token, "The same line for the token on standard input")
      ->type_name("NAME");
  app_.set_version_flag("--version", "leapstream-server " LEAPSTREAM_VERSION);
  const ServerConfig defaults;
  for (size_t i = 0; i < Settings().size(); ++i) {
    const Setting& setting = Settings()[i];
    names_.push_back(FlagOf(setting));
    const std::string initial = setting.get(defaults);
    const std::string help =
        absl::StrCat(setting.help, initial.empty() ? "" : absl::StrCat(" (", initial, ")"));
    options_.push_back(app_.add_option(names_.back(), values_[i], help)->type_name(setting.type));
    if (setting.kind == Setting::Kind::kModels) {
      options_.back()->take_all();
    } else if (setting.kind == Setting::Kind::kSwitch) {
      options_.back()->expected(0, 1);
    } else {
      options_.back()->expected(1);
    }
  }
}

absl::StatusOr<std::optional<ServerConfig>> Flags::Parse(int argc, const char* const* argv) {
  ServerConfig config;
  try {
    app_.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    config.output = app_.help();
    return config;
  } catch (const CLI::CallForVersion& e) {
    config.output = absl::StrCat(e.what(), "\n");
    return config;
  } catch (const CLI::ExtrasError&) {
    return UnknownFlag(argc, argv);
  } catch (const CLI::ParseError& e) {
    return absl::InvalidArgumentError(absl::StrCat(e.what(), "; see leapstream-server --help"));
  }
}

absl::Status Flags::UnknownFlag(int argc, const char* const* argv) const {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    const absl::string_view flag = argument.substr(0, argument.find('='));
    if (!absl::StartsWith(flag, "--")) continue;
    if (std::find(names_.begin(), names_.end(), flag) != names_.end()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("unknown flag ", Quoted(flag), Suggest(flag, names_)));
  }
  return absl::InvalidArgumentError(
      "every argument must belong to a flag; see leapstream-server --help");
}

absl::Status Flags::Apply(ServerConfig* config) const {
  for (size_t i = 0; i < options_.size(); ++i) {
    if (options_[i]->count() == 0) continue;
    const Setting& setting = Settings()[i];
    if (setting.kind == Setting::Kind::kModels) config->models.clear();
    std::vector<std::string> values = values_[i];
    if (setting.kind == Setting::Kind::kSwitch && (values.empty() || values[0].empty())) {
      values = {"true"};  // The switch has no value.
    }
    for (const std::string& value : values) {
      const std::string wrong = setting.set(value, config);
      if (!wrong.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat(FlagOf(setting), " ", wrong, "; see leapstream-server --help"));
      }
    }
    config->origins[setting.key] = FlagOf(setting);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ServerConfig> ParseCommandLine(int argc, const char* const* argv,
                                              const char* const* environment) {
  Flags flags;
  LEAPSTREAM_ASSIGN_OR_RETURN(std::optional<ServerConfig> said, flags.Parse(argc, argv));
  if (said.has_value()) return *std::move(said);
  ServerConfig config;
  if (!flags.new_token.empty() || !flags.hash_token.empty()) {
    const bool read = flags.new_token.empty();
    LEAPSTREAM_ASSIGN_OR_RETURN(config.output,
                                MakeToken(read ? flags.hash_token : flags.new_token, read));
    return config;
  }
  const std::map<std::string, std::string> variables = OwnVariables(environment);
  std::string path = flags.config_path;
  if (const auto named = variables.find(VariableOf("config"));
      path.empty() && named != variables.end()) {
    path = named->second;
  }
  // A program that is told nothing about models takes what was installed with it.
  const InstalledFiles installed = FindInstalledFiles();
  if (path.empty() && !flags.given("--model") && variables.count(VariableOf("models")) == 0) {
    path = installed.config;
  }
  if (!path.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
    LEAPSTREAM_RETURN_IF_ERROR(ApplyYaml(text, path, &config));
  }
  LEAPSTREAM_RETURN_IF_ERROR(ApplyEnvironment(variables, &config));
  LEAPSTREAM_RETURN_IF_ERROR(flags.Apply(&config));
  if (config.models.empty() && !installed.model.empty()) {
    config.models.emplace_back().directory = installed.model;
    config.origins["models"] = "installed with the program";
  }
  if (config.models.empty() && !flags.print) {
    return absl::InvalidArgumentError(
        "no model to serve; give --model DIR or models in the configuration");
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckConfig(config));
  if (flags.check) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckFiles(config));
    config.check_models = true;
    config.output = "the configuration is good\n";
  }
  if (flags.print) config.output = PrintConfig(config);
  return config;
}

}  // namespace leapstream
