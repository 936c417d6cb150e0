#ifndef LEAPSTREAM_MODEL_TORCHFILE_ZIP_ARCHIVE_H_
#define LEAPSTREAM_MODEL_TORCHFILE_ZIP_ARCHIVE_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// A zip file that torch.save() wrote: stored entries, zip64 or not. Points into bytes that somebody
// else owns. Const and thread-safe.
class ZipArchive {
 public:
  // Reads the central directory. `name` is the file's name in errors. INVALID_ARGUMENT: not a zip
  // file, or a damaged or cut one; UNIMPLEMENTED: a zip file of several parts.
  static absl::StatusOr<ZipArchive> Parse(absl::string_view bytes, absl::string_view name);

  bool Has(const std::string& entry) const { return entries_.count(entry) > 0; }
  // The bytes of an entry, whose CRC is checked if there is one. NOT_FOUND: no such entry;
  // UNIMPLEMENTED: it is compressed or encrypted; INVALID_ARGUMENT: it is damaged.
  absl::StatusOr<absl::string_view> Read(const std::string& entry) const;
  // The folder of the entry FOLDER/data.pkl, such as "archive", which holds all entries of a torch
  // file. INVALID_ARGUMENT: there is no such entry, or more than one.
  absl::StatusOr<std::string> TorchFolder() const;

 private:
  struct Entry {
    uint16_t flags = 0;
    uint16_t method = 0;
    uint32_t crc = 0;
    uint64_t compressed_size = 0;
    uint64_t size = 0;
    uint64_t header_offset = 0;
  };

  ZipArchive(absl::string_view bytes, absl::string_view name) : bytes_(bytes), name_(name) {}
  absl::Status Error(absl::string_view what) const;
  absl::Status ReadDirectory();

  absl::string_view bytes_;
  std::string name_;
  std::map<std::string, Entry> entries_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCHFILE_ZIP_ARCHIVE_H_
