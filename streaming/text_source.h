#ifndef LEAPSTREAM_STREAMING_TEXT_SOURCE_H_
#define LEAPSTREAM_STREAMING_TEXT_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// Cuts text that arrives in any chunks into whole words. Holds an unfinished word until white space
// (Unicode's, and U+001C to U+001F as Python's str.split()) or Finish(). A word of more than
// budget::kWordBytes is cut into several: after the last punctuation mark in the second half of so
// many bytes, else after the last character that fits. Any chunking, between the bytes of a
// character too, gives the same words. Not thread-safe.
class TextSource {
 public:
  void Append(absl::string_view bytes);
  void Finish();  // No more text: the held word is complete.

  // The next complete word, never empty; an empty string when there is none yet, or none within
  // the next `*bytes` bytes, from which those that were scanned are subtracted: then *bytes is 0.
  // INVALID_ARGUMENT: the text is not UTF-8 (byte offset in the segment); from then on always.
  absl::StatusOr<std::string> NextWord(int64_t* bytes);
  absl::StatusOr<std::string> NextWord() {
    int64_t all = std::numeric_limits<int64_t>::max();
    return NextWord(&all);
  }
  void Reset();

  // Offsets in all text since Reset(): of the word that NextWord() returned last, of the text that
  // it has not returned yet, with white space before it, and of the text that Append() adds next.
  size_t word_begin() const { return word_begin_; }
  size_t rest_begin() const { return consumed_ + begin_; }
  size_t end() const { return consumed_ + text_.size(); }
  absl::string_view rest() const { return absl::string_view(text_).substr(begin_); }

 private:
  // Cuts the word at begin_ off, which has `size` bytes.
  std::string CutWord(size_t size);
  void Compact();

  std::string text_;     // What is not cut yet starts at `begin_`.
  size_t begin_ = 0;     // Start of the next word, or of white space before it.
  size_t scanned_ = 0;   // Up to here all is read and there is no word end.
  size_t mark_ = 0;      // After the last punctuation mark of the word; see kWordBytes.
  size_t word_begin_ = 0;
  size_t consumed_ = 0;  // Bytes cut off before text_, for error messages.
  bool finished_ = false;
  absl::Status error_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_TEXT_SOURCE_H_
