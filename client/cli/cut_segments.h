#ifndef LEAPSTREAM_CLIENT_CLI_CUT_SEGMENTS_H_
#define LEAPSTREAM_CLIENT_CLI_CUT_SEGMENTS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "client/client.h"

namespace leapstream::client {

// What a run says of segments that a limit cut short. Not thread-safe.
class CutSegments {
 public:
  // A sentence to show; "": the segment is whole, as far as is known.
  std::string Add(const SegmentCompleted& completed);
  // The same of source of the whole run that was never read.
  std::string Add(const Summary& summary) const;
  // What the run ends with. RESOURCE_EXHAUSTED: source was dropped; a translation that is cut at
  // the limit of its own length is no error.
  absl::Status status() const;

 private:
  int64_t dropped_ = 0;  // Segments of whose source a part was.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_CUT_SEGMENTS_H_
