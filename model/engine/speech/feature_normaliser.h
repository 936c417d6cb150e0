#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_FEATURE_NORMALISER_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_FEATURE_NORMALISER_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/api/model_config.h"

namespace leapstream {

// The normalisation of features (CMVN) that a model was trained with. Const and thread-safe.
//
// Utterance CMVN uses the statistics of what has been heard of the segment: at the segment's end
// these are the ones of training, and until then every frame changes with each new one. As in
// fairseq's utterance_cmvn, per bin over F frames: m = sum x / F, v = sum x^2 / F - m^2, and the
// result is (x - m) / sqrt(max(v, 1e-10)), all in float32, with the sums taken frame by frame. With
// stored statistics (SpeechConfig::cmvn_stored_frames, n), the sums of a segment of fewer than n
// frames are those of its frames and of n - F more, which have the stored mean and variance.
class FeatureNormaliser {
 public:
  explicit FeatureNormaliser(const SpeechConfig& config);

  // The sums over a segment's frames, for utterance CMVN.
  struct Sums {
    int64_t frames = 0;
    std::vector<float> values;   // [bins], or empty before the first frame.
    std::vector<float> squares;  // The same.
  };
  // Whether a frame's normalisation changes with later frames.
  bool changes() const { return of_utterance_; }
  void Add(absl::Span<const float> frames, Sums* sums) const;
  // Replaces frames [n, bins] by normalised ones. `sums`: those of the segment; used by utterance
  // CMVN alone.
  void Apply(const Sums& sums, absl::Span<float> frames) const;

 private:
  // Computes the mean and the standard deviation of each bin.
  void Statistics(const Sums& sums, std::vector<float>* mean, std::vector<float>* std) const;

  const bool of_utterance_;
  const bool none_;
  const bool means_;
  const bool vars_;
  const int64_t bins_;
  const int64_t stored_frames_;
  const std::vector<float> mean_;  // Stored ones: [bins], or empty.
  const std::vector<float> std_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_FEATURE_NORMALISER_H_
