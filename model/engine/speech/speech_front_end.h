#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_SPEECH_FRONT_END_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_SPEECH_FRONT_END_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/parameters.h"
#include "model/engine/speech/feature_normaliser.h"
#include "model/engine/speech/filter_bank.h"
#include "model/engine/speech/subsampler.h"

namespace leapstream {

// Turns samples into the rows that an encoder of speech takes in place of embeddings: filter banks,
// a FeatureNormaliser and a Subsampler. The rows do not depend on how the audio is cut. Const and
// thread-safe.
class SpeechFrontEnd {
 public:
  // The audio of one segment. The features of samples are computed as they come, rows when they are
  // asked for: with utterance CMVN all rows change with each new frame.
  class State {
   public:
    State() = default;
    State(const State& other);  // For Clone().
    State& operator=(const State&) = delete;
    void Reset();
    const std::vector<float>& rows() const { return subsampled_->rows(); }  // [S, E], of Update().
    int64_t bytes() const;
    std::unique_ptr<State> Clone() const { return std::make_unique<State>(*this); }

   private:
    friend class SpeechFrontEnd;
    FrameBuffer samples_;
    int64_t frame_count_ = 0;
    // Frames without normalisation: all, if it changes with later ones, or else those that rows()
    // lacks.
    std::vector<float> frames_;
    FeatureNormaliser::Sums sums_;
    bool stale_ = false;  // rows() lacks frames.
    std::unique_ptr<Subsampler::State> subsampled_;
  };
  using Observer = Subsampler::Observer;

  // parameters: the encoder's. width: the encoder's, E.
  SpeechFrontEnd(const Parameters& parameters, const SpeechConfig& config, int64_t width);

  std::unique_ptr<State> NewState() const;
  void Append(absl::Span<const float> samples, State& state) const;
  // Brings rows() up to date: appends rows, and may change those that are there. `observer` is a
  // test's, or empty; it is shown the "features" [n, bins] and what the subsampler makes of them.
  void Update(State& state, Workspace& scratch, const Observer& observer) const;
  // The number of rows for all samples that were appended.
  int64_t RowsOf(const State& state) const {
    return (state.frame_count_ + frames_per_row_ - 1) / frames_per_row_;
  }

 private:
  const int64_t frames_per_row_;
  const FilterBank bank_;
  const FeatureNormaliser normaliser_;
  const std::unique_ptr<const Subsampler> subsampler_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_SPEECH_FRONT_END_H_
