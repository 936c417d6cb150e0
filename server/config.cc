#include "server/config.h"

#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <iostream>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "base/quoted.h"
#include "base/small_file.h"
#include "base/status.h"
#include "server/address.h"
#include "server/control_groups.h"
#include "server/listener.h"
#include "server/resume_token.h"
#include "server/token_file.h"

namespace leapstream {
namespace {

constexpr char kEnvironment[] = "LEAPSTREAM_";

using C = ServerConfig;
using Set = std::function<std::string(const std::string& value, C* config)>;
using Get = std::function<std::string(const C& config)>;  // As `Set` takes it.

// One setting: "listen" in the file, --listen on the command line, LEAPSTREAM_LISTEN in the
// environment. `set` says what is wrong with a value, or nothing.
struct Setting {
  enum class Kind { kValue, kSwitch, kModels };

  const char* key;
  const char* type;  // For --help.
  const char* help;
  Set set;
  Get get;
  Kind kind = Kind::kValue;
};

// A text for which `check` has no complaint.
template <typename Field>
Setting Text(const char* key, const char* type, const char* help, Field field,
             const std::function<std::string(const std::string&)>& check = nullptr) {
  return {key, type, help,
          [=](const std::string& value, C* config) {
            std::string wrong = check == nullptr ? "" : check(value);
            if (wrong.empty()) field(*config) = value;
            return wrong;
          },
          [=](const C& config) -> std::string { return field(const_cast<C&>(config)); }};
}

bool ParseNumber(const std::string& value, int64_t* number) {
  return absl::SimpleAtoi(value, number);
}
bool ParseNumber(const std::string& value, double* number) {
  return absl::SimpleAtod(value, number);
}

// A whole number, unless the field has fractions.
template <typename Field>
Setting Number(const char* key, int64_t least, int64_t most, const char* help, Field field) {
  return {key, "N", help,
          [=](const std::string& value, C* config) -> std::string {
            auto& target = field(*config);
            using Target = std::decay_t<decltype(target)>;
            std::conditional_t<std::is_floating_point_v<Target>, double, int64_t> number = 0;
            if (!ParseNumber(value, &number) || !(number >= least && number <= most)) {
              return absl::StrCat("must be a number from ", least, " to ", most, ", got ",
                                  Quoted(value));
            }
            target = static_cast<Target>(number);
            return "";
          },
          [=](const C& config) { return absl::StrCat(field(const_cast<C&>(config))); }};
}

template <typename Field>
Setting Time(const char* key, const char* help, Field field) {
  return {key, "TIME", help,
          [=](const std::string& value, C* config) -> std::string {
            absl::Duration duration;
            if (!absl::ParseDuration(value, &duration) || duration < absl::ZeroDuration() ||
                duration > absl::Hours(24 * 366)) {
              return absl::StrCat("must be a duration such as 500ms, 30s or 12h, got ",
                                  Quoted(value));
            }
            field(*config) = duration;
            return "";
          },
          [=](const C& config) { return absl::FormatDuration(field(const_cast<C&>(config))); }};
}

template <typename Field>
Setting Switch(const char* key, const char* help, Field field) {
  return {key,
          "true|false",
          help,
          [=](const std::string& value, C* config) -> std::string {
            if (value != "true" && value != "false") {
              return absl::StrCat("must be true or false, got ", Quoted(value));
            }
            field(*config) = value == "true";
            return "";
          },
          [=](const C& config) { return field(const_cast<C&>(config)) ? "true" : "false"; },
          Setting::Kind::kSwitch};
}

std::string OneOf(const std::string& value, const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return "";
  std::vector<std::string> named;
  for (const std::string& choice : choices) {
    if (!choice.empty()) named.push_back(choice);
  }
  const std::string last = named.back();
  named.pop_back();
  return absl::StrCat("must be ", absl::StrJoin(named, ", "), " or ", last, ", got ",
                      Quoted(value));
}

std::string IsAddress(const std::string& value) {
  return std::string(ParseAddress(value).status().message());
}
std::string IsAddressOrEmpty(const std::string& value) {
  return value.empty() ? "" : IsAddress(value);
}
std::string IsComputeType(const std::string& value) {
  return OneOf(value, {"", "float32", "bfloat16", "int8"});
}

// A field of ServerConfig.
#define LEAPSTREAM_FIELD(path) \
  [](C & c) -> auto& { return c.path; }

const std::vector<Setting>& Settings() {
  static const auto* const settings = new std::vector<Setting>{
      Text("listen", "HOST:PORT", "Address; port 0: any free one", LEAPSTREAM_FIELD(server.listen),
           IsAddress),
      {"models", "DIR", "A model directory that leapstream-export wrote; may be repeated",
       [](const std::string& value, C* c) -> std::string {
         if (value.empty()) return "must be the path of a model directory";
         c->models.push_back({value, "", ""});
         return "";
       },
       [](const C& c) {  // Not the whole truth of a file, but what is said of one.
         return absl::StrJoin(c.models, ",", [](std::string* out, const ModelSource& model) {
           out->append(model.directory);
         });
       },
       Setting::Kind::kModels},
      Text("compute_type", "TYPE", "float32, bfloat16 or int8, for models that name none here",
           LEAPSTREAM_FIELD(compute_type), IsComputeType),
      Text("device", "DEVICE", "cpu: our own kernels; torch-cpu or cuda:0: LibTorch on that device",
           LEAPSTREAM_FIELD(device),
           [](const std::string& value) -> std::string {
             return value.empty() ? "must be cpu, torch-cpu or a device of LibTorch such as cuda:0"
                                  : "";
           }),
      Number("replicas", 1, 1024, "Step threads of each model; its sessions are spread over them",
             LEAPSTREAM_FIELD(server.replicas)),
      Number("intra_op_threads", 1, 1024, "Threads that share the work of each step",
             LEAPSTREAM_FIELD(intra_op_threads)),
      Text("port_file", "FILE", "Gets the port once the server listens",
           LEAPSTREAM_FIELD(port_file)),
      Text("metrics_listen", "HOST:PORT", "HTTP: /metrics, /healthz, /readyz",
           LEAPSTREAM_FIELD(server.metrics_listen), IsAddressOrEmpty),
      Text("admin_listen", "HOST:PORT",
           "The admin service; of this machine, such as 127.0.0.1:50052",
           LEAPSTREAM_FIELD(server.admin_listen), IsAddressOrEmpty),
      Text("log_level", "LEVEL", "What is logged to stderr", LEAPSTREAM_FIELD(log_level),
           [](const std::string& value) {
             return OneOf(value, {"trace", "debug", "info", "warn", "error", "critical", "off"});
           }),
      {"log_format", "text|json", "One line, or one JSON object, per event",
       [](const std::string& value, C* c) {
         std::string wrong = OneOf(value, {"text", "json"});
         if (wrong.empty()) c->log_format = value == "json" ? LogFormat::kJson : LogFormat::kText;
         return wrong;
       },
       [](const C& c) { return c.log_format == LogFormat::kJson ? "json" : "text"; }},
      Switch("log_text", "Log translations and error messages too",
             LEAPSTREAM_FIELD(server.log_text)),
      Text("tls_certificate_file", "FILE", "Certificate chain in PEM; without it there is no TLS",
           LEAPSTREAM_FIELD(server.tls.certificate)),
      Text("tls_key_file", "FILE", "Its private key", LEAPSTREAM_FIELD(server.tls.key)),
      Text("tls_client_ca_file", "FILE", "Clients must have a certificate that these signed",
           LEAPSTREAM_FIELD(server.tls.client_ca)),
      Text("auth_tokens_file", "FILE", "Clients must have a token of it; see --new-token",
           LEAPSTREAM_FIELD(server.auth_tokens_file)),
      Switch("auth_without_tls", "Take tokens without TLS: a proxy ends it",
             LEAPSTREAM_FIELD(auth_without_tls)),
      Number("max_sessions", 0, 1000000, "Sessions at once; 0: as many as half of the memory holds",
             LEAPSTREAM_FIELD(server.max_sessions)),
      Number("max_sessions_per_principal", 0, 1000000,
             "Of one token or client certificate; 0: no limit",
             LEAPSTREAM_FIELD(server.max_sessions_per_principal)),
      Number("max_chunk_bytes", 64, 1 << 20, "Size of a source chunk",
             LEAPSTREAM_FIELD(server.limits.max_chunk_bytes)),
      Number("max_source_tokens_per_segment", 2, 1 << 20, "Then its source is cut",
             LEAPSTREAM_FIELD(server.limits.max_source_tokens)),
      Number("max_target_tokens_per_segment", 1, 1 << 20, "Then its translation is cut",
             LEAPSTREAM_FIELD(server.limits.max_target_tokens)),
      Number("max_state_bytes", 0, int64_t{1} << 50,
             "Memory of all sessions' states, beyond which the largest session ends; 0: half of "
             "what there is at the start",
             LEAPSTREAM_FIELD(server.max_state_bytes)),
      Number("max_queued_bytes", 1, 1 << 30, "Source of a session that waits; then reading stops",
             LEAPSTREAM_FIELD(server.limits.max_queued_bytes)),
      Number("max_unread_bytes", 1, 1 << 30, "Output that a client leaves; then decoding stops",
             LEAPSTREAM_FIELD(server.limits.max_unread_bytes)),
      Time("config_timeout", "For the first message of a stream; 0: no limit",
           LEAPSTREAM_FIELD(server.limits.config_timeout)),
      Time("idle_timeout", "Without a message from the client; 0: no limit",
           LEAPSTREAM_FIELD(server.limits.idle_timeout)),
      Time("max_session_duration", "Of one stream; 0: no limit",
           LEAPSTREAM_FIELD(server.limits.max_session_duration)),
      Time("stuck_reader_timeout", "For a client to take a message; 0: no limit",
           LEAPSTREAM_FIELD(server.limits.stuck_reader_timeout)),
      Time("heartbeat_interval", "Silence after which a heartbeat is sent; 0: none",
           LEAPSTREAM_FIELD(server.limits.heartbeat_interval)),
      Time("pause", "Of audio, ends a segment unless the client asks for another; 0: none does",
           LEAPSTREAM_FIELD(server.pause.duration)),
      Number("pause_threshold_db", static_cast<int64_t>(PauseRule::kMinThresholdDb),
             static_cast<int64_t>(PauseRule::kMaxThresholdDb),
             "Of full scale: audio below it is quiet", LEAPSTREAM_FIELD(server.pause.threshold_db)),
      Time("keepalive_time", "Silence after which a peer is pinged; 0: never",
           LEAPSTREAM_FIELD(server.keepalive_time)),
      Time("keepalive_timeout", "For the answer to the ping",
           LEAPSTREAM_FIELD(server.keepalive_timeout)),
      Time("drain_delay", "From SIGTERM to the drain: what load balancers need to notice",
           LEAPSTREAM_FIELD(drain_delay)),
      Switch("drain_stops_listening",
             "Close the port when the drain starts, for proxies without health checks",
             LEAPSTREAM_FIELD(server.drain_stops_listening)),
      Time("drain_timeout", "What the drain leaves open sessions", LEAPSTREAM_FIELD(drain_timeout)),
      Time("liveness_timeout", "For one step; then the server calls itself dead",
           LEAPSTREAM_FIELD(server.liveness_timeout)),
      Text("resume_key_file", "FILE",
           "Key of resume tokens, the same on all replicas; none: random",
           LEAPSTREAM_FIELD(server.resume_key_file)),
      Time("resume_lifetime", "How long a resume token is good",
           LEAPSTREAM_FIELD(server.resume_lifetime)),
  };
  return *settings;
}

#undef LEAPSTREAM_FIELD

const Setting* Find(absl::string_view key) {
  for (const Setting& setting : Settings()) {
    if (key == setting.key) return &setting;
  }
  return nullptr;
}

std::string FlagOf(const Setting& setting) {
  if (setting.kind == Setting::Kind::kModels) return "--model";
  return absl::StrCat("--", absl::StrReplaceAll(setting.key, {{"_", "-"}}));
}

std::string VariableOf(absl::string_view key) {
  return absl::StrCat(kEnvironment, absl::AsciiStrToUpper(key));
}

// Insertions, deletions and replacements that make one of the other (Levenshtein 1966).
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, replaced});
    }
  }
  return row.back();
}

