#include "streaming/audio_segment.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/budget.h"
#include "model/api/speech.h"
#include "streaming/session_limits.h"

namespace leapstream {
namespace {

constexpr absl::Duration kSpokenWord = absl::Milliseconds(400);  // About that of most languages.
constexpr absl::Duration kSpokenToken = absl::Milliseconds(200);

}  // namespace

AudioSegment::AudioSegment(const SessionOptions& options, const ModelInfo& model,
                           std::unique_ptr<AudioSource> audio)
    : model_(model),
      input_(InputOf(options, model)),
      sample_rate_(options.sample_rate),
      read_steps_(options.read_tokens),
      limit_(absl::ToInt64Milliseconds(AudioLimit(options, model)) * (kSpeechSampleRate / 1000)),
      audio_(std::move(audio)) {}

void AudioSegment::Open() {
  OpenBase(false);
  begin_.reset();
  given_ = 0;
  audio_->Reset();
}

absl::Status AudioSegment::Append(SourceInput source, SourcePosition at, int64_t* work) {
  const auto* samples = std::get_if<AudioSamples>(&source);
  if (samples == nullptr) return WrongKind(model_, "audio");
  if (sample_rate_ != kSpeechSampleRate) {
    *work -= static_cast<int64_t>(samples->size()) * budget::kResampledWork;
  }
  if (!begin_.has_value() && !samples->empty()) begin_ = at.audio;
  audio_->Append(*samples);
  return absl::OkStatus();
}

void AudioSegment::Close() {
  closed_ = true;
  audio_->Finish();
}

absl::StatusOr<SegmentSource::Next> AudioSegment::NextRead(int64_t* /*work*/) {
  if (finished_) return Next::kNone;
  const int64_t wanted = input_.SamplesPerRead();
  const int64_t available = audio_->available();
  if (given_ + available > limit_) cut_ = true;
  if (available < wanted && !closed_ && !cut_) return Next::kWaits;
  const int64_t count = std::min({wanted, available, limit_ - given_});
  audio_->Pop(count, &due_);
  given_ += count;
  finished_ = count == 0;
  ++due_reads_;
  return Next::kRead;
}

void AudioSegment::ForgetReads() {
  due_reads_ = 0;
  due_.clear();
}

Progress AudioSegment::progress() const {
  const auto all = static_cast<int>(states());
  Progress progress;
  progress.source_read = all == 0 ? 0 : input_.Steps(all);
  progress.source_finished = finished_;
  progress.source_is_short = all < input_.pre_decision_ratio;
  progress.within_chunk =
      read_steps_ > 1 && !finished_ && progress.source_read % read_steps_ != 0;
  progress.source_words = static_cast<int>(absl::FDivDuration(audio_given(), kSpokenWord));
  progress.source_length = static_cast<int>(absl::FDivDuration(audio_given(), kSpokenToken));
  return progress;
}

double AudioSegment::Delay(int /*source_read*/) const {
  return absl::ToDoubleMilliseconds(audio_given());
}

absl::Duration AudioSegment::audio_given() const {
  return absl::Seconds(given_) / kSpeechSampleRate;
}

absl::Duration AudioSegment::audio_begin() const {
  return absl::Seconds(begin_.value_or(0)) / sample_rate_;
}

SourceLeft AudioSegment::Leave(int source_read) {
  SourceLeft left;
  // The amount of unread source depends on when it arrived, so it must not decide anything here.
  left.at_limit = cut_ && finished_;
  left.untranslated_tokens = ReadAfterEnd(source_read);
  left.dropped = source_read > 0 && (!finished_ || cut_);
  left.dropped_bytes = audio_->available() * sample_rate_ / kSpeechSampleRate *
                       static_cast<int64_t>(sizeof(float));
  audio_->Reset();
  return left;
}

}  // namespace leapstream
