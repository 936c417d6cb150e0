#ifndef LEAPSTREAM_SERVER_WIRE_SOURCE_READER_H_
#define LEAPSTREAM_SERVER_WIRE_SOURCE_READER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "streaming/session.h"

namespace leapstream {

bool IsAudio(v1::InputFormat format);

// OK if a chunk may have so many bytes. INVALID_ARGUMENT, CHUNK_TOO_LARGE: it may not. `what` comes
// before the number in the message.
absl::Status CheckChunkBytes(size_t bytes, int max_chunk_bytes, const char* what);

// Turns the source chunks of one stream into the session's input. Not thread-safe.
class SourceReader {
 public:
  struct Form {
    v1::InputFormat format = v1::INPUT_FORMAT_TEXT;
    std::string model_name;  // The name in error messages.
    int max_chunk_bytes = 0;
    // The place in the source where a resumed session goes on: all before it was translated.
    SourcePosition first;
  };
  explicit SourceReader(Form form) : form_(std::move(form)) {}

  bool reads_audio() const { return IsAudio(form_.format); }
  // The input of a chunk that comes after `chunks` others. INVALID_ARGUMENT: the chunk is too
  // large, of another format, has no whole samples, or is shorter than the part of it that was
  // translated.
  absl::StatusOr<SourceInput> Read(const v1::SourceChunk& chunk, int64_t chunks) const;
  // The place in the source where that input begins.
  SourcePosition Begin(int64_t chunks) const {
    return std::max(SourcePosition{chunks, 0}, form_.first);
  }

 private:
  absl::Status CheckFormat(const v1::SourceChunk& chunk) const;
  absl::Status SkipTranslated(int64_t chunks, SourceInput* source) const;

  Form form_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_WIRE_SOURCE_READER_H_
