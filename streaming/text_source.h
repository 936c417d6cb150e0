#ifndef LEAPSTREAM_STREAMING_TEXT_SOURCE_H_
#define LEAPSTREAM_STREAMING_TEXT_SOURCE_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// Cuts text that arrives in any chunks into whole words. Holds an unfinished word until white space
// (Unicode's, and U+001C to U+001F as Python's str.split()) or Finish(). Any chunking, between the
// bytes of a character too, gives the same words. Not thread-safe.
class TextSource {
 public:
  void Append(absl::string_view bytes);
  void Finish();  // No more text: the held word is complete.

  // The next complete word, never empty; an empty string when there is none yet.
  // INVALID_ARGUMENT: the text is not UTF-8 (byte offset in the segment); from then on always.
  absl::StatusOr<std::string> NextWord();
  void Reset();

  // How long the unfinished word is, after NextWord() has returned none.
  size_t held_bytes() const { return text_.size() - begin_; }

 private:
  void Compact();

  std::string text_;     // What is not cut yet starts at `begin_`.
  size_t begin_ = 0;     // Start of the next word, or of white space before it.
  size_t scanned_ = 0;   // Up to here all is read and there is no word end: each byte is read once.
  size_t consumed_ = 0;  // Bytes cut off before text_, for error messages.
  bool finished_ = false;
  absl::Status error_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_TEXT_SOURCE_H_