// "; is NAME meant?", if one of `names` is near, or else all of them.
std::string Suggest(absl::string_view name, const std::vector<std::string>& names) {
  const auto nearest = std::min_element(
      names.begin(), names.end(),
      [&](const auto& a, const auto& b) { return EditDistance(name, a) < EditDistance(name, b); });
  if (EditDistance(name, *nearest) <= std::max<size_t>(2, nearest->size() / 3)) {
    return absl::StrCat("; is ", *nearest, " meant?");
  }
  return absl::StrCat("; there are: ", absl::StrJoin(names, ", "));
}

std::vector<std::string> Keys() {
  std::vector<std::string> keys;
  for (const Setting& setting : Settings()) keys.emplace_back(setting.key);
  return keys;
}

std::string Place(absl::string_view path, const YAML::Mark& mark) {
  if (mark.is_null()) return std::string(path);
  return absl::StrCat(path, ":", mark.line + 1);  // It counts from 0.
}

absl::Status At(absl::string_view path, const YAML::Mark& mark, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat(Place(path, mark), ": ", message));
}

// A model of the list: its directory, or a map with the `path` of it.
absl::Status ApplyModel(const YAML::Node& node, absl::string_view path, C* config) {
  constexpr absl::string_view kWanted =
      "a model must be the path of its directory, or have a path and maybe a name and a "
      "compute_type";
  ModelSource model;
  if (node.IsScalar()) {
    model.directory = node.Scalar();
  } else if (node.IsMap()) {
    for (const auto& entry : node) {
      if (!entry.first.IsScalar() || !entry.second.IsScalar()) {
        return At(path, entry.first.Mark(), kWanted);
      }
      const std::string& key = entry.first.Scalar();
      const std::string& value = entry.second.Scalar();
      std::string* const field = key == "path"           ? &model.directory
                                 : key == "name"         ? &model.name
                                 : key == "compute_type" ? &model.compute_type
                                                         : nullptr;
      if (field == nullptr) {
        return At(path, entry.first.Mark(),
                  absl::StrCat("unknown setting ", Quoted(key), " of a model",
                               Suggest(key, {"path", "name", "compute_type"})));
      }
      if (!field->empty()) {
        return At(path, entry.first.Mark(), absl::StrCat(key, " was set above already"));
      }
      *field = value;
    }
  }
  if (model.directory.empty()) return At(path, node.Mark(), kWanted);
  if (const std::string wrong = IsComputeType(model.compute_type); !wrong.empty()) {
    return At(path, node.Mark(), absl::StrCat("compute_type ", wrong));
  }
  config->models.push_back(std::move(model));
  return absl::OkStatus();
}

