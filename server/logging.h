#ifndef LEAPSTREAM_SERVER_LOGGING_H_
#define LEAPSTREAM_SERVER_LOGGING_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"

namespace leapstream {

enum class LogFormat { kText, kJson };  // kJson: one object a line.

// Makes spdlog's default logger, and that of LogEvent(), write to stderr, on a thread of its own:
// who logs never waits for whoever reads it; see LineWriter. Each message is one line, with escapes
// for what would look like another, and cut at budget::kLogLineBytes. `level` is one of spdlog's
// names. Before any thread logs.
void SetUpLogging(const std::string& level, LogFormat format);

// Lines of the log that nobody read in time.
int64_t DroppedLogLines();

// Writes a line, which ends with a line feed, to standard output or standard error, without waiting
// for whoever reads it. Before SetUpLogging(), too.
void PrintLine(std::string line);
void PrintErrorLine(std::string line);
// Waits until all that was logged and printed is written, but not for long: somebody may read none
// of it. To be called before the process ends.
void FlushOutput();

struct LogField {
  absl::string_view name;
  std::variant<std::string, int64_t, double> value;  // An empty text is left out.
};

// An information with fields: "message name=value ...", or members of the JSON object. A text with
// spaces or quotes is quoted; what is longer than budget::kLogValueBytes is cut, unless it is the
// last.
void LogEvent(absl::string_view message, std::initializer_list<LogField> fields);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_LOGGING_H_
