#include "client/cli/audio_input.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/cli/read_lines.h"
#include "client/cli/signals.h"
#include "client/evaluation/audio_container.h"
#include "client/evaluation/audio_file.h"
#include "client/evaluation/piped_audio.h"

namespace leapstream::client {
namespace {

absl::Status CannotRead() {
  return absl::InternalError(absl::StrCat("cannot read the input: ", std::strerror(errno)));
}

// Samples as they come through a pipe, or from a device.
class Piped final : public AudioInput {
 public:
  // Waits until the kind of input is known. Owns `fd`, unless that is standard input.
  static absl::StatusOr<std::unique_ptr<AudioInput>> Open(int fd,
                                                          const AudioInputOptions& options) {
    std::unique_ptr<Piped> input(new Piped(fd, options));
    while (!input->audio_.is_known() && !input->ended_) {
      if (signals::CancelWanted()) return absl::CancelledError("cancelled");
      if (signals::EndWanted()) break;  // Nothing has come yet.
      pollfd polled[] = {{fd, POLLIN, 0}};
      LEAPSTREAM_RETURN_IF_ERROR(
          signals::Poll(absl::MakeSpan(polled), SteadyTime::InfiniteFuture()));
      if (polled[0].revents == 0) continue;
      LEAPSTREAM_RETURN_IF_ERROR(input->Fill());
      // With samples a session is worthwhile in any case; it ends with this status.
      if (!input->audio_.is_known()) LEAPSTREAM_RETURN_IF_ERROR(input->status_);
    }
    return input;
  }
  ~Piped() override {
    if (fd_ != STDIN_FILENO) close(fd_);
  }
  int sample_rate() const override { return audio_.sample_rate(); }
  AudioFormat format() const override { return audio_.format(); }
  int fd() const override { return fd_; }
  absl::StatusOr<std::optional<std::string>> Read() override {
    std::string samples = audio_.Take();
    if (!samples.empty()) return samples;
    if (!ended_) LEAPSTREAM_RETURN_IF_ERROR(Fill());
    samples = audio_.Take();
    if (samples.empty() && ended_) return std::nullopt;
    return samples;
  }
  absl::Status status() const override { return status_; }

 private:
  Piped(int fd, const AudioInputOptions& options)
      : fd_(fd), audio_(options.sample_rate, options.channel) {}

  absl::Status Fill() {
    char buffer[16 << 10];
    const ssize_t size = read(fd_, buffer, sizeof(buffer));
    if (size < 0) return errno == EINTR || errno == EAGAIN ? absl::OkStatus() : CannotRead();
    if (size > 0) return audio_.Append({buffer, static_cast<size_t>(size)});
    ended_ = true;
    status_ = audio_.Finish();
    return absl::OkStatus();
  }

  const int fd_;
  PipedAudio audio_;
  bool ended_ = false;
  absl::Status status_;
};

class File final : public AudioInput {
 public:
  static absl::StatusOr<std::unique_ptr<AudioInput>> Open(const AudioInputOptions& options) {
    LEAPSTREAM_ASSIGN_OR_RETURN(
        std::unique_ptr<AudioFile> file,
        options.path == "-" ? AudioFile::Open(STDIN_FILENO, "on standard input", options.channel)
                            : AudioFile::Open(options.path, options.channel));
    return std::make_unique<File>(std::move(file));
  }
  explicit File(std::unique_ptr<AudioFile> file) : file_(std::move(file)) {}
  int sample_rate() const override { return file_->sample_rate(); }
  AudioFormat format() const override { return AudioFormat::kPcmF32Le; }
  absl::StatusOr<std::optional<std::string>> Read() override {
    std::string bytes =
        file_->Read(static_cast<int64_t>(absl::ToDoubleSeconds(kChunk) * sample_rate()));
    if (bytes.empty()) return std::nullopt;
    return bytes;
  }

 private:
  const std::unique_ptr<AudioFile> file_;
};

// Whether standard input is a recording in a file, with its header, and nothing of it was read.
bool IsRecording(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || lseek(fd, 0, SEEK_CUR) != 0) {
    return false;
  }
  std::string head(kContainerBytes, '\0');
  const ssize_t size = pread(fd, head.data(), head.size(), 0);
  head.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return !ContainerOf(head).empty();
}

}  // namespace

absl::StatusOr<std::unique_ptr<AudioInput>> AudioInput::Open(const AudioInputOptions& options) {
  if (options.path == "-") {
    if (IsRecording(STDIN_FILENO)) return File::Open(options);
    return Piped::Open(STDIN_FILENO, options);
  }
  struct stat status;
  if (stat(options.path.c_str(), &status) != 0 ||
      !(S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode))) {
    return File::Open(options);
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const int fd, OpenToPoll(options.path));
  return Piped::Open(fd, options);
}

}  // namespace leapstream::client
