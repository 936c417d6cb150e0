#include "model/engine/decoder.h"

#include <algorithm>
#include <vector>

#include "model/engine/attention/kinds.h"
#include "model/engine/attention/linear_attention.h"
#include "model/engine/contract.h"

namespace leapstream {
namespace {

constexpr char kSide[] = "decoder";
constexpr int64_t kScoredTogether = 16;  // Rows of logits of Score(), and at least of Decide().
constexpr int64_t kLogitsTogether = 8 << 20;  // Logits of Decide() that are there at once.

std::vector<int> AlignmentHeads(const ModelConfig& config) {
  std::vector<int> heads = config.alignment_heads;
  for (int h = 0; config.alignment_heads.empty() && h < config.decoder.attention_heads; ++h) {
    heads.push_back(h);
  }
  return heads;
}

}  // namespace

TransformerDecoder::Layer::Layer(const Parameters& parameters, const ModelConfig& config,
                                 const SideConfig& side)
    : self_attention(MakeSelfAttention(parameters.Under("self_attention"), config, side)),
      self_attention_norm(parameters.Under("self_attention_norm"), side.embed_dim),
      cross_attention(MakeCrossAttention(parameters.Under("cross_attention"), config)),
      cross_attention_norm(parameters.Under("cross_attention_norm"), side.embed_dim),
      ffn(parameters.Under("ffn"), side, *ParseActivation(config.activation_fn)),
      ffn_norm(parameters.Under("ffn_norm"), side.embed_dim) {}

TransformerDecoder::TransformerDecoder(const Parameters& parameters, const ModelConfig& config,
                                       const RowObserver& observer)
    : config_(config),
      observer_(observer),
      steps_(config),
      embedding_(EmbeddingTable(parameters.Under(config.share_all_embeddings ? "encoder" : kSide),
                                config.decoder),
                 parameters.Under(kSide), config.decoder, config),
      stack_(parameters.Under(kSide), config, config.decoder, "dec"),
      norm_(config.decoder.final_norm
                ? LayerNorm(parameters.Under(kSide).Under("norm"), config.decoder.embed_dim)
                : LayerNorm()),
      output_(parameters.Matrix(OutputName(config),
                                {config.decoder.vocabulary_size, config.decoder.output_dim},
                                config.output_bias ? kOutputBiasName : "")),
      alignment_heads_(AlignmentHeads(config)),
      project_out_(
          config.decoder.output_dim != config.decoder.embed_dim
              ? parameters.Under(kSide).Matrix(
                    "project_out", {config.decoder.output_dim, config.decoder.embed_dim})
              : PackedLinear()) {}

void TransformerDecoder::AddTo(TransformerState* state) const {
  for (const Layer& layer : stack_.layers) {
    state->self_.push_back(layer.self_attention.NewState());
    state->cross_.push_back(layer.cross_attention.NewState());
  }
}

void TransformerDecoder::Reserve(int states) const {
  for (const Layer& layer : stack_.layers) {
    layer.self_attention.kind().Reserve(states);
    layer.cross_attention.kind().Reserve(states);
  }
}

void TransformerDecoder::Append(const SourceBatch& batch, const Rows& encoded,
                                Scratch& scratch) const {
  if (batch.owners.empty()) return;
  for (size_t l = 0; l < stack_.layers.size(); ++l) {
    scratch.rows.clear();
    for (size_t r = 0; r < batch.owners.size(); ++r) {
      scratch.rows.push_back({batch.owners[r]->cross_[l].get(), batch.positions[r]});
    }
    stack_.layers[l].cross_attention.Append(encoded.x, scratch.rows, scratch.floats);
  }
}

void TransformerDecoder::Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                                Scratch& scratch, BetweenLayers between_layers) const {
  OpenSteps(
      states.size(), [&](size_t b) { return static_cast<TransformerState*>(states[b]); }, scratch,
      between_layers);
  const Workspace::Scope scope(scratch.floats);
  const Rows x = RunLayers(StepPast::kProvisional, scratch, result, between_layers);
  if (x.count == 0) return;
  between_layers();
  DecideTokens(scratch.target, x, scratch.floats, result);
}