// The part that may throw.
absl::Status Apply(const YAML::Node& root, absl::string_view path, C* config) {
  if (root.IsNull()) return absl::OkStatus();  // Nothing but comments.
  if (!root.IsMap()) return At(path, root.Mark(), "expected a map of settings");
  std::map<std::string, std::string> seen;
  for (const auto& entry : root) {
    const YAML::Node& value = entry.second;
    if (!entry.first.IsScalar()) {
      return At(path, entry.first.Mark(), "expected the name of a setting");
    }
    const std::string& key = entry.first.Scalar();
    const Setting* const setting = Find(key);
    if (setting == nullptr) {
      return At(path, entry.first.Mark(),
                absl::StrCat("unknown setting ", Quoted(key), Suggest(key, Keys())));
    }
    if (!seen.emplace(key, Place(path, entry.first.Mark())).second) {
      return At(path, entry.first.Mark(), absl::StrCat(key, " was set above already"));
    }
    if (value.IsNull()) {  // Its place is that of what comes next.
      return At(path, entry.first.Mark(),
                absl::StrCat(key, " has no value; leave the line out for the default"));
    }
    if (setting->kind == Setting::Kind::kModels) {
      if (!value.IsSequence()) {
        return At(path, value.Mark(), "models must be a list of directories");
      }
      config->models.clear();
      for (const YAML::Node& model : value) {
        if (model.IsNull()) {  // Its place is that of what comes next.
          return At(path, entry.first.Mark(), "models has an entry that is empty");
        }
        LEAPSTREAM_RETURN_IF_ERROR(ApplyModel(model, path, config));
      }
      continue;
    }
    if (!value.IsScalar()) {
      return At(path, value.Mark(),
                absl::StrCat(key, " must be a ",
                             setting->kind == Setting::Kind::kSwitch ? "true or false"
                                                                     : "text or a number"));
    }
    const std::string wrong = setting->set(value.Scalar(), config);
    if (!wrong.empty()) return At(path, value.Mark(), absl::StrCat(key, " ", wrong));
  }
  for (auto& place : seen) config->origins[place.first] = std::move(place.second);
  return absl::OkStatus();
}

