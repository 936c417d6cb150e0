#include "model/huggingface/folder_vocabulary.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/file_bytes.h"
#include "model/huggingface/json_file.h"
#include "model/huggingface/vocabulary_parts.h"

namespace leapstream {

std::string PathOf(const std::string& directory, const std::string& name) {
  return absl::StrCat(directory, "/", name);
}

absl::StatusOr<std::vector<std::string>> ReadVocabularyJson(const std::string& directory,
                                                            const std::string& name) {
  const std::string path = PathOf(directory, name);
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file, FileBytes::Read(path, kMaxFolderJsonBytes));
  LEAPSTREAM_RETURN_IF_ERROR(CheckNoPointer(file->bytes(), path));
  return ParseVocabularyJson(file->bytes(), path);
}

absl::StatusOr<std::unique_ptr<const SentencePiece>> LoadPieces(const std::string& directory,
                                                                const std::string& name) {
  const std::string path = PathOf(directory, name);
  const auto bytes = FileBytes::Read(path, kMaxTextFileBytes);
  if (absl::IsNotFound(bytes.status())) {
    return absl::NotFoundError(absl::StrCat(
        path, ": expected a SentencePiece model, and there is no such file; fetch ", name,
        " from the model that this one was trained from (a tokenizer.json cannot replace it)"));
  }
  if (!bytes.ok()) return bytes.status();
  LEAPSTREAM_RETURN_IF_ERROR(CheckNoPointer((*bytes)->bytes(), path));
  return SentencePiece::Parse((*bytes)->bytes(), path);
}

absl::Status CheckSpecials(const std::vector<std::string>& symbols, absl::string_view name) {
  for (size_t id = 0; id < std::size(kSpecials); ++id) {
    if (id < symbols.size() && symbols[id] == kSpecials[id]) continue;
    return absl::UnimplementedError(absl::StrCat(
        name, ": expected ", kSpecials[id], " as piece ", id, ", found ",
        Quoted(id < symbols.size() ? symbols[id] : ""),
        "; leapstream serves folders whose first pieces are <s>, <pad>, </s> and <unk>"));
  }
  return absl::OkStatus();
}

absl::Status CheckRows(const std::string& path, size_t symbols, int rows) {
  if (symbols == static_cast<size_t>(rows)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": ", symbols, " pieces, the embedding has ", rows,
                   " rows; fetch the file that belongs to the weights"));
}

absl::StatusOr<FolderVocabulary> ReadFolderVocabulary(const std::string& directory,
                                                      const FolderConfig& config,
                                                      const VocabularyRows& rows) {
  absl::StatusOr<FolderVocabulary> result;
  switch (config.family) {
    case FolderFamily::kM2m100:
    case FolderFamily::kMbart:
      result = ReadMultilingual(directory, config, rows.target);
      break;
    case FolderFamily::kMarian:
      result = ReadMarian(directory, config, rows);
      break;
    case FolderFamily::kFsmt:
      result = ReadFsmt(directory, config, rows);
      break;
  }
  if (!result.ok()) return result.status();
  result->hidden.insert(result->hidden.end(), std::begin(kSpecials), std::end(kSpecials));
  result->target_tokenizer.clean_up = config.cleans_up;
  return result;
}

}  // namespace leapstream
