#ifndef LEAPSTREAM_MODEL_FAIRSEQ_GROWN_DICTIONARY_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_GROWN_DICTIONARY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/vocabulary.h"
#include "model/fairseq/languages.h"

namespace leapstream {

// A dictionary as fairseq has it in memory, with what its task appends.
struct GrownDictionary {
  std::string path;        // The file that it was made of.
  std::string text;        // It as a file, which Vocabulary::Parse() reads.
  Vocabulary vocabulary;   // It as a Vocabulary.
  bool data_tags = false;  // The symbols at the end are setup.data_tags.
};

// Reads a dictionary and appends the symbols of its task, such as languages, to make it as long as
// the embedding, which has `rows` rows. Errors: those of Vocabulary::Load().
absl::StatusOr<GrownDictionary> GrowDictionary(const std::string& path, const LanguageSetup& setup,
                                               int rows);

// Checks that a dictionary has as many symbols as the embedding of `side` has rows.
// INVALID_ARGUMENT: it has not.
absl::Status CheckRows(const GrownDictionary& dictionary, absl::string_view side, int rows);

// Checks that two dictionaries have the same symbols: fairseq shares all embeddings only if both
// sides have one dictionary. INVALID_ARGUMENT: they differ.
absl::Status CheckSameSymbols(const GrownDictionary& source, const GrownDictionary& target);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_GROWN_DICTIONARY_H_
