#include "server/logging.h"

#include <spdlog/formatter.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace leapstream {
namespace {

constexpr char kEvents[] = "leapstream.event";

std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Messages of the event logger are objects already; others become one member.
class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const absl::string_view payload(message.payload.data(), message.payload.size());
    const spdlog::string_view_t level = spdlog::level::to_string_view(message.level);
    std::string line =
        absl::StrCat("{\"time\":\"",
                     absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::FromChrono(message.time),
                                      absl::UTCTimeZone()),
                     "\",\"level\":\"", absl::string_view(level.data(), level.size()), "\",");
    if (absl::string_view(message.logger_name.data(), message.logger_name.size()) == kEvents) {
      absl::StrAppend(&line, absl::ClippedSubstr(payload, 1), "\n");
    } else {
      absl::StrAppend(&line, "\"message\":", Dump(std::string(payload)), "}\n");
    }
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

}  // namespace

void SetUpLogging(const std::string& level, LogFormat format) {
  spdlog::drop_all();
  std::shared_ptr<spdlog::sinks::sink> sink;
  if (format == LogFormat::kJson) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    sink->set_formatter(std::make_unique<JsonFormatter>());
    spdlog::register_logger(std::make_shared<spdlog::logger>(kEvents, sink));
  } else {
    sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  }
  // Not set_default_logger's registration rules: both share the sink and so its lock.
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("leapstream", std::move(sink)));
  spdlog::set_level(spdlog::level::from_str(level));
}

void LogEvent(absl::string_view message, std::initializer_list<LogField> fields) {
  if (!spdlog::should_log(spdlog::level::info)) return;
  const std::shared_ptr<spdlog::logger> events = spdlog::get(kEvents);
  if (events != nullptr) {
    nlohmann::ordered_json json;
    json["message"] = std::string(message);
    for (const LogField& field : fields) {
      std::visit(
          [&](const auto& value) {
            if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
              if (value.empty()) return;
            }
            json[std::string(field.name)] = value;
          },
          field.value);
    }
    events->info("{}", Dump(json));
    return;
  }
  std::string line(message);
  for (const LogField& field : fields) {
    if (const auto* text = std::get_if<std::string>(&field.value)) {
      if (!text->empty()) absl::StrAppend(&line, " ", field.name, "=", absl::CHexEscape(*text));
    } else if (const auto* number = std::get_if<int64_t>(&field.value)) {
      absl::StrAppend(&line, " ", field.name, "=", *number);
    } else {
      absl::StrAppend(&line, " ", field.name, "=",
                      absl::StrFormat("%.3f", std::get<double>(field.value)));
    }
  }
  spdlog::info("{}", line);
}

}  // namespace leapstream
