#include "model/engine/speech/conv_subsampler.h"

#include <algorithm>

namespace leapstream {
namespace {

// The most frames that are computed at once, so that a long recording needs no more scratch memory
// than a short one.
constexpr int64_t kBlockFrames = 64;

// The input of either convolution. The output at time t and bin f sees the times 2t - 1 .. 2t + 1
// and the bins 2f - 1 .. 2f + 1.
struct Input {
  const float* values;  // [count, bins, channels], from time `first`.
  int64_t first;
  int64_t end;  // Times from `end` on are zeros, as are times before 0.
  int bins;
  int channels;
};

// Writes the 3 x 3 x channels values that each of the outputs [first, last) x bins / 2 sees.
void Unfold(const Input& input, int64_t first, int64_t last, float* out) {
  const int64_t width = input.channels;
  for (int64_t t = first; t < last; ++t) {
    for (int f = 0; f < input.bins / 2; ++f) {
      for (int64_t time = 2 * t - 1; time <= 2 * t + 1; ++time) {
        for (int bin = 2 * f - 1; bin <= 2 * f + 1; ++bin, out += width) {
          if (time < 0 || time >= input.end || bin < 0 || bin >= input.bins) {
            std::fill_n(out, width, 0.0f);
          } else {
            std::copy_n(input.values + ((time - input.first) * input.bins + bin) * width, width,
                        out);
          }
        }
      }
    }
  }
}

}  // namespace

void ConvSubsampler::State::Reset() {
  frames_.clear();
  hidden_.clear();
  rows_.clear();
  first_frame_ = frame_count_ = first_hidden_ = hidden_count_ = final_rows_ = 0;
}

int64_t ConvSubsampler::State::bytes() const {
  return static_cast<int64_t>((frames_.capacity() + hidden_.capacity() + rows_.capacity()) *
                              sizeof(float));
}

ConvSubsampler::ConvSubsampler(const Parameters& parameters, const SpeechConfig& config,
                               int64_t width)
    : bins_(config.mel_bins),
      channels_(config.conv_channels),
      first_(parameters.Under("0").ExactLinear({config.conv_channels, 1, 3, 3})) {
  const int64_t C = channels_;
  // Weights are reordered from [C, places] to [places, C]: channels come last, so that Unfold()
  // copies runs.
  const auto channels_last = [C](int64_t places) {
    std::vector<int64_t> order(places * C);
    for (int64_t c = 0; c < C; ++c) {
      for (int64_t i = 0; i < places; ++i) order[i * C + c] = c * places + i;
    }
    return order;
  };
  second_ = parameters.Under("1").Linear({C, C, 3, 3}, channels_last(9));
  out_ = parameters.Under("out").Linear({width, C * (bins_ / 4)}, channels_last(bins_ / 4));
}

void ConvSubsampler::Append(absl::Span<const float> frames, Subsampler::State& state,
                            Workspace& scratch, const Observer& observer) const {
  const size_t block = kBlockFrames * bins_;
  for (size_t begin = 0; begin < frames.size(); begin += block) {
    AppendBlock(frames.subspan(begin, block), static_cast<State&>(state), scratch, observer);
  }
}

void ConvSubsampler::AppendBlock(absl::Span<const float> frames, State& state, Workspace& scratch,
                                 const Observer& observer) const {
  const Workspace::Scope scope(scratch);
  const int64_t C = channels_;
  const int bins1 = bins_ / 2;  // The bins of the first convolution's output.
  const int bins2 = bins_ / 4;  // The bins of the second convolution's output.
  state.frames_.insert(state.frames_.end(), frames.begin(), frames.end());
  state.frame_count_ += static_cast<int64_t>(frames.size()) / bins_;
  const int64_t T = state.frame_count_;
  const int64_t hidden = (T + 1) / 2;  // The rows of the first convolution.
  const int64_t final_hidden = T / 2;  // The rows that see no padding in place of a later frame.
  const int64_t rows = (hidden + 1) / 2;

  const int64_t row1 = bins1 * C;
  const int64_t new_hidden = hidden - state.hidden_count_;
  float* unfolded = scratch.Floats(new_hidden * bins1 * 9);
  Unfold({state.frames_.data(), state.first_frame_, T, bins_, 1}, state.hidden_count_, hidden,
         unfolded);
  const int64_t kept = static_cast<int64_t>(state.hidden_.size());
  state.hidden_.resize(kept + new_hidden * row1);
  first_.Apply(unfolded, new_hidden * bins1, state.hidden_.data() + kept, scratch,
               Epilogue::kRelu);

  const int64_t new_rows = rows - state.final_rows_;
  const int64_t row2 = bins2 * C;
  float* seen = scratch.Floats(new_rows * bins2 * 9 * C);
  Unfold({state.hidden_.data(), state.first_hidden_, hidden, bins1, channels_}, state.final_rows_,
         rows, seen);
  float* conv = scratch.Floats(new_rows * row2);
  second_.Apply(seen, new_rows * bins2, conv, scratch, Epilogue::kRelu);
  if (observer) {
    observer("conv", state.final_rows_,
             {{new_rows, row2}, std::vector<float>(conv, conv + new_rows * row2)});
  }
  state.rows_.resize(rows * out_.out());
  out_.Apply(conv, new_rows, state.rows_.data() + state.final_rows_ * out_.out(), scratch);

  // Rows that are not final are dropped here and computed again with later frames.
  state.hidden_.resize((final_hidden - state.first_hidden_) * row1);
  state.hidden_count_ = final_hidden;
  state.final_rows_ = final_hidden / 2;
  TrimRows(2 * state.final_rows_ - 1, row1, &state.hidden_, &state.first_hidden_);
  TrimRows(2 * final_hidden - 1, bins_, &state.frames_, &state.first_frame_);
}

}  // namespace leapstream
