#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV1D_SUBSAMPLER_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV1D_SUBSAMPLER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/parameters.h"
#include "model/engine/speech/subsampler.h"

namespace leapstream {

// fairseq's Conv1dSubsampler, of s2t_transformer and s2t_conformer: convolutions over time of
// stride 2, padded with half a kernel of zeros on both sides. A gated linear unit follows each: the
// first half of the channels times the sigmoid of the second half.
class Conv1dSubsampler : public Subsampler {
 public:
  // width: the encoder's, E.
  Conv1dSubsampler(const Parameters& parameters, const SpeechConfig& config, int64_t width);

  std::unique_ptr<Subsampler::State> NewState() const override;
  // Shows an observer "conv.I", the output of convolution I before its gate.
  void Append(absl::Span<const float> frames, Subsampler::State& state, Workspace& scratch,
              const Observer& observer) const override;

 private:
  class State;
  struct Layer {
    int64_t kernel;
    int64_t in;            // Channels.
    PackedLinear product;  // [kernel, in] -> [2 channels]
    int64_t out;           // Channels behind the gate.
  };
  void AppendBlock(absl::Span<const float> frames, State& state, Workspace& scratch,
                   const Observer& observer) const;

  std::vector<Layer> layers_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV1D_SUBSAMPLER_H_
