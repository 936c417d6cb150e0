#ifndef LEAPSTREAM_CLIENT_CLI_SEGMENTATION_H_
#define LEAPSTREAM_CLIENT_CLI_SEGMENTATION_H_

#include <deque>
#include <string>

#include "absl/strings/string_view.h"
#include "client/cli/source_words.h"

namespace leapstream::client {

enum class Segmentation {
  kLine,      // A line is a segment.
  kSentence,  // Lines are running text: a segment ends with a sentence, or at an empty line.
  kExplicit,  // Only an empty line ends a segment.
  kPause,     // Only a pause of the speaker ends a segment, or its length: see Pause().
};

// Whether a sentence ends between `word` and `next` of running text; `previous` is the word before
// them in the same sentence, "" if there is none. The rules are safe for abbreviations, initials
// and ordinal numbers of English and German: rather two sentences in one segment than one in two.
// After one letter ("Plan B."), a number of one or two digits, "U.S.", "Inc." and their like, a
// sentence ends only if `next` is one of a few English words that begin sentences, such as "The"
// and "Then". Full stops and question marks of other scripts are known.
bool SentenceEndsBetween(absl::string_view previous, absl::string_view word,
                         absl::string_view next);

// Decides where the lines of SourceWords end segments. A word is given out at once; whether its
// sentence ended is known when the next word comes. Text without spaces is cut after full stops of
// its script. Without such a mark, a sentence ends after 50 words, or after a comma that is at the
// end of its 40th word or a later one; so does a segment of kPause. Not thread-safe.
class Segmenter {
 public:
  explicit Segmenter(Segmentation segmentation) : segmentation_(segmentation) {}

  // Items in `out` have `ends_line` where a segment ends.
  void Add(SourceItem item, std::deque<SourceItem>& out);
  // The speaker paused after what was added. With kPause the segment ends; with kSentence it does
  // if its last word ends a sentence whatever may follow.
  void Pause(std::deque<SourceItem>& out);
  void Finish(std::deque<SourceItem>& out);  // Ends the input.

  bool has_sentences() const { return has_sentences_; }  // A sentence ended a segment.

 private:
  void AddWord(absl::string_view word, absl::string_view after, std::deque<SourceItem>& out);
  void EndSegment(std::deque<SourceItem>& out);

  const Segmentation segmentation_;
  std::string last_word_;      // The open segment's last word; "": no segment is open.
  std::string previous_word_;  // The word before last_word_ in its segment; "": none.
  int words_ = 0;              // Words of the open segment.
  size_t characters_ = 0;      // Characters of the open segment.
  bool has_sentences_ = false;
  bool within_word_ = false;  // No space follows last_word_.
  int unspaced_ = 0;          // Characters other than ASCII since the last space.
  bool line_is_empty_ = true;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_SEGMENTATION_H_
