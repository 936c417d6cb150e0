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
// (Unicode's, and U+001C to U+001F as in Python's str.split()) or Finish(). A word of more than
// budget::kWordBytes is cut into several: after the last punctuation mark in the second half of so
// many bytes, or else after the last character that fits. The words do not depend on the chunks,
// which may end between the bytes of a character. Not thread-safe.
class TextSource {
 public:
  void Append(absl::string_view bytes);
  void Finish();  // Ends the text: the held word is complete.

  // The next complete word, which is never empty. An empty string: there is none yet, or none
  // within the next *bytes bytes, and then *bytes becomes 0. The scanned bytes are subtracted from
  // *bytes. INVALID_ARGUMENT: the text is not UTF-8; the message has the byte offset in the
  // segment. All later calls return the same error.
  absl::StatusOr<std::string> NextWord(int64_t* bytes);
  absl::StatusOr<std::string> NextWord() {
    int64_t all = std::numeric_limits<int64_t>::max();
    return NextWord(&all);
  }
  // The beginning of the word that is not complete, in whole characters, as far as NextWord() has
  // scanned it. Valid until the next call.
  absl::string_view beginning() const {
    return absl::string_view(text_).substr(begin_, scanned_ - begin_);
  }
  size_t beginning_at() const { return consumed_ + begin_; }  // Its offset; see word_begin().
  void Reset();

  // Offsets in all text since Reset(): of the word that NextWord() returned last; of the text that
  // it has not returned yet, with the white space before it; of the text that Append() adds next.
  size_t word_begin() const { return word_begin_; }
  size_t rest_begin() const { return consumed_ + begin_; }
  size_t end() const { return consumed_ + text_.size(); }
  absl::string_view rest() const { return absl::string_view(text_).substr(begin_); }

 private:
  // Cuts off the word of `size` bytes at begin_.
  std::string CutWord(size_t size);
  void Compact();

  std::string text_;    // The text from begin_ on is not cut yet.
  size_t begin_ = 0;    // The start of the next word, or of the white space before it.
  size_t scanned_ = 0;  // No word ends between begin_ and here.
  size_t mark_ = 0;     // The place after the word's last punctuation mark; see kWordBytes.
  bool unspaced_ = false;  // The word has a character of a script without spaces.
  size_t word_begin_ = 0;
  size_t consumed_ = 0;  // The number of bytes since Reset() that were before text_ and are freed.
  bool finished_ = false;
  absl::Status error_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_TEXT_SOURCE_H_
