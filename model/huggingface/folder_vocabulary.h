#ifndef LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_VOCABULARY_H_
#define LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_VOCABULARY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/huggingface/folder_config.h"

namespace leapstream {

// One side's dictionary: fairseq's special symbols, and all symbols that the folder has rows for.
struct SideVocabulary {
  std::vector<std::string> symbols;  // By leapstream's ids: <s>, <pad>, </s>, <unk>, then others.
  // rows[i]: the row of the folder's embedding that symbol i has; -1: it has none and never wins.
  std::vector<TokenId> rows;
};

// The files of a folder that turn text into ids. Empty: there is no such file.
struct VocabularyFiles {
  std::string source_tokenizer;  // SentencePiece models, or fsmt's merges, which only a source has.
  std::string target_tokenizer;
};

// The vocabularies of a folder, with the tokens that surround a segment.
struct FolderVocabulary {
  SideVocabulary source;
  SideVocabulary target;
  FrameConfig frame;
  std::vector<LanguageConfig> languages;  // Empty: the folder has one pair.
  std::string source_language;            // As far as the folder says it.
  std::string target_language;
  std::vector<std::string> hidden;  // Target symbols that give no text.
  TokenizerConfig source_tokenizer;
  TokenizerConfig target_tokenizer;
  VocabularyFiles files;
};

// The rows of the embeddings.
struct VocabularyRows {
  int source = 0;
  int target = 0;
};

// Reads a folder's vocabulary. Errors: those of ReadJsonFile() and SentencePiece. INVALID_ARGUMENT:
// the vocabulary does not fit the embeddings' rows, or has gaps. UNIMPLEMENTED: tokens whose place
// or meaning leapstream does not know. NOT_FOUND: a file is missing; the message names it.
absl::StatusOr<FolderVocabulary> ReadFolderVocabulary(const std::string& directory,
                                                      const FolderConfig& config,
                                                      const VocabularyRows& rows);

// The symbols of a vocab.json by their ids. Messages call the text `name`. INVALID_ARGUMENT: it is
// no object of ids, or the ids are not 0, 1, … without a gap.
absl::StatusOr<std::vector<std::string>> ParseVocabularyJson(absl::string_view text,
                                                             absl::string_view name);

// The text of a fairseq dictionary with these symbols, of which the first four are the special
// ones. INVALID_ARGUMENT: a symbol is there twice, or cannot stand in a dictionary.
absl::StatusOr<std::string> DictionaryText(const std::vector<std::string>& symbols);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_VOCABULARY_H_
