#include "model/engine/speech/conv_front_end.h"

#include <vector>

namespace leapstream {

class ConvFrontEnd::State : public SpeechFrontEnd::State {
 public:
  void Reset() override {
    samples_.Reset();
    subsampled_.Reset();
  }
  const std::vector<float>& rows() const override { return subsampled_.rows(); }
  int64_t bytes() const override {
    return static_cast<int64_t>(sizeof(State)) + samples_.bytes() + subsampled_.bytes();
  }
  std::unique_ptr<SpeechFrontEnd::State> Clone() const override {
    return std::make_unique<State>(*this);
  }

 private:
  friend class ConvFrontEnd;
  FrameBuffer samples_;
  ConvSubsampler::State subsampled_;
};

std::unique_ptr<SpeechFrontEnd::State> ConvFrontEnd::NewState() const {
  return std::make_unique<State>();
}

void ConvFrontEnd::Append(absl::Span<const float> samples, SpeechFrontEnd::State& any_state,
                          Workspace& scratch, const Observer& observer) const {
  auto& state = static_cast<State&>(any_state);
  thread_local std::vector<float> frames;
  frames.clear();
  state.samples_.Append(samples, bank_, config_.cmvn_mean, config_.cmvn_std, &frames);
  if (frames.empty()) return;
  ConvSubsampler::Observer conv;
  if (observer) {
    const auto count = static_cast<int64_t>(frames.size()) / bank_.bins();
    observer("features", 0, {{count, bank_.bins()}, frames});
    conv = [&](int64_t first, absl::Span<const float> values) {
      const int64_t width = subsampler_.conv_width();
      observer("conv", first,
               {{static_cast<int64_t>(values.size()) / width, width},
                std::vector<float>(values.begin(), values.end())});
    };
  }
  subsampler_.Append(frames, state.subsampled_, scratch, conv);
}

}  // namespace leapstream
