#ifndef LEAPSTREAM_MODEL_API_TOKENIZER_H_
#define LEAPSTREAM_MODEL_API_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// How text becomes the symbols of a dictionary, and symbols text. A tokenizer is const and
// thread-safe. Its only memory of a segment is a TokenizerState, a value that the session has.
namespace leapstream {

// The memory that one side of a tokenizer has of a segment. A new one is at the segment's start. A
// copy goes on by itself.
struct TokenizerState {
  bool begun = false;  // Some text was there.
  std::string held;    // Not final yet: in a form of the tokenizer's own.
};

// The source side: words of text in, symbols that are final out. Words come one by one, without the
// white space between them, and none is longer than budget::kWordBytes.
class SourceTokenizer {
 public:
  using Symbols = std::vector<std::string>;

  virtual ~SourceTokenizer() = default;

  // Takes the next word (UTF-8) of the segment. Appends to *ready, in order, an entry for each word
  // whose symbols no later text changes: for this word, or, where a tokenizer has to see the word
  // after it, for words before.
  virtual void AppendWord(absl::string_view word, TokenizerState* state,
                          std::vector<Symbols>* ready) const = 0;
  // The segment has ended: all words are final.
  virtual void FinishWords(TokenizerState* state, std::vector<Symbols>* ready) const = 0;
};

// Bytes of a text that no later symbol changes. They may end within a character.
struct TargetBytes {
  std::string bytes;
  // A character that the bytes before these left incomplete stays so.
  bool breaks_character = false;
};

// The target side: symbols in, bytes that are final out. Bytes that depend on a later symbol, as a
// space before punctuation does, come with that symbol, or at the end.
class TargetTokenizer {
 public:
  virtual ~TargetTokenizer() = default;

  virtual TargetBytes AppendSymbol(absl::string_view symbol, TokenizerState* state) const = 0;
  // The segment has ended: the bytes that are still held.
  virtual TargetBytes FinishSymbols(TokenizerState* state) const = 0;
};

// Both sides, and the same of whole texts. What kind of tokenizer it is follows from its file; so
// far all are SentencePiece models (model/api/sentencepiece.h).
class Tokenizer : public SourceTokenizer, public TargetTokenizer {
 public:
  // NOT_FOUND: it cannot be opened. INVALID_ARGUMENT: not a file, not a SentencePiece model, or one
  // that changes text after decoding (a denormaliser), which cannot be streamed.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Load(const std::string& path);
  // The same of the bytes of a file, which messages call `name`.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Parse(absl::string_view bytes,
                                                                absl::string_view name);

  // The symbols of a text (UTF-8).
  virtual std::vector<std::string> Encode(absl::string_view text) const = 0;
  // The text of `symbols`. The slow twin of the target side.
  virtual std::string Decode(const std::vector<std::string>& symbols) const = 0;
  // All symbols that Encode() can give, but for unknown characters and bytes.
  virtual std::vector<std::string> Pieces() const { return {}; }
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZER_H_
