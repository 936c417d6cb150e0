#include "client/cli/translate_audio.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "client/cli/cut_segments.h"
#include "client/cli/events_json.h"
#include "client/evaluation/audio_file.h"

namespace leapstream::client {
namespace {

constexpr absl::Duration kChunk = absl::Milliseconds(100);
constexpr int64_t kMaxUnsentBytes = 256 << 10;

std::atomic<int> interrupts{0};  // What a signal handler may touch.

void OnSignal(int signal) { interrupts += signal == SIGTERM ? 2 : 1; }

// Blocks the signals but while it waits in ppoll(), so that none is missed.
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

// Where samples come from, in the stream's format.
class AudioInput {
 public:
  virtual ~AudioInput() = default;
  virtual int sample_rate() const = 0;
  virtual AudioFormat format() const = 0;
  virtual int fd() const { return -1; }  // To wait for before Read(); -1: it never blocks.
  // The next samples; nothing: the end.
  virtual absl::StatusOr<std::optional<std::string>> Read() = 0;
};

class StandardInput final : public AudioInput {
 public:
  explicit StandardInput(int sample_rate) : sample_rate_(sample_rate) {}
  int sample_rate() const override { return sample_rate_; }
  AudioFormat format() const override { return AudioFormat::kPcmS16Le; }
  int fd() const override { return STDIN_FILENO; }
  absl::StatusOr<std::optional<std::string>> Read() override {
    char buffer[16 << 10];
    const ssize_t size = read(STDIN_FILENO, buffer, sizeof(buffer));
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) return std::string();
    if (size < 0) {
      return absl::InternalError(absl::StrCat("cannot read the input: ", std::strerror(errno)));
    }
    if (size == 0) {
      if (held_.empty()) return std::nullopt;
      return absl::InvalidArgumentError(
          "the input ends within a 16-bit sample; is it raw S16_LE audio?");
    }
    std::string bytes = std::exchange(held_, "");
    bytes.append(buffer, static_cast<size_t>(size));
    if (bytes.size() % 2 != 0) {
      held_ = bytes.back();
      bytes.pop_back();
    }
    return bytes;
  }

 private:
  const int sample_rate_;
  std::string held_;  // Half a sample.
};

class File final : public AudioInput {
 public:
  static absl::StatusOr<std::unique_ptr<AudioInput>> Open(const std::string& path) {
    LEAPSTREAM_ASSIGN_OR_RETURN(std::unique_ptr<AudioFile> file, AudioFile::Open(path));
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

absl::Status Write(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t size = write(STDOUT_FILENO, text.data(), text.size());
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
  explicit Shower(const TranslateOptions& options) : options_(options) {}

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
    if (options_.json) return Write(absl::StrCat(ToJson(event), "\n"));
    if (const auto* delta = std::get_if<Delta>(&event)) {
      line_open_ = line_open_ || !delta->text.empty();
      return Write(delta->text);
    }
    if (!std::holds_alternative<SegmentCompleted>(event)) return absl::OkStatus();
    line_open_ = false;
    return Write("\n");
  }
  // Source that was dropped.
  absl::Status status() const { return cut_.status(); }
  // An error message must not continue a line of ours.
  absl::Status EndLine() {
    return std::exchange(line_open_, false) ? Write("\n") : absl::OkStatus();
  }

 private:
  const TranslateOptions& options_;
  CutSegments cut_;
  bool line_open_ = false;
};

}  // namespace

absl::Status TranslateAudio(Client& client, const TranslateOptions& options,
                            const AudioInputOptions& input_options) {
  std::unique_ptr<AudioInput> input;
  if (input_options.path == "-") {
    input = std::make_unique<StandardInput>(input_options.sample_rate);
  } else {
    LEAPSTREAM_ASSIGN_OR_RETURN(input, File::Open(input_options.path));
  }
  StreamOptions stream_options = options.stream;
  stream_options.audio = input->format();
  stream_options.sample_rate = input->sample_rate();
  const sigset_t wait_mask = TakeOverSignals();
  Shower shower(options);
  const std::unique_ptr<Stream> stream = client.StartStream(stream_options);
  bool open = true;
  absl::Time next = absl::Now();
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
    if (room && !waits_for_input && (!input_options.real_time || absl::Now() >= next)) {
      LEAPSTREAM_RETURN_IF_ERROR(send_next());
      next += kChunk;
      continue;
    }
    pollfd fds[] = {{stream->ready_fd(), POLLIN, 0},
                    {waits_for_input ? input->fd() : -1, POLLIN, 0}};
    const bool paced = room && !waits_for_input;
    const timespec timeout = absl::ToTimespec(std::max(next - absl::Now(), absl::ZeroDuration()));
    if (ppoll(fds, 2, paced ? &timeout : nullptr, &wait_mask) < 0) {
      if (errno == EINTR) continue;
      return absl::InternalError(absl::StrCat("poll: ", std::strerror(errno)));
    }
    if (fds[1].revents == 0) continue;
    LEAPSTREAM_RETURN_IF_ERROR(send_next());
  }
}

}  // namespace leapstream::client
