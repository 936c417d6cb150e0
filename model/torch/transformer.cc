#include "model/torch/transformer.h"

#include <algorithm>
#include <string>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/atan2.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/log_softmax.h>
#include "absl/strings/str_cat.h"
#include "model/api/vocabulary.h"
#include "model/torch/attention/leap_features.h"
#include "model/torch/attention/linear_attention.h"
#include "model/torch/attention/make_attention.h"
#include "model/torch/torch_call.h"

namespace leapstream {
namespace {

// Pre-norm: x + f(norm(x)); post-norm: norm(x + f(x)).
template <typename F>
at::Tensor Residual(const LayerNorm& norm, bool normalize_before, const at::Tensor& x, F&& f) {
  if (normalize_before) return x + f(norm(x));
  return norm(x + f(x));
}

// The two best of one row. Ties go to the lowest index, as argmax in fairseq's agents.
Decision BestTwo(const float* log_probs, int64_t size) {
  int64_t best = 0;
  int64_t second = -1;
  for (int64_t i = 1; i < size; ++i) {
    if (log_probs[i] > log_probs[best]) {
      second = best;
      best = i;
    } else if (second < 0 || log_probs[i] > log_probs[second]) {
      second = i;
    }
  }
  Decision decision;
  decision.best = {static_cast<TokenId>(best), log_probs[best]};
  decision.second = {static_cast<TokenId>(second), log_probs[second]};
  return decision;
}

const char* OutputName(const ModelConfig& config) {
  if (config.share_all_embeddings) return "encoder.embedding";
  return config.share_decoder_input_output_embed ? "decoder.embedding" : "decoder.output";
}

// Makes each distinct layer once; returns the order in which they are run.
template <typename Layer>
std::vector<size_t> MakeLayers(const Weights& weights, const std::string& side_name,
                               const ModelConfig& config, const SideConfig& side,
                               Activation activation, std::vector<Layer>* layers) {
  std::vector<size_t> order;
  for (int l = 0; l < side.layers; ++l) {
    const int distinct = side.LayerOf(l);
    if (distinct != l) {
      order.push_back(order[distinct]);
      continue;
    }
    order.push_back(layers->size());
    layers->emplace_back(weights, absl::StrCat(side_name, ".layers.", l), config, activation);
  }
  return order;
}

// The rows of x that `keep` lists, in that order.
at::Tensor Rows(const at::Tensor& x, const std::vector<size_t>& keep) {
  at::Tensor kept = at::empty({static_cast<int64_t>(keep.size()), x.size(1)}, x.options());
  for (size_t r = 0; r < keep.size(); ++r) {
    std::copy_n(x.data_ptr<float>() + keep[r] * x.size(1), x.size(1),
                kept.data_ptr<float>() + r * x.size(1));
  }
  return kept;
}

}  // namespace

class Transformer::State : public SessionState {
 public:
  void Reset() override {
    for (const auto* states : {&encoder_, &self_, &cross_}) {
      for (const auto& state : *states) state->Reset();
    }
    prefix_.clear();
    prefix_is_encoded_ = true;
    source_read_ = 0;
    target_written_ = 0;
    source_finished_ = false;
    last_ = kEndOfSentence;
    committed_ = true;
  }
  void Commit(TokenId token) override {
    last_ = token;
    ++target_written_;
    committed_ = true;
    for (const auto* states : {&self_, &cross_}) {
      for (const auto& state : *states) state->Settle();
    }
  }
  int source_read() const override { return source_read_; }
  int target_written() const override { return target_written_; }

 private:
  friend class Transformer;

  // Of each distinct layer; a bidirectional encoder keeps nothing and has one for all.
  std::vector<std::unique_ptr<AttentionState>> encoder_;
  std::vector<std::unique_ptr<AttentionState>> self_;
  std::vector<std::unique_ptr<AttentionState>> cross_;
  std::vector<TokenId> prefix_;  // The source, for a bidirectional encoder.
  bool prefix_is_encoded_ = true;
  int source_read_ = 0;
  int target_written_ = 0;
  bool source_finished_ = false;
  TokenId last_ = kEndOfSentence;  // What the next step feeds; fairseq starts from </s>.
  bool committed_ = true;          // No step is open: nothing provisional is in the states.
  bool wanted_source_ = false;     // How the open step was decided.
};

// Source rows of several sessions. Those of one are in order; of a bidirectional encoder, its whole
// prefix.
struct Transformer::SourceBatch {
  void Add(State* owner, absl::Span<const TokenId> source, int first) {
    for (size_t i = 0; i < source.size(); ++i) {
      owners.push_back(owner);
      positions.push_back(first + static_cast<int>(i));
    }
    tokens.insert(tokens.end(), source.begin(), source.end());
  }

