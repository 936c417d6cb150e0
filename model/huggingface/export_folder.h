#ifndef LEAPSTREAM_MODEL_HUGGINGFACE_EXPORT_FOLDER_H_
#define LEAPSTREAM_MODEL_HUGGINGFACE_EXPORT_FOLDER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/api/safetensors.h"

namespace leapstream {

struct FolderExportOptions {
  std::string folder;  // A folder as transformers writes it and the hub has it.
  std::string output;  // The model directory to write.
  // The pair of a session that asks for none, in the model's own codes; for a folder of one pair,
  // its pair. Empty: as far as the folder says it.
  std::string source_language;
  std::string target_language;
  std::string name;                               // Empty: SOURCE-TARGET, or the folder's name.
  TensorType weight_type = TensorType::kFloat32;  // kFloat32 or kFloat16.
  std::string prefixes;  // FSMT only: Moses' nonbreaking_prefix.XX of the source. Empty: none.
};

// Makes a model directory of a Hugging Face folder of the type m2m_100 (M2M-100, NLLB-200), mbart,
// marian (OPUS-MT) or fsmt. Nothing in the folder is executed. `output` is unchanged after a
// failure. `notes` gets warnings for the user, such as a licence that forbids commercial use.
// NOT_FOUND: a file is missing. INVALID_ARGUMENT: files that are damaged or do not fit each other.
// UNIMPLEMENTED: a folder that is not served; the message says why. FAILED_PRECONDITION: see
// StagedDirectory.
absl::Status ExportFolder(const FolderExportOptions& options, std::vector<std::string>* notes);

// Describes a folder for people, in lines of UTF-8. Also describes a folder that is not served,
// with the reason. NOT_FOUND: it has no config.json.
absl::StatusOr<std::string> InspectFolder(const FolderExportOptions& options);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_HUGGINGFACE_EXPORT_FOLDER_H_
