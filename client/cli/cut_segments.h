#ifndef LEAPSTREAM_CLIENT_CLI_CUT_SEGMENTS_H_
#define LEAPSTREAM_CLIENT_CLI_CUT_SEGMENTS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "client/types.h"

namespace leapstream::client {

// Reports segments that a limit cut short, for one run. Not thread-safe.
class CutSegments {
 public:
  // Returns a sentence to show; "": the segment is whole, as far as is known.
  std::string Add(const SegmentCompleted& completed);
  // Returns a sentence on source of the whole run that was never read; "": there was none.
  std::string Add(const Summary& summary) const;
  // The run's status. RESOURCE_EXHAUSTED: source was dropped. A translation that is cut at the
  // limit of its own length is no error.
  absl::Status status() const;

 private:
  int64_t dropped_ = 0;  // Segments with source that was dropped.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_CUT_SEGMENTS_H_
