#ifndef LEAPSTREAM_CLIENT_CLI_TRACE_H_
#define LEAPSTREAM_CLIENT_CLI_TRACE_H_

#include <fstream>
#include <istream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "client/types.h"

namespace leapstream::client {

// Records a session: the lines of `translate --json` with a `time`, in seconds since the start, and
// among them {"event": "source", "text": …} and {"event": "source_end"}. Not thread-safe.
class TraceWriter {
 public:
  // INVALID_ARGUMENT: the file cannot be written.
  absl::Status Open(const std::string& path);
  bool is_open() const { return file_.is_open(); }

  // The next three methods do nothing if no file is open.
  void Source(absl::string_view text);
  void SourceEnd();
  void Add(const Event& event);
  // INTERNAL: not all of the trace could be written.
  absl::Status Close();

 private:
  void Write(absl::string_view json);

  std::string path_;
  std::ofstream file_;
  SteadyTime start_;
};

struct ReplayOptions {
  double speed = 1;  // Factor of the recorded speed.
};

// Shows a trace, or other events that EventReader reads, on standard output as `leapstream
// translate` did: on a terminal with its lanes, else the translation alone. Events without a time
// come when the server says that their last token did. INVALID_ARGUMENT: a line is no event, or
// there is no event at all. Other errors are those of FlushOutput().
absl::Status Replay(std::istream& trace, const ReplayOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TRACE_H_
