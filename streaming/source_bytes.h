#ifndef LEAPSTREAM_STREAMING_SOURCE_BYTES_H_
#define LEAPSTREAM_STREAMING_SOURCE_BYTES_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "streaming/session.h"

// The bytes that source counts, in its forms of the wire. These are pure functions.
namespace leapstream {

int64_t PieceBytes(const std::string& piece);
// The memory that `source` takes while it is queued.
int64_t SourceBytes(const SourceInput& source);
// The bytes of a text without its white space, so that the end of a line does not count as source.
int64_t VisibleBytes(absl::string_view text);
// The source that is lost when `source` is dropped: see SessionSummary::dropped_source_bytes.
int64_t DroppedBytes(const SourceInput& source);

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SOURCE_BYTES_H_
