#ifndef LEAPSTREAM_MODEL_API_TOKENIZER_H_
#define LEAPSTREAM_MODEL_API_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Tokenizers turn text into the symbols of a dictionary, and symbols into text. A tokenizer is
// const and thread-safe. Its only memory of a segment is a TokenizerState, a value that the session
// has.
namespace leapstream {

// The memory that one side of a tokenizer has of a segment. A new one is at the segment's start. A
// copy goes on by itself.
struct TokenizerState {
  bool begun = false;  // Some text was there.
  std::string held;    // Text that is not final yet, in a form of the tokenizer's own.
  std::string clean_up;  // The memory of CleanUp(), of model/api/target_filter.h.
};

// The source side takes words of text and returns final symbols. Words come one by one, without the
// white space between them, and none is longer than budget::kWordBytes.
class SourceTokenizer {
 public:
  using Symbols = std::vector<std::string>;

  virtual ~SourceTokenizer() = default;

  // Takes the next word (UTF-8) of the segment. Appends to *ready, in order, an entry for each word
  // whose symbols no later text can change any more: this word, or, if a tokenizer has to see the
  // word after it first, earlier words.
  virtual void AppendWord(absl::string_view word, TokenizerState* state,
                          std::vector<Symbols>* ready) const = 0;
  // Ends the segment: all words are final, and *ready gets an entry for each that is missing.
  virtual void FinishWords(TokenizerState* state, std::vector<Symbols>* ready) const = 0;
};

// Bytes of a text that no later symbol can change. They may end within a character.
struct TargetBytes {
  std::string bytes;
  // If the bytes before these end with an incomplete character, it stays incomplete.
  bool breaks_character = false;
};

// The target side takes symbols and returns final bytes. Bytes that depend on a later symbol, such
// as a space before punctuation, come with that symbol, or at the end.
class TargetTokenizer {
 public:
  virtual ~TargetTokenizer() = default;

  virtual TargetBytes AppendSymbol(absl::string_view symbol, TokenizerState* state) const = 0;
  // Ends the segment, and returns the bytes that are still held.
  virtual TargetBytes FinishSymbols(TokenizerState* state) const = 0;
};

// Both sides of a tokenizer, for texts that stream and for whole texts. The file decides the kind
// of tokenizer; so far all are SentencePiece models (model/api/sentencepiece.h).
class Tokenizer : public SourceTokenizer, public TargetTokenizer {
 public:
  // Loads a tokenizer's file. NOT_FOUND: it cannot be opened. INVALID_ARGUMENT: it is not a regular
  // file, not a SentencePiece model, or a model that changes text after decoding (a denormaliser),
  // which cannot be streamed.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Load(const std::string& path);
  // Makes a tokenizer from the bytes of such a file, which messages call `name`.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Parse(absl::string_view bytes,
                                                                absl::string_view name);

  // The symbols of a text (UTF-8).
  virtual std::vector<std::string> Encode(absl::string_view text) const = 0;
  // The text of `symbols`: the same as the target side gives piece by piece. For tests.
  virtual std::string Decode(const std::vector<std::string>& symbols) const = 0;
  // All symbols that Encode() can give, but for unknown characters and bytes.
  virtual std::vector<std::string> Pieces() const { return {}; }
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZER_H_
