#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/vocabulary.h"
#include "model/huggingface/vocabulary_parts.h"

namespace leapstream {
namespace {

// Puts a side's symbols into fairseq's order: the special ones first, then the others.
absl::StatusOr<SideVocabulary> InOrder(const std::vector<std::string>& symbols,
                                       const std::string& path) {
  SideVocabulary side;
  side.symbols.assign(std::begin(kSpecials), std::end(kSpecials));
  for (const std::string& special : side.symbols) {
    const auto found = absl::c_find(symbols, special);
    const bool there = found != symbols.end();
    if (!there && special != kSpecials[kBeginOfSentence]) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": has no piece ", special, "; fetch the file again"));
    }
    side.rows.push_back(there ? static_cast<TokenId>(found - symbols.begin()) : -1);
  }
  for (size_t id = 0; id < symbols.size(); ++id) {
    if (absl::c_linear_search(kSpecials, symbols[id])) continue;
    side.symbols.push_back(symbols[id]);
    side.rows.push_back(static_cast<TokenId>(id));
  }
  return side;
}

// The code within `>>xxx<<`; empty: the symbol is no such token.
std::string CodeOf(absl::string_view symbol) {
  if (symbol.size() < 5 || !absl::StartsWith(symbol, ">>") || !absl::EndsWith(symbol, "<<")) {
    return "";
  }
  return std::string(symbol.substr(2, symbol.size() - 4));
}

}  // namespace

absl::StatusOr<FolderVocabulary> ReadMarian(const std::string& directory,
                                            const FolderConfig& config,
                                            const VocabularyRows& rows) {
  const std::string source_path = PathOf(directory, "vocab.json");
  if (config.separate_vocabularies && config.shares_embeddings) {
    return absl::InvalidArgumentError(
        "tokenizer_config.json: separate_vocabs true needs share_encoder_decoder_embeddings false "
        "in config.json; fetch both files again");
  }
  const std::string target_name = config.separate_vocabularies ? "target_vocab.json" : "vocab.json";
  const std::string target_path = PathOf(directory, target_name);
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto sources, ReadVocabularyJson(directory, "vocab.json"));
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto targets, ReadVocabularyJson(directory, target_name));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRows(source_path, sources.size(), rows.source));
  LEAPSTREAM_RETURN_IF_ERROR(CheckRows(target_path, targets.size(), rows.target));
  FolderVocabulary result;
  LEAPSTREAM_ASSIGN_OR_RETURN(result.source, InOrder(sources, source_path));
  LEAPSTREAM_ASSIGN_OR_RETURN(result.target, InOrder(targets, target_path));
  for (const AddedToken& token : config.added) {
    const auto id = static_cast<size_t>(token.id);
    if (id < targets.size() && targets[id] == token.content) continue;
    return absl::UnimplementedError(absl::StrCat("added token ", Quoted(token.content), " (id ", id,
                                                 ") is not in ", target_path,
                                                 "; that is not served of marian"));
  }
  const std::pair<const char*, TokenId> ids[] = {{"</s>", config.end}, {"<pad>", config.pad}};
  for (const auto& [special, id] : ids) {
    if (static_cast<size_t>(id) < targets.size() && targets[id] == special) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        target_path, ": ", special, " needs to have the id ", id,
        " of config.json; fetch both files again"));
  }
  const auto start = static_cast<size_t>(config.start.value_or(config.pad));
  if (start >= targets.size()) {
    return absl::InvalidArgumentError(absl::StrCat("config.json: decoder_start_token_id ", start,
                                                   " is no piece of ", target_path));
  }
  if (config.forced.has_value()) {
    return absl::UnimplementedError(absl::StrCat("config.json: forced_bos_token_id ",
                                                 *config.forced, " is not served of marian"));
  }
  result.frame.start = targets[start];
  for (const std::string& symbol : sources) {
    const std::string code = CodeOf(symbol);
    if (!code.empty()) result.languages.push_back({code, "", symbol});
  }
  result.source_language = config.source_language;
  result.target_language = config.target_language;
  if (!result.languages.empty()) result.frame.source_lead = {"{target}"};
  for (const char* name : {"source.spm", "target.spm"}) {
    LEAPSTREAM_RETURN_IF_ERROR(LoadPieces(directory, name).status());
  }
  result.files.source_tokenizer = PathOf(directory, "source.spm");
  result.files.target_tokenizer = PathOf(directory, "target.spm");
  return result;
}

}  // namespace leapstream
