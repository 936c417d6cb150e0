#include "client/evaluation/audio_file.h"

#include <fcntl.h>
#include <sndfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/evaluation/audio_container.h"

namespace leapstream::client {
namespace {

// The bytes of a file, with the sizes in its header mended if need be.
class MendedFile {
 public:
  MendedFile(int fd, int64_t size) : fd_(fd), size_(size) {
    patches_ = MendSizes([this](int64_t at, size_t count) { return ReadAt(at, count); }, size);
  }
  ~MendedFile() { close(fd_); }
  MendedFile(const MendedFile&) = delete;
  MendedFile& operator=(const MendedFile&) = delete;

  bool mended() const { return !patches_.empty(); }
  SNDFILE* Open(SF_INFO* info) {
    static SF_VIRTUAL_IO io = {
        [](void* file) { return static_cast<sf_count_t>(Of(file)->size_); },
        [](sf_count_t offset, int whence, void* file) { return Of(file)->Seek(offset, whence); },
        [](void* bytes, sf_count_t count, void* file) { return Of(file)->Read(bytes, count); },
        [](const void*, sf_count_t, void*) { return sf_count_t{0}; },
        [](void* file) { return static_cast<sf_count_t>(Of(file)->at_); }};
    at_ = 0;
    *info = {};
    return sf_open_virtual(&io, SFM_READ, info, this);
  }

 private:
  static MendedFile* Of(void* file) { return static_cast<MendedFile*>(file); }

  std::string ReadAt(int64_t at, size_t count) const {
    std::string bytes(count, '\0');
    size_t size = 0;
    while (size < count) {
      const ssize_t read = pread(fd_, bytes.data() + size, count - size,
                                 static_cast<off_t>(at + static_cast<int64_t>(size)));
      if (read < 0 && errno == EINTR) continue;
      if (read <= 0) break;
      size += static_cast<size_t>(read);
    }
    bytes.resize(size);
    for (const Patch& patch : patches_) {
      for (size_t i = 0; i < patch.bytes.size(); ++i) {
        const int64_t index = patch.at + static_cast<int64_t>(i) - at;
        if (index >= 0 && index < static_cast<int64_t>(size)) {
          bytes[static_cast<size_t>(index)] = patch.bytes[i];
        }
      }
    }
    return bytes;
  }
  sf_count_t Read(void* bytes, sf_count_t count) {
    const std::string read = ReadAt(at_, static_cast<size_t>(std::max<sf_count_t>(count, 0)));
    std::memcpy(bytes, read.data(), read.size());
    at_ += static_cast<int64_t>(read.size());
    return static_cast<sf_count_t>(read.size());
  }
  sf_count_t Seek(sf_count_t offset, int whence) {
    if (whence == SEEK_CUR) offset += at_;
    if (whence == SEEK_END) offset += size_;
    at_ = std::max<sf_count_t>(offset, 0);
    return at_;
  }

  const int fd_;
  const int64_t size_;
  int64_t at_ = 0;
  std::vector<Patch> patches_;
};

class SoundFile final : public AudioFile {
 public:
  // `file` reads from `bytes`.
  SoundFile(std::unique_ptr<MendedFile> bytes, SNDFILE* file, const SF_INFO& info, int channel)
      : bytes_(std::move(bytes)), file_(file), info_(info), channel_(channel) {}
  ~SoundFile() override { sf_close(file_); }

  int sample_rate() const override { return info_.samplerate; }
  int64_t samples() const override { return info_.frames; }
  std::string Read(int64_t count) override {
    std::vector<float> samples(count * info_.channels);
    const sf_count_t read = sf_readf_float(file_, samples.data(), count);
    std::string bytes(read > 0 ? read * sizeof(float) : 0, '\0');
    for (sf_count_t i = 0; i < read; ++i) {
      const float* const frame = samples.data() + i * info_.channels;
      float sample = 0;
      if (channel_ == kAllChannels) {
        for (int c = 0; c < info_.channels; ++c) sample += frame[c];
        sample /= static_cast<float>(info_.channels);
      } else {
        sample = frame[channel_ - 1];
      }
      uint32_t bits;
      std::memcpy(&bits, &sample, sizeof(bits));
      for (int b = 0; b < 4; ++b) bytes[i * 4 + b] = static_cast<char>(bits >> (8 * b));
    }
    return bytes;
  }

 private:
  const std::unique_ptr<MendedFile> bytes_;
  SNDFILE* const file_;
  const SF_INFO info_;
  const int channel_;
};

// A hint on why libsndfile cannot read a file: its versions before 1.1 know no MP3. Empty: it has
// none.
std::string WhyNotRead(int fd) {
  std::string head(kContainerBytes, '\0');
  const ssize_t size = pread(fd, head.data(), head.size(), 0);
  head.resize(size > 0 ? static_cast<size_t>(size) : 0);
  if (ContainerOf(head) != "MP3") return "";
  return absl::StrCat("; MP3 needs libsndfile 1.1 or later with MPEG, and this is ",
                      sf_version_string());
}

// Counts the frames; reads them all.
sf_count_t CountFrames(SNDFILE* file, const SF_INFO& info) {
  constexpr sf_count_t kFrames = 4096;
  std::vector<float> samples(static_cast<size_t>(kFrames * info.channels));
  sf_count_t count = 0;
  for (sf_count_t read; (read = sf_readf_float(file, samples.data(), kFrames)) > 0;) count += read;
  return count;
}

// Takes over `fd`. `has_path`: `path` can be opened, and is not only for messages.
absl::StatusOr<std::unique_ptr<AudioFile>> OpenOwned(int fd, const std::string& path,
                                                     bool has_path, int channel) {
  struct stat status;
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read the recording ", path, ": it is not a file"));
  }
  auto bytes = std::make_unique<MendedFile>(fd, status.st_size);
  SF_INFO info = {};
  // Some kinds of files can be told only by the name.
  SNDFILE* file = has_path && !bytes->mended() ? sf_open(path.c_str(), SFM_READ, &info)
                                               : bytes->Open(&info);
  if (file != nullptr && bytes->mended()) {  // The header's count of samples may be a mended size.
    const sf_count_t frames = CountFrames(file, info);
    sf_close(file);
    file = bytes->Open(&info);
    info.frames = frames;
  }
  if (file == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read the recording ", path, ": ", sf_strerror(nullptr), WhyNotRead(fd),
                     "; ffmpeg -i RECORDING -ar 16000 -ac 1 talk.wav makes one that can be"));
  }
  auto opened = std::make_unique<SoundFile>(std::move(bytes), file, info, channel);
  if (channel > info.channels) {
    return absl::InvalidArgumentError(
        absl::StrCat("the recording ", path, " has no channel ", channel, ", but ", info.channels,
                     "; leave the channel out for the mean of all"));
  }
  if (info.frames <= 0) {
    return absl::OutOfRangeError(absl::StrCat("the recording ", path, " holds no sample"));
  }
  return opened;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AudioFile>> AudioFile::Open(const std::string& path, int channel) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return absl::NotFoundError(
        absl::StrCat("cannot read the recording ", path, ": ", std::strerror(errno)));
  }
  return OpenOwned(fd, path, /*has_path=*/true, channel);
}

absl::StatusOr<std::unique_ptr<AudioFile>> AudioFile::Open(int fd, const std::string& name,
                                                           int channel) {
  const int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (own < 0) {
    return absl::NotFoundError(
        absl::StrCat("cannot read the recording ", name, ": ", std::strerror(errno)));
  }
  return OpenOwned(own, name, /*has_path=*/false, channel);
}

}  // namespace leapstream::client
