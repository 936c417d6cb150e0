#ifndef LEAPSTREAM_STREAMING_TEXT_SINK_H_
#define LEAPSTREAM_STREAMING_TEXT_SINK_H_

#include <string>

#include "absl/strings/string_view.h"
#include "model/api/tokenizer.h"

namespace leapstream {

// Turns target symbols into text that is only ever appended to, and always whole, valid UTF-8: the
// beginning of a character is held until the character is whole, and becomes U+FFFD when it cannot
// be. The concatenation of all that Append() and Finish() return equals Tokenizer::Decode() of the
// symbols. Not thread-safe; `tokenizer` must outlive it.
class TextSink {
 public:
  explicit TextSink(const TargetTokenizer* tokenizer) : tokenizer_(tokenizer) {}

  std::string Append(absl::string_view symbol);  // The text to append; may be empty.
  std::string Finish();                          // The rest of the text.
  void Reset();                                  // Another text begins.

 private:
  std::string AppendBytes(const TargetBytes& bytes);
  // Pops the text of the held bytes up to a character that more bytes could complete, or with
  // `all`, of all held bytes.
  std::string PopHeld(bool all);

  const TargetTokenizer* tokenizer_;
  TokenizerState state_;
  std::string held_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_TEXT_SINK_H_
