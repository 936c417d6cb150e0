#ifndef LEAPSTREAM_SERVER_LOGGING_H_
#define LEAPSTREAM_SERVER_LOGGING_H_

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace leapstream {

enum class LogFormat { kText, kJson };  // kJson has one object per line.

// Makes spdlog's default logger and the logger of LogEvent() write to stderr. A thread of its own
// writes, so that nobody who logs waits for the reader; see LineWriter. Each message is one line:
// it has escapes for bytes that would look like the start of another line, and is cut at
// budget::kLogLineBytes. `level` is one of spdlog's names. To be called before any thread logs.
void SetUpLogging(const std::string& level, LogFormat format);

// Lets lines of one kind pass that something outside may cause without end: one in kBetween.
// Thread-safe.
class LineRate {
 public:
  static constexpr absl::Duration kBetween = absl::Seconds(10);
  bool Passes(SteadyTime now);

 private:
  std::atomic<int64_t> next_{0};  // The time of the next line at the earliest, as nanoseconds().
};

// The number of lines for standard error that were dropped, because nobody read them in time.
int64_t DroppedLogLines();

// Writes a line to standard output or standard error, without waiting for the reader. The line ends
// with a line feed. May be called before SetUpLogging().
void PrintLine(std::string line);
void PrintErrorLine(std::string line);
// Waits until all lines that were logged and printed are written, but not for long: perhaps nobody
// reads them. To be called before the process ends.
void FlushOutput();

struct LogField {
  absl::string_view name;
  std::variant<std::string, int64_t, double> value;  // A field with an empty text is left out.
};

// Logs a message of level info with fields: "message name=value ...", or members of the JSON
// object. A text with spaces or quotes is quoted. A text is cut at budget::kLogValueBytes, and that
// of the last field at half of budget::kLogLineBytes.
void LogEvent(absl::string_view message, std::initializer_list<LogField> fields);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_LOGGING_H_
