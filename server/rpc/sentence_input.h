#ifndef LEAPSTREAM_SERVER_RPC_SENTENCE_INPUT_H_
#define LEAPSTREAM_SERVER_RPC_SENTENCE_INPUT_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/sentences/sentence_segmenter.h"
#include "streaming/session.h"

namespace leapstream {

// The text of a stream, cut into segments by a SentenceSegmenter, with places in the client's
// chunks. Not thread-safe.
class SentenceInput {
 public:
  struct Part {  // A part of one segment, of one chunk.
    std::string text;
    SourcePosition at;  // The place of the text, or if that is empty, of the segment's end.
    bool ends_segment = false;
    SourcePosition end;  // If the part ends its segment: the place where the next one begins.
  };

  // The stream's text goes on with the beginning of a sentence. Text before `from` belongs to an
  // earlier segment of that sentence, and is looked at, but not given out.
  SentenceInput(absl::string_view language, SourcePosition from)
      : segmenter_(SentenceRules(language)), from_(from) {}

  // Takes a chunk, or what is left of one, which begins at `at`.
  std::vector<Part> Append(std::string text, SourcePosition at);
  // Ends the open segment, since the client ends it. The parts come before that end.
  std::vector<Part> Finish() { return Located(segmenter_.Finish()); }

 private:
  struct Chunk {
    int64_t begin;  // The number of bytes before it.
    SourcePosition at;
  };

  std::vector<Part> Located(const std::vector<SentenceSegmenter::Part>& parts);
  // The place of the byte after the first `offset` ones. Offsets must not fall from call to call.
  SourcePosition PlaceOf(int64_t offset);
  void Add(absl::string_view text, SourcePosition at, std::vector<Part>* parts) const;

  SentenceSegmenter segmenter_;
  const SourcePosition from_;
  int64_t taken_ = 0;         // The number of bytes that have come.
  std::deque<Chunk> chunks_;  // The chunks of which a part was not given out, and the last one.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_SENTENCE_INPUT_H_
