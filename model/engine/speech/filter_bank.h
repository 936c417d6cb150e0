#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_FILTER_BANK_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_FILTER_BANK_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/api/model_config.h"

namespace leapstream {

// Log mel filter banks as in the training of fairseq's speech models:
// torchaudio.compliance.kaldi.fbank without dither and without energy, in float32. Const and
// thread-safe.
class FilterBank {
 public:
  static constexpr int kFftSize = 512;
  static constexpr int kFftBins = kFftSize / 2 + 1;

  explicit FilterBank(const SpeechConfig& config);

  const std::vector<float>& window() const { return window_; }        // [frame_samples]
  const std::vector<float>& mel_banks() const { return mel_banks_; }  // [bins, kFftSize / 2]

  const SpeechInput& input() const { return input_; }
  int bins() const { return static_cast<int>(bands_.size()); }

  // The steps from one frame's samples to its log mel energies. Public for tests, too.
  void Window(const float* samples, float* windowed) const;  // [frame_samples] -> [kFftSize]
  static void Power(const float* windowed, float* power);    // -> [kFftBins]
  void LogMel(const float* power, float* log_mel) const;     // -> [bins]

 private:
  struct Band {  // The FFT bins whose weight in one mel bin is not 0.
    int first;
    int count;
  };
  const SpeechInput input_;
  std::vector<float> window_;
  std::vector<float> mel_banks_;
  std::vector<Band> bands_;
};

// Turns the samples of one segment into frames. Keeps the samples at the end that later frames
// still need. The frames do not depend on how the samples are cut.
class FrameBuffer {
 public:
  void Reset() { residual_.clear(); }
  // Takes samples, and appends to `frames` the frames [n, bins] that are now complete.
  void Append(absl::Span<const float> samples, const FilterBank& bank, std::vector<float>* frames);
  int64_t residual() const { return static_cast<int64_t>(residual_.size()); }
  int64_t bytes() const { return static_cast<int64_t>(residual_.capacity() * sizeof(float)); }

 private:
  std::vector<float> residual_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_FILTER_BANK_H_
