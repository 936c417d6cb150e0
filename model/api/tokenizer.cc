#include "model/api/tokenizer.h"

#include "absl/strings/match.h"
#include "base/status.h"
#include "model/api/model_config.h"
#include "model/api/sentencepiece.h"
#include "model/api/tokenizers/normalizing_tokenizer.h"
#include "model/api/tokenizers/subword_tokenizer.h"

namespace leapstream {

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Create(const TokenizerConfig& config,
                                                                   const TokenizerFiles& files) {
  if (config.bpe == "sentencepiece") {
    return SentencePiece::Parse(files.sentencepiece.bytes, files.sentencepiece.name);
  }
  if (config.normalize == "none") return SubwordTokenizer::Create(config, files);
  LEAPSTREAM_ASSIGN_OR_RETURN(auto subwords, SubwordTokenizer::Create(config, files));
  return std::make_unique<const NormalizingTokenizer>(std::move(subwords), config.moses_language);
}

bool TargetTokenizer::BeginsWord(absl::string_view /*previous*/, absl::string_view symbol) const {
  return absl::StartsWith(symbol, kSpaceSymbol);
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Load(const std::string& path) {
  return SentencePiece::Load(path);
}

}  // namespace leapstream
