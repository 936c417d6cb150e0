#include <cstdint>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/vocabulary.h"
#include "model/huggingface/folder_vocabulary.h"
#include "model/huggingface/json_file.h"

namespace leapstream {

absl::StatusOr<std::vector<std::string>> ParseVocabularyJson(absl::string_view text,
                                                             absl::string_view name) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(text, name));
  std::vector<std::string> symbols(json.size());
  std::vector<bool> given(json.size());
  for (const auto& [symbol, id] : json.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= symbols.size() ||
        given[id.get<uint64_t>()]) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": piece ", Quoted(symbol), " has the id ", JsonText(id),
                       ", expected each of 0 to ", symbols.size() - 1,
                       " once; fetch the file again"));
    }
    symbols[id.get<uint64_t>()] = symbol;
    given[id.get<uint64_t>()] = true;
  }
  return symbols;
}

absl::StatusOr<std::string> DictionaryText(const std::vector<std::string>& symbols) {
  std::string text;
  for (size_t id = kUnknown + 1; id < symbols.size(); ++id) {
    absl::StrAppend(&text, symbols[id], " 1\n");
  }
  // The dictionary must give back what was put in: a symbol that holds a line break does not.
  const absl::StatusOr<Vocabulary> parsed = Vocabulary::Parse(text, "the dictionary of the folder");
  if (!parsed.ok()) return parsed.status();
  for (size_t id = 0; id < symbols.size(); ++id) {
    if (id < static_cast<size_t>(parsed->size()) && parsed->Symbol(id) == symbols[id]) continue;
    return absl::InvalidArgumentError(absl::StrCat("symbol ", id, ", ", Quoted(symbols[id]),
                                                   ", cannot stand in a dictionary"));
  }
  return text;
}

}  // namespace leapstream
