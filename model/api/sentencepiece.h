#ifndef LEAPSTREAM_MODEL_API_SENTENCEPIECE_H_
#define LEAPSTREAM_MODEL_API_SENTENCEPIECE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/tokenizer.h"

namespace leapstream {

inline constexpr char kSpaceSymbol[] = "\xE2\x96\x81";  // U+2581, a space within a piece.

// The kinds of pieces, by the text that SentencePiece turns a piece into.
enum class PieceKind {
  kText,      // The text is the piece, with U+2581 as a space.
  kControl,   // There is no text.
  kUnknown,   // The text is the model's unk surface (" \u2047 ").
  kByte,      // The text is one byte of a UTF-8 sequence. The piece is <0xNN>.
  kVerbatim,  // The text is the piece, U+2581 included: the model does not have this piece.
};

// A SentencePiece model. A word's symbols are final as soon as the word is there; those of a script
// without spaces, which may never end a word, as soon as no later text changes them. A piece's text
// depends on no later piece. Const and thread-safe. Only this class uses the SentencePiece
// library: the library's header cannot be included beside gRPC's (both define names in absl).
class SentencePiece : public Tokenizer {
 public:
  // Errors: those of Tokenizer::Load(). `bytes`: the bytes of such a file, which messages call
  // `name`.
  static absl::StatusOr<std::unique_ptr<const SentencePiece>> Load(const std::string& path);
  static absl::StatusOr<std::unique_ptr<const SentencePiece>> Parse(absl::string_view bytes,
                                                                    absl::string_view name);

  // The kind of a piece. Encode() makes a run of characters that the model does not know into one
  // piece of these characters, which is of kind kVerbatim.
  virtual PieceKind Kind(absl::string_view piece) const = 0;
  // All pieces of the model, in the order of their ids.
  virtual std::vector<std::string> AllPieces() const = 0;
  virtual const std::string& unknown_surface() const = 0;
  // Whether a U+2581 at the start of the text is dropped. It is dropped if the model was trained
  // with add_dummy_prefix or with remove_extra_whitespaces.
  virtual bool strips_leading_space() const = 0;
  // Whether each kText piece loses its first U+2581 until there is text (remove_extra_whitespaces),
  // not only the first such piece.
  virtual bool strips_all_leading_space() const = 0;

  // The first pieces of a word that no text after `beginning` changes. A word without a character
  // of a script without spaces has none before it is complete. Adds the bytes that were encoded for
  // it to *encoded.
  virtual std::vector<std::string> FinalPieces(absl::string_view /*beginning*/,
                                               int64_t* /*encoded*/) const {
    return {};
  }

  // The two sides of Tokenizer, in terms of the functions above.
  void AppendWord(absl::string_view word, TokenizerState* state,
                  std::vector<Symbols>* ready) const override;
  int64_t PeekWord(absl::string_view beginning, TokenizerState* state, std::vector<Symbols>* ready,
                   Symbols* early) const override;
  void FinishWords(TokenizerState* state, std::vector<Symbols>* ready) const override;
  TargetBytes AppendSymbol(absl::string_view piece, TokenizerState* state) const override;
  TargetBytes FinishSymbols(TokenizerState* state) const override;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_SENTENCEPIECE_H_