// Kubernetes puts such variables into each container beside a service that is named leapstream.
bool IsOfKubernetes(absl::string_view name) {
  return absl::EndsWith(name, "_SERVICE_HOST") || absl::StrContains(name, "_SERVICE_PORT") ||
         absl::EndsWith(name, "_PORT") || absl::StrContains(name, "_PORT_");
}

absl::Status ApplyEnvironment(const std::map<std::string, std::string>& environment, C* config) {
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

// LEAPSTREAM_... of an environment.
std::map<std::string, std::string> OwnVariables(const char* const* environment) {
  std::map<std::string, std::string> variables;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const std::pair<std::string, std::string> variable =
        absl::StrSplit(*environment, absl::MaxSplits('=', 1));
    if (absl::StartsWith(variable.first, kEnvironment)) variables.insert(variable);
  }
  return variables;
}

// What is wrong with a setting, with where it comes from.
absl::Status Wrong(const C& config, const char* key, absl::string_view message) {
  const auto origin = config.origins.find(key);
  return absl::InvalidArgumentError(absl::StrCat(
      origin == config.origins.end() ? "" : absl::StrCat(origin->second, ": "), key, " ", message));
}

// Whether a start could write the port there.
absl::Status CheckPortFile(const C& config) {
  const std::string& path = config.port_file;
  if (path.empty()) return absl::OkStatus();
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  struct stat file {};
  const bool is_folder = stat(path.c_str(), &file) == 0 && S_ISDIR(file.st_mode);
  if (!is_folder && access(folder.c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
  return Wrong(config, "port_file",
               absl::StrCat("must be a file in a folder that can be written to, got ", Quoted(path),
                            ": ", std::strerror(is_folder ? EISDIR : errno)));
}

// Whether the files and hosts that are named are there, but for the models: what a start looks at
// before it binds a port.
absl::Status CheckFiles(const C& config) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckTlsFiles(config.server.tls));
  if (!config.server.auth_tokens_file.empty()) {
    LEAPSTREAM_RETURN_IF_ERROR(TokenFile::Open(config.server.auth_tokens_file).status());
  }
  if (!config.server.resume_key_file.empty()) {
    LEAPSTREAM_RETURN_IF_ERROR(ResumeSigner::WithKeyFrom(config.server.resume_key_file).status());
  }
  const std::pair<const char*, const std::string*> hosts[] = {
      {"listen", &config.server.listen},
      {"metrics_listen", &config.server.metrics_listen},
      {"admin_listen", &config.server.admin_listen}};
  for (const auto& [key, listen] : hosts) {
    if (listen->empty()) continue;
    LEAPSTREAM_ASSIGN_OR_RETURN(const Address address, ParseAddress(*listen));
    const absl::Status known = CheckHost(address);
    if (!known.ok()) return Wrong(config, key, absl::StrCat("is wrong: ", known.message()));
  }
  return CheckPortFile(config);
}

