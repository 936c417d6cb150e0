#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_SPEECH_FRONT_END_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_SPEECH_FRONT_END_H_

#include <cstdint>
#include <vector>

#include <functional>
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/speech/conv_subsampler.h"
#include "model/engine/speech/filter_bank.h"
#include "model/engine/parameters.h"

namespace leapstream {

// From samples to the rows that an encoder of speech takes in place of embeddings: one pass over
// the audio, however it is cut. Const and thread-safe.
class SpeechFrontEnd {
 public:
  class State {
   public:
    void Reset() {
      samples_.Reset();
      subsampled_.Reset();
    }
    const std::vector<float>& rows() const { return subsampled_.rows(); }  // [S, E]
    int64_t bytes() const { return samples_.bytes() + subsampled_.bytes(); }

   private:
    friend class SpeechFrontEnd;
    FrameBuffer samples_;
    ConvSubsampler::State subsampled_;
  };

  // parameters: the encoder's, of this width.
  SpeechFrontEnd(const Parameters& parameters, const SpeechConfig& config, int64_t width)
      : config_(config), subsampler_(parameters.Under("conv"), config.conv_channels, width) {}

  // With the new frames' "features" [n, kMelBins] and the subsampler's "conv" [rows, kBins2 C], row
  // by row from the row that is given; for tests.
  using Observer = std::function<void(absl::string_view, int64_t first_row, const Tensor&)>;
  void Append(absl::Span<const float> samples, State& state, Workspace& scratch,
              const Observer& observer) const;

 private:
  const SpeechConfig config_;
  const FilterBank bank_;
  const ConvSubsampler subsampler_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_SPEECH_FRONT_END_H_
