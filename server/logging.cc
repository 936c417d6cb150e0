#include "server/logging.h"

#include <spdlog/details/os.h>
#include <spdlog/formatter.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "base/budget.h"
#include "base/quoted.h"
#include "base/utf8.h"
#include "server/line_writer.h"

namespace leapstream {
namespace {

constexpr char kEvents[] = "leapstream.event";
constexpr absl::Duration kFlushTime = absl::Seconds(1);

std::string Dump(const nlohmann::ordered_json& json) {
  const std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  // JSON itself leaves characters as they are that change the look of the text around them. They
  // can only be in strings, where an escape may stand for each.
  std::string shown;
  for (size_t at = 0; at < text.size();) {
    size_t length = 1;
    char32_t character = 0;
    ReadUtf8(absl::string_view(text).substr(at), &length, &character);  // The text is UTF-8.
    if (!IsDisguise(character)) {
      shown.append(text, at, length);
    } else if (character < 0x10000) {
      absl::StrAppendFormat(&shown, "\\u%04x", static_cast<uint32_t>(character));
    } else {
      absl::StrAppendFormat(&shown, "\\u%04x\\u%04x",
                            static_cast<uint32_t>(0xd7c0 + (character >> 10)),
                            static_cast<uint32_t>(0xdc00 + (character & 0x3ff)));
    }
    at += length;
  }
  return shown;
}

// Cuts a text for JSON, which has its own escapes.
std::string Cut(const std::string& text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  size_t end = max_bytes;  // No cut within a character: its later bytes are 10xxxxxx.
  while (end > max_bytes - 3 && (text[end] & 0xc0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), "... (", text.size(), " bytes)");
}

// Formats a message as an object. Messages of the event logger are objects already; the text of
// others becomes one member.
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
      absl::StrAppend(&line, "\"message\":",
                      Dump(Cut(std::string(payload), budget::kLogLineBytes)), "}\n");
    }
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

// Formats messages as spdlog's pattern does, but each as one line.
class TextFormatter final : public spdlog::formatter {
 public:
  explicit TextFormatter(bool color) : color_(color) {}
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const std::string payload =
        OneLine(absl::string_view(message.payload.data(), message.payload.size()),
                budget::kLogLineBytes);
    spdlog::details::log_msg shown = message;
    shown.payload = payload;
    spdlog::memory_buf_t line;
    pattern_.format(shown, line);
    const auto append = [&](size_t begin, size_t end) {
      out.append(line.data() + begin, line.data() + end);
    };
    const auto append_code = [&](absl::string_view code) {
      out.append(code.data(), code.data() + code.size());
    };
    if (!color_ || shown.color_range_end <= shown.color_range_start) return append(0, line.size());
    append(0, shown.color_range_start);
    append_code(message.level >= spdlog::level::err    ? "\033[31m\033[1m"
                : message.level == spdlog::level::warn ? "\033[33m\033[1m"
                : message.level == spdlog::level::info ? "\033[32m"
                                                       : "\033[36m");
    append(shown.color_range_start, shown.color_range_end);
    append_code("\033[m");
    append(shown.color_range_end, line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<TextFormatter>(color_);
  }

 private:
  const bool color_;
  spdlog::pattern_formatter pattern_;
};

// A function that makes the line about dropped ones. It is set once, before anybody logs.
using DroppedLine = std::string (*)(int64_t lines);
std::string PlainDroppedLine(int64_t lines) {
  return absl::StrCat("leapstream-server: ", lines,
                      " lines were dropped, since nobody read them\n");
}
std::atomic<DroppedLine> dropped_line{&PlainDroppedLine};

// The writers are never destroyed: threads may log while the process ends.
LineWriter& StandardOutput() {
  static auto* const writer =
      new LineWriter(STDOUT_FILENO, budget::kLogBytes, [](int64_t) { return std::string(); });
  return *writer;
}
LineWriter& StandardError() {
  static auto* const writer =
      new LineWriter(STDERR_FILENO, budget::kLogBytes,
                     [](int64_t lines) { return dropped_line.load()(lines); });
  return *writer;
}

template <typename Formatter>
std::string Format(Formatter&& formatter, spdlog::level::level_enum level,
                   const std::string& text) {
  spdlog::memory_buf_t line;
  formatter.format(spdlog::details::log_msg("leapstream", level, text), line);
  return std::string(line.data(), line.size());
}
std::string DroppedText(int64_t lines) {
  return absl::StrCat(lines, " lines of the log were dropped, since nobody read them in time");
}

class QueueSink final : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    StandardError().Write(std::string(line.data(), line.size()));
  }
  void flush_() override {}
};