std::string YamlText(absl::string_view text) {
  const bool plain = !text.empty() && absl::ascii_isalnum(static_cast<unsigned char>(text[0])) &&
                     std::all_of(text.begin(), text.end(),
                                 [](char c) {
                                   return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                                          absl::StrContains("_./-:", c);
                                 }) &&
                     !absl::EndsWith(text, ":");
  return plain ? std::string(text) : absl::StrCat("\"", absl::Utf8SafeCHexEscape(text), "\"");
}

absl::StatusOr<std::string> MakeToken(const std::string& principal, bool read) {
  std::string token = TokenFile::NewToken();
  if (read && !std::getline(std::cin, token)) token.clear();
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::string entry, TokenFile::Entry(principal, token));
  return absl::StrCat(read ? "" : absl::StrCat(token, "\n"), entry, "\n");
}

}  // namespace

absl::Status ApplyYaml(absl::string_view text, absl::string_view path, ServerConfig* config) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    for (size_t i = 1; i < documents.size(); ++i) {
      if (documents[i].IsNull()) continue;  // Nothing after a "---".
      return At(path, documents[i].Mark(),
                "a second YAML document begins here; a configuration is one, so take the \"---\" "
                "before it away");
    }
    return documents.empty() ? absl::OkStatus() : Apply(documents.front(), path, config);
  } catch (const YAML::Exception& e) {
    return At(path, e.mark, e.msg);
  }
}

