#include "model/api/tokenizer.h"

#include "model/api/model_config.h"
#include "model/api/sentencepiece.h"
#include "model/api/tokenizers/subword_tokenizer.h"

namespace leapstream {

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Create(const TokenizerConfig& config,
                                                                   const TokenizerFiles& files) {
  if (config.bpe != "sentencepiece") return SubwordTokenizer::Create(config, files);
  return SentencePiece::Parse(files.sentencepiece.bytes, files.sentencepiece.name);
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Load(const std::string& path) {
  return SentencePiece::Load(path);
}

}  // namespace leapstream
