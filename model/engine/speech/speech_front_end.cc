#include "model/engine/speech/speech_front_end.h"

namespace leapstream {

void SpeechFrontEnd::Append(absl::Span<const float> samples, State& state, Workspace& scratch,
                            const Observer& observer) const {
  thread_local std::vector<float> frames;
  frames.clear();
  state.samples_.Append(samples, bank_, config_.cmvn_mean, config_.cmvn_std, &frames);
  if (frames.empty()) return;
  ConvSubsampler::Observer conv;
  if (observer) {
    const auto count = static_cast<int64_t>(frames.size()) / kMelBins;
    observer("features", 0, {{count, kMelBins}, frames});
    conv = [&](int64_t first, absl::Span<const float> values) {
      const int64_t width = ConvSubsampler::kBins2 * subsampler_.channels();
      observer("conv", first,
               {{static_cast<int64_t>(values.size()) / width, width},
                std::vector<float>(values.begin(), values.end())});
    };
  }
  subsampler_.Append(frames, state.subsampled_, scratch, conv);
}

}  // namespace leapstream
