#ifndef LEAPSTREAM_MODEL_ENGINE_TRANSFORMER_H_
#define LEAPSTREAM_MODEL_ENGINE_TRANSFORMER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/attention/attention.h"
#include "model/engine/layers.h"
#include "model/engine/speech/speech_front_end.h"
#include "model/engine/parameters.h"
#include "model/engine/weights.h"

namespace leapstream {

// fairseq's encoder-decoder, a token at a time: transformer_monotonic, transformer_unidirectional,
// transformer, and for speech convtransformer_simul_trans. A causal encoder takes each source token
// once. A bidirectional one encodes the whole prefix again before a target token is decided after a
// Read(), which so costs as much as all that was read before; the decoder's own past stays as it
// was.
class Transformer : public Translator {
 public:
  // `threads`: that share the work of a Read() or Decide(), the calling one included. Results do
  // not depend on it. UNIMPLEMENTED: an option that is not supported. INVALID_ARGUMENT: weights
  // of another network: see Weights::Finish(). `config` has passed ValidateModelConfig().
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
  absl::Status Read(absl::Span<const SourceRows> rows, BetweenLayers between_layers) const override;
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override;
  absl::Status Replay(absl::Span<const ReplayRows> rows,
                      BetweenLayers between_layers) const override;

  // Called with intermediate rows by their golden name ("enc.0.self_attn", "logits", ...). For
  // tests; set before the model is shared.
  using Observer = std::function<void(absl::string_view name, const Tensor& rows)>;
  void set_observer(Observer observer) { observer_ = std::move(observer); }
  // The sums of a decoder layer's LeaP self-attention with the newest position in: see
  // LinearAttention::Sums(). For tests.
  Tensor DecoderSelfAttentionSums(const SessionState& state, int layer) const;

  struct Rows {  // [count, width], contiguous.
    float* x;
    int64_t count;
    int64_t width;
  };

 private:
  struct EncoderLayer {
    EncoderLayer(const Parameters& parameters, const ModelConfig& config, Activation activation);
    Attention self_attention;
    LayerNorm self_attention_norm;
    FeedForward ffn;
    LayerNorm ffn_norm;
  };
  struct DecoderLayer {
    DecoderLayer(const Parameters& parameters, const ModelConfig& config, Activation activation);
    Attention self_attention;
    LayerNorm self_attention_norm;
    Attention cross_attention;
    LayerNorm cross_attention_norm;
    FeedForward ffn;
    LayerNorm ffn_norm;
  };
  class State;

  Transformer(const ModelConfig& config, Weights owned_weights, Activation activation, int threads);
  struct SourceBatch;
  struct Scratch;
  class ScratchLoan;
  // The encoder's output [R, E], in memory of `scratch`; adds to the encoder's states.
  Rows Encode(const SourceBatch& batch, Scratch& scratch, BetweenLayers between_layers) const;
  // Adds that to the states of cross-attention.
  void AppendToCross(const SourceBatch& batch, const Rows& encoded, Scratch& scratch) const;
  void ReadSpeech(const SourceRows& rows, Workspace& scratch) const;
  // In front of the first layer: x [R, E].
  void Embed(const SourceBatch& batch, float* x, Workspace& scratch) const;
  // A bidirectional encoder's part of Decide().
  void EncodePrefixes(absl::Span<SessionState* const> batch, Scratch& scratch,
                      BetweenLayers between_layers) const;
  // Whether the target row `ahead` of the state's next one reads nothing of a source of which so
  // much has been read.
  bool ReadsNothing(const State& state, int source_read, int ahead) const;
  void DecodeLayer(size_t l, Scratch& scratch, Rows* x, absl::Span<Decision> result) const;
  void ReplayLayer(size_t l, const Rows& encoded, Scratch& scratch, const Rows& x,
                   BetweenLayers between_layers) const;

  void Observe(const std::string& layer, const char* what, const Rows& rows) const;
  template <typename F>
  void ObserveAdded(const std::string& layer, const char* what, const Rows& y, F&& add) const;
  void ObserveProportions(const std::string& layer, const Attention& attention,
                          const Rows& in) const;

  const ModelConfig config_;
  const int threads_;
  Weights weights_;  // Before all that points into it. Constant once all of them are there.
  const Parameters parameters_;
  const std::unique_ptr<const SpeechFrontEnd> speech_;  // Null for text.
  const Embedding source_embedding_;
  const Embedding target_embedding_;
  // A layer that is shared is there once, and has one state: fairseq keeps the past of incremental
  // decoding by module, so that layers which share parameters share their past as well.
  std::vector<EncoderLayer> encoder_layers_;
  std::vector<DecoderLayer> decoder_layers_;
  std::vector<size_t> encoder_order_;  // Indices into encoder_layers_, as they are run.
  std::vector<size_t> decoder_order_;
  std::vector<std::string> encoder_names_;  // As goldens call them.
  std::vector<std::string> decoder_names_;
  LayerNorm encoder_norm_;
  LayerNorm decoder_norm_;
  PackedLinear project_out_;  // Of no inputs if there is none.
  const PackedLinear output_;
  Observer observer_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_TRANSFORMER_H_
