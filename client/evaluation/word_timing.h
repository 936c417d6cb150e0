#ifndef LEAPSTREAM_CLIENT_EVALUATION_WORD_TIMING_H_
#define LEAPSTREAM_CLIENT_EVALUATION_WORD_TIMING_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace leapstream::client {

// Which source word had to be there for a number of source tokens to be read. Immutable.
class SourceWordEnds {
 public:
  SourceWordEnds() = default;
  // pieces[i]: source tokens that word i is made of.
  explicit SourceWordEnds(const std::vector<int>& pieces);

  int words() const { return static_cast<int>(ends_.size()); }
  int tokens() const { return ends_.empty() ? 0 : ends_.back(); }  // Without </s>.
  int tokens_of_first(int words) const { return words == 0 ? 0 : ends_[words - 1]; }

  // The smallest number of words with at least `tokens` tokens; all words if none has (</s>).
  int WordsRead(int tokens) const;

 private:
  std::vector<int> ends_;  // Tokens up to the end of each word.
};

// A word of the target and when it was complete, which is when white space or the end of the
// segment follows: only then is it certain that no further piece belongs to it.
struct TimedWord {
  std::string text;
  int source_words_read = 0;
  double elapsed_seconds = 0;
};

// Puts text deltas together to words, cut as Python's str.split() does. Not thread-safe.
class TargetWords {
 public:
  // The words that `text` completed.
  std::vector<TimedWord> Append(absl::string_view text, int source_words_read,
                                double elapsed_seconds);
  // The last word, if one is open.
  std::vector<TimedWord> Finish(int source_words_read, double elapsed_seconds);

 private:
  std::string open_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_WORD_TIMING_H_
