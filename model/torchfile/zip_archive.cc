#include "model/torchfile/zip_archive.h"

#include <zlib.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace leapstream {
namespace {

constexpr absl::string_view kEndSignature("PK\5\6", 4);
constexpr absl::string_view kEnd64Signature("PK\6\6", 4);
constexpr absl::string_view kLocator64Signature("PK\6\7", 4);
constexpr absl::string_view kDirectorySignature("PK\1\2", 4);
constexpr absl::string_view kLocalSignature("PK\3\4", 4);
constexpr size_t kEndBytes = 22;
constexpr size_t kLocator64Bytes = 20;
constexpr size_t kEnd64Bytes = 56;
constexpr size_t kDirectoryEntryBytes = 46;
constexpr size_t kLocalHeaderBytes = 30;
constexpr size_t kMaxCommentBytes = 65535;
constexpr uint64_t kMaxEntries = 1 << 20;
constexpr uint32_t kIn64Field = 0xffffffff;

// The little-endian integer of `size` bytes at `offset`. The caller has checked that it is there.
uint64_t Number(absl::string_view bytes, size_t offset, int size) {
  uint64_t result = 0;
  for (int i = size - 1; i >= 0; --i) result = result << 8 | uint8_t(bytes[offset + i]);
  return result;
}

bool Fits(uint64_t offset, uint64_t size, uint64_t total) {
  return offset <= total && size <= total - offset;
}

}  // namespace

absl::Status ZipArchive::Error(absl::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(name_, ": ", what));
}

absl::StatusOr<ZipArchive> ZipArchive::Parse(absl::string_view bytes, absl::string_view name) {
  ZipArchive archive(bytes, name);
  LEAPSTREAM_RETURN_IF_ERROR(archive.ReadDirectory());
  return archive;
}