void TransformerDecoder::Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                               Scratch& scratch, BetweenLayers between_layers) const {
  OpenSteps(
      rows.size(), [&](size_t b) { return static_cast<TransformerState*>(rows[b].state); },
      scratch, between_layers);
  const TargetBatch& target = scratch.target;
  Workspace& floats = scratch.floats;
  const Workspace::Scope scope(floats);
  scratch.undecided.resize(rows.size());
  const Rows x =
      RunLayers(StepPast::kProvisional, scratch, absl::MakeSpan(scratch.undecided), between_layers);
  if (x.count == 0) return;
  const float* features = Features(x, floats);
  const int64_t vocabulary = output_.out();
  // A few rows at a time: with a large vocabulary their logits are most of the scratch memory.
  float* logits = floats.Floats(std::min(x.count, kScoredTogether) * vocabulary);
  for (int64_t begin = 0; begin < x.count; begin += kScoredTogether) {
    between_layers();
    const int64_t count = std::min(kScoredTogether, x.count - begin);
    output_.Apply(features + begin * output_.in(), count, logits, floats);
    for (int64_t r = 0; r < count; ++r) {
      const size_t place = target.places[begin + r];
      visit(place, Scored(absl::MakeSpan(logits + r * vocabulary, vocabulary),
                          rows[place].temperature));
    }
  }
}

void TransformerDecoder::OpenSteps(size_t count, TargetSteps::StateOf state_of, Scratch& scratch,
                                   BetweenLayers between_layers) const {
  RunFirstRows(count, state_of, scratch, between_layers);
  steps_.AddFed(count, state_of, &scratch.target);
}

void TransformerDecoder::RunFirstRows(size_t count, TargetSteps::StateOf state_of,
                                      Scratch& scratch, BetweenLayers between_layers) const {
  TargetBatch& target = scratch.target;
  steps_.Open(count, state_of, &target);
  if (target.owners.empty()) return;
  const Workspace::Scope scope(scratch.floats);
  RunLayers(StepPast::kSettled, scratch, {}, between_layers);
  target.Clear();
}

Rows TransformerDecoder::RunLayers(StepPast past, Scratch& scratch, absl::Span<Decision> result,
                                   BetweenLayers between_layers) const {
  const TargetBatch& target = scratch.target;
  const auto count = static_cast<int64_t>(target.owners.size());
  TargetSteps::CountRows(target);
  const int64_t width = config_.decoder.embed_dim;
  Rows x{scratch.floats.Floats(count * width), count, width};
  embedding_.Apply(target.tokens, target.positions, x.x, scratch.floats);
  for (size_t l = 0; l < stack_.order.size() && x.count > 0; ++l) {
    between_layers();
    RunLayer(l, past, scratch, &x, result);
  }
  return x;
}

const float* TransformerDecoder::Features(const Rows& x, Workspace& floats) const {
  if (norm_.defined()) norm_.Apply(x.x, x.count, x.x);
  if (project_out_.in() == 0) return x.x;
  float* projected = floats.Floats(x.count * project_out_.out());
  project_out_.Apply(x.x, x.count, projected, floats);
  return projected;
}

void TransformerDecoder::DecideTokens(const TargetBatch& target, const Rows& x, Workspace& floats,
                                      absl::Span<Decision> result) const {
  const float* features = Features(x, floats);
  const int64_t vocabulary = output_.out();
  // With a large vocabulary, the logits of many rows would be most of the scratch memory.
  const int64_t together =
      std::min(x.count, std::max(kScoredTogether, kLogitsTogether / vocabulary));
  float* logits = floats.Floats(together * vocabulary);
  for (int64_t begin = 0; begin < x.count; begin += together) {
    const int64_t count = std::min(together, x.count - begin);
    output_.Apply(features + begin * output_.in(), count, logits, floats);
    observer_.Show("", "logits", {logits, count, vocabulary});
    for (int64_t r = 0; r < count; ++r) {
      Decision& decision = result[target.places[begin + r]];
      decision = DecidedFrom(absl::MakeConstSpan(logits + r * vocabulary, vocabulary));
      if (!target.attended.empty()) decision.attended = target.attended[begin + r];
    }
  }
}

