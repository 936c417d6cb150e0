#ifndef LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV_SUBSAMPLER_H_
#define LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV_SUBSAMPLER_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/parameters.h"

namespace leapstream {

// The two convolutions of fairseq's convtransformer (3 x 3, stride 2, padding 1, ReLU) over time
// and filter banks, and the linear layer after them: every four frames become one row of the
// encoder's width. Const and thread-safe.
class ConvSubsampler {
 public:
  static constexpr int kBins1 = 40;  // Of the first convolution's output, for 80 filter banks.
  static constexpr int kBins2 = 20;  // Of the second one's.

  // What is kept of a segment. A row is computed once, but for the last one or two, which see zeros
  // in place of frames that have not come.
  class State {
   public:
    void Reset();
    // [rows, E]
    const std::vector<float>& rows() const { return rows_; }
    int64_t bytes() const;

   private:
    friend class ConvSubsampler;
    std::vector<float> frames_;  // [.., kMelBins], from frame first_frame_.
    int64_t first_frame_ = 0;
    int64_t frame_count_ = 0;
    std::vector<float>
        hidden_;  // Final rows of the first one, [.., kBins1, C], from first_hidden_.
    int64_t first_hidden_ = 0;
    int64_t hidden_count_ = 0;  // All that are final.
    std::vector<float> rows_;
    int64_t final_rows_ = 0;
  };

  // width: of the encoder, E.
  ConvSubsampler(const Parameters& parameters, int channels, int64_t width);

  // frames: [n, kMelBins]. Called with the output of the second ReLU, [rows, kBins2, C], if it is
  // not null; for tests.
  using Observer = std::function<void(int64_t first_row, absl::Span<const float> conv)>;
  void Append(absl::Span<const float> frames, State& state, Workspace& scratch,
              const Observer& observer) const;
  int channels() const { return channels_; }

 private:
  void AppendBlock(absl::Span<const float> frames, State& state, Workspace& scratch,
                   const Observer& observer) const;

  int channels_;
  PackedLinear first_;   // [9] -> [C]
  PackedLinear second_;  // [3, 3, C] -> [C]
  PackedLinear out_;     // [kBins2, C] -> [E]
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SPEECH_CONV_SUBSAMPLER_H_
