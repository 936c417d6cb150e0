#ifndef LEAPSTREAM_MODEL_ENGINE_TRANSFORMER_H_
#define LEAPSTREAM_MODEL_ENGINE_TRANSFORMER_H_

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/batch.h"
#include "model/engine/decoder.h"
#include "model/engine/encoder.h"
#include "model/engine/observer.h"
#include "model/engine/source_reader.h"
#include "model/engine/weights.h"

namespace leapstream {

// fairseq's encoder-decoder, run a token at a time: transformer_monotonic,
// transformer_unidirectional, transformer, and for speech convtransformer, s2t_transformer and
// s2t_conformer. A causal encoder takes each source token once. A bidirectional one encodes the
// whole prefix again at the first Decide() after a Read(), whose cost therefore grows with the
// prefix; the decoder's own past stays as it was.
class Transformer : public Translator {
 public:
  // `config` must have passed ValidateModelConfig(). `threads`: the threads that share the work of
  // a call, the calling one included; results do not depend on their number. INVALID_ARGUMENT: the
  // weights are of another network: see Weights::Finish().
  static absl::StatusOr<std::unique_ptr<Transformer>> Create(const ModelConfig& config,
                                                             Weights weights, int threads = 1);
  // The tensors that Create() takes.
  static std::vector<TensorSpec> ListTensors(const ModelConfig& config);

  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override;
  absl::Status Reserve(int states) const override;
  bool encodes_anew() const override { return !config_.causal_encoder; }
  bool can_replay() const override;
  using Translator::Decide;
  using Translator::Read;
  using Translator::Score;
  using Translator::Verify;
  absl::Status Read(absl::Span<const SourceRows> rows, BetweenLayers between_layers) const override;
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override;
  absl::Status Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                     BetweenLayers between_layers) const override;
  absl::Status Verify(absl::Span<const GivenRows> rows,
                      BetweenLayers between_layers) const override;
  absl::Status Replay(absl::Span<const ReplayRows> rows,
                      BetweenLayers between_layers) const override;

  // Must be called before the model is shared.
  void ObserveForTest(RowObserver::Listener listener) {
    observer_.ListenForTest(std::move(listener));
  }
  // See TransformerDecoder.
  Tensor DecoderSelfAttentionSumsForTest(const SessionState& state, int layer) const {
    return decoder_.SelfAttentionSumsForTest(static_cast<const TransformerState&>(state), layer);
  }

 private:
  Transformer(const ModelConfig& config, Weights weights, int threads);
  // Encodes prefixes that have changed, if the encoder is bidirectional. A part of Decide().
  void EncodePrefixes(absl::Span<SessionState* const> batch, Scratch& scratch,
                      BetweenLayers between_layers) const;

  const ModelConfig config_;
  const int threads_;
  Weights weights_;  // Declared before the members that point into it. Constant once they are made.
  RowObserver observer_;
  const SourceReader reader_;
  const TransformerEncoder encoder_;
  const TransformerDecoder decoder_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_TRANSFORMER_H_