void TransformerDecoder::RunLayer(size_t l, StepPast past, Scratch& scratch, Rows* x,
                                  absl::Span<Decision> result) const {
  const size_t distinct = stack_.order[l];
  const Layer& layer = stack_.layers[distinct];
  const std::string& name = stack_.names[l];
  const bool before = config_.decoder.normalize_before;
  Workspace& floats = scratch.floats;
  const TargetBatch& target = scratch.target;
  const std::vector<TransformerState*>& owners = target.owners;
  std::vector<AttentionRow>& rows = scratch.rows;
  rows.clear();
  for (size_t r = 0; r < owners.size(); ++r) {
    rows.push_back({owners[r]->self_[distinct].get(), target.positions[r],
                    !target.provisional.empty() && target.provisional[r]});
  }
  Residual(layer.self_attention_norm, before, *x, floats, [&](const float* in) {
    observer_.ShowAdded(name, ".self_attn", *x, [&] {
      layer.self_attention.Step(in, rows, past, x->x, floats);
    });
  });
  for (size_t r = 0; r < owners.size(); ++r) {
    rows[r].state = target.reads_nothing[r] ? nullptr : owners[r]->cross_[distinct].get();
  }
  Residual(layer.cross_attention_norm, before, *x, floats, [&](const float* in) {
    observer_.ShowAdded(name, ".encoder_attn", *x,
                        [&] { layer.cross_attention.Attend(in, rows, x->x, floats); });
    if (config_.ShowsAttention() && static_cast<int>(l) == config_.AlignmentLayer()) {
      FindAttended(layer.cross_attention, in, scratch);
    }
    TellHeads(static_cast<int>(l), layer.cross_attention, in, scratch);
  });
  // First rows are run whatever their heads want.
  if (config_.LearnedPolicy() && !result.empty()) {
    DropUndecided(scratch.target, rows, x, result);
  }
  Residual(layer.ffn_norm, before, *x, floats,
           [&](const float* in) { layer.ffn.Apply(in, x->count, x->x, floats); });
  observer_.Show(name, ".out", *x);
}

void TransformerDecoder::FindAttended(const Attention& attention, const float* in,
                                      Scratch& scratch) const {
  TargetBatch& target = scratch.target;
  std::vector<float>& weights = scratch.weights;
  for (size_t r = 0; r < target.owners.size(); ++r) {
    const TransformerState& state = *target.owners[r];
    if (!TargetSteps::AsksWhereItLooks(state)) continue;
    target.attended.resize(target.owners.size(), kNoSource);
    if (scratch.rows[r].state == nullptr) continue;
    const auto [first, end] = TargetSteps::LooksAt(state);
    const int64_t width = config_.decoder.embed_dim;
    const int64_t length =
        attention.AddWeights(in + static_cast<int64_t>(r) * width, scratch.rows[r],
                             alignment_heads_, &weights, scratch.floats);
    if (length < end || first >= end) continue;
    const auto most = std::max_element(weights.begin() + first, weights.begin() + end);
    target.attended[r] = static_cast<int>(most - weights.begin() - first);
  }
}

void TransformerDecoder::TellHeads(int l, const Attention& attention, const float* in,
                                   Scratch& scratch) const {
  const std::vector<TransformerState*>& owners = scratch.target.owners;
  for (size_t r = 0; r < owners.size(); ++r) {
    if (!owners[r]->head_listener_ || scratch.rows[r].state == nullptr) continue;
    const float* const row = in + static_cast<int64_t>(r) * config_.decoder.embed_dim;
    for (int h = 0; h < config_.decoder.attention_heads; ++h) {
      const int64_t length =
          attention.AddWeights(row, scratch.rows[r], {h}, &scratch.weights, scratch.floats);
      if (length <= 0) break;
      owners[r]->head_listener_(l, h, absl::MakeConstSpan(scratch.weights).first(length));
    }
  }
}

