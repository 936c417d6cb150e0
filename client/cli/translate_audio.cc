#include "client/cli/translate_audio.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/status.h"
#include "client/cli/cut_segments.h"
#include "client/cli/events_json.h"
#include "client/cli/piped_audio.h"
#include "client/cli/read_lines.h"
#include "client/evaluation/audio_container.h"
#include "client/evaluation/audio_file.h"

namespace leapstream::client {
namespace {

constexpr absl::Duration kChunk = absl::Milliseconds(100);
constexpr int64_t kMaxUnsentBytes = 256 << 10;

std::atomic<int> interrupts{0};  // A signal handler may touch this.

void OnSignal(int signal) { interrupts += signal == SIGTERM ? 2 : 1; }

// Blocks SIGINT and SIGTERM except in ppoll(), so that none is missed. Returns the mask for
// ppoll().
sigset_t TakeOverSignals() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGINT);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  sigdelset(&before, SIGINT);
  sigdelset(&before, SIGTERM);
  return before;
}

// A source of samples, in the stream's format.
class AudioInput {
 public:
  virtual ~AudioInput() = default;
  virtual int sample_rate() const = 0;
  virtual AudioFormat format() const = 0;
  // Descriptor to wait for before Read(); -1: it never blocks.
  virtual int fd() const { return -1; }
  // The next samples; nullopt: the end.
  virtual absl::StatusOr<std::optional<std::string>> Read() = 0;
  // The fault of an input that has ended. The samples before it are translated all the same.
  virtual absl::Status status() const { return absl::OkStatus(); }
};

absl::Status CannotRead() {
  return absl::InternalError(absl::StrCat("cannot read the input: ", std::strerror(errno)));
}

