#ifndef LEAPSTREAM_MODEL_HUGGINGFACE_VOCABULARY_PARTS_H_
#define LEAPSTREAM_MODEL_HUGGINGFACE_VOCABULARY_PARTS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/sentencepiece.h"
#include "model/huggingface/folder_vocabulary.h"

// The parts of ReadFolderVocabulary(): one function for each kind of vocabulary, and what they
// share. Errors: those of ReadFolderVocabulary().
namespace leapstream {

// The symbols that every fairseq dictionary starts with.
inline constexpr const char* kSpecials[] = {"<s>", "<pad>", "</s>", "<unk>"};

// M2M-100, NLLB and mBART: one vocabulary, whose pieces are followed by languages.
absl::StatusOr<FolderVocabulary> ReadMultilingual(const std::string& directory,
                                                  const FolderConfig& config, int rows);
// Marian: SentencePiece models whose pieces stand in vocab.json, in Marian's order.
absl::StatusOr<FolderVocabulary> ReadMarian(const std::string& directory,
                                            const FolderConfig& config,
                                            const VocabularyRows& rows);
// FSMT: two vocabularies of BPE symbols.
absl::StatusOr<FolderVocabulary> ReadFsmt(const std::string& directory, const FolderConfig& config,
                                          const VocabularyRows& rows);

std::string PathOf(const std::string& directory, const std::string& name);
// ParseVocabularyJson() of a file of the folder.
absl::StatusOr<std::vector<std::string>> ReadVocabularyJson(const std::string& directory,
                                                            const std::string& name);
// A SentencePiece model of the folder. The error of a folder that transformers 5 saved, which has a
// tokenizer.json instead, says so.
absl::StatusOr<std::unique_ptr<const SentencePiece>> LoadPieces(const std::string& directory,
                                                                const std::string& name);
// UNIMPLEMENTED: the first symbols of the file `name` are not kSpecials.
absl::Status CheckSpecials(const std::vector<std::string>& symbols, absl::string_view name);
// INVALID_ARGUMENT: the file `path` has another number of symbols than the embedding has rows.
absl::Status CheckRows(const std::string& path, size_t symbols, int rows);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_HUGGINGFACE_VOCABULARY_PARTS_H_
