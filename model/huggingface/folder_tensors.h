#ifndef LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_TENSORS_H_
#define LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_TENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/safetensors.h"
#include "model/torchfile/torch_file.h"

namespace leapstream {

// A tensor of a file, which the reader of that file owns.
class StoredTensor {
 public:
  virtual ~StoredTensor() = default;
  virtual const std::vector<int64_t>& shape() const = 0;
  // The name of the type of its numbers, for people.
  virtual std::string type() const = 0;
  // Reads the elements [first, first + values.size()), in row-major order; the tensor must have
  // them. `name` is the tensor in errors. INVALID_ARGUMENT: they are damaged, not finite or of no
  // floating type.
  virtual absl::Status Read(absl::string_view name, int64_t first,
                            absl::Span<float> values) const = 0;

  int64_t count() const;  // The number of elements.
};

// The weights of a folder: model.safetensors, model.safetensors.index.json with its shards,
// pytorch_model.bin, or pytorch_model.bin.index.json with its shards, whichever is there first. The
// files are memory-mapped; see MappedFile. Const and thread-safe.
class FolderTensors {
 public:
  // Opens the files. NOT_FOUND: there are none; the message says what there is instead.
  // INVALID_ARGUMENT: a file is damaged, a Git LFS pointer, or missing, a shard has no tensor that
  // the index names, or the index names a file outside of the folder. UNIMPLEMENTED: adapters, or
  // tensors of quantised types.
  static absl::StatusOr<FolderTensors> Open(const std::string& directory);

  // The tensors by the names that transformers gives them.
  const std::map<std::string, std::unique_ptr<const StoredTensor>>& tensors() const {
    return tensors_;
  }

 private:
  absl::Status OpenFile(const std::string& directory, const std::string& file);
  absl::Status OpenSafetensors(absl::string_view bytes, const std::string& path);
  absl::Status OpenTorch(absl::string_view bytes, const std::string& path);
  absl::Status OpenShards(const std::string& directory, const std::string& index);
  absl::Status Add(const std::string& name, std::unique_ptr<const StoredTensor> tensor,
                   const std::string& path);

  std::vector<std::unique_ptr<const MappedFile>> files_;
  std::vector<std::unique_ptr<const TorchFile>> torch_files_;  // They point into files_.
  std::map<std::string, std::unique_ptr<const StoredTensor>> tensors_;  // They point into both.
};

// The shards of a model.safetensors.index.json or pytorch_model.bin.index.json: the names of
// tensors, by file. Messages call the text `name`. INVALID_ARGUMENT: it is no such index, or a file
// is not named as one of the same folder.
absl::StatusOr<std::map<std::string, std::vector<std::string>>> ParseShardIndex(
    absl::string_view text, absl::string_view name);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_TENSORS_H_
