#ifndef LEAPSTREAM_MODEL_API_FILE_BYTES_H_
#define LEAPSTREAM_MODEL_API_FILE_BYTES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// A copy of a file's bytes in memory of its own. The bytes stay whatever is done to the file later,
// even if it is cut short. (A memory map would lose its pages then, and reading them would kill the
// program.) The copy begins at a page, so that numbers in it are aligned as in the file.
class FileBytes {
 public:
  // Reads a whole file. NOT_FOUND: it cannot be opened or read; INVALID_ARGUMENT: it is not a
  // regular file, or has more than `max_bytes`; RESOURCE_EXHAUSTED: there is no memory for it.
  static absl::StatusOr<std::unique_ptr<FileBytes>> Read(const std::string& path,
                                                         int64_t max_bytes);
  ~FileBytes();
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  absl::string_view bytes() const { return bytes_; }

 private:
  explicit FileBytes(absl::string_view bytes) : bytes_(bytes) {}
  absl::string_view bytes_;
};

// The most bytes that a dictionary or a SentencePiece model may have.
inline constexpr int64_t kMaxTextFileBytes = 256 << 20;

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_FILE_BYTES_H_
