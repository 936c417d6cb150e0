#ifndef LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_H_
#define LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "model/api/model_config.h"
#include "model/huggingface/export_folder.h"
#include "model/huggingface/folder_config.h"
#include "model/huggingface/folder_parameters.h"
#include "model/huggingface/folder_tensors.h"
#include "model/huggingface/folder_vocabulary.h"

namespace leapstream {

// A folder that was read and checked, as far as it could be. Not movable: its members point at each
// other.
struct Folder {
  Folder() = default;
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  FolderFiles files;
  FolderConfig config;
  std::optional<FolderTensors> tensors;
  FolderVocabulary vocabulary;
  ModelConfig model;  // The configuration of the model directory.
  std::map<std::string, FolderParameter> parameters;
};

// Reads all of a folder but the numbers of its tensors. Errors: those of ExportFolder(). `folder`
// then has what was read until the error.
absl::Status ReadFolder(const FolderExportOptions& options, Folder* folder);

// Warnings about the licence of a folder's weights, for the user.
std::vector<std::string> LicenseNotes(const Folder& folder);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_H_
