#ifndef LEAPSTREAM_MODEL_API_FILE_READER_H_
#define LEAPSTREAM_MODEL_API_FILE_READER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// An open file whose parts are read when they are wanted, for files that may be larger than the
// memory. Nothing is mapped: if the file is cut short meanwhile, reading fails with a message.
// Const and thread-safe.
class FileReader {
 public:
  // NOT_FOUND: it cannot be opened; INVALID_ARGUMENT: it is not a regular file, or has more than
  // `max_bytes`.
  static absl::StatusOr<std::unique_ptr<const FileReader>> Open(const std::string& path,
                                                                int64_t max_bytes);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }  // Its bytes when it was opened.
  int descriptor() const { return fd_; }

  // Copies the bytes from `offset` on to `out`, `count` of them. NOT_FOUND: they cannot be read, or
  // are not there any more.
  absl::Status Read(int64_t offset, int64_t count, void* out) const;
  // The SHA-256 of all its bytes in lower-case hex. Errors: Read()'s.
  absl::StatusOr<std::string> Sha256() const;
  // A text that changes whenever somebody changes the file: its size and the time of its last
  // change, in nanoseconds.
  std::string Stamp() const;

 private:
  FileReader(std::string path, int fd, int64_t size)
      : path_(std::move(path)), fd_(fd), size_(size) {}

  const std::string path_;
  const int fd_;
  const int64_t size_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_FILE_READER_H_
