#ifndef LEAPSTREAM_METRICS_WORD_TIMING_H_
#define LEAPSTREAM_METRICS_WORD_TIMING_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace leapstream::metrics {

// Which source word had to be there for a number of source tokens to be read. Not thread-safe.
class SourceWordEnds {
 public:
  SourceWordEnds() = default;
  // pieces[i]: source tokens that word i is made of.
  explicit SourceWordEnds(const std::vector<int>& pieces);
  void Add(int pieces);  // One more word.

  int words() const { return words_; }
  int tokens() const { return ends_.empty() ? 0 : ends_.back().tokens; }  // Without </s>.
  int tokens_of_first(int words) const;

  // The smallest number of words with at least `tokens` tokens; all words if none has (</s>).
  int WordsRead(int tokens) const;

 private:
  struct End {
    int tokens;  // Up to the end of a word that has some,
    int word;    // and its number, from 1.
  };
  std::vector<End> ends_;
  int words_ = 0;
};

// What a target is cut into for lagging.
enum class TargetUnit {
  // What white space stands between. A word is complete when white space or the end of the segment
  // follows: only then is it certain that no further piece belongs to it.
  kWord,
  // A code point, complete when it is there; U+0020 is none. SimulEval's `char`.
  kChar,
  // A word, but each character of a script without spaces is a unit of its own, complete when it is
  // there, and ends the word before it.
  kWordOrCharacter,
};

// A unit of the target, and when it was complete.
struct TimedWord {
  std::string text;
  double source_read = 0;  // In the unit of the caller.
  double elapsed = 0;      // So is this one.
};

// Puts text deltas together to units; words are cut as Python's str.split() does. Not thread-safe.
class TargetWords {
 public:
  explicit TargetWords(TargetUnit unit = TargetUnit::kWord) : unit_(unit) {}

  // The units that `text`, which is whole characters, completed.
  std::vector<TimedWord> Append(absl::string_view text, double source_read, double elapsed);
  // The last word, if one is open.
  std::vector<TimedWord> Finish(double source_read, double elapsed);

 private:
  TargetUnit unit_;
  std::string open_;
};

}  // namespace leapstream::metrics

#endif  // LEAPSTREAM_METRICS_WORD_TIMING_H_
