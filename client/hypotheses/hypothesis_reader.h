#ifndef LEAPSTREAM_CLIENT_HYPOTHESES_HYPOTHESIS_READER_H_
#define LEAPSTREAM_CLIENT_HYPOTHESES_HYPOTHESIS_READER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/hypotheses/hypothesis.h"
#include "client/hypotheses/hypothesis_format.h"

namespace leapstream::client {

// Reads what a recogniser writes. JSON objects stand on a line each, or go over several lines, or
// several are on one, or all are one array; empty lines and a byte order mark are left out. Any
// chunking of the bytes gives the same hypotheses. A line, and an object, has 1 MiB at most. Not
// thread-safe.
class HypothesisReader {
 public:
  explicit HypothesisReader(HypothesisFormat format) : format_(format) {}

  // Adds the hypotheses that `bytes` completed to `out`. INVALID_ARGUMENT: a line is not UTF-8, too
  // long, or not of the format; the message has its number and what is wanted. The hypotheses
  // before it were then added, and nothing more may be appended.
  absl::Status Append(absl::string_view bytes, std::vector<SourceHypothesis>& out);
  // Ends the input: a last line without a line feed is complete. The errors are those of Append();
  // INVALID_ARGUMENT also if an object is not complete, or if there were messages and none of them
  // had a hypothesis.
  absl::Status Finish(std::vector<SourceHypothesis>& out);

 private:
  absl::Status TakeLine(absl::string_view line, std::vector<SourceHypothesis>& out);
  absl::Status TakeObject(std::vector<SourceHypothesis>& out);
  void Take(SourceHypothesis hypothesis, std::vector<SourceHypothesis>& out);
  void FinishWord(std::vector<SourceHypothesis>& out);
  absl::Status AtLine(int64_t line, absl::string_view message) const;

  const HypothesisFormat format_;
  std::string pending_;   // The beginning of a line.
  std::string object_;    // The beginning of an object, from the lines before.
  int open_ = 0;          // Objects and arrays that are open at the end of object_.
  int64_t line_ = 0;      // The number of the last complete line.
  int64_t began_ = 0;     // The line in which object_ begins.
  int64_t messages_ = 0;  // Messages that were read.
  bool has_hypotheses_ = false;
  SourceHypothesis word_;  // SimulStreaming: the last word, which may go on.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_HYPOTHESES_HYPOTHESIS_READER_H_