bool IsColorTerminal() {
  return spdlog::details::os::in_terminal(stderr) && spdlog::details::os::is_color_terminal();
}

// The text as a field of a line. It is quoted if it could be taken for more than one field.
std::string FieldText(const std::string& text, size_t max_bytes) {
  // A backslash of the text itself is doubled, so that it cannot escape the quote at the end.
  const std::string shown = OneLine(absl::StrReplaceAll(text, {{"\\", "\\\\"}}), max_bytes);
  if (shown.find_first_of(" =\"") == std::string::npos) return shown;
  return absl::StrCat("\"", absl::StrReplaceAll(shown, {{"\"", "\\\""}}), "\"");
}

}  // namespace

bool LineRate::Passes(SteadyTime now) {
  int64_t next = next_.load(std::memory_order_relaxed);
  if (now.nanoseconds() < next) return false;
  return next_.compare_exchange_strong(next, (now + kBetween).nanoseconds(),
                                       std::memory_order_relaxed);
}

void SetUpLogging(const std::string& level, LogFormat format) {
  spdlog::drop_all();
  auto sink = std::make_shared<QueueSink>();
  if (format == LogFormat::kJson) {
    sink->set_formatter(std::make_unique<JsonFormatter>());
    spdlog::register_logger(std::make_shared<spdlog::logger>(kEvents, sink));
    dropped_line = [](int64_t lines) {
      return Format(JsonFormatter(), spdlog::level::warn, DroppedText(lines));
    };
  } else {
    sink->set_formatter(std::make_unique<TextFormatter>(IsColorTerminal()));
    dropped_line = [](int64_t lines) {
      return Format(TextFormatter(IsColorTerminal()), spdlog::level::warn, DroppedText(lines));
    };
  }
  // The default logger and the logger of events share the sink, and so its lock.
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("leapstream", std::move(sink)));
  spdlog::set_level(spdlog::level::from_str(level));
}

int64_t DroppedLogLines() { return StandardError().dropped(); }

void PrintLine(std::string line) { StandardOutput().Write(std::move(line)); }
void PrintErrorLine(std::string line) { StandardError().Write(std::move(line)); }
void FlushOutput() {
  StandardError().Flush(kFlushTime);
  StandardOutput().Flush(kFlushTime);
}

void LogEvent(absl::string_view message, std::initializer_list<LogField> fields) {
  if (!spdlog::should_log(spdlog::level::info)) return;
  // The last field is the one that may be long.
  const auto max_bytes = [&fields](const LogField& field) {
    return &field == fields.end() - 1 ? budget::kLogLineBytes / 2 : budget::kLogValueBytes;
  };
  const std::shared_ptr<spdlog::logger> events = spdlog::get(kEvents);
  if (events != nullptr) {
    nlohmann::ordered_json json;
    json["message"] = std::string(message);
    for (const LogField& field : fields) {
      std::visit(
          [&](const auto& value) {
            if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::string>) {
              if (!value.empty()) {
                json[std::string(field.name)] = Cut(value, max_bytes(field));
              }
            } else {
              json[std::string(field.name)] = value;
            }
          },
          field.value);
    }
    events->info("{}", Dump(json));
    return;
  }
  std::string line(message);
  for (const LogField& field : fields) {
    if (const auto* text = std::get_if<std::string>(&field.value)) {
      if (!text->empty()) {
        absl::StrAppend(&line, " ", field.name, "=", FieldText(*text, max_bytes(field)));
      }
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
