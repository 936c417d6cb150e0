#ifndef LEAPSTREAM_SERVER_LOGGING_H_
#define LEAPSTREAM_SERVER_LOGGING_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"

namespace leapstream {

enum class LogFormat { kText, kJson };  // kJson: one object a line.

// Makes spdlog's default logger, and that of LogEvent(), write to stderr. `level` is one of
// spdlog's names. Before any thread logs.
void SetUpLogging(const std::string& level, LogFormat format);

struct LogField {
  absl::string_view name;
  std::variant<std::string, int64_t, double> value;  // An empty text is left out.
};

// An information with fields: "message name=value ...", or members of the JSON object.
void LogEvent(absl::string_view message, std::initializer_list<LogField> fields);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_LOGGING_H_
