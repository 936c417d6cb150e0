#ifndef LEAPSTREAM_CLIENT_CLI_TYPED_WORDS_H_
#define LEAPSTREAM_CLIENT_CLI_TYPED_WORDS_H_

#include <string>

#include "absl/strings/string_view.h"

namespace leapstream::client {

// The text that somebody types into a terminal that neither shows nor edits it (RawInput). A word
// can be changed until white space ends it: backspace takes its last character back, Ctrl-U and
// Ctrl-W take all of it; Ctrl-D ends the input. Other control characters and cursor keys do
// nothing. Not thread-safe.
class TypedWords {
 public:
  // The words that `bytes` completed, with the white space after each; bytes after Ctrl-D are
  // dropped.
  std::string Append(absl::string_view bytes);
  // Ends the input: the open word is complete, whether or not white space follows.
  std::string Finish();

  const std::string& open() const { return open_; }  // The word that is being typed.
  bool ended() const { return ended_; }

 private:
  enum class Escape { kNone, kBegun, kSequence };

  std::string open_;
  Escape escape_ = Escape::kNone;  // Position within the bytes of a cursor or function key.
  bool ended_ = false;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TYPED_WORDS_H_