  std::vector<State*> owners;  // Of each row.
  std::vector<TokenId> tokens;
  std::vector<int> positions;
};

Transformer::EncoderLayer::EncoderLayer(const Weights& weights, const std::string& name,
                                        const ModelConfig& config, Activation activation)
    : self_attention(MakeSelfAttention(weights, name + ".self_attention", config.encoder)),
      self_attention_norm(weights, name + ".self_attention_norm"),
      ffn(weights, name + ".ffn", activation),
      ffn_norm(weights, name + ".ffn_norm") {}

Transformer::DecoderLayer::DecoderLayer(const Weights& weights, const std::string& name,
                                        const ModelConfig& config, Activation activation)
    : self_attention(MakeSelfAttention(weights, name + ".self_attention", config.decoder)),
      self_attention_norm(weights, name + ".self_attention_norm"),
      cross_attention(MakeCrossAttention(weights, name + ".cross_attention", config)),
      cross_attention_norm(weights, name + ".cross_attention_norm"),
      ffn(weights, name + ".ffn", activation),
      ffn_norm(weights, name + ".ffn_norm") {}

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::Create(const ModelConfig& config,
                                                                 Weights weights) {
  absl::StatusOr<Activation> activation = ParseActivation(config.activation_fn);
  if (!activation.ok()) return activation.status();
  return std::unique_ptr<Transformer>(new Transformer(config, std::move(weights), *activation));
}

Transformer::Transformer(const ModelConfig& config, Weights owned_weights, Activation activation)
    : config_(config),
      weights_(std::move(owned_weights)),
      source_embedding_(weights_, config, config.encoder, "encoder", "encoder.embedding"),
      target_embedding_(weights_, config, config.decoder, "decoder",
                        config.share_all_embeddings ? "encoder.embedding" : "decoder.embedding"),
      encoder_order_(
          MakeLayers(weights_, "encoder", config, config.encoder, activation, &encoder_layers_)),
      decoder_order_(
          MakeLayers(weights_, "decoder", config, config.decoder, activation, &decoder_layers_)),
      output_(weights_.Matrix(OutputName(config))) {
  if (config.encoder.final_norm) encoder_norm_ = LayerNorm(weights_, "encoder.norm");
  if (config.decoder.final_norm) decoder_norm_ = LayerNorm(weights_, "decoder.norm");
  if (config.decoder.output_dim != config.decoder.embed_dim) {
    project_out_ = weights_.Matrix("decoder.project_out");
  }
}

std::unique_ptr<SessionState> Transformer::NewState() const {
  auto state = std::make_unique<State>();
  const size_t encoder_states = config_.causal_encoder ? encoder_layers_.size() : 1;
  for (size_t l = 0; l < encoder_states; ++l) {
    state->encoder_.push_back(encoder_layers_[l].self_attention.NewState());
  }
  for (const DecoderLayer& layer : decoder_layers_) {
    state->self_.push_back(layer.self_attention.NewState());
    state->cross_.push_back(layer.cross_attention.NewState());
  }
  return state;
}

int64_t Transformer::StateBytes(const SessionState& state) {
  const auto& own = static_cast<const State&>(state);
  int64_t bytes = static_cast<int64_t>(sizeof(State) + own.prefix_.capacity() * sizeof(TokenId));
  for (const auto* states : {&own.encoder_, &own.self_, &own.cross_}) {
    for (const auto& one : *states) bytes += one->bytes();
  }
  return bytes;
}

void Transformer::ObserveLayer(absl::string_view side, size_t layer, absl::string_view what,
                               const at::Tensor& rows) const {
  if (observer_) observer_(absl::StrCat(side, ".", layer, ".", what), rows);
}

// The proportions that LeaP's features were made with: p = 2 / pi atan2(f sin, f cos), which a
// feature that is not zero gives back.
void Transformer::ObserveProportions(size_t layer, const Attention& attention,
                                     const at::Tensor& rows) const {
  const auto* linear = dynamic_cast<const LinearAttention*>(&attention.kind());
  if (!observer_ || linear == nullptr) return;
  const int64_t heads = config_.encoder.attention_heads;
  const int64_t d = config_.encoder.embed_dim / heads;
  const std::vector<AttentionRow> each(rows.size(0));
  const auto observe = [&](const char* name, std::vector<float> features) {
    const at::Tensor f =
        at::from_blob(features.data(), {rows.size(0), heads, 2, d}).sum(-1);  // [R, H, 2]
    ObserveLayer("enc", layer, name,
                 at::atan2(f.select(-1, 0), f.select(-1, 1)).mul(2 / M_PI).contiguous());
  };
  const at::Tensor q = Apply(attention.projections().query, rows);
  const at::Tensor k = Apply(attention.projections().key, rows);
  observe("q_LeaP", linear->features().Queries(q.data_ptr<float>(), each));
  observe("k_LeaP", linear->features().Keys(k.data_ptr<float>(), each));
}

void Transformer::Encode(const SourceBatch& batch) const {
  if (batch.owners.empty()) return;
  at::Tensor x = source_embedding_(batch.tokens, batch.positions);
  const bool before = config_.encoder.normalize_before;
  std::vector<AttentionRow> rows(batch.owners.size());
  for (size_t l = 0; l < encoder_order_.size(); ++l) {
    const EncoderLayer& layer = encoder_layers_[encoder_order_[l]];
    for (size_t r = 0; r < rows.size(); ++r) {
      const auto& states = batch.owners[r]->encoder_;
      AttentionState* state = states[config_.causal_encoder ? encoder_order_[l] : 0].get();
      rows[r] = {state, batch.positions[r]};
      if (!config_.causal_encoder && batch.positions[r] == 0) state->Reset();
    }
    x = Residual(layer.self_attention_norm, before, x, [&](const at::Tensor& h) {
      ObserveProportions(l, layer.self_attention, h);
      at::Tensor attended;
      if (config_.causal_encoder) {
        attended = layer.self_attention.Step(h, rows, Past::kSettled);
      } else {
        layer.self_attention.Append(h, rows);
        attended = layer.self_attention.Attend(h, rows);
      }
      ObserveLayer("enc", l, "self_attn", attended);
      return attended;
    });
    x = Residual(layer.ffn_norm, before, x, layer.ffn);
    ObserveLayer("enc", l, "out", x);
  }
  if (encoder_norm_.defined()) x = encoder_norm_(x);
  Observe("encoder_out", x);
  for (size_t l = 0; l < decoder_layers_.size(); ++l) {
    for (size_t r = 0; r < rows.size(); ++r) rows[r].state = batch.owners[r]->cross_[l].get();
    decoder_layers_[l].cross_attention.Append(x, rows);
  }
}

absl::Status Transformer::Read(absl::Span<const SourceRows> batch) const {
  for (const SourceRows& rows : batch) {
    for (const TokenId token : rows.tokens) {
      if (token < 0 || token >= config_.encoder.vocabulary_size) {
        return absl::InvalidArgumentError(absl::StrCat(
            "a source token must be in [0, ", config_.encoder.vocabulary_size, "), got ", token));
      }
    }
  }
  return TorchCall("reading source tokens", [&] {
    SourceBatch encoded;
    for (const SourceRows& rows : batch) {
      if (rows.tokens.empty()) continue;
      State* state = static_cast<State*>(rows.state);
      if (config_.causal_encoder) {
        encoded.Add(state, rows.tokens, state->source_read_);
      } else {
        state->prefix_.insert(state->prefix_.end(), rows.tokens.begin(), rows.tokens.end());
        state->prefix_is_encoded_ = false;  // Decide() does, once for all that was read until then.
      }
      state->source_read_ += static_cast<int>(rows.tokens.size());
      state->source_finished_ = rows.tokens.back() == kEndOfSentence;
    }
    Encode(encoded);
    return absl::OkStatus();
  });
}

void Transformer::EncodePrefixes(absl::Span<SessionState* const> batch) const {
  if (config_.causal_encoder) return;
  SourceBatch encoded;
  for (SessionState* session_state : batch) {
    State* state = static_cast<State*>(session_state);
    if (state->prefix_is_encoded_) continue;
    for (const auto& cross : state->cross_) cross->Reset();
    encoded.Add(state, state->prefix_, 0);
    state->prefix_is_encoded_ = true;
  }
  Encode(encoded);
}

absl::Status Transformer::Decide(absl::Span<SessionState* const> batch,
                                 absl::Span<Decision> result) const {
  for (const SessionState* state : batch) {
    if (state->source_read() == 0) {
      return absl::FailedPreconditionError(
          "a target token needs at least one source token; call Read() first");
    }
  }
  if (batch.empty()) return absl::OkStatus();
  return TorchCall("deciding target tokens", [&] {
    EncodePrefixes(batch);
    std::vector<State*> owners;  // Of each row that is still to be decided,
    std::vector<size_t> places;  // and its place in the batch.
    std::vector<TokenId> tokens;
    std::vector<int> positions;
    for (size_t b = 0; b < batch.size(); ++b) {
      State* state = static_cast<State*>(batch[b]);
      if (!state->committed_) {  // The open step is decided again: its position is forgotten,
        for (const auto& self : state->self_) self->Drop();
        // and so are the moves of a learned policy's heads, unless they were what asked for more.
        for (const auto& cross : state->cross_) {
          if (!state->wanted_source_) cross->Drop();
        }
      }
      state->committed_ = false;
      state->wanted_source_ = false;
      owners.push_back(state);
      places.push_back(b);
      tokens.push_back(state->last_);
      positions.push_back(state->target_written_);
    }
    at::Tensor x = target_embedding_(tokens, positions);
    const bool before = config_.decoder.normalize_before;
    std::vector<AttentionRow> rows;
    for (size_t l = 0; l < decoder_order_.size() && !owners.empty(); ++l) {
      const DecoderLayer& layer = decoder_layers_[decoder_order_[l]];
      rows.clear();
      for (State* state : owners) {
        rows.push_back({state->self_[decoder_order_[l]].get(), state->target_written_});
      }
      x = Residual(layer.self_attention_norm, before, x, [&](const at::Tensor& h) {
        at::Tensor attended = layer.self_attention.Step(h, rows, Past::kProvisional);
        ObserveLayer("dec", l, "self_attn", attended);
        return attended;
      });
      for (size_t r = 0; r < owners.size(); ++r) {
        // In wait-k a prefix of one source position attends to nothing: the reference zeroes the
        // row when its monotonic step is 0 (FAIRSEQ.md, quirk 4).
        const bool nothing = config_.simul_type == "waitk" && owners[r]->source_read_ == 1;
        rows[r].state = nothing ? nullptr : owners[r]->cross_[decoder_order_[l]].get();
      }
      x = Residual(layer.cross_attention_norm, before, x, [&](const at::Tensor& h) {
        at::Tensor attended = layer.cross_attention.Attend(h, rows);
        ObserveLayer("dec", l, "encoder_attn", attended);
        return attended;
      });
      std::vector<size_t> keep;
      for (size_t r = 0; r < owners.size(); ++r) {
        const bool wants = rows[r].state != nullptr && rows[r].state->wants_source();
        if (wants && !owners[r]->source_finished_) {
          owners[r]->wanted_source_ = true;
          result[places[r]] = Decision();
          result[places[r]].wants_source = true;
        } else {
          keep.push_back(r);
        }
      }
      if (keep.size() < owners.size()) {
        x = Rows(x, keep);
        for (size_t r = 0; r < keep.size(); ++r) {
          owners[r] = owners[keep[r]];
          places[r] = places[keep[r]];
        }
        owners.resize(keep.size());
        places.resize(keep.size());
      }
      x = Residual(layer.ffn_norm, before, x, layer.ffn);
      ObserveLayer("dec", l, "out", x);
    }
    if (owners.empty()) return absl::OkStatus();
    if (decoder_norm_.defined()) x = decoder_norm_(x);
    if (project_out_.in() > 0) x = Apply(project_out_, x);
    const at::Tensor logits = Apply(output_, x);
    Observe("logits", logits);
    const at::Tensor log_probs = at::log_softmax(logits, -1);  // [R, N]
    for (size_t r = 0; r < owners.size(); ++r) {
      result[places[r]] =
          BestTwo(log_probs.data_ptr<float>() + r * log_probs.size(1), log_probs.size(1));
    }
    return absl::OkStatus();
  });
}

at::Tensor Transformer::DecoderSelfAttentionSums(const SessionState& state, int layer) const {
  const size_t distinct = decoder_order_[layer];
  const auto& kind = decoder_layers_[distinct].self_attention.kind();
  return dynamic_cast<const LinearAttention&>(kind).Sums(
      *static_cast<const State&>(state).self_[distinct]);
}

}  // namespace leapstream
