#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV_SUBSAMPLER_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV_SUBSAMPLER_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/parameters.h"

namespace leapstream {

// The two convolutions of fairseq's convtransformer (3 x 3, stride 2, padding 1, ReLU) over time
// and filter banks, and the linear layer after them: every four frames become one row of the
// encoder's width. Const and thread-safe.
class ConvSubsampler {
 public:
  // The memory of a segment. Each row is computed once, except for the last one or two, which see
  // zeros in place of frames that have not come yet.
  class State {
   public:
    void Reset();
    // [rows, E]
    const std::vector<float>& rows() const { return rows_; }
    int64_t bytes() const;

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

  // frames: [n, bins]. An observer, which is a test's, is called with the output of the second
  // ReLU, [rows, bins / 4, C].
  using Observer = std::function<void(int64_t first_row, absl::Span<const float> conv)>;
  void Append(absl::Span<const float> frames, State& state, Workspace& scratch,
              const Observer& observer) const;
  int64_t conv_width() const { return int64_t{bins_ / 4} * channels_; }

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
