#ifndef LEAPSTREAM_MODEL_API_PIECE_CHECK_H_
#define LEAPSTREAM_MODEL_API_PIECE_CHECK_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/api/tokenizer.h"
#include "model/api/vocabulary.h"

namespace leapstream {

// The dictionary and the SentencePiece model of one side of a model. Nothing is owned.
struct SidePieces {
  const char* side = "";  // "source"
  const Vocabulary* vocabulary = nullptr;
  const Tokenizer* tokenizer = nullptr;
  std::string dictionary_path;     // For messages,
  std::string sentencepiece_path;  // and this, too.
};

// Whether each side's SentencePiece model goes with its dictionary: a piece that is not in it
// becomes <unk>. Returns a sentence for each side of whose pieces less than 95 % are there.
// INVALID_ARGUMENT: less than a half are, and the dictionary is no part of the pieces either, as
// that of one language is of a model for several; with the numbers, and a guess at why.
absl::StatusOr<std::vector<std::string>> CheckPieces(absl::Span<const SidePieces> sides);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_PIECE_CHECK_H_
