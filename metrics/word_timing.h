#ifndef LEAPSTREAM_METRICS_WORD_TIMING_H_
#define LEAPSTREAM_METRICS_WORD_TIMING_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace leapstream::metrics {

// The source words that had to be there for a number of source tokens to be read. Not thread-safe.
class SourceWordEnds {
 public:
  SourceWordEnds() = default;
  // pieces[i] is the number of source tokens of word i.
  explicit SourceWordEnds(const std::vector<int>& pieces);
  void Add(int pieces);     // Adds one word.
  void Extend(int pieces);  // Adds source tokens to the last word, or a word if there is none.

  int words() const { return words_; }
  // The number of tokens of all words, without </s>.
  int tokens() const { return ends_.empty() ? 0 : ends_.back().tokens; }
  int tokens_of_first(int words) const;

  // The smallest number of first words that have at least `tokens` tokens together; all words if
  // there are not so many tokens (`tokens` counts </s>).
  int WordsRead(int tokens) const;

 private:
  struct End {
    int tokens;  // The number of tokens up to the end of a word that has some.
    int word;    // The number of that word, from 1.
  };
  std::vector<End> ends_;
  int words_ = 0;
};

// The units into which a target is cut for lagging.
enum class TargetUnit {
  // The text between white space. A word is complete when white space or the end of the segment
  // follows: only then is it certain that no further piece belongs to it.
  kWord,
  // A code point but U+0020, as SimulEval's `char`. It is complete when it is there.
  kChar,
  // A word, except that each character of a script without spaces is a unit of its own, complete
  // when it is there. It ends the word before it.
  kWordOrCharacter,
};

// A unit of the target, and the time at which it was complete.
struct TimedWord {
  std::string text;
  double source_read = 0;  // In the caller's unit.
  double elapsed = 0;      // In the caller's unit.
};

// Puts text deltas together to units. Words are cut as by Python's str.split(). Not thread-safe.
class TargetWords {
 public:
  explicit TargetWords(TargetUnit unit = TargetUnit::kWord) : unit_(unit) {}

  // Returns the units that `text`, which is whole characters, completed.
  std::vector<TimedWord> Append(absl::string_view text, double source_read, double elapsed);
  // Returns the last word, if one is open.
  std::vector<TimedWord> Finish(double source_read, double elapsed);

 private:
  TargetUnit unit_;
  std::string open_;
};

}  // namespace leapstream::metrics

#endif  // LEAPSTREAM_METRICS_WORD_TIMING_H_
