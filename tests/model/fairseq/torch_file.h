#ifndef LEAPSTREAM_TESTS_MODEL_FAIRSEQ_TORCH_FILE_H_
#define LEAPSTREAM_TESTS_MODEL_FAIRSEQ_TORCH_FILE_H_

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

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_MODEL_FAIRSEQ_TORCH_FILE_H_