absl::Status ZipArchive::ReadDirectory() {
  if (!absl::StartsWith(bytes_, kLocalSignature)) return Error("not a zip file");
  if (bytes_.size() < kEndBytes) return Error("cut short");
  const size_t last = bytes_.size() - kEndBytes;
  const size_t first = last - std::min(last, kMaxCommentBytes);
  size_t end = bytes_.rfind(kEndSignature, last);
  if (end == absl::string_view::npos || end < first) {
    return Error("the zip directory at the end is missing; the file is cut short");
  }
  uint64_t count = Number(bytes_, end + 10, 2);
  uint64_t size = Number(bytes_, end + 12, 4);
  uint64_t offset = Number(bytes_, end + 16, 4);
  uint64_t disk = Number(bytes_, end + 4, 2);
  if (end >= kLocator64Bytes &&
      absl::StartsWith(bytes_.substr(end - kLocator64Bytes), kLocator64Signature)) {
    const uint64_t end64 = Number(bytes_, end - kLocator64Bytes + 8, 8);
    if (!Fits(end64, kEnd64Bytes, bytes_.size()) ||
        !absl::StartsWith(bytes_.substr(end64), kEnd64Signature)) {
      return Error("damaged zip64 directory");
    }
    count = Number(bytes_, end64 + 32, 8);
    size = Number(bytes_, end64 + 40, 8);
    offset = Number(bytes_, end64 + 48, 8);
    disk = Number(bytes_, end64 + 16, 4);
  }
  if (disk != 0)
    return absl::UnimplementedError(absl::StrCat(name_, ": a zip file of several parts"));
  if (!Fits(offset, size, bytes_.size()) || count > kMaxEntries ||
      count > size / kDirectoryEntryBytes) {
    return Error("damaged zip directory");
  }

  absl::string_view directory = bytes_.substr(offset, size);
  for (uint64_t i = 0; i < count; ++i) {
    if (directory.size() < kDirectoryEntryBytes ||
        !absl::StartsWith(directory, kDirectorySignature)) {
      return Error("damaged zip directory");
    }
    Entry entry;
    entry.flags = Number(directory, 8, 2);
    entry.method = Number(directory, 10, 2);
    entry.crc = Number(directory, 16, 4);
    entry.compressed_size = Number(directory, 20, 4);
    entry.size = Number(directory, 24, 4);
    entry.header_offset = Number(directory, 42, 4);
    const size_t name_bytes = Number(directory, 28, 2);
    const size_t extra_bytes = Number(directory, 30, 2);
    const size_t comment_bytes = Number(directory, 32, 2);
    directory.remove_prefix(kDirectoryEntryBytes);
    if (directory.size() < name_bytes + extra_bytes + comment_bytes) {
      return Error("damaged zip directory");
    }
    const std::string entry_name(directory.substr(0, name_bytes));
    // Extra field 1 (zip64) holds, in this order, the 64-bit values of the numbers that are all
    // ones above.
    for (absl::string_view extra = directory.substr(name_bytes, extra_bytes); extra.size() >= 4;) {
      const size_t field_bytes = Number(extra, 2, 2);
      if (field_bytes > extra.size() - 4) break;
      absl::string_view field = extra.substr(4, field_bytes);
      if (Number(extra, 0, 2) == 1) {
        for (uint64_t* value : {&entry.size, &entry.compressed_size, &entry.header_offset}) {
          if (*value != kIn64Field || field.size() < 8) continue;
          *value = Number(field, 0, 8);
          field.remove_prefix(8);
        }
      }
      extra.remove_prefix(4 + field_bytes);
    }
    directory.remove_prefix(name_bytes + extra_bytes + comment_bytes);
    if (!entries_.emplace(entry_name, entry).second) {
      return Error(absl::StrCat("zip entry ", absl::CHexEscape(entry_name), " is there twice"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::string_view> ZipArchive::Read(const std::string& entry_name) const {
  const std::string where = absl::StrCat("zip entry ", absl::CHexEscape(entry_name));
  const auto found = entries_.find(entry_name);
  if (found == entries_.end()) {
    return absl::NotFoundError(absl::StrCat(name_, ": ", where, " is missing"));
  }
  const Entry& entry = found->second;
  if ((entry.flags & 1) != 0 || entry.method != 0) {
    return absl::UnimplementedError(absl::StrCat(
        name_, ": ", where, " is compressed or encrypted; torch.save() only stores entries"));
  }
  if (entry.size != entry.compressed_size ||
      !Fits(entry.header_offset, kLocalHeaderBytes, bytes_.size()) ||
      !absl::StartsWith(bytes_.substr(entry.header_offset), kLocalSignature)) {
    return Error(where + " is damaged");
  }
  // The local header has its own sizes of the name and of the extra field, which pads the data.
  const uint64_t begin = entry.header_offset + kLocalHeaderBytes +
                         Number(bytes_, entry.header_offset + 26, 2) +
                         Number(bytes_, entry.header_offset + 28, 2);
  if (!Fits(begin, entry.size, bytes_.size())) return Error(where + " is cut short");
  const absl::string_view result = bytes_.substr(begin, entry.size);
  const auto* data = reinterpret_cast<const unsigned char*>(result.data());
  // PyTorch can be told to leave the CRC out, and never checks it.
  if (entry.crc != 0 && crc32_z(0, data, result.size()) != entry.crc) {
    return Error(where + " is damaged (its CRC is wrong)");
  }
  return result;
}

absl::StatusOr<std::string> ZipArchive::TorchFolder() const {
  std::string folder;
  for (const auto& each : entries_) {
    const size_t slash = each.first.find('/');
    if (slash == std::string::npos || each.first.substr(slash) != "/data.pkl") continue;
    if (!folder.empty()) return Error("more than one data.pkl; not a PyTorch checkpoint");
    folder = each.first.substr(0, slash);
  }
  if (folder.empty()) return Error("no data.pkl; a zip file, but not a PyTorch checkpoint");
  return folder;
}

}  // namespace leapstream
