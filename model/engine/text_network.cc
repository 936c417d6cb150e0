#include "model/engine/text_network.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/status.h"
#include "model/engine/adaptive.h"
#include "model/engine/contract.h"
#include "model/engine/encoder.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/model_call.h"
#include "model/engine/observer.h"
#include "model/engine/parameters.h"

namespace leapstream {
namespace {

constexpr char kTextSide[] = "decoder";
constexpr int64_t kTextsTogether = 16;  // Rows of logits: with a large vocabulary these are most of
                                        // the scratch memory.

// fairseq's transformer_lm: the layers of a causal encoder, and an output layer behind them.
class OwnTextNetwork : public TextNetwork {
 public:
  OwnTextNetwork(const ModelConfig& config, Weights weights)
      : config_(config),
        weights_(std::move(weights)),
        layers_(Parameters(weights_), config_, observer_),
        project_out_(config.decoder.output_dim != config.decoder.embed_dim
                         ? Parameters(weights_).Under(kTextSide).Matrix(
                               "project_out", {config.decoder.output_dim, config.decoder.embed_dim})
                         : PackedLinear()),
        output_(Parameters(weights_).Under(kTextSide), config_) {}

  Weights& weights() { return weights_; }

  void AddTo(TransformerState* state) const override { layers_.AddTo(state); }
  absl::Status Reserve(int states) const override {
    return ModelCall("states of texts", 1, [&] {
      layers_.Reserve(states);
      return absl::OkStatus();
    });
  }

  absl::Status Score(const SourceBatch& batch, absl::Span<const Scored> scored, Visitor visit,
                     Scratch& scratch, BetweenLayers between_layers) const override {
    const Workspace::Scope scope(scratch.floats);
    Rows x = layers_.Encode(batch, scratch, between_layers);
    for (size_t i = 0; i < scored.size(); ++i) {
      std::copy_n(x.x + scored[i].row * x.width, x.width, x.x + static_cast<int64_t>(i) * x.width);
    }
    x.count = static_cast<int64_t>(scored.size());
    ShowScores(
        x, [&](size_t i) { return scored[i].temperature; }, visit, scratch.floats, between_layers);
    return absl::OkStatus();
  }

  absl::Status Decide(const SourceBatch& batch, absl::Span<Decision> result, Scratch& scratch,
                      BetweenLayers between_layers) const override {
    const Workspace::Scope scope(scratch.floats);
    ShowScores(
        layers_.Encode(batch, scratch, between_layers), [](size_t) { return 1.0f; },
        [&](size_t i, const TokenScores& scores) {
          result[i] = Decided(scores);
          return true;
        },
        scratch.floats, between_layers);
    return absl::OkStatus();
  }

 private:
  // Gives `visit` the scores of rows x.
  void ShowScores(const Rows& x, absl::FunctionRef<float(size_t row)> temperature, Visitor visit,
                  Workspace& floats, BetweenLayers between_layers) const {
    if (x.count == 0) return;
    const float* features = x.x;
    int64_t width = x.width;
    if (project_out_.in() > 0) {
      width = project_out_.out();
      float* projected = floats.Floats(x.count * width);
      project_out_.Apply(x.x, x.count, projected, floats);
      features = projected;
    }
    const int64_t vocabulary = output_.vocabulary();
    float* logits = floats.Floats(std::min(x.count, kTextsTogether) * vocabulary);
    for (int64_t begin = 0; begin < x.count; begin += kTextsTogether) {
      if (begin > 0) between_layers();
      const int64_t count = std::min(kTextsTogether, x.count - begin);
      output_.Apply(features + begin * width, count, logits, floats);
      for (int64_t r = 0; r < count; ++r) {
        const auto row = static_cast<size_t>(begin + r);
        visit(row, leapstream::Scored(absl::MakeSpan(logits + r * vocabulary, vocabulary),
                                      temperature(row)));
      }
    }
  }

  const ModelConfig config_;
  Weights weights_;  // Declared before the members that point into it. Constant once they are made.
  RowObserver observer_;
  const TransformerEncoder layers_;
  const PackedLinear project_out_;  // Has no inputs if there is none.
  const OutputLayer output_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<const TextNetwork>> MakeTextNetwork(const ModelConfig& config,
                                                                   Weights weights) {
  auto network = std::make_unique<OwnTextNetwork>(config, std::move(weights));
  LEAPSTREAM_RETURN_IF_ERROR(network->weights().Finish());
  return network;
}

std::vector<TensorSpec> ListTextTensors(const ModelConfig& config) {
  return OwnTextNetwork(config, Weights::Listing()).weights().taken();
}

}  // namespace leapstream
