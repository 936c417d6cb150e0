#include "model/engine/speech/subsampler.h"

#include "model/engine/speech/conv1d_subsampler.h"
#include "model/engine/speech/conv_subsampler.h"

namespace leapstream {

std::unique_ptr<const Subsampler> MakeSubsampler(const Parameters& parameters,
                                                 const SpeechConfig& config, int64_t width) {
  const Parameters convolutions = parameters.Under("conv");
  if (config.front_end == "conv1d") {
    return std::make_unique<Conv1dSubsampler>(convolutions, config, width);
  }
  return std::make_unique<ConvSubsampler>(convolutions, config, width);
}

void TrimRows(int64_t keep, int64_t width, std::vector<float>* values, int64_t* first) {
  if (keep <= *first) return;
  values->erase(values->begin(), values->begin() + (keep - *first) * width);
  *first = keep;
}

}  // namespace leapstream