std::string PrintConfig(const ServerConfig& config) {
  std::string text;
  for (const Setting& setting : Settings()) {
    const auto origin = config.origins.find(setting.key);
    const std::string from =
        absl::StrCat("  # ", origin == config.origins.end() ? "default" : origin->second, "\n");
    absl::StrAppend(&text, setting.key, ":");
    if (setting.kind != Setting::Kind::kModels) {
      absl::StrAppend(&text, " ", YamlText(setting.get(config)), from);
      continue;
    }
    absl::StrAppend(&text, from);
    for (const ModelSource& model : config.models) {
      absl::StrAppend(&text, "  - path: ", YamlText(model.directory), "\n");
      if (!model.name.empty()) absl::StrAppend(&text, "    name: ", YamlText(model.name), "\n");
      if (!model.compute_type.empty()) {
        absl::StrAppend(&text, "    compute_type: ", model.compute_type, "\n");
      }
    }
  }
  return text;
}

absl::StatusOr<ServerConfig> ParseCommandLine(int argc, const char* const* argv,
                                              const char* const* environment) {
  CLI::App app("Translates text while it is still arriving, over gRPC.", "leapstream-server");
  std::string config_path, new_token, hash_token;
  bool check = false, print = false;
  app.add_option("--config", config_path, "Settings in YAML; flags and LEAPSTREAM_... win over it")
      ->type_name("FILE");
  app.add_flag("--check-config", check, "Check the settings and the files they name, then end");
  app.add_flag("--print-config", print, "Print all settings and where they come from, then end");
  app.add_option("--new-token", new_token,
                 "Print a new token and its line for auth_tokens_file, then end")
      ->type_name("NAME");
  app.add_option("--hash-token", hash_token, "The same line for the token on standard input")
      ->type_name("NAME");
  app.set_version_flag("--version", "leapstream-server " LEAPSTREAM_VERSION);
  const std::vector<Setting>& settings = Settings();
  std::vector<std::vector<std::string>> values(settings.size());
  std::vector<CLI::Option*> options;
  std::vector<std::string> flags = {"--config",    "--check-config", "--print-config",
                                    "--new-token", "--hash-token",   "--version",
                                    "--help"};
  const ServerConfig defaults;
  for (size_t i = 0; i < settings.size(); ++i) {
    const Setting& setting = settings[i];
    flags.push_back(FlagOf(setting));
    const std::string initial = setting.get(defaults);
    const std::string help =
        absl::StrCat(setting.help, initial.empty() ? "" : absl::StrCat(" (", initial, ")"));
    options.push_back(app.add_option(flags.back(), values[i], help)->type_name(setting.type));
    if (setting.kind == Setting::Kind::kModels) {
      options.back()->take_all();
    } else if (setting.kind == Setting::Kind::kSwitch) {
      options.back()->expected(0, 1);
    } else {
      options.back()->expected(1);
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    ServerConfig config;
    config.output = app.help();
    return config;
  } catch (const CLI::CallForVersion& e) {
    ServerConfig config;
    config.output = absl::StrCat(e.what(), "\n");
    return config;
  } catch (const CLI::ExtrasError&) {
    for (int i = 1; i < argc; ++i) {
      const absl::string_view flag =
          absl::string_view(argv[i]).substr(0, absl::string_view(argv[i]).find('='));
      if (!absl::StartsWith(flag, "--") ||
          std::find(flags.begin(), flags.end(), flag) != flags.end()) {
        continue;
      }
      return absl::InvalidArgumentError(
          absl::StrCat("unknown flag ", Quoted(flag), Suggest(flag, flags)));
    }
    return absl::InvalidArgumentError(
        "every argument must belong to a flag; see leapstream-server --help");
  } catch (const CLI::ParseError& e) {
    return absl::InvalidArgumentError(absl::StrCat(e.what(), "; see leapstream-server --help"));
  }

  ServerConfig config;
  if (!new_token.empty() || !hash_token.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(
        config.output, MakeToken(new_token.empty() ? hash_token : new_token, new_token.empty()));
    return config;
  }
  const std::map<std::string, std::string> variables = OwnVariables(environment);
  if (const auto path = variables.find(VariableOf("config"));
      config_path.empty() && path != variables.end()) {
    config_path = path->second;
  }
  if (!config_path.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(config_path));
    LEAPSTREAM_RETURN_IF_ERROR(ApplyYaml(text, config_path, &config));
  }
  LEAPSTREAM_RETURN_IF_ERROR(ApplyEnvironment(variables, &config));
  for (size_t i = 0; i < settings.size(); ++i) {
    if (options[i]->count() == 0) continue;
    const Setting& setting = settings[i];
    if (setting.kind == Setting::Kind::kModels) config.models.clear();
    if (setting.kind == Setting::Kind::kSwitch && (values[i].empty() || values[i][0].empty())) {
      values[i] = {"true"};  // Before another flag, or at the end.
    }
    for (const std::string& value : values[i]) {
      const std::string wrong = setting.set(value, &config);
      if (!wrong.empty()) {
        return absl::InvalidArgumentError(
            absl::StrCat(FlagOf(setting), " ", wrong, "; see leapstream-server --help"));
      }
    }
    config.origins[setting.key] = FlagOf(setting);
  }
  if (config.models.empty() && !print) {
    return absl::InvalidArgumentError(
        "no model to serve; give --model DIR or models in the configuration");
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckConfig(config));
  if (check) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckFiles(config));
    config.check_models = true;
    config.output = "the configuration is good\n";
  }
  if (print) config.output = PrintConfig(config);
  return config;
}

