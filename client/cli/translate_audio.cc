#include "client/cli/translate_audio.h"

#include <poll.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "client/cli/event_printer.h"
#include "client/cli/signals.h"

namespace leapstream::client {
namespace {


EventPrinterOptions PrinterOptions(const TranslateOptions& options) {
  EventPrinterOptions result;
  result.json = options.json;
  result.subtitles = options.subtitles;
  result.verbose = options.verbose;
  result.speech = true;
  return result;
}

StreamOptions OptionsFor(const AudioInput& input, StreamOptions stream) {
  stream.audio = input.format();
  stream.sample_rate = input.sample_rate();
  return stream;
}

// One run: a single thread that waits for samples, events, signals and real time in one poll().
class AudioTranslation {
 public:
  AudioTranslation(Client& client, const TranslateOptions& options, AudioInput& input,
                   bool real_time)
      : input_(input),
        real_time_(real_time),
        printer_(PrinterOptions(options)),
        stream_(client.StartStream(OptionsFor(input, options.stream))) {}

  absl::Status Run() {
    while (true) {
      while (const auto event = stream_->TryNext()) {
        LEAPSTREAM_RETURN_IF_ERROR(printer_.Print(*event));
      }
      if (stream_->finished()) return Finish();
      if (signals::CancelWanted()) {
        stream_->Cancel();
        LEAPSTREAM_RETURN_IF_ERROR(printer_.EndLine());
        return absl::CancelledError("cancelled");
      }
      if (open_ && signals::EndWanted()) {
        open_ = false;
        LEAPSTREAM_RETURN_IF_ERROR(stream_->CloseSource());
      }
      LEAPSTREAM_RETURN_IF_ERROR(Proceed());
    }
  }

 private:
  // Sends the samples that are due, or waits for something.
  absl::Status Proceed() {
    const bool room = open_ && stream_->unsent_bytes() < kMaxUnsentBytes;
    const bool waits_for_input = room && input_.fd() >= 0;
    const bool paced = room && !waits_for_input;
    if (paced && (!real_time_ || SteadyNow() >= next_)) {
      next_ += AudioInput::kChunk;
      return SendNext();
    }
    pollfd fds[] = {{stream_->ready_fd(), POLLIN, 0},
                    {waits_for_input ? input_.fd() : -1, POLLIN, 0}};
    LEAPSTREAM_RETURN_IF_ERROR(
        signals::Poll(absl::MakeSpan(fds), paced ? next_ : SteadyTime::InfiniteFuture()));
    return fds[1].revents == 0 ? absl::OkStatus() : SendNext();
  }

  absl::Status SendNext() {
    LEAPSTREAM_ASSIGN_OR_RETURN(const std::optional<std::string> samples, input_.Read());
    if (samples.has_value()) return stream_->PushAudio(*samples);
    open_ = false;
    return stream_->CloseSource();
  }

  absl::Status Finish() {
    LEAPSTREAM_RETURN_IF_ERROR(printer_.Finish());
    LEAPSTREAM_RETURN_IF_ERROR(stream_->Wait());
    LEAPSTREAM_RETURN_IF_ERROR(input_.status());
    return printer_.status();
  }

  AudioInput& input_;
  const bool real_time_;
  EventPrinter printer_;
  bool open_ = true;  // The input has not ended.
  SteadyTime next_ = SteadyNow();  // When the next samples are due, if they come in real time.

  std::unique_ptr<Stream> stream_;  // Declared last: when a run ends early, it is cancelled first.
};

}  // namespace

absl::Status TranslateAudio(Client& client, const TranslateOptions& options,
                            const AudioInputOptions& input_options) {
  LEAPSTREAM_RETURN_IF_ERROR(signals::TakeOver());
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::unique_ptr<AudioInput> input,
                              AudioInput::Open(input_options));
  return AudioTranslation(client, options, *input, input_options.real_time).Run();
}

}  // namespace leapstream::client
