#include "model/engine/speech/conv1d_subsampler.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "model/engine/layers.h"

namespace leapstream {
namespace {

// The most frames that are computed at once, so that a long recording needs no more scratch memory
// than a short one.
constexpr int64_t kBlockTimes = 64;

// The input of one convolution. The output at time t sees the times 2 t - kernel / 2 .. 2 t +
// kernel / 2.
struct TimeInput {
  std::vector<float> values;  // [.., in], from time `first`.
  int64_t first = 0;
  // The number of times whose values are final, forgotten ones included. Values behind them see
  // zeros in place of later frames.
  int64_t final = 0;
  int64_t done = 0;  // The number of final outputs.
};

// Writes the [kernel, in] values that each of the outputs [first, last) sees. Times from `end` on
// are zeros, as are times before 0.
void UnfoldTimes(const TimeInput& input, int64_t kernel, int64_t in, int64_t end, int64_t last,
                 float* out) {
  for (int64_t t = input.done; t < last; ++t) {
    for (int64_t time = 2 * t - kernel / 2; time <= 2 * t + kernel / 2; ++time, out += in) {
      if (time < 0 || time >= end) {
        std::fill_n(out, in, 0.0f);
      } else {
        std::copy_n(input.values.data() + (time - input.first) * in, in, out);
      }
    }
  }
}

// out [count, width] = the first half of each row times the sigmoid of the second.
void Gate(const float* rows, int64_t count, int64_t width, float* out) {
  for (int64_t r = 0; r < count; ++r, rows += 2 * width, out += width) {
    MultiplyBySigmoid(rows, rows + width, width, out);
  }
}

}  // namespace

class Conv1dSubsampler::State : public Subsampler::State {
 public:
  explicit State(size_t layers) : inputs_(layers) {}
  void Reset() override {
    for (TimeInput& input : inputs_) {
      input.values.clear();
      input.first = input.final = input.done = 0;
    }
    rows_.clear();
  }
  const std::vector<float>& rows() const override { return rows_; }
  int64_t bytes() const override {
    size_t floats = rows_.capacity();
    for (const TimeInput& input : inputs_) floats += input.values.capacity();
    return static_cast<int64_t>(sizeof(State) + inputs_.size() * sizeof(TimeInput) +
                                floats * sizeof(float));
  }
  std::unique_ptr<Subsampler::State> Clone() const override {
    return std::make_unique<State>(*this);
  }

 private:
  friend class Conv1dSubsampler;
  std::vector<TimeInput> inputs_;  // One for each convolution.
  std::vector<float> rows_;
};

Conv1dSubsampler::Conv1dSubsampler(const Parameters& parameters, const SpeechConfig& config,
                                   int64_t width) {
  int64_t in = config.mel_bins;
  for (size_t l = 0; l < config.conv_kernels.size(); ++l) {
    const int64_t kernel = config.conv_kernels[l];
    const bool last = l + 1 == config.conv_kernels.size();
    const int64_t out = last ? width : config.conv_channels / 2;
    // Weights are reordered from [in, kernel] to [kernel, in]: channels come last, so that
    // UnfoldTimes() copies runs.
    std::vector<int64_t> order(kernel * in);
    for (int64_t k = 0; k < kernel; ++k) {
      for (int64_t c = 0; c < in; ++c) order[k * in + c] = c * kernel + k;
    }
    layers_.push_back(
        {kernel, in, parameters.Under(absl::StrCat(l)).Linear({2 * out, in, kernel}, order), out});
    in = out;
  }
}

std::unique_ptr<Subsampler::State> Conv1dSubsampler::NewState() const {
  return std::make_unique<State>(layers_.size());
}

void Conv1dSubsampler::Append(absl::Span<const float> frames, Subsampler::State& state,
                              Workspace& scratch, const Observer& observer) const {
  const int64_t block = kBlockTimes * layers_.front().in;
  for (int64_t begin = 0; begin < static_cast<int64_t>(frames.size()); begin += block) {
    AppendBlock(frames.subspan(begin, block), static_cast<State&>(state), scratch, observer);
  }
}

void Conv1dSubsampler::AppendBlock(absl::Span<const float> frames, State& state,
                                   Workspace& scratch, const Observer& observer) const {
  TimeInput& frame_input = state.inputs_.front();
  frame_input.values.insert(frame_input.values.end(), frames.begin(), frames.end());
  frame_input.final += static_cast<int64_t>(frames.size()) / layers_.front().in;
  int64_t end = frame_input.final;  // The number of times, final or not.
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Workspace::Scope scope(scratch);
    const Layer& layer = layers_[l];
    TimeInput& input = state.inputs_[l];
    const int64_t total = (end + 1) / 2;
    // Outputs are final if all that they see is.
    const int64_t ahead = layer.kernel / 2;
    const int64_t final = input.final > ahead ? (input.final - 1 - ahead) / 2 + 1 : 0;
    const int64_t count = total - input.done;
    float* seen = scratch.Floats(count * layer.kernel * layer.in);
    UnfoldTimes(input, layer.kernel, layer.in, end, total, seen);
    float* gated = scratch.Floats(count * 2 * layer.out);
    layer.product.Apply(seen, count, gated, scratch);
    if (observer) {
      observer(absl::StrCat("conv.", l), input.done,
               {{count, 2 * layer.out}, std::vector<float>(gated, gated + count * 2 * layer.out)});
    }
    const bool last = l + 1 == layers_.size();
    TimeInput* const next = last ? nullptr : &state.inputs_[l + 1];
    std::vector<float>& out = last ? state.rows_ : next->values;
    const int64_t kept = (input.done - (last ? 0 : next->first)) * layer.out;
    out.resize(kept + count * layer.out);
    Gate(gated, count, layer.out, out.data() + kept);
    // Values that are not final are dropped here and come again with later frames.
    input.values.resize((input.final - input.first) * layer.in);
    input.done = final;
    TrimRows(std::min(2 * final - ahead, input.final), layer.in, &input.values, &input.first);
    if (!last) next->final = final;
    end = total;
  }
}

}  // namespace leapstream
