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
  kExplicit,  // An empty line ends a segment, nothing else.
};

// Whether a sentence ends between `word` and `next` of running text; `previous` is the word before
// them in the same sentence, "" if there is none. Made to be safe for abbreviations, initials and
// ordinal numbers of English and German: rather two sentences in one segment than one in two. After
// one letter ("Plan B."), a number of one or two digits, "U.S.", "Inc." and their like a sentence
// ends only if `next` is one of a few English words that begin sentences, such as "The" and "Then".
// Full stops and question marks of other scripts are known.
bool SentenceEndsBetween(absl::string_view previous, absl::string_view word,
                         absl::string_view next);

// Says where the lines of SourceWords end segments. A word is given out at once; whether its
// sentence ended is known when the next one comes. Text without spaces is cut after full stops of
// its script. A sentence ends after 50 words, or after a comma that more than 40 are before,
// whether or not a mark says so. Not thread-safe.
class Segmenter {
 public:
  explicit Segmenter(Segmentation segmentation) : segmentation_(segmentation) {}

  // `ends_line` of what is added to `out` means the end of a segment.
  void Add(SourceItem item, std::deque<SourceItem>& out);
  void Finish(std::deque<SourceItem>& out);  // The input is over.

 private:
  void AddWord(absl::string_view word, absl::string_view after, std::deque<SourceItem>& out);
  void EndSegment(std::deque<SourceItem>& out);

  const Segmentation segmentation_;
  std::string last_word_;      // Of the open segment; "": none is open.
  std::string previous_word_;  // Before the last one in it; "": none.
  int words_ = 0;              // Of the open segment, as the next one.
  size_t characters_ = 0;
  bool line_is_empty_ = true;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_SEGMENTATION_H_
