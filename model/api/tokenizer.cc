#include "model/api/tokenizer.h"

#include "model/api/sentencepiece.h"

namespace leapstream {

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Load(const std::string& path) {
  return SentencePiece::Load(path);
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Parse(absl::string_view bytes,
                                                                  absl::string_view name) {
  return SentencePiece::Parse(bytes, name);
}

}  // namespace leapstream
