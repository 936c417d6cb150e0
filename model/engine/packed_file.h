#ifndef LEAPSTREAM_MODEL_ENGINE_PACKED_FILE_H_
#define LEAPSTREAM_MODEL_ENGINE_PACKED_FILE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/engine/kernels/packed_memory.h"

namespace leapstream {

// A file of packed weights: what PackedMemory's arrays had when a model was loaded, so that later
// loads map them instead of packing them again, and processes on one machine share their pages. It
// lies beside the weights and may be deleted at any time. Its first page says what it was made of,
// and has a checksum; the arrays follow.

// The things that packed weights are made of. Files of another key are not used.
struct PackedKey {
  std::string model_json;    // SHA-256 of the model's model.json, which has that of the weights.
  std::string compute_type;  // As in model.json.
  std::string kernels;       // SimdKernels::name.
};

// The file's path in a model directory.
std::string PackedPath(const std::string& directory, const PackedKey& key);

struct PackedFile {
  std::shared_ptr<PackedMemory> memory;
  std::string stamp;  // FileReader::Stamp() of the weights that it was made of.
};

// Maps a file, after its key and its checksum were checked; which reads all of it. The map is
// shared, so somebody who cuts the file short under a running program ends that program: replace
// such files, as WritePackedFile() does, or delete them. NOT_FOUND: there is no such file;
// FAILED_PRECONDITION: it is damaged, or of another key.
absl::StatusOr<PackedFile> OpenPackedFile(const std::string& path, const PackedKey& key);

// Writes the arrays of `memory` beside `path` and then puts the file in its place, so that nobody
// ever sees a part of it. UNAVAILABLE: it cannot be written there; then no file has changed.
absl::Status WritePackedFile(const std::string& path, const PackedKey& key, absl::string_view stamp,
                             const PackedMemory& memory);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_PACKED_FILE_H_
