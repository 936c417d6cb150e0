#ifndef LEAPSTREAM_MODEL_API_PIECE_CHECK_H_
#define LEAPSTREAM_MODEL_API_PIECE_CHECK_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/api/tokenizer.h"
#include "model/api/vocabulary.h"

namespace leapstream {

// The dictionary and the SentencePiece model or BPE codes of one side of a model. Nothing is owned.
struct SidePieces {
  const char* side = "";  // "source"
  const Vocabulary* vocabulary = nullptr;
  const Tokenizer* tokenizer = nullptr;
  std::string dictionary_path;     // For messages.
  std::string sentencepiece_path;  // The model's or the codes'. For messages.
};

// Checks that each side's SentencePiece model goes with its dictionary: a piece that is not in the
// dictionary becomes <unk>. Returns a warning for each side with less than 95 % of its pieces in
// its dictionary. INVALID_ARGUMENT: less than half of the pieces are in the dictionary, and less
// than 90 % of the dictionary's symbols are pieces. (A dictionary of one language, with a
// SentencePiece model for several, has few of the pieces but consists of pieces.) The message has
// the numbers and a guess at the cause.
//
// BPE codes, whose symbols are not all in a dictionary, are checked the other way round: a warning
// if less than 80 % of the dictionary's symbols of several characters are symbols that the codes
// make, INVALID_ARGUMENT if less than 20 % are. Tokenizers without pieces are not checked.
absl::StatusOr<std::vector<std::string>> CheckPieces(absl::Span<const SidePieces> sides);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_PIECE_CHECK_H_
