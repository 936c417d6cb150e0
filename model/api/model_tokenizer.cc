#include "model/api/model_tokenizer.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "model/api/model_directory.h"

namespace leapstream {

std::string PiecesFile(const ModelConfig& config, ModelSide side) {
  const bool source = side == ModelSide::kSource;
  const std::string& bpe = (source ? config.source_tokenizer : config.target_tokenizer).bpe;
  if (bpe == "sentencepiece") return source ? kSourceSentencePieceFile : kTargetSentencePieceFile;
  // A target's symbols are joined without codes.
  return source && (bpe == "subword_nmt" || bpe == "fastbpe") ? kSourceBpeCodesFile : "";
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> MakeTokenizer(const ModelConfig& config,
                                                               ModelSide side,
                                                               const std::string& directory,
                                                               const ModelFiles& files) {
  const bool source = side == ModelSide::kSource;
  const TokenizerConfig& chosen = source ? config.source_tokenizer : config.target_tokenizer;
  const auto take = [&](const std::string& name, bool needed, TokenizerFile* file) {
    if (name.empty()) return absl::OkStatus();
    file->name = absl::StrCat(directory, "/", name);
    const auto found = files.find(name);
    if (found != files.end()) {
      file->bytes = found->second->bytes();
    } else if (needed) {
      return absl::FailedPreconditionError(
          absl::StrCat(file->name, ": ", kModelJson, " asks for bpe ", chosen.bpe,
                       ", but does not record this file; export the model again"));
    }
    return absl::OkStatus();
  };
  TokenizerFiles given;
  LEAPSTREAM_RETURN_IF_ERROR(
      take(PiecesFile(config, side), true,
           chosen.bpe == "sentencepiece" ? &given.sentencepiece : &given.bpe_codes));
  if (source && chosen.bpe_vocabulary_threshold > 0) {
    LEAPSTREAM_RETURN_IF_ERROR(take(kSourceBpeVocabularyFile, true, &given.bpe_vocabulary));
  }
  if (source) LEAPSTREAM_RETURN_IF_ERROR(take(kSourcePrefixesFile, false, &given.prefixes));
  return Tokenizer::Create(chosen, given);
}

}  // namespace leapstream
