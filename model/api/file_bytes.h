#ifndef LEAPSTREAM_MODEL_API_FILE_BYTES_H_
#define LEAPSTREAM_MODEL_API_FILE_BYTES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// What a file had when it was read, in memory of its own: whatever is done to the file later, also
// that it is cut short, the bytes stay. (The pages of a map of it would be gone, and who reads them
// killed.) They begin at a page, so that numbers in them are aligned as in the file.
class FileBytes {
 public:
  // NOT_FOUND: it cannot be opened or read; INVALID_ARGUMENT: not a regular file, or it has more
  // than `max_bytes`; RESOURCE_EXHAUSTED: there is no memory for it.
  static absl::StatusOr<std::unique_ptr<FileBytes>> Read(const std::string& path,
                                                         int64_t max_bytes);
  ~FileBytes();
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  absl::string_view bytes() const { return bytes_; }
  // Gives the memory of a part of bytes() back, which nobody reads any more: whole pages of it.
  void Discard(absl::string_view part);

 private:
  explicit FileBytes(absl::string_view bytes) : bytes_(bytes) {}
  absl::string_view bytes_;
};

// Those of a model directory, by name.
using ModelFiles = std::map<std::string, std::shared_ptr<FileBytes>>;

// The most that a dictionary, a SentencePiece model or a configuration may have.
inline constexpr int64_t kMaxTextFileBytes = 256 << 20;

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_FILE_BYTES_H_
