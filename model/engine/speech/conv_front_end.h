#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV_FRONT_END_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV_FRONT_END_H_

#include <cstdint>
#include <memory>

#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/parameters.h"
#include "model/engine/speech/conv_subsampler.h"
#include "model/engine/speech/filter_bank.h"
#include "model/engine/speech/speech_front_end.h"

namespace leapstream {

// fairseq's convtransformer: log mel filter banks, global CMVN and two convolutions. Shows an
// observer the new frames' "features" [n, bins] and the subsampler's "conv" [rows, bins / 4 C].
class ConvFrontEnd : public SpeechFrontEnd {
 public:
  // parameters: the encoder's. width: the encoder's, E.
  ConvFrontEnd(const Parameters& parameters, const SpeechConfig& config, int64_t width)
      : config_(config),
        bank_(config),
        subsampler_(parameters.Under("conv"), config, width) {}

  std::unique_ptr<SpeechFrontEnd::State> NewState() const override;
  void Append(absl::Span<const float> samples, SpeechFrontEnd::State& state, Workspace& scratch,
              const Observer& observer) const override;

 private:
  class State;

  const SpeechConfig config_;
  const FilterBank bank_;
  const ConvSubsampler subsampler_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV_FRONT_END_H_