// Samples as they come through a pipe, or from a device.
class Piped final : public AudioInput {
 public:
  // Waits until the kind of input is known. Owns `fd`, unless that is standard input.
  static absl::StatusOr<std::unique_ptr<AudioInput>> Open(int fd, int raw_sample_rate,
                                                          const sigset_t& wait_mask) {
    std::unique_ptr<Piped> input(new Piped(fd, raw_sample_rate));
    while (!input->audio_.is_known() && !input->ended_) {
      if (interrupts >= 2) return absl::CancelledError("cancelled");
      if (interrupts > 0) break;  // Nothing has come yet.
      pollfd polled = {fd, POLLIN, 0};
      if (ppoll(&polled, 1, nullptr, &wait_mask) < 0) {
        if (errno == EINTR) continue;
        return CannotRead();
      }
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
  Piped(int fd, int raw_sample_rate) : fd_(fd), audio_(raw_sample_rate) {}

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
  static absl::StatusOr<std::unique_ptr<AudioInput>> Open(const std::string& path) {
    LEAPSTREAM_ASSIGN_OR_RETURN(std::unique_ptr<AudioFile> file,
                                path == "-" ? AudioFile::Open(STDIN_FILENO, "on standard input")
                                            : AudioFile::Open(path));
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

absl::StatusOr<std::unique_ptr<AudioInput>> OpenInput(const AudioInputOptions& options,
                                                      const sigset_t& wait_mask) {
  if (options.path == "-") {
    if (IsRecording(STDIN_FILENO)) return File::Open("-");
    return Piped::Open(STDIN_FILENO, options.sample_rate, wait_mask);
  }
  struct stat status;
  if (stat(options.path.c_str(), &status) != 0 ||
      !(S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode))) {
    return File::Open(options.path);
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const int fd, OpenToPoll(options.path));
  return Piped::Open(fd, options.sample_rate, wait_mask);
}

// Waits for a reader that does not read, but not for ever: a signal ends the wait.
absl::Status Write(absl::string_view text, const sigset_t& wait_mask) {
  while (!text.empty()) {
    pollfd polled = {STDOUT_FILENO, POLLOUT, 0};
    if (ppoll(&polled, 1, nullptr, &wait_mask) < 0 && interrupts >= 2) {
      return absl::CancelledError("cancelled");
    }
    if (polled.revents == 0) continue;
    const size_t fits = std::min<size_t>(text.size(), PIPE_BUF);  // PIPE_BUF bytes do not block.
    const ssize_t size = write(STDOUT_FILENO, text.data(), fits);
    if (size >= 0) {
      text.remove_prefix(static_cast<size_t>(size));
    } else if (errno == EPIPE) {
      return absl::DataLossError("nobody reads the output");
    } else if (errno != EINTR && errno != EAGAIN) {
      return absl::InternalError(absl::StrCat("cannot write the output: ", std::strerror(errno)));
    }
  }
  return absl::OkStatus();
}

class Shower {
 public:
  Shower(const TranslateOptions& options, const sigset_t& wait_mask)
      : options_(options), wait_mask_(wait_mask) {}

  absl::Status Show(const Event& event) {
    if (const auto* completed = std::get_if<SegmentCompleted>(&event)) {
      if (options_.verbose && completed->stats.has_value()) {
        const SegmentStats& stats = *completed->stats;
        absl::FPrintF(stderr,
                      "leapstream: %.2f s of audio, %d target tokens, AL %.0f ms, LAAL %.0f ms, "
                      "computation-aware AL %.0f ms, compute %.0f ms\n",
                      stats.source_audio_ms / 1000, stats.target_tokens, stats.average_lagging,
                      stats.length_adaptive_average_lagging,
                      stats.computation_aware.value_or(Lagging()).average_lagging,
                      absl::ToDoubleMilliseconds(stats.compute));
      }
      const std::string cut = cut_.Add(*completed);
      if (!cut.empty()) absl::FPrintF(stderr, "leapstream: %s\n", cut);
    }
    if (const auto* summary = std::get_if<Summary>(&event)) {
      const std::string cut = cut_.Add(*summary);
      if (!cut.empty()) absl::FPrintF(stderr, "leapstream: %s\n", cut);
    }
    if (const auto* interrupted = std::get_if<Interrupted>(&event)) {
      absl::FPrintF(stderr, "leapstream: no server at the moment (%s); trying again\n",
                    interrupted->why.message());
    }
    if (const auto* resumed = std::get_if<Resumed>(&event)) {
      absl::FPrintF(stderr, "leapstream: going on at %s after %.2f s; nothing was lost\n",
                    resumed->address, absl::ToDoubleSeconds(resumed->gap));
    }
    if (options_.json) return Write(absl::StrCat(ToJson(event), "\n"), wait_mask_);
    if (const auto* delta = std::get_if<Delta>(&event)) {
      line_open_ = line_open_ || !delta->text.empty();
      return Write(delta->text, wait_mask_);
    }
    if (!std::holds_alternative<SegmentCompleted>(event)) return absl::OkStatus();
    line_open_ = false;
    return Write("\n", wait_mask_);
  }
  // Says whether source was dropped.
  absl::Status status() const { return cut_.status(); }
  // An error message must not continue a line of ours.
  absl::Status EndLine() {
    return std::exchange(line_open_, false) ? Write("\n", wait_mask_) : absl::OkStatus();
  }

 private:
  const TranslateOptions& options_;
  const sigset_t wait_mask_;
  CutSegments cut_;
  bool line_open_ = false;
};

}  // namespace

absl::Status TranslateAudio(Client& client, const TranslateOptions& options,
                            const AudioInputOptions& input_options) {
  const sigset_t wait_mask = TakeOverSignals();
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<AudioInput> input,
                              OpenInput(input_options, wait_mask));
  StreamOptions stream_options = options.stream;
  stream_options.audio = input->format();
  stream_options.sample_rate = input->sample_rate();
  Shower shower(options, wait_mask);
  const std::unique_ptr<Stream> stream = client.StartStream(stream_options);
  bool open = true;
  SteadyTime next = SteadyNow();
  const auto send_next = [&]() -> absl::Status {
    LEAPSTREAM_ASSIGN_OR_RETURN(const std::optional<std::string> bytes, input->Read());
    if (bytes.has_value()) return stream->PushAudio(*bytes);
    open = false;
    return stream->CloseSource();
  };
  while (true) {
    while (const auto event = stream->TryNext()) LEAPSTREAM_RETURN_IF_ERROR(shower.Show(*event));
    if (stream->finished()) {
      LEAPSTREAM_RETURN_IF_ERROR(shower.EndLine());
      LEAPSTREAM_RETURN_IF_ERROR(stream->Wait());
      LEAPSTREAM_RETURN_IF_ERROR(input->status());
      return shower.status();
    }
    if (interrupts >= 2) {
      stream->Cancel();
      LEAPSTREAM_RETURN_IF_ERROR(shower.EndLine());
      return absl::CancelledError("cancelled");
    }
    if (open && interrupts > 0) {
      open = false;
      LEAPSTREAM_RETURN_IF_ERROR(stream->CloseSource());
    }
    const bool room = open && stream->unsent_bytes() < kMaxUnsentBytes;
    const bool waits_for_input = room && input->fd() >= 0;
    if (room && !waits_for_input && (!input_options.real_time || SteadyNow() >= next)) {
      LEAPSTREAM_RETURN_IF_ERROR(send_next());
      next += kChunk;
      continue;
    }
    pollfd fds[] = {{stream->ready_fd(), POLLIN, 0},
                    {waits_for_input ? input->fd() : -1, POLLIN, 0}};
    const bool paced = room && !waits_for_input;
    const timespec timeout = absl::ToTimespec(std::max(next - SteadyNow(), absl::ZeroDuration()));
    if (ppoll(fds, 2, paced ? &timeout : nullptr, &wait_mask) < 0) {
      if (errno == EINTR) continue;
      return absl::InternalError(absl::StrCat("poll: ", std::strerror(errno)));
    }
    if (fds[1].revents == 0) continue;
    LEAPSTREAM_RETURN_IF_ERROR(send_next());
  }
}

}  // namespace leapstream::client
