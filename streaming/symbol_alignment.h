#ifndef LEAPSTREAM_STREAMING_SYMBOL_ALIGNMENT_H_
#define LEAPSTREAM_STREAMING_SYMBOL_ALIGNMENT_H_

#include <cstddef>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "streaming/markup.h"

namespace leapstream {

// Finds the places of a text at which its symbols end, symbol by symbol. A character of a symbol
// stands for one of the text's NFKC form, which is the form that tokenizers give a text as a rule,
// or for a byte (fairseq's `bytes`). A place depends on the text before it and the symbols up to it
// alone. With a tokenizer that changes text otherwise, places are too late, but never before those
// of earlier symbols.
class SymbolAlignment {
 public:
  // The place at which `symbol` ends. `text` begins as in the call before. `tags`: parts of it, in
  // order, that are of no symbol.
  size_t Append(absl::string_view symbol, absl::string_view text,
                absl::Span<const MarkupSpan> tags);
  size_t end() const { return end_; }  // The place at which the symbol before this ends.

 private:
  void SkipTags(absl::Span<const MarkupSpan> tags);
  void Take(absl::string_view text);  // Takes the next character of the text.

  size_t end_ = 0;
  int spare_ = 0;        // The NFKC characters of the newest character that no symbol has had.
  char32_t newest_ = 0;  // The newest of all NFKC characters.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SYMBOL_ALIGNMENT_H_
