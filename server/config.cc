#include "server/config.h"

#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace leapstream {
namespace {

constexpr const char* kLogLevels[] = {"trace", "debug", "info", "warn", "error", "critical", "off"};

absl::Status At(absl::string_view path, const YAML::Mark& mark, absl::string_view message) {
  // yaml-cpp counts from 0; -1 where it does not know.
  return absl::InvalidArgumentError(absl::StrCat(path, ":", mark.line + 1, ": ", message));
}

// One setting that has a plain value: "listen" in the file, --listen on the command line. `set`
// says what is wrong with a value, or nothing.
struct Setting {
  const char* key;
  const char* type;  // For --help.
  const char* help;
  std::function<std::string(const std::string& value, ServerConfig* config)> set;
};

std::function<std::string(const std::string&, ServerConfig*)> Text(
    std::function<std::string*(ServerConfig*)> field) {
  return [field](const std::string& value, ServerConfig* config) {
    if (value.empty()) return std::string("must be a text");
    *field(config) = value;
    return std::string();
  };
}

template <typename Int>
std::function<std::string(const std::string&, ServerConfig*)> Number(
    Int least, Int most, std::function<Int*(ServerConfig*)> field) {
  return [=](const std::string& value, ServerConfig* config) {
    Int number = 0;
    if (!absl::SimpleAtoi(value, &number) || number < least || number > most) {
      return absl::StrCat("must be a number from ", least, " to ", most, ", got ", value);
    }
    *field(config) = number;
    return std::string();
  };
}

std::function<std::string(const std::string&, ServerConfig*)> Time(
    std::function<absl::Duration*(ServerConfig*)> field) {
  return [field](const std::string& value, ServerConfig* config) {
    absl::Duration duration;
    if (!absl::ParseDuration(value, &duration) || duration < absl::ZeroDuration() ||
        duration > absl::Hours(24 * 366)) {
      return absl::StrCat("must be a duration such as 500ms, 30s or 12h, got ", value);
    }
    *field(config) = duration;
    return std::string();
  };
}

const std::vector<Setting>& Settings() {
  using C = ServerConfig;
  static const auto* const settings = new std::vector<Setting>{
      {"listen", "HOST:PORT", "Address; port 0: any free one (0.0.0.0:50051)",
       Text([](C* c) { return &c->server.listen; })},
      {"port_file", "FILE", "Gets the port once the server listens",
       Text([](C* c) { return &c->port_file; })},
      {"log_level", "LEVEL", "What is logged to stderr (info)",
       [](const std::string& value, C* c) -> std::string {
         if (std::find(std::begin(kLogLevels), std::end(kLogLevels), value) ==
             std::end(kLogLevels)) {
           return "must be trace, debug, info, warn, error, critical or off, got " + value;
         }
         c->log_level = value;
         return "";
       }},
      {"max_sessions", "N", "Sessions at once; 0: as many as half of the memory holds",
       Number<int>(0, 1000000, [](C* c) { return &c->server.max_sessions; })},
      {"max_chunk_bytes", "N", "Size of a source chunk (65536)",
       Number<int>(64, 1 << 20, [](C* c) { return &c->server.limits.max_chunk_bytes; })},
      {"max_source_tokens_per_segment", "N", "Then its source is cut (10000)",
       Number<int>(2, 1 << 20, [](C* c) { return &c->server.limits.max_source_tokens; })},
      {"max_target_tokens_per_segment", "N", "Then its translation is cut (20000)",
       Number<int>(1, 1 << 20, [](C* c) { return &c->server.limits.max_target_tokens; })},
      {"max_queued_bytes", "N", "Source of a session that waits; then reading stops (262144)",
       Number<int64_t>(1, 1 << 30, [](C* c) { return &c->server.limits.max_queued_bytes; })},
      {"max_unread_bytes", "N", "Output that a client leaves; then decoding stops (65536)",
       Number<int64_t>(1, 1 << 30, [](C* c) { return &c->server.limits.max_unread_bytes; })},
      {"config_timeout", "TIME", "For the first message of a stream (10s); 0: no limit",
       Time([](C* c) { return &c->server.limits.config_timeout; })},
      {"idle_timeout", "TIME", "Without a message from the client (5m); 0: no limit",
       Time([](C* c) { return &c->server.limits.idle_timeout; })},
      {"max_session_duration", "TIME", "Of one stream (12h); 0: no limit",
       Time([](C* c) { return &c->server.limits.max_session_duration; })},
      {"stuck_reader_timeout", "TIME", "For a client to take a message (30s); 0: no limit",
       Time([](C* c) { return &c->server.limits.stuck_reader_timeout; })},
      {"heartbeat_interval", "TIME", "Silence after which a heartbeat is sent (15s); 0: none",
       Time([](C* c) { return &c->server.limits.heartbeat_interval; })},
      {"keepalive_time", "TIME", "Silence after which a peer is pinged (20s); 0: never",
       Time([](C* c) { return &c->server.keepalive_time; })},
      {"keepalive_timeout", "TIME", "For the answer to the ping (10s)",
       Time([](C* c) { return &c->server.keepalive_timeout; })},
      {"drain_timeout", "TIME", "What SIGTERM leaves open sessions (30s)",
       Time([](C* c) { return &c->drain_timeout; })},
      {"resume_key_file", "FILE", "Key of resume tokens, the same on all replicas (random)",
       Text([](C* c) { return &c->server.resume_key_file; })},
      {"resume_lifetime", "TIME", "How long a resume token is good (1h)",
       Time([](C* c) { return &c->server.resume_lifetime; })},
  };
  return *settings;
}

std::string FlagOf(const Setting& setting) {
  return absl::StrCat("--", absl::StrReplaceAll(setting.key, {{"_", "-"}}));
}

// The part that may throw.
absl::Status Apply(const YAML::Node& root, absl::string_view path, ServerConfig* config) {
  if (root.IsNull()) return absl::OkStatus();  // Nothing but comments.
  if (!root.IsMap()) return At(path, root.Mark(), "expected a map of settings");
  std::set<std::string> seen;
  for (const auto& entry : root) {
    const YAML::Node& value = entry.second;
    if (!entry.first.IsScalar())
      return At(path, entry.first.Mark(), "expected the name of a setting");
    const std::string& key = entry.first.Scalar();
    if (!seen.insert(key).second) {
      return At(path, entry.first.Mark(), absl::StrCat(key, " was set above already"));
    }
    if (key == "log_text") {
      bool log_text = false;
      if (!value.IsScalar() || !YAML::convert<bool>::decode(value, log_text)) {
        return At(path, value.Mark(), "log_text must be true or false");
      }
      config->server.log_text = log_text;
      continue;
    }
    if (key == "models") {
      if (!value.IsSequence())
        return At(path, value.Mark(), "models must be a list of directories");
      config->model_directories.clear();
      for (const YAML::Node& directory : value) {
        if (!directory.IsScalar() || directory.Scalar().empty()) {
          return At(path, directory.Mark(), "a model must be the path of its directory");
        }
        config->model_directories.push_back(directory.Scalar());
      }
      continue;
    }
    const auto setting = std::find_if(Settings().begin(), Settings().end(),
                                      [&](const Setting& known) { return key == known.key; });
    if (setting == Settings().end()) {
      std::vector<std::string> names = {"log_text", "models"};
      for (const Setting& known : Settings()) names.push_back(known.key);
      std::sort(names.begin(), names.end());
      return At(path, entry.first.Mark(),
                absl::StrCat("unknown setting ", key, "; there are: ", absl::StrJoin(names, ", ")));
    }
    if (!value.IsScalar()) return At(path, value.Mark(), absl::StrCat(key, " must be a text"));
    const std::string wrong = setting->set(value.Scalar(), config);
    if (!wrong.empty()) return At(path, value.Mark(), absl::StrCat(key, " ", wrong));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyYaml(absl::string_view text, absl::string_view path, ServerConfig* config) {
  try {
    return Apply(YAML::Load(std::string(text)), path, config);
  } catch (const YAML::Exception& e) {
    return At(path, e.mark, e.msg);
  }
}

absl::StatusOr<ServerConfig> ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app("Translates text while it is still arriving, over gRPC.", "leapstream-server");
  std::vector<std::string> models;
  std::string config_path;
  bool log_text = false;
  app.add_option("--model", models,
                 "A model directory that leapstream-export wrote; may be repeated")
      ->type_name("DIR")
      ->take_all();
  app.add_option("--config", config_path, "Settings in YAML; flags win over them")
      ->type_name("FILE");
  std::vector<std::string> values(Settings().size());
  for (size_t i = 0; i < values.size(); ++i) {
    const Setting& setting = Settings()[i];
    app.add_option(FlagOf(setting), values[i], setting.help)->type_name(setting.type);
  }
  app.add_flag("--log-text", log_text, "Log translations and error messages too");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    ServerConfig config;
    config.help = app.help();
    return config;
  } catch (const CLI::ParseError& e) {
    return absl::InvalidArgumentError(absl::StrCat(e.what(), "; see leapstream-server --help"));
  }

  ServerConfig config;
  if (!config_path.empty()) {
    std::ifstream file(config_path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", config_path));
    LEAPSTREAM_RETURN_IF_ERROR(ApplyYaml(text, config_path, &config));
  }
  if (!models.empty()) config.model_directories = std::move(models);
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].empty()) continue;
    const Setting& setting = Settings()[i];
    const std::string wrong = setting.set(values[i], &config);
    if (!wrong.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(FlagOf(setting), " ", wrong, "; see leapstream-server --help"));
    }
  }
  if (log_text) config.server.log_text = true;
  if (config.model_directories.empty()) {
    return absl::InvalidArgumentError(
        "no model to serve; give --model DIR or models in the configuration");
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckConfig(config));
  return config;
}

absl::Status CheckConfig(const ServerConfig& config) {
  const SessionLimits& limits = config.server.limits;
  if (limits.max_chunk_bytes + (4 << 10) > config.server.max_message_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_chunk_bytes must leave room in a message of ",
                     config.server.max_message_bytes, " bytes, got ", limits.max_chunk_bytes));
  }
  if (config.server.keepalive_time > absl::ZeroDuration() &&
      (config.server.keepalive_time < absl::Seconds(1) ||
       config.server.keepalive_timeout < absl::Seconds(1))) {
    return absl::InvalidArgumentError(
        "keepalive_time and keepalive_timeout must be 1s at least: pings cost every peer");
  }
  if (config.server.resume_lifetime < absl::Seconds(1)) {
    return absl::InvalidArgumentError("resume_lifetime must be 1s at least");
  }
  return absl::OkStatus();
}

}  // namespace leapstream
