#include "server/config/settings.h"

#include <algorithm>
#include <type_traits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/quoted.h"
#include "client/gateway/origin.h"
#include "server/address.h"

namespace leapstream {
namespace {

constexpr char kEnvironment[] = "LEAPSTREAM_";
constexpr int64_t kMostCharacters = 1000000000000;  // Account counts millionths of one.

using C = ServerConfig;

// A setting that is a text, for which `check` returns "".
template <typename Field>
Setting Text(const char* key, const char* type, const char* help, Field field,
             const std::function<std::string(const std::string&)>& check = nullptr) {
  return {key, type, help,
          [=](const std::string& value, C* config) {
            std::string wrong = check == nullptr ? "" : check(value);
            if (wrong.empty()) field(*config) = value;
            return wrong;
          },
          [=](const C& config) -> std::string { return field(config); }};
}

bool ParseNumber(const std::string& value, int64_t* number) {
  return absl::SimpleAtoi(value, number);
}
bool ParseNumber(const std::string& value, double* number) {
  return absl::SimpleAtod(value, number);
}

// A setting that is a number: a whole one, unless the field has fractions.
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
          [=](const C& config) { return absl::StrCat(field(config)); }};
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
          [=](const C& config) { return absl::FormatDuration(field(config)); }};
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
          [=](const C& config) { return field(config) ? "true" : "false"; },
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
std::string AreOrigins(const std::string& value) {
  for (absl::string_view origin : absl::StrSplit(value, ',', absl::SkipWhitespace())) {
    origin = absl::StripAsciiWhitespace(origin);
    if (origin == "*" || gateway::IsOrigin(origin)) continue;
    return absl::StrCat(
        "must be origins with commas between them, such as https://talks.example.org, or *, got ",
        Quoted(origin));
  }
  return "";
}
std::string IsAddressOrEmpty(const std::string& value) {
  return value.empty() ? "" : IsAddress(value);
}

}  // namespace

std::string CheckComputeType(const std::string& value) {
  return OneOf(value, {"", "float32", "bfloat16", "float16", "int8"});
}

std::string CheckStateType(const std::string& value) {
  return OneOf(value, {"", "float32", "float16"});
}

// A function that returns a field of a ServerConfig, which may be const.
#define LEAPSTREAM_FIELD(path) \
  [](auto& c) -> auto& { return c.path; }

const std::vector<Setting>& Settings() {
  static const auto* const settings = new std::vector<Setting>{
      Text("listen", "HOST:PORT", "Address; port 0: any free one", LEAPSTREAM_FIELD(server.listen),
           IsAddress),
      {"models", "DIR", "A model directory that leapstream-export wrote; may be repeated",
       [](const std::string& value, C* c) -> std::string {
         if (value.empty()) return "must be the path of a model directory";
         c->models.emplace_back();
         c->models.back().directory = value;
         return "";
       },
       [](const C& c) {  // The models' names and types are left out.
         return absl::StrJoin(c.models, ",", [](std::string* out, const ModelSource& model) {
           out->append(model.directory);
         });
       },
       Setting::Kind::kModels},
      Text("compute_type", "TYPE", "float32, bfloat16 or int8, for models that name none here",
           LEAPSTREAM_FIELD(compute_type), CheckComputeType),
      Text("state_type", "TYPE", "float32, or float16: LeaP's states in half the memory",
           LEAPSTREAM_FIELD(state_type), CheckStateType),
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
      Text("http_listen", "HOST:PORT", "HTTP and WebSocket for clients without gRPC",
           LEAPSTREAM_FIELD(server.http_listen), IsAddressOrEmpty),
      Text("http_allowed_origins", "ORIGINS", "Of pages that may use it, with commas; *: all",
           LEAPSTREAM_FIELD(server.http_allowed_origins), AreOrigins),
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
      Text("tls_key_file", "FILE", "The certificate's private key",
           LEAPSTREAM_FIELD(server.tls.key)),
      Text("tls_client_ca_file", "FILE", "Clients must have a certificate that these signed",
           LEAPSTREAM_FIELD(server.tls.client_ca)),
      Text("auth_tokens_file", "FILE", "Clients must have a token of it; see --new-token",
           LEAPSTREAM_FIELD(server.auth_tokens_file)),
      Switch("auth_without_tls", "Take tokens without TLS: a proxy ends it",
             LEAPSTREAM_FIELD(auth_without_tls)),
      Number("max_sessions", 0, 1000000, "Sessions at once; 0: as many as half of the memory holds",
             LEAPSTREAM_FIELD(server.max_sessions)),
      Number("max_sessions_per_principal", 0, 1000000,
             "Sessions of one token or client certificate; 0: no limit",
             LEAPSTREAM_FIELD(server.max_sessions_per_principal)),
      Number("max_characters_per_minute", 0, kMostCharacters,
             "Characters that one token or client certificate may send; 0: no limit",
             LEAPSTREAM_FIELD(server.quotas.per_minute)),
      Number("max_characters_per_day", 0, kMostCharacters, "The same in 24 hours; 0: no limit",
             LEAPSTREAM_FIELD(server.quotas.per_day)),
      Number("max_chunk_bytes", 64, 1 << 20, "Size of a source chunk",
             LEAPSTREAM_FIELD(server.limits.max_chunk_bytes)),
      Number("max_source_tokens_per_segment", 2, 1 << 20, "Beyond it, source is dropped",
             LEAPSTREAM_FIELD(server.limits.max_source_tokens)),
      Number("max_target_tokens_per_segment", 1, 1 << 20, "Beyond it, the translation ends",
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
      Time("max_session_duration", "Longest time of one stream; 0: no limit",
           LEAPSTREAM_FIELD(server.limits.max_session_duration)),
      Time("stuck_reader_timeout", "For a client to take a message; 0: no limit",
           LEAPSTREAM_FIELD(server.limits.stuck_reader_timeout)),
      Time("heartbeat_interval", "Silence after which a heartbeat is sent; 0: none",
           LEAPSTREAM_FIELD(server.limits.heartbeat_interval)),
      Time("pause",
           "Pause of audio that ends a segment, unless the client asks for another; 0: none",
           LEAPSTREAM_FIELD(server.pause.duration)),
      Number("pause_threshold_db", static_cast<int64_t>(PauseRule::kMinThresholdDb),
             static_cast<int64_t>(PauseRule::kMaxThresholdDb),
             "Audio below this level, in dB of full scale, is quiet",
             LEAPSTREAM_FIELD(server.pause.threshold_db)),
      Time("keepalive_time", "Silence after which a peer is pinged; 0: never",
           LEAPSTREAM_FIELD(server.keepalive_time)),
      Time("keepalive_timeout", "For the answer to the ping",
           LEAPSTREAM_FIELD(server.keepalive_timeout)),
      Time("drain_delay", "From SIGTERM to the drain: what load balancers need to notice",
           LEAPSTREAM_FIELD(drain_delay)),
      Switch("drain_stops_listening",
             "Close the port when the drain starts, for proxies without health checks",
             LEAPSTREAM_FIELD(server.drain_stops_listening)),
      Time("drain_timeout", "Time that open sessions have in a drain",
           LEAPSTREAM_FIELD(drain_timeout)),
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

const Setting* FindSetting(absl::string_view key) {
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

std::vector<std::string> SettingKeys() {
  std::vector<std::string> keys;
  for (const Setting& setting : Settings()) keys.emplace_back(setting.key);
  return keys;
}

}  // namespace leapstream
