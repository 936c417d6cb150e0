#include "model/fairseq/grown_dictionary.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/file_bytes.h"

namespace leapstream {
namespace {

// The symbols of `wanted` that the vocabulary lacks.
std::vector<std::string> MissingFrom(const Vocabulary& vocabulary,
                                     const std::vector<std::string>& wanted) {
  std::vector<std::string> missing;
  std::set<std::string> seen;
  for (const std::string& symbol : wanted) {
    const bool is_known = vocabulary.Id(symbol) != kUnknown || symbol == "<unk>";
    if (!is_known && seen.insert(symbol).second) missing.push_back(symbol);
  }
  return missing;
}

}  // namespace

absl::StatusOr<GrownDictionary> GrowDictionary(const std::string& path, const LanguageSetup& setup,
                                               int rows) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file, FileBytes::Read(path, kMaxTextFileBytes));
  GrownDictionary result;
  result.path = path;
  result.text = std::string(file->bytes());
  LEAPSTREAM_ASSIGN_OR_RETURN(result.vocabulary, Vocabulary::Parse(result.text, path));
  std::vector<std::string> missing = MissingFrom(result.vocabulary, setup.appended);
  const std::vector<std::string> tags = MissingFrom(result.vocabulary, setup.data_tags);
  if (!tags.empty() && result.vocabulary.size() + static_cast<int>(missing.size() + tags.size()) ==
                           rows) {
    missing.insert(missing.end(), tags.begin(), tags.end());
  }
  if (!missing.empty()) {
    if (!result.text.empty() && result.text.back() != '\n') result.text += '\n';
    for (const std::string& symbol : missing) absl::StrAppend(&result.text, symbol, " 1\n");
    LEAPSTREAM_ASSIGN_OR_RETURN(result.vocabulary, Vocabulary::Parse(result.text, path));
  }
  result.data_tags =
      !setup.data_tags.empty() && MissingFrom(result.vocabulary, setup.data_tags).empty();
  return result;
}

absl::Status CheckRows(const GrownDictionary& dictionary, absl::string_view side, int rows) {
  if (dictionary.vocabulary.size() == rows) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(dictionary.path, ": ", dictionary.vocabulary.size(),
                   " symbols with the 4 special ones and those that the task appends, the "
                   "checkpoint's ",
                   side, " embedding has ", rows,
                   " rows; use the dictionary that the model was trained with"));
}

absl::Status CheckSameSymbols(const GrownDictionary& source, const GrownDictionary& target) {
  const Vocabulary& sources = source.vocabulary;
  const Vocabulary& targets = target.vocabulary;
  for (TokenId id = 0; id < std::min(sources.size(), targets.size()); ++id) {
    if (sources.Symbol(id) == targets.Symbol(id)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        target.path, ": symbol ", id, " is ", Quoted(targets.Symbol(id)), ", in ", source.path,
        " it is ", Quoted(sources.Symbol(id)),
        ", but the checkpoint's sides share their embeddings (share_all_embeddings); use the one "
        "joined dictionary for both"));
  }
  return absl::OkStatus();
}

}  // namespace leapstream
