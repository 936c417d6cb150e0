#ifndef LEAPSTREAM_MODEL_API_TOKENIZER_H_
#define LEAPSTREAM_MODEL_API_TOKENIZER_H_

#include <any>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Tokenizers turn text into the symbols of a dictionary, and symbols into text. A tokenizer is
// const and thread-safe. Its only memory of a segment is a TokenizerState, a value that the session
// has.
namespace leapstream {

struct TokenizerConfig;

// The memory that one side of a tokenizer has of a segment. A new one is at the segment's start. A
// copy goes on by itself.
struct TokenizerState {
  bool begun = false;  // Some text was there.
  std::string held;    // Text that is not final yet, in a form of the tokenizer's own.
  std::string clean_up;  // The memory of CleanUp(), of model/api/target_filter.h.
  std::any own;        // All else that a tokenizer remembers, of a type of its own.
};

// The source side takes words of text and returns final symbols. Words come one by one, without the
// white space (Python's) between them, and none is longer than budget::kWordBytes.
class SourceTokenizer {
 public:
  using Symbols = std::vector<std::string>;

  virtual ~SourceTokenizer() = default;

  // Whether words are cut at U+0020, LF and CR alone, so that they may have other white space.
  virtual bool cuts_at_spaces_only() const { return false; }

  // Takes the next word (UTF-8) of the segment. Appends to *ready, in order, an entry for each word
  // whose symbols no later text can change any more: this word, or, if a tokenizer has to see the
  // word after it first, earlier words.
  virtual void AppendWord(absl::string_view word, TokenizerState* state,
                          std::vector<Symbols>* ready) const = 0;
  // Takes the beginning of the next word, in whole characters, while the word is not complete. It
  // may come again, longer, and AppendWord() follows with the whole word. Appends to *ready as
  // AppendWord() does, and to *early the word's own first symbols that no later text changes;
  // AppendWord() leaves these out. All earlier words are ready if some are early. Returns the
  // number of bytes that were tokenised for it.
  virtual int64_t PeekWord(absl::string_view /*beginning*/, TokenizerState* /*state*/,
                           std::vector<Symbols>* /*ready*/, Symbols* /*early*/) const {
    return 0;
  }
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

  // Whether `symbol` begins a word when it follows the symbol `previous`. False: it goes on with the
  // word before it, as punctuation may. The default: it begins with U+2581.
  virtual bool BeginsWord(absl::string_view previous, absl::string_view symbol) const;
};

// A file's bytes, and its name for messages.
struct TokenizerFile {
  absl::string_view bytes;
  std::string name;
};

// The files that a tokenizer is made of. Those that its TokenizerConfig does not ask for may be
// left out.
struct TokenizerFiles {
  TokenizerFile sentencepiece;   // bpe sentencepiece: the model.
  TokenizerFile bpe_codes;       // bpe subword_nmt and fastbpe: the codes. A target needs none.
  TokenizerFile bpe_vocabulary;  // bpe_vocabulary_threshold: the vocabulary.
  TokenizerFile prefixes;        // tokenizer moses: the non-breaking prefixes; may be empty.
};

// Both sides of a tokenizer, for texts that stream and for whole texts. The config decides the kind
// of tokenizer: a SentencePiece model (model/api/sentencepiece.h), or fairseq's tokenizer and BPE
// (model/api/tokenizers/subword_tokenizer.h).
class Tokenizer : public SourceTokenizer, public TargetTokenizer {
 public:
  // Makes a tokenizer. INVALID_ARGUMENT: a file is not of the form that it should have, or a
  // SentencePiece model changes text after decoding (a denormaliser), which cannot be streamed.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Create(const TokenizerConfig& config,
                                                                 const TokenizerFiles& files);
  // Loads a SentencePiece model. Errors: those of Create(). NOT_FOUND: the file cannot be opened.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Load(const std::string& path);

  // The symbols of a text (UTF-8).
  virtual std::vector<std::string> Encode(absl::string_view text) const = 0;
  // The text of `symbols`: the same as the target side gives piece by piece. For tests.
  virtual std::string Decode(const std::vector<std::string>& symbols) const = 0;

  // The symbols that Encode() can give, but for unknown characters and bytes; empty: any.
  virtual std::vector<std::string> Pieces() const { return {}; }
  // Whether each piece can be a symbol of a text, and so should be in the dictionary. False: some
  // are only steps on the way to longer ones.
  virtual bool needs_all_pieces() const { return true; }
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZER_H_
