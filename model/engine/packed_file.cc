#include "model/engine/packed_file.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/status.h"
#include "model/api/file_reader.h"
#include "model/api/model_directory.h"

namespace leapstream {
namespace {

// Must change whenever the arrays, their order or their meaning do.
constexpr char kNewSuffix[] = ".new.";
constexpr int kVersion = 1;
constexpr int64_t kHeader = 4096;  // A page, so that the arrays are aligned as in memory.
constexpr int64_t kPart = 1 << 20;

// A checksum against damage, not against malice: who can write this file can write the weights as
// well. GMAC is chosen for its speed, several times that of SHA-256, and for being at hand in
// OpenSSL; its key is no secret.
class Checksum {
 public:
  Checksum() : context_(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free) {
    static constexpr unsigned char kKey[16] = {'l', 'e', 'a', 'p', 's', 't', 'r', 'e', 'a', 'm'};
    static constexpr unsigned char kStart[12] = {};
    LEAPSTREAM_CHECK(context_ != nullptr && EVP_EncryptInit_ex(context_.get(), EVP_aes_128_gcm(),
                                                               nullptr, kKey, kStart) == 1);
  }
  void Add(const void* bytes, int64_t count) {
    for (int64_t at = 0; at < count; at += kPart) {
      int done = 0;
      LEAPSTREAM_CHECK(EVP_EncryptUpdate(context_.get(), nullptr, &done,
                                         static_cast<const unsigned char*>(bytes) + at,
                                         static_cast<int>(std::min(kPart, count - at))) == 1);
    }
  }
  std::string Hex() {
    int done = 0;
    unsigned char tag[16];
    LEAPSTREAM_CHECK(EVP_EncryptFinal_ex(context_.get(), tag, &done) == 1);
    LEAPSTREAM_CHECK(EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_GCM_GET_TAG, sizeof(tag), tag) ==
                     1);
    return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(tag), sizeof(tag)));
  }

 private:
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context_;
};

// The first lines of the header.
std::string KeyLines(const PackedKey& key, int64_t bytes) {
  return absl::StrCat("leapstream packed weights ", kVersion, "\nmodel.json ", key.model_json,
                      "\ncompute_type ", key.compute_type, "\nkernels ", key.kernels, "\nbytes ",
                      bytes, "\n");
}

// The whole header but for the zeros behind it. It has a checksum of its own lines, too.
std::string Header(const PackedKey& key, int64_t bytes, absl::string_view arrays,
                   absl::string_view stamp) {
  std::string lines =
      absl::StrCat(KeyLines(key, bytes), "checksum ", arrays, "\nweights ", stamp, "\n");
  Checksum checksum;
  checksum.Add(lines.data(), static_cast<int64_t>(lines.size()));
  absl::StrAppend(&lines, "header ", checksum.Hex(), "\n");
  return lines;
}

// A file with a name of its own, `path` and some characters, that is deleted again unless it is
// finished.
class NewFile {
 public:
  explicit NewFile(const std::string& path)
      : path_(absl::StrCat(path, kNewSuffix, "XXXXXX")), fd_(mkostemp(path_.data(), O_CLOEXEC)) {
    // Other users' servers may map it: a model is no secret.
    if (fd_ >= 0 && fchmod(fd_, 0644) != 0) fchmod_failed_ = true;
  }
  ~NewFile() {
    if (fd_ < 0) return;
    close(fd_);
    if (!finished_) unlink(path_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  bool open_failed() const { return fd_ < 0 || fchmod_failed_; }
  bool Write(const char* bytes, size_t count, int64_t offset) const {
    while (count > 0) {
      const ssize_t done = pwrite(fd_, bytes, count, offset);
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) return false;
      bytes += done;
      offset += done;
      count -= static_cast<size_t>(done);
    }
    return true;
  }
  // Gives the file its name, once all of it is on the disk.
  bool Finish(const std::string& path) {
    finished_ = fsync(fd_) == 0 && std::rename(path_.c_str(), path.c_str()) == 0;
    return finished_;
  }

 private:
  std::string path_;
  const int fd_;
  bool fchmod_failed_ = false;
  bool finished_ = false;
};

}  // namespace

namespace {

// Deletes what processes that were killed while they wrote a packed file have left beside it. A
// process that is still writing has changed its file lately.
void DeleteOldNewFiles(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path whole = path;
  const std::string prefix = absl::StrCat(whole.filename().string(), kNewSuffix);
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(1);
  for (fs::directory_iterator it(whole.parent_path(), error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (absl::StartsWith(it->path().filename().string(), prefix) &&
        it->last_write_time(ignored) < old && !ignored) {
      fs::remove(it->path(), ignored);
    }
  }
}

}  // namespace

std::string PackedPath(const std::string& directory, const PackedKey& key) {
  return absl::StrCat(directory, "/", kPackedPrefix, key.compute_type, ".", key.kernels);
}

absl::StatusOr<PackedFile> OpenPackedFile(const std::string& path, const PackedKey& key) {
  const auto error = [&path](absl::string_view what) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": ", what));
  };
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file,
                              FileReader::Open(path, std::numeric_limits<int64_t>::max()));
  std::string header(kHeader, '\0');
  if (file->size() < kHeader || !file->Read(0, kHeader, &header[0]).ok()) return error("too short");
  const std::string lines = KeyLines(key, file->size() - kHeader);
  if (!absl::StartsWith(header, lines)) return error("packed for another model or program");

  Checksum checksum;
  std::vector<char> part(kPart);
  for (int64_t at = kHeader; at < file->size(); at += kPart) {
    const int64_t count = std::min(kPart, file->size() - at);
    LEAPSTREAM_RETURN_IF_ERROR(file->Read(at, count, part.data()));
    checksum.Add(part.data(), count);
  }
  // The line of the stamp is the only one that is read; then all lines must be as they were written.
  PackedFile packed;
  const std::vector<std::string> all = absl::StrSplit(header, '\n');
  for (const std::string& line : all) {
    if (absl::StartsWith(line, "weights ")) packed.stamp = line.substr(8);
  }
  std::string expected = Header(key, file->size() - kHeader, checksum.Hex(), packed.stamp);
  expected.resize(kHeader, '\0');
  if (header != expected) return error("damaged");

  void* const map = mmap(nullptr, file->size(), PROT_READ, MAP_SHARED, file->descriptor(), 0);
  if (map == MAP_FAILED) return error(std::strerror(errno));
  packed.memory = std::make_shared<PackedMemory>(
      absl::string_view(static_cast<const char*>(map), file->size()), kHeader);
  return packed;
}

absl::Status WritePackedFile(const std::string& path, const PackedKey& key, absl::string_view stamp,
                             const PackedMemory& memory) {
  const auto error = [&path] {
    return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
  };
  DeleteOldNewFiles(path);
  NewFile file(path);
  if (file.open_failed()) return error();
  Checksum checksum;
  int64_t offset = kHeader;
  for (const absl::string_view array : memory.arrays()) {
    checksum.Add(array.data(), static_cast<int64_t>(array.size()));
    if (!file.Write(array.data(), array.size(), offset)) return error();
    offset += static_cast<int64_t>(array.size());
  }
  std::string header = Header(key, offset - kHeader, checksum.Hex(), stamp);
  header.resize(kHeader, '\0');
  if (!file.Write(header.data(), header.size(), 0) || !file.Finish(path)) return error();
  return absl::OkStatus();
}

}  // namespace leapstream
