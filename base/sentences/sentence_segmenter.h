#ifndef LEAPSTREAM_BASE_SENTENCES_SENTENCE_SEGMENTER_H_
#define LEAPSTREAM_BASE_SENTENCES_SENTENCE_SEGMENTER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/sentences/sentence_rules.h"

namespace leapstream {

// Cuts running text into segments while it arrives. A segment ends with a sentence or at an empty
// line; a text without full stops is cut after 50 words, or after a comma at the end of its 40th
// word or a later one; without spaces after 100 characters, or after a comma beyond 60.
// Text is given out at once, except that the first kLookAhead characters of a word, or less, are
// held if a sentence may have ended before it. So a segment ends only when there is text after it,
// and its end is the beginning of a word, or a place within a word of a script without spaces.
// The segments do not depend on how the text is cut into chunks, if these end between characters.
// Knows nothing of sessions. Not thread-safe.
class SentenceSegmenter {
 public:
  static constexpr int kLookAhead = 32;

  enum class Mode {
    kSentences,
    kLength,  // Only the limits of length end a segment.
  };
  struct Part {  // A part of one segment; it may be empty if it ends one.
    std::string text;
    int64_t begin = 0;  // The number of bytes of all text before it.
    bool ends_segment = false;
  };

  explicit SentenceSegmenter(SentenceRules rules, Mode mode = Mode::kSentences)
      : mode_(mode), rules_(std::move(rules)) {}

  // The parts are in order, and each part begins where the one before it ended.
  std::vector<Part> Append(absl::string_view text);
  // Ends the open segment, since others say so. The parts are what was held; the last of them does
  // not say that it ends the segment. The next text begins a segment.
  std::vector<Part> Finish();
  // The speaker paused. The open segment then ends if its last word ends a sentence whatever may
  // follow; with kLength in any case. Without an open segment nothing happens.
  std::vector<Part> Pause();

  bool has_sentences() const { return has_sentences_; }  // A sentence ended a segment.

 private:
  void Take(char32_t c, absl::string_view bytes);
  void TakeSpace(char32_t c, absl::string_view bytes);
  // Takes a character of a word; no sentence can end before it unless it stands within the word.
  void TakeInWord(char32_t c, absl::string_view bytes);
  // Decides whether the segment ends before the word that is held. With `whole` the word is whole.
  void Decide(bool whole);
  void TakeHeld();
  bool IsTooLong() const;
  void Emit(absl::string_view bytes);
  void End();    // Ends the segment before the character that is taken next.
  void Begin();  // Forgets the open segment.

  const Mode mode_;
  SentenceRules rules_;
  bool has_sentences_ = false;
  int64_t given_ = 0;        // The number of bytes that were given out.
  std::vector<Part> parts_;  // The result of the call.

  // The open segment:
  std::string previous_;  // The word before last_; "": none.
  std::string last_;      // The last word that is whole; "": none.
  std::string word_;      // The open word, or the end of a very long one; "": none is open.
  bool is_open_ = false;  // It has a word.
  int words_ = 0;
  int characters_ = 0;          // Of words.
  int unspaced_ = 0;            // Characters other than ASCII since the last space.
  int line_feeds_ = 0;          // Since the last word.
  char32_t before_ = 0;         // The last character of the open word.
  bool after_end_ = false;      // The open word has a sentence's end, to which marks may be added.
  bool after_clause_ = false;   // The segment ends here if the word goes on.
  bool holds_ = false;          // held_ is the beginning of the next word.
  std::string held_;
  int held_characters_ = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_SENTENCES_SENTENCE_SEGMENTER_H_
