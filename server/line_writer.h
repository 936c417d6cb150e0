#ifndef LEAPSTREAM_SERVER_LINE_WRITER_H_
#define LEAPSTREAM_SERVER_LINE_WRITER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace leapstream {

// Writes lines to a descriptor on a thread of its own, so that nobody waits for whoever reads them.
// The queue is bounded: lines that find it full are dropped, and counted, and so are those that
// cannot be written because the reader has gone or the disk is full. Thread-safe.
class LineWriter {
 public:
  // The line that says how many were dropped, once lines are written again.
  using DroppedLine = std::function<std::string(int64_t lines)>;

  // `descriptor` is the caller's, and must stay open. `name` is the thread's.
  LineWriter(int descriptor, size_t max_bytes, DroppedLine dropped_line);
  // Does not wait: a thread that hangs in a write stays, with what it uses.
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // `line` ends with a line feed. Never blocks.
  void Write(std::string line);
  // Waits until all lines so far are written or given up. False: not within `timeout`.
  bool Flush(absl::Duration timeout);
  int64_t dropped() const;  // Lines, ever.

 private:
  struct State;
  static void Run(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_LINE_WRITER_H_
