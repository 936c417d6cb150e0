#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV_SUBSAMPLER_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV_SUBSAMPLER_H_

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

// The two convolutions of fairseq's convtransformer (3 x 3, stride 2, padding 1, ReLU) over time
// and filter banks, and the linear layer after them: every four frames become one row of the
// encoder's width. Const and thread-safe.
class ConvSubsampler : public Subsampler {
 public:
  class State : public Subsampler::State {
   public:
    void Reset() override;
    const std::vector<float>& rows() const override { return rows_; }
    int64_t bytes() const override;
    std::unique_ptr<Subsampler::State> Clone() const override {
      return std::make_unique<State>(*this);
    }

   private:
    friend class ConvSubsampler;
    std::vector<float> frames_;  // [.., bins], from frame first_frame_.
    int64_t first_frame_ = 0;
    int64_t frame_count_ = 0;
    // Final rows of the first convolution, [.., bins / 2, C], from row first_hidden_.
    std::vector<float> hidden_;
    int64_t first_hidden_ = 0;
    int64_t hidden_count_ = 0;  // The number of its final rows, forgotten ones included.
    std::vector<float> rows_;
    int64_t final_rows_ = 0;
  };

  // width: the encoder's, E.
  ConvSubsampler(const Parameters& parameters, const SpeechConfig& config, int64_t width);

  std::unique_ptr<Subsampler::State> NewState() const override {
    return std::make_unique<State>();
  }
  // Shows an observer "conv", the output of the second ReLU: [rows, bins / 4, C].
  void Append(absl::Span<const float> frames, Subsampler::State& state, Workspace& scratch,
              const Observer& observer) const override;

 private:
  void AppendBlock(absl::Span<const float> frames, State& state, Workspace& scratch,
                   const Observer& observer) const;

  const int bins_;
  const int channels_;
  PackedLinear first_;   // [9] -> [C]
  PackedLinear second_;  // [3, 3, C] -> [C]
  PackedLinear out_;     // [bins / 4, C] -> [E]
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV_SUBSAMPLER_H_
