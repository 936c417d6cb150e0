#ifndef LEAPSTREAM_MODEL_ENGINE_DECODER_ONLY_H_
#define LEAPSTREAM_MODEL_ENGINE_DECODER_ONLY_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/api/language_model.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/batch.h"
#include "model/engine/text_network.h"
#include "model/engine/weights.h"

namespace leapstream {

// fairseq's transformer_lm: the layers of a causal encoder and an output layer behind them. It goes
// on with texts. It can also translate, if it was trained on `source <separator> target`: the frame
// then starts the target with the separator, and the source's end is no token of the text. All of
// the source must be read before the first decision.
class DecoderOnly final : public Translator, public LanguageModel {
 public:
  // See Transformer::Create(). `config` has a language_model.
  static absl::StatusOr<std::unique_ptr<DecoderOnly>> Create(const ModelConfig& config,
                                                             Weights weights, int threads = 1);
  // Computes with a network of another engine.
  DecoderOnly(const ModelConfig& config, std::unique_ptr<const TextNetwork> network, int threads)
      : config_(config), threads_(threads), network_(std::move(network)) {}
  static std::vector<TensorSpec> ListTensors(const ModelConfig& config) {
    return ListTextTensors(config);
  }

  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override;
  absl::Status Reserve(int states) const override;

  using LanguageModel::Extend;
  absl::Status Extend(absl::Span<const TextRows> texts, TextVisitor visit,
                      BetweenLayers between_layers) const override;
  std::string Save(const SessionState& state) const override;
  absl::StatusOr<std::unique_ptr<SessionState>> Restore(absl::string_view bytes) const override;

  using Translator::Decide;
  using Translator::Read;
  using Translator::Score;
  absl::Status Read(absl::Span<const SourceRows> rows, BetweenLayers between_layers) const override;
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override;
  absl::Status Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                     BetweenLayers between_layers) const override;
  const LanguageModel* language_model() const override { return this; }

 private:
  absl::Status CheckText(const TextRows& text) const;
  // Opens a step of each state, and puts the row that it feeds into `batch`.
  absl::Status OpenSteps(absl::Span<SessionState* const> states, SourceBatch* batch) const;

  const ModelConfig config_;
  const int threads_;
  const std::unique_ptr<const TextNetwork> network_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_DECODER_ONLY_H_
