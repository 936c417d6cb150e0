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

// Writes lines to a descriptor on a thread of its own, so that nobody waits for the reader. The
// queue is bounded. A line that finds it full is dropped and counted, and so is a line that cannot
// be written because the reader has gone or the disk is full. Thread-safe.
class LineWriter {
 public:
  // Returns the line that says how many lines were dropped. It is written where they are missing.
  using DroppedLine = std::function<std::string(int64_t lines)>;

  // `descriptor` belongs to the caller and must stay open. `max_bytes` is the size of the queue.
  LineWriter(int descriptor, size_t max_bytes, DroppedLine dropped_line);
  // Does not wait for the thread. A thread that hangs in a write goes on to exist, with its queue.
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // `line` ends with a line feed. Never blocks.
  void Write(std::string line);
  // Waits until all lines so far are written or dropped. False: some were not within `timeout`.
  bool Flush(absl::Duration timeout);
  int64_t dropped() const;  // All lines that were ever dropped.

 private:
  struct State;
  static void Run(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_LINE_WRITER_H_
