#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/vocabulary.h"
#include "model/huggingface/vocabulary_parts.h"

namespace leapstream {
namespace {

// FSMT marks the end of a word, fairseq's BPE the end of what is not one: `foo</w>` is `foo`, and
// `foo` is `foo@@`.
absl::StatusOr<SideVocabulary> ReadSide(const std::string& directory, const std::string& name,
                                        int rows) {
  LEAPSTREAM_ASSIGN_OR_RETURN(auto symbols, ReadVocabularyJson(directory, name));
  const std::string path = PathOf(directory, name);
  LEAPSTREAM_RETURN_IF_ERROR(CheckSpecials(symbols, path));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRows(path, symbols.size(), rows));
  SideVocabulary side;
  for (size_t id = 0; id < symbols.size(); ++id) {
    absl::string_view symbol = symbols[id];
    if (id > kUnknown && !absl::ConsumeSuffix(&symbol, "</w>")) {
      side.symbols.push_back(absl::StrCat(symbol, "@@"));
    } else {
      side.symbols.emplace_back(symbol);
    }
    side.rows.push_back(static_cast<TokenId>(id));
  }
  return side;
}

}  // namespace

absl::StatusOr<FolderVocabulary> ReadFsmt(const std::string& directory, const FolderConfig& config,
                                          const VocabularyRows& rows) {
  FolderVocabulary result;
  LEAPSTREAM_ASSIGN_OR_RETURN(result.source, ReadSide(directory, "vocab-src.json", rows.source));
  LEAPSTREAM_ASSIGN_OR_RETURN(result.target, ReadSide(directory, "vocab-tgt.json", rows.target));
  if (config.start.value_or(kEndOfSentence) != kEndOfSentence || config.forced.has_value()) {
    return absl::UnimplementedError(
        "config.json: fsmt is served with decoder_start_token_id 2 (</s>) and no "
        "forced_bos_token_id");
  }
  result.source_language = config.source_language;
  result.target_language = config.target_language;
  result.source_tokenizer.bpe = result.target_tokenizer.bpe = "fastbpe";
  result.source_tokenizer.tokenizer = result.target_tokenizer.tokenizer = "moses";
  result.source_tokenizer.moses_language = config.source_language;
  result.target_tokenizer.moses_language = config.target_language;
  result.source_tokenizer.normalize = "fsmt";
  result.files.source_tokenizer = PathOf(directory, "merges.txt");
  return result;
}

}  // namespace leapstream
