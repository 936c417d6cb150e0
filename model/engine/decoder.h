#ifndef LEAPSTREAM_MODEL_ENGINE_DECODER_H_
#define LEAPSTREAM_MODEL_ENGINE_DECODER_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/attention/attention.h"
#include "model/engine/batch.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/layer_stack.h"
#include "model/engine/layers.h"
#include "model/engine/observer.h"
#include "model/engine/parameters.h"
#include "model/engine/session_state.h"
#include "model/engine/target_steps.h"

namespace leapstream {

// The target side of a Transformer: encoded source rows are appended to its cross-attention, and a
// step decides the next token. Const and thread-safe; only states change.
class TransformerDecoder {
 public:
  // parameters: the whole model's. `config` and `observer` must outlive the decoder.
  TransformerDecoder(const Parameters& parameters, const ModelConfig& config,
                     const RowObserver& observer);

  // Makes the decoder's part of a state.
  void AddTo(TransformerState* state) const;
  // Takes memory for so many states at once.
  void Reserve(int states) const;
  // Whether layers share their past, so that a step changes what was before it.
  bool shares_layers() const { return stack_.layers.size() < stack_.order.size(); }

  // Adds the encoder's output of `batch` to the states of cross-attention.
  void Append(const SourceBatch& batch, const Rows& encoded, Scratch& scratch) const;
  // See Translator::Decide().
  void Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result, Scratch& scratch,
              BetweenLayers between_layers) const;
  // See Translator::Score().
  void Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit, Scratch& scratch,
             BetweenLayers between_layers) const;

  // See Translator::Verify(). REQUIRES: !shares_layers(), and the model has no policy of its own.
  void Verify(absl::Span<const GivenRows> rows, Scratch& scratch,
              BetweenLayers between_layers) const;

  // Takes a state's part of a replay: puts source rows into scratch.source, which the caller then
  // encodes, and target rows into scratch.target. Counts them in the state as read and written.
  void OpenReplay(const ReplayRows& rows, Scratch& scratch) const;
  // Runs the rows that OpenReplay() has taken. `encoded`: scratch.source, encoded.
  void Replay(const Rows& encoded, Scratch& scratch, BetweenLayers between_layers) const;

  // The sums of a layer's LeaP self-attention, the newest position included: see
  // LinearAttention::SumsForTest().
  Tensor SelfAttentionSumsForTest(const TransformerState& state, int layer) const;

 private:
  struct Layer {
    Layer(const Parameters& parameters, const ModelConfig& config, const SideConfig& side);
    Attention self_attention;
    LayerNorm self_attention_norm;
    Attention cross_attention;
    LayerNorm cross_attention_norm;
    FeedForward ffn;
    LayerNorm ffn_norm;
  };

  // Opens a step of each state, and puts the row that it feeds into scratch.target. Makes start and
  // forced tokens of states that begin part of their past, all but the token that is fed next.
  void OpenSteps(size_t count, TargetSteps::StateOf state_of, Scratch& scratch,
                 BetweenLayers between_layers) const;
  // The first part of OpenSteps(): scratch.target is empty after it.
  void RunFirstRows(size_t count, TargetSteps::StateOf state_of, Scratch& scratch,
                    BetweenLayers between_layers) const;
  // Decides the rows of Verify() that are not forced, and sets scratch.agreed.
  void DecideGiven(absl::Span<const GivenRows> rows, Rows x, Scratch& scratch) const;
  // Whether several positions of a state's past may be provisional.
  bool can_keep() const { return stack_.layers[0].self_attention.kind().can_keep(); }
  // Runs the layers over scratch.target: see RunLayer(). Returns the rows that are still to be
  // decided.
  Rows RunLayers(StepPast past, Scratch& scratch, absl::Span<Decision> result,
                 BetweenLayers between_layers) const;
  // Runs one layer over scratch.target. The attention's past gets the rows as `past` says. For a
  // learned policy, rows that want more source are taken out, and their decision is in `result`.
  void RunLayer(size_t l, StepPast past, Scratch& scratch, Rows* x,
                absl::Span<Decision> result) const;
  // Finds the source token to which each row attends most that asks for it, in the layer that has
  // the input `in`: [rows, E].
  void FindAttended(const Attention& attention, const float* in, Scratch& scratch) const;
  // Tells those who listen to heads: see TransformerState::ListenToHeads().
  void TellHeads(int l, const Attention& attention, const float* in, Scratch& scratch) const;
  // Normalises and projects the decoder's rows, in place or in memory of `floats`.
  const float* Features(const Rows& x, Workspace& floats) const;
  // Takes the rows that want more source out of the batch and out of x: their decision is made.
  void DropUndecided(TargetBatch& target, absl::Span<const AttentionRow> rows, Rows* x,
                     absl::Span<Decision> result) const;
  void DecideTokens(const TargetBatch& target, const Rows& x, Workspace& floats,
                    absl::Span<Decision> result) const;
  void ReplayLayer(size_t l, const Rows& encoded, Scratch& scratch, const Rows& x,
                   BetweenLayers between_layers) const;

  const ModelConfig& config_;
  const RowObserver& observer_;
  const TargetSteps steps_;
  const Embedding embedding_;
  const LayerStack<Layer> stack_;
  const LayerNorm norm_;            // Undefined if there is none.
  const PackedLinear output_;
  const std::vector<int> alignment_heads_;
  const PackedLinear project_out_;  // Has no inputs if there is none.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_DECODER_H_
