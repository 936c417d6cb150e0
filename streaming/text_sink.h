#ifndef LEAPSTREAM_STREAMING_TEXT_SINK_H_
#define LEAPSTREAM_STREAMING_TEXT_SINK_H_

#include <string>

#include "absl/strings/string_view.h"
#include "model/api/tokenizer.h"

namespace leapstream {

// Turns target pieces into text that is only ever appended to. Always whole, valid UTF-8: bytes
// (<0xNN> pieces) are held until they make a character, and become U+FFFD when they cannot. The
// concatenation of all that Append() and Finish() return equals Tokenizer::Decode() of the pieces.
// Not thread-safe; `tokenizer` must outlive it.
class TextSink {
 public:
  explicit TextSink(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {}

  std::string Append(absl::string_view piece);  // The text to append; may be empty.
  std::string Finish();                         // What is still held.
  void Reset();

 private:
  // The text of the held bytes up to a character that more bytes could complete, or with `all`, of
  // all of them.
  std::string TakeHeld(bool all);

  const Tokenizer* tokenizer_;
  std::string held_bytes_;
  bool at_start_ = true;  // The next U+2581 may be dropped.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_TEXT_SINK_H_
