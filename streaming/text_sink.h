#ifndef LEAPSTREAM_STREAMING_TEXT_SINK_H_
#define LEAPSTREAM_STREAMING_TEXT_SINK_H_

#include <string>

#include "absl/strings/string_view.h"
#include "model/api/tokenizer.h"

namespace leapstream {

// Turns target symbols into text that is only appended to and is always valid UTF-8. The beginning
// of a character is held until the character is whole, and becomes U+FFFD if it cannot become
// whole. The concatenated results of Append() and Finish() equal Tokenizer::Decode() of the
// symbols. Not thread-safe; `tokenizer` must outlive it.
class TextSink {
 public:
  explicit TextSink(const TargetTokenizer* tokenizer) : tokenizer_(tokenizer) {}

  std::string Append(absl::string_view symbol);  // Returns the text to append, which may be empty.
  std::string Finish();                          // Returns the rest of the text.
  void Reset();                                  // Begins another text.

 private:
  std::string AppendBytes(const TargetBytes& bytes);
  // Pops the text of the held bytes up to a character that more bytes could complete; with `all`,
  // pops the text of all held bytes.
  std::string PopHeld(bool all);

  const TargetTokenizer* tokenizer_;
  TokenizerState state_;
  std::string held_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_TEXT_SINK_H_
