#ifndef LEAPSTREAM_MODEL_API_TOKENIZER_H_
#define LEAPSTREAM_MODEL_API_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// What SentencePiece makes of a piece when it turns pieces into text.
enum class PieceKind {
  kText,      // Its surface, U+2581 as a space.
  kControl,   // Nothing.
  kUnknown,   // The model's unk surface (" \u2047 ").
  kByte,      // One byte of a UTF-8 sequence: <0xNN>.
  kVerbatim,  // Itself, U+2581 and all: a piece that the model does not have.
};

// A SentencePiece model. Const and thread-safe. The only class that sees SentencePiece: its header
// cannot be included beside gRPC's (both define names in absl).
class Tokenizer {
 public:
  // NOT_FOUND: it cannot be opened. INVALID_ARGUMENT: not a file, not a SentencePiece model, or one
  // that changes text after decoding (a denormaliser), which cannot be streamed.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Load(const std::string& path);
  // The same of the bytes of a file, which messages call `name`.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Parse(absl::string_view bytes,
                                                                absl::string_view name);
  virtual ~Tokenizer() = default;

  // The pieces of `text` (UTF-8), each with its surface: a run of characters that the model does
  // not know is one piece with those characters.
  virtual std::vector<std::string> Encode(absl::string_view text) const = 0;
  // The text of `pieces`, as SentencePiece has it. The slow twin of TextSink.
  virtual std::string Decode(const std::vector<std::string>& pieces) const = 0;

  virtual PieceKind Kind(absl::string_view piece) const = 0;
  // All pieces that Encode() can give, but for unknown characters and bytes.
  virtual std::vector<std::string> Pieces() const { return {}; }
  virtual const std::string& unknown_surface() const = 0;
  // Whether a U+2581 at the start of the text is dropped, as it is unless the model was trained
  // without both add_dummy_prefix and remove_extra_whitespaces.
  virtual bool strips_leading_space() const = 0;
  // Whether each kText piece loses its first U+2581 until there is text (remove_extra_whitespaces),
  // not only the first such piece.
  virtual bool strips_all_leading_space() const = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZER_H_
