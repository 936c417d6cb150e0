#ifndef LEAPSTREAM_TESTS_MODEL_TORCHFILE_TORCH_BYTES_H_
#define LEAPSTREAM_TESTS_MODEL_TORCHFILE_TORCH_BYTES_H_

#include <zlib.h>

#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace leapstream {

// The path of a file that the official trainer wrote.
inline std::string GoldenPath(const std::string& name) {
  return std::string(LEAPSTREAM_SOURCE_DIR "/tests/golden/reference/") + name;
}

inline std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline void WriteAll(const std::string& path, absl::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), bytes.size());
}

inline void PutNumber(uint64_t value, int size, size_t at, std::string* bytes) {
  for (int i = 0; i < size; ++i) (*bytes)[at + i] = static_cast<char>(value >> (8 * i));
}

inline uint32_t Crc(absl::string_view bytes) {
  return crc32_z(0, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

// The offset of a named entry in the directory of a zip file.
inline size_t DirectoryEntry(const std::string& zip, const std::string& entry) {
  return zip.rfind(entry) - 46;
}

// Makes the CRC of the stored entry right again after `size` bytes at `at` were changed.
inline void FixCrc(const std::string& entry, size_t at, size_t size, std::string* zip) {
  PutNumber(Crc(absl::string_view(*zip).substr(at, size)), 4, DirectoryEntry(*zip, entry) + 16,
            zip);
}

// A zip file with stored entries, given by names and data.
inline std::string StoredZip(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string body, directory;
  for (const auto& [name, data] : entries) {
    std::string local("PK\3\4", 4);
    local.resize(30);
    PutNumber(Crc(data), 4, 14, &local);
    PutNumber(data.size(), 4, 18, &local);
    PutNumber(data.size(), 4, 22, &local);
    PutNumber(name.size(), 2, 26, &local);
    std::string entry("PK\1\2", 4);
    entry.resize(46);
    PutNumber(Crc(data), 4, 16, &entry);
    PutNumber(data.size(), 4, 20, &entry);
    PutNumber(data.size(), 4, 24, &entry);
    PutNumber(name.size(), 2, 28, &entry);
    PutNumber(body.size(), 4, 42, &entry);
    body += local + name + data;
    directory += entry + name;
  }
  std::string end("PK\5\6", 4);
  end.resize(22);
  PutNumber(entries.size(), 2, 8, &end);
  PutNumber(entries.size(), 2, 10, &end);
  PutNumber(directory.size(), 4, 12, &end);
  PutNumber(body.size(), 4, 16, &end);
  return body + directory + end;
}
inline std::string OneEntryZip(const std::string& name, const std::string& data) {
  return StoredZip({{name, data}});
}

struct OldStorage {
  std::string key;
  int64_t count = 0;  // The number of its elements.
  std::string bytes;
};

// A file of PyTorch's format from before 1.6. `pickle` is the saved object's; `little_endian` is
// the opcode of True or of False.
inline std::string OldFile(const std::string& pickle, const std::vector<OldStorage>& storages,
                           const std::string& little_endian) {
  std::string file("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  file += std::string("\x80\x02M\xe9\x03.", 6);
  file += std::string("\x80\x02}X\x0d\0\0\0", 8) + "little_endian" + little_endian + "s.";
  file += pickle;
  file += std::string("\x80\x02](", 4);
  for (const OldStorage& each : storages) {
    std::string key("X\0\0\0\0", 5);
    PutNumber(each.key.size(), 4, 1, &key);
    file += key + each.key;
  }
  file += "e.";
  for (const OldStorage& each : storages) {
    std::string count(8, '\0');
    PutNumber(each.count, 8, 0, &count);
    file += count + each.bytes;
  }
  return file;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_MODEL_TORCHFILE_TORCH_BYTES_H_