absl::Status CheckConfig(const ServerConfig& config) {
  const ServerOptions& server = config.server;
  if (server.limits.max_chunk_bytes + (4 << 10) > server.max_message_bytes) {
    return Wrong(config, "max_chunk_bytes",
                 absl::StrCat("must leave room in a message of ", server.max_message_bytes,
                              " bytes, got ", server.limits.max_chunk_bytes));
  }
  if (const absl::Status status = server.pause.Check(); !status.ok()) {
    return Wrong(config, "pause", absl::StrCat("is wrong: ", status.message()));
  }
  if (server.keepalive_time > absl::ZeroDuration()) {
    if (server.keepalive_time < absl::Seconds(1)) {
      return Wrong(config, "keepalive_time", "must be 1s at least: pings cost every peer");
    }
    if (server.keepalive_timeout < absl::Seconds(1)) {
      return Wrong(config, "keepalive_timeout", "must be 1s at least: answers take their time");
    }
  }
  if (server.resume_lifetime < absl::Seconds(1)) {
    return Wrong(config, "resume_lifetime", "must be 1s at least");
  }
  if (server.liveness_timeout < absl::Seconds(1)) {
    return Wrong(config, "liveness_timeout", "must be 1s at least: a step takes some of that");
  }
  // A model has one thread at least, however many models there are.
  const int threads = server.replicas * config.intra_op_threads;
  const int64_t all_threads = threads * std::max<int64_t>(config.models.size(), 1);
  if (threads > 1 && all_threads > UsableCores()) {
    return Wrong(
        config, config.intra_op_threads > 1 ? "intra_op_threads" : "replicas",
        absl::StrCat("times ", config.intra_op_threads > 1 ? "replicas" : "intra_op_threads",
                     " times models must not be more than the cores that this process may use, "
                     "which are ",
                     UsableCores(), ", got ", all_threads));
  }
  if (config.device != "cpu" && server.max_sessions == 0) {
    return Wrong(
        config, "device",
        absl::StrCat("needs max_sessions, got ", Quoted(config.device),
                     " without: the device has the states of so many sessions from the start"));
  }
  const TlsFiles& tls = server.tls;
  if (!tls.certificate.empty() && tls.key.empty()) {
    return Wrong(config, "tls_certificate_file", "needs tls_key_file, its private key");
  }
  if (tls.certificate.empty() && !tls.key.empty()) {
    return Wrong(config, "tls_key_file", "needs tls_certificate_file, whose key it is");
  }
  if (tls.certificate.empty() && !tls.client_ca.empty()) {
    return Wrong(config, "tls_client_ca_file",
                 "needs tls_certificate_file: client certificates are part of TLS");
  }
  if (!server.auth_tokens_file.empty() && tls.certificate.empty() && !config.auth_without_tls) {
    return Wrong(config, "auth_tokens_file",
                 "needs tls_certificate_file, since anybody on the way could read the tokens; set "
                 "auth_without_tls if a proxy on this machine ends TLS");
  }
  if (server.max_sessions_per_principal > 0) {
    if (server.auth_tokens_file.empty() && tls.client_ca.empty()) {
      return Wrong(config, "max_sessions_per_principal",
                   "needs auth_tokens_file or tls_client_ca_file: nobody has a name without");
    }
    if (server.max_sessions > 0 && server.max_sessions_per_principal > server.max_sessions) {
      return Wrong(
          config, "max_sessions_per_principal",
          absl::StrCat("must not be more than max_sessions, which is ", server.max_sessions));
    }
  }
  std::map<int, const char*> ports;
  const std::pair<const char*, const std::string*> addresses[] = {
      {"listen", &server.listen},
      {"metrics_listen", &server.metrics_listen},
      {"admin_listen", &server.admin_listen}};
  for (const auto& address : addresses) {
    if (address.second->empty()) continue;
    const absl::StatusOr<Address> parsed = ParseAddress(*address.second);
    if (!parsed.ok()) return Wrong(config, address.first, parsed.status().message());
    if (address.second == &server.admin_listen && !IsLoopback(*parsed)) {
      return Wrong(config, address.first,
                   absl::StrCat("must be an address of this machine alone, such as "
                                "127.0.0.1:50052, got ",
                                Quoted(*address.second)));
    }
    if (parsed->port == 0) continue;
    const auto added = ports.emplace(parsed->port, address.first);
    if (!added.second) {
      return Wrong(config, address.first,
                   absl::StrCat("must have another port than ", added.first->second));
    }
  }
  return absl::OkStatus();
}

}  // namespace leapstream
