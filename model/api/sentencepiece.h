#ifndef LEAPSTREAM_MODEL_API_SENTENCEPIECE_H_
#define LEAPSTREAM_MODEL_API_SENTENCEPIECE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/tokenizer.h"

namespace leapstream {

// What SentencePiece makes of a piece when it turns pieces into text.
enum class PieceKind {
  kText,      // Its surface, U+2581 as a space.
  kControl,   // Nothing.
  kUnknown,   // The model's unk surface (" \u2047 ").
  kByte,      // One byte of a UTF-8 sequence: <0xNN>.
  kVerbatim,  // Itself, U+2581 and all: a piece that the model does not have.
};

// A SentencePiece model. Each word is final when it is there, and each piece says all of its text.
// Const and thread-safe. The only class that sees SentencePiece: its header cannot be included
// beside gRPC's (both define names in absl).
class SentencePiece : public Tokenizer {
 public:
  // As Tokenizer::Load() and Parse().
  static absl::StatusOr<std::unique_ptr<const SentencePiece>> Load(const std::string& path);
  static absl::StatusOr<std::unique_ptr<const SentencePiece>> Parse(absl::string_view bytes,
                                                                    absl::string_view name);

  // Encode() gives the pieces with their surfaces: a run of characters that the model does not know
  // is one piece with those characters.

  virtual PieceKind Kind(absl::string_view piece) const = 0;
  virtual const std::string& unknown_surface() const = 0;
  // Whether a U+2581 at the start of the text is dropped, as it is unless the model was trained
  // without both add_dummy_prefix and remove_extra_whitespaces.
  virtual bool strips_leading_space() const = 0;
  // Whether each kText piece loses its first U+2581 until there is text (remove_extra_whitespaces),
  // not only the first such piece.
  virtual bool strips_all_leading_space() const = 0;

  // Both sides, by the above.
  void AppendWord(absl::string_view word, TokenizerState* state,
                  std::vector<Symbols>* ready) const override;
  void FinishWords(TokenizerState* state, std::vector<Symbols>* ready) const override;
  TargetBytes AppendSymbol(absl::string_view piece, TokenizerState* state) const override;
  TargetBytes FinishSymbols(TokenizerState* state) const override;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_SENTENCEPIECE_H_