void TransformerDecoder::DropUndecided(TargetBatch& target, absl::Span<const AttentionRow> rows,
                                       Rows* x, absl::Span<Decision> result) const {
  std::vector<TransformerState*>& owners = target.owners;
  size_t kept = 0;
  for (size_t r = 0; r < owners.size(); ++r) {
    if (rows[r].state->wants_source() && TargetSteps::WaitsForSource(owners[r])) {
      result[target.places[r]] = Decision();
      result[target.places[r]].wants_source = true;
      continue;
    }
    std::copy_n(x->x + r * x->width, x->width, x->x + kept * x->width);
    owners[kept] = owners[r];
    target.places[kept] = target.places[r];
    target.positions[kept] = target.positions[r];
    target.reads_nothing[kept] = target.reads_nothing[r];
    ++kept;
  }
  owners.resize(kept);
  x->count = static_cast<int64_t>(kept);
}

void TransformerDecoder::OpenReplay(const ReplayRows& rows, Scratch& scratch) const {
  auto* const state = static_cast<TransformerState*>(rows.state);
  state->OpenStep();
  // The place in the batch of the state's first source row, whether it was read before or not.
  const int64_t begin =
      static_cast<int64_t>(scratch.source.owners.size()) - state->progress_.source_rows;
  for (const absl::Span<const TokenId> tokens : {state->Lead(), rows.source}) {
    scratch.source.Add(state, tokens,
                       static_cast<int>(scratch.source.owners.size() - begin));
  }
  state->CountSource(rows.source);
  steps_.AddReplay(rows, begin, &scratch.target);
}

void TransformerDecoder::Replay(const Rows& encoded, Scratch& scratch,
                                BetweenLayers between_layers) const {
  const TargetBatch& target = scratch.target;
  if (target.owners.empty()) return Append(scratch.source, encoded, scratch);
  TargetSteps::CountRows(target);
  Workspace& floats = scratch.floats;
  const auto count = static_cast<int64_t>(target.owners.size());
  const int64_t width = config_.decoder.embed_dim;
  const Rows x{floats.Floats(count * width), count, width};
  embedding_.Apply(target.tokens, target.positions, x.x, floats);
  for (size_t l = 0; l < stack_.layers.size(); ++l) {
    between_layers();
    ReplayLayer(l, encoded, scratch, x, between_layers);
  }
}

// Runs one layer. With soft-max over a long past, self-attention and cross-attention each take as
// long as a step, so between_layers() is also called between the two.
void TransformerDecoder::ReplayLayer(size_t l, const Rows& encoded, Scratch& scratch,
                                     const Rows& x, BetweenLayers between_layers) const {
  const Layer& layer = stack_.layers[l];
  const bool before = config_.decoder.normalize_before;
  Workspace& floats = scratch.floats;
  const TargetBatch& target = scratch.target;
  std::vector<AttentionRow>& rows = scratch.rows;
  rows.clear();
  for (size_t r = 0; r < target.owners.size(); ++r) {
    rows.push_back({target.owners[r]->self_[l].get(), target.positions[r]});
  }
  Residual(layer.self_attention_norm, before, x, floats, [&](const float* in) {
    layer.self_attention.Step(in, rows, StepPast::kSettled, x.x, floats);
  });
  between_layers();
  for (size_t r = 0; r < rows.size(); ++r) {
    rows[r].state = target.reads_nothing[r] ? nullptr : target.owners[r]->cross_[l].get();
  }
  scratch.source_rows.clear();
  for (size_t s = 0; s < scratch.source.owners.size(); ++s) {
    scratch.source_rows.push_back(
        {scratch.source.owners[s]->cross_[l].get(), scratch.source.positions[s]});
  }
  Residual(layer.cross_attention_norm, before, x, floats, [&](const float* in) {
    layer.cross_attention.AppendAndAttend(encoded.x, scratch.source_rows, in, rows, target.seen,
                                          x.x, floats);
  });
  Residual(layer.ffn_norm, before, x, floats,
           [&](const float* in) { layer.ffn.Apply(in, x.count, x.x, floats); });
}

Tensor TransformerDecoder::SelfAttentionSumsForTest(const TransformerState& state,
                                                    int layer) const {
  const size_t distinct = stack_.order[layer];
  const auto& kind = stack_.layers[distinct].self_attention.kind();
  return dynamic_cast<const LinearAttention&>(kind).SumsForTest(*state.self_[distinct]);
}

}  // namespace leapstream
