#ifndef LEAPSTREAM_CLIENT_HYPOTHESES_SOURCE_STABILIZER_H_
#define LEAPSTREAM_CLIENT_HYPOTHESES_SOURCE_STABILIZER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/hypotheses/hypothesis.h"

namespace leapstream::client {

struct StabilizerFigures {
  int64_t hypotheses = 0;
  int64_t finals = 0;
  int64_t words = 0;    // Words that were given out.
  int64_t repairs = 0;  // Utterances whose last hypothesis contradicts what was given out of them.
  int64_t repaired_words = 0;  // The edit distance of those, in words.
};

// Makes source text that is only appended to out of hypotheses that revise themselves. It knows
// nothing of gRPC, of models and of the time: the same hypotheses give the same text.
//
// A word is given out once `agreement` distinct hypotheses in a row agree on it and on all words
// before it, except for the newest word that they agree on, which may still be growing; or once the
// recogniser promises not to change it. Words are compared without regard to case, to the form
// of an apostrophe and to punctuation at their edges, and given out as the newest hypothesis spells
// them. Each character of a script without spaces is a word of its own. The last hypothesis of an
// utterance is authoritative: its words that have not been given out are, all of them. If it
// contradicts what was given out, that stays, and it goes on behind the place where the two align
// best (least edit distance; then most equal words; then most nearly word for word). Edits are
// searched for up to 128 words off the diagonal. Not thread-safe.
class SourceStabilizer {
 public:
  static constexpr int kMostAgreement = 16;

  // `agreement` is from 1 to kMostAgreement; 3 is for recognisers that change their minds a lot.
  explicit SourceStabilizer(int agreement = 2);

  // Takes the next hypothesis. Returns text to append to the source, "" or some words. A space
  // ends each word, unless its script has none there. A final hypothesis ends the utterance:
  // the next hypothesis begins another.
  std::string Add(const SourceHypothesis& hypothesis);
  // Ends the input. The newest hypothesis of an utterance that is open counts as its last one.
  std::string Finish();

  const StabilizerFigures& figures() const { return figures_; }

 private:
  // A word that is compared as one, with marks that stand apart beside it ("Oui !").
  struct Word {
    std::string text;
    std::string folded;  // `text` as it is compared; "": it is nothing but marks.
    int number = 0;      // Words between white space before this one.
    bool space = false;  // Whether a space follows.
  };
  // The place in a hypothesis that what was given out reaches to.
  struct Place {
    size_t words = 0;
    int64_t distance = 0;  // Edit distance between what was given out and those words.
  };

  static std::vector<Word> Words(absl::string_view text);
  Place Align(const std::vector<Word>& words) const;
  size_t Agreed() const;
  std::string End(const std::vector<Word>& words);
  std::string GiveOut(const std::vector<Word>& words, size_t begin, size_t end);

  const size_t agreement_;
  std::vector<std::string> given_;  // The open utterance's words that were given out, folded.
  std::deque<std::vector<Word>> distinct_;  // Its last distinct hypotheses, the newest at the end.
  bool within_word_ = false;                // What was given out last has no space behind it.
  StabilizerFigures figures_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_HYPOTHESES_SOURCE_STABILIZER_H_
