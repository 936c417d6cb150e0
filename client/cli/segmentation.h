#ifndef LEAPSTREAM_CLIENT_CLI_SEGMENTATION_H_
#define LEAPSTREAM_CLIENT_CLI_SEGMENTATION_H_

#include <deque>

#include "client/cli/source_words.h"

namespace leapstream::client {

enum class Segmentation {
  kLineSentences,  // A sentence is a segment, and ends at the end of its line.
  kLine,           // A line is a segment.
  kSentence,       // Lines are running text: a segment ends with a sentence, or at an empty line.
  kExplicit,       // Only an empty line ends a segment.
  kPause,          // Only a pause of the speaker ends a segment, or its length.
};

// Whether the server is to cut text into sentences.
inline bool HasSentences(Segmentation segmentation) {
  return segmentation == Segmentation::kLineSentences || segmentation == Segmentation::kSentence;
}

// Decides which lines of SourceWords end segments: each of them, or those that are empty. It knows
// nothing of sentences, which the server finds. Not thread-safe.
class Segmenter {
 public:
  explicit Segmenter(Segmentation segmentation)
      : by_lines_(segmentation == Segmentation::kLine ||
                  segmentation == Segmentation::kLineSentences) {}

  // Items in `out` have `ends_line` where a segment ends.
  void Add(SourceItem item, std::deque<SourceItem>& out);
  void Finish(std::deque<SourceItem>& out);  // Ends the input.

 private:
  const bool by_lines_;
  bool is_open_ = false;        // The open segment has a word.
  bool line_is_empty_ = true;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_SEGMENTATION_H_
