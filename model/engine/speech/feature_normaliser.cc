#include "model/engine/speech/feature_normaliser.h"

#include <algorithm>
#include <cmath>

namespace leapstream {
namespace {

constexpr float kVarianceFloor = 1e-10f;  // From fairseq's utterance_cmvn.py.

}  // namespace

FeatureNormaliser::FeatureNormaliser(const SpeechConfig& config)
    : of_utterance_(config.cmvn == "utterance"),
      none_(config.cmvn == "none"),
      means_(config.norm_means),
      vars_(config.norm_vars),
      bins_(config.mel_bins),
      stored_frames_(of_utterance_ ? config.cmvn_stored_frames : 0),
      mean_(config.cmvn_mean),
      std_(config.cmvn_std) {}

void FeatureNormaliser::Add(absl::Span<const float> frames, Sums* sums) const {
  sums->values.resize(bins_);
  sums->squares.resize(bins_);
  for (size_t begin = 0; begin < frames.size(); begin += bins_) {
    for (int64_t b = 0; b < bins_; ++b) {
      const float x = frames[begin + b];
      sums->values[b] += x;
      sums->squares[b] += x * x;
    }
    ++sums->frames;
  }
}

void FeatureNormaliser::Statistics(const Sums& sums, std::vector<float>* mean,
                                   std::vector<float>* std) const {
  mean->assign(bins_, 0.0f);
  std->assign(bins_, 1.0f);
  const auto missing = static_cast<float>(std::max<int64_t>(stored_frames_ - sums.frames, 0));
  const float frames = static_cast<float>(sums.frames) + missing;
  for (int64_t b = 0; b < bins_ && sums.frames > 0; ++b) {
    float values = sums.values[b];
    float squares = sums.squares[b];
    if (missing > 0) {
      values += missing * mean_[b];
      squares += missing * (std_[b] * std_[b] + mean_[b] * mean_[b]);
    }
    const float m = values / frames;
    // The product is rounded by itself, as NumPy does: a bin that never changes then has a variance
    // of 0 or of a rounding error.
    const volatile float square = m * m;
    if (means_) (*mean)[b] = m;
    if (vars_) (*std)[b] = std::sqrt(std::max(squares / frames - square, kVarianceFloor));
  }
}

void FeatureNormaliser::Apply(const Sums& sums, absl::Span<float> frames) const {
  if (none_) return;
  std::vector<float> mean, std;
  if (of_utterance_) Statistics(sums, &mean, &std);
  const std::vector<float>& m = of_utterance_ ? mean : mean_;
  const std::vector<float>& s = of_utterance_ ? std : std_;
  for (size_t begin = 0; begin < frames.size(); begin += bins_) {
    for (int64_t b = 0; b < bins_; ++b) frames[begin + b] = (frames[begin + b] - m[b]) / s[b];
  }
}

}  // namespace leapstream
