#include "streaming/audio_source.h"

#include <samplerate.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/api/speech.h"

namespace leapstream {
namespace {

class Source final : public AudioSource {
 public:
  struct Delete {
    void operator()(SRC_STATE* state) const { src_delete(state); }
  };
  using Resampler = std::unique_ptr<SRC_STATE, Delete>;
  Source(int sample_rate, Resampler resampler)
      : ratio_(static_cast<double>(kSpeechSampleRate) / sample_rate),
        block_(sample_rate / 100),
        resampler_(std::move(resampler)) {}

  void Reset() override {
    waiting_.clear();
    samples_.clear();
    popped_ = 0;
    if (resampler_ != nullptr) src_reset(resampler_.get());
  }

  void Append(absl::Span<const float> samples) override {
    if (resampler_ == nullptr) {
      samples_.insert(samples_.end(), samples.begin(), samples.end());
      return;
    }
    waiting_.insert(waiting_.end(), samples.begin(), samples.end());
    size_t done = 0;
    for (; done + block_ <= waiting_.size(); done += block_) {
      Resample({waiting_.data() + done, block_}, false);
    }
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(done));
  }

  void Finish() override {
    if (resampler_ == nullptr) return;
    Resample(waiting_, true);
    waiting_.clear();
  }

  int64_t available() const override { return static_cast<int64_t>(samples_.size()) - popped_; }

  void Pop(int64_t count, std::vector<float>* samples) override {
    const auto first = samples_.begin() + popped_;
    samples->insert(samples->end(), first, first + count);
    popped_ += count;
    if (popped_ >= kSpeechSampleRate || available() == 0) {
      samples_.erase(samples_.begin(), samples_.begin() + popped_);
      popped_ = 0;
    }
  }

 private:
  void Resample(absl::Span<const float> input, bool end) {
    SRC_DATA call = {};
    call.src_ratio = ratio_;
    call.end_of_input = end ? 1 : 0;
    float none = 0;
    do {
      const size_t before = samples_.size();
      samples_.resize(before + kOutput);
      call.data_in = input.empty() ? &none : input.data();
      call.input_frames = static_cast<long>(input.size());
      call.data_out = samples_.data() + before;
      call.output_frames = kOutput;
      // src_process() fails only for arguments that are never given here.
      const bool ok = src_process(resampler_.get(), &call) == 0;
      samples_.resize(before + (ok ? call.output_frames_gen : 0));
      if (!ok) return;
      input.remove_prefix(call.input_frames_used);
    } while (!input.empty() || call.output_frames_gen == kOutput);
  }

  static constexpr long kOutput = 1024;
  const double ratio_;
  const size_t block_;
  const Resampler resampler_;   // Null: the audio has the right rate already.
  std::vector<float> waiting_;  // Samples of a block that is not full yet.
  std::vector<float> samples_;
  int64_t popped_ = 0;  // The number of samples at the beginning of samples_ that were popped.
};

}  // namespace

absl::StatusOr<std::unique_ptr<AudioSource>> AudioSource::Create(int sample_rate) {
  if (sample_rate < kMinSampleRate || sample_rate > kMaxSampleRate) {
    return absl::InvalidArgumentError(
        absl::StrCat("the sample rate needs to be in [", kMinSampleRate, ", ", kMaxSampleRate,
                     "] Hz, got ", sample_rate, "; leave it unset for ", kSpeechSampleRate));
  }
  Source::Resampler resampler;
  if (sample_rate != kSpeechSampleRate) {
    int error = 0;
    resampler.reset(src_new(SRC_SINC_MEDIUM_QUALITY, 1, &error));
    if (resampler == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no resampler could be made: ", src_strerror(error)));
    }
  }
  return std::unique_ptr<AudioSource>(std::make_unique<Source>(sample_rate, std::move(resampler)));
}

}  // namespace leapstream
