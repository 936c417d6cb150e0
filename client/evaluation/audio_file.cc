#include "client/evaluation/audio_file.h"

#include <sndfile.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"

namespace leapstream::client {
namespace {

class SoundFile final : public AudioFile {
 public:
  SoundFile(SNDFILE* file, const SF_INFO& info) : file_(file), info_(info) {}
  ~SoundFile() override { sf_close(file_); }

  int sample_rate() const override { return info_.samplerate; }
  int64_t samples() const override { return info_.frames; }
  std::string Read(int64_t count) override {
    std::vector<float> samples(count * info_.channels);
    const sf_count_t read = sf_readf_float(file_, samples.data(), count);
    std::string bytes(read > 0 ? read * sizeof(float) : 0, '\0');
    for (sf_count_t i = 0; i < read; ++i) {
      float sum = 0;
      for (int c = 0; c < info_.channels; ++c) sum += samples[i * info_.channels + c];
      const float mean = sum / static_cast<float>(info_.channels);
      uint32_t bits;
      std::memcpy(&bits, &mean, sizeof(bits));
      for (int b = 0; b < 4; ++b) bytes[i * 4 + b] = static_cast<char>(bits >> (8 * b));
    }
    return bytes;
  }

 private:
  SNDFILE* const file_;
  const SF_INFO info_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<AudioFile>> AudioFile::Open(const std::string& path) {
  if (access(path.c_str(), R_OK) != 0) {
    return absl::NotFoundError(
        absl::StrCat("cannot read the recording ", path, ": ", std::strerror(errno)));
  }
  SF_INFO info = {};
  SNDFILE* const file = sf_open(path.c_str(), SFM_READ, &info);
  if (file == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read the recording ", path, ": ", sf_strerror(nullptr)));
  }
  return std::make_unique<SoundFile>(file, info);
}

}  // namespace leapstream::client
