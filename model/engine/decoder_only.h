#ifndef LEAPSTREAM_MODEL_ENGINE_DECODER_ONLY_H_
#define LEAPSTREAM_MODEL_ENGINE_DECODER_ONLY_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/api/language_model.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/adaptive.h"
#include "model/engine/batch.h"
#include "model/engine/encoder.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/observer.h"
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
  static std::vector<TensorSpec> ListTensors(const ModelConfig& config);

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
  DecoderOnly(const ModelConfig& config, Weights weights, int threads);
  absl::Status CheckText(const TextRows& text) const;
  // Opens a step of each state, and gives `visit` its scores.
  absl::Status Step(absl::Span<const ScoreRow> rows, ScoreVisitor visit, Scratch& scratch,
                    BetweenLayers between_layers) const;
  // Gives `visit` the scores of rows x, each with its place in the call.
  absl::Status ShowScores(const Rows& x, absl::FunctionRef<float(int64_t row)> temperature,
                          absl::FunctionRef<void(int64_t row, const TokenScores&)> visit,
                          Workspace& floats, BetweenLayers between_layers) const;

  const ModelConfig config_;
  const int threads_;
  Weights weights_;  // Declared before the members that point into it. Constant once they are made.
  RowObserver observer_;
  const TransformerEncoder layers_;
  const PackedLinear project_out_;  // Has no inputs if there is none.
  const OutputLayer output_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_DECODER_ONLY_H_
