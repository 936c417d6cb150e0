#ifndef LEAPSTREAM_MODEL_API_SAFETENSORS_H_
#define LEAPSTREAM_MODEL_API_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

enum class TensorType { kFloat32, kFloat16, kBfloat16, kInt64 };

int64_t ElementBytes(TensorType type);
const char* TypeNameOf(TensorType type);  // The format's name, such as "F32".

// A tensor that somebody else owns: row-major, contiguous.
struct TensorView {
  TensorType type = TensorType::kFloat32;
  std::vector<int64_t> shape;
  absl::string_view bytes;  // As many as the product of `shape` times ElementBytes(type).
};

// A read-only memory map of a file that may be larger than the memory. If the file is cut short
// meanwhile, reading the map raises SIGBUS; a program that must survive that uses FileBytes.
// Movable through its pointer only; unmapped when destroyed.
class MappedFile {
 public:
  // NOT_FOUND: it cannot be opened; INVALID_ARGUMENT: not a regular file.
  static absl::StatusOr<std::unique_ptr<const MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  absl::string_view bytes() const { return bytes_; }

 private:
  explicit MappedFile(absl::string_view bytes) : bytes_(bytes) {}
  absl::string_view bytes_;
};

// A tensor in a file: row-major, contiguous.
struct TensorRange {
  TensorType type = TensorType::kFloat32;
  std::vector<int64_t> shape;
  int64_t offset = 0;  // The place of its first byte in the file.
  int64_t bytes = 0;   // The product of `shape` times ElementBytes(type).
};

// The bytes of a safetensors file's header, with the 8 that say how long it is. first: the file's
// first 8 bytes, or all it has; file_bytes: the size of the file, which messages call `name`.
// INVALID_ARGUMENT: it is no such file.
absl::StatusOr<int64_t> SafetensorsHeaderBytes(absl::string_view first, int64_t file_bytes,
                                               absl::string_view name);

// Parses the header of a safetensors file, given its first SafetensorsHeaderBytes() bytes. Errors:
// ParseSafetensors()'s.
absl::StatusOr<std::map<std::string, TensorRange>> ParseSafetensorsHeader(absl::string_view header,
                                                                          int64_t file_bytes,
                                                                          absl::string_view name);

// Parses the safetensors format: 8-byte little-endian header length, JSON header, data. The views
// point into `bytes`; messages call the file `name`. Tensors of types not listed in TensorType are
// errors. Every offset, size and shape is checked; overlaps and holes are errors. INVALID_ARGUMENT
// names the tensor.
absl::StatusOr<std::map<std::string, TensorView>> ParseSafetensors(absl::string_view bytes,
                                                                   absl::string_view name);

// Writes a safetensors file of tensors in memory; SafetensorsWriter writes larger ones. INTERNAL:
// the file cannot be written.
absl::Status WriteSafetensors(const std::string& path,
                              const std::map<std::string, TensorView>& tensors);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_SAFETENSORS_H_
