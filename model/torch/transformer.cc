#include "model/torch/transformer.h"

#include <algorithm>
#include <string>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include "absl/strings/str_cat.h"
#include "model/api/vocabulary.h"
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

PackedLinear OutputProjection(const Weights& weights, const ModelConfig& config) {
  const char* name = config.share_all_embeddings               ? "encoder.embedding"
                     : config.share_decoder_input_output_embed ? "decoder.embedding"
                                                               : "decoder.output";
  const at::Tensor weight = weights.Get(name);
  return PackedLinear(weight.data_ptr<float>(), nullptr, weight.size(0), weight.size(1));
}

}  // namespace

class LeapTransformer::State : public SessionState {
 public:
  explicit State(int64_t floats) : floats_(floats) {}

  void Reset() override {
    if (source_read_ > 0) std::fill(floats_.begin(), floats_.end(), 0.0f);
    source_read_ = 0;
    target_written_ = 0;
    last_ = kEndOfSentence;
    holds_committed_ = false;
  }
  void Commit(TokenId token) override {
    last_ = token;
    ++target_written_;
    holds_committed_ = true;
  }
  int source_read() const override { return source_read_; }
  int target_written() const override { return target_written_; }

 private:
  friend class LeapTransformer;
  std::vector<float> floats_;
  int source_read_ = 0;
  int target_written_ = 0;
  TokenId last_ = kEndOfSentence;  // What the next step feeds; fairseq starts from </s>.
  bool holds_committed_ =
      false;  // The position that decoder states hold apart is part of the past.
};

LeapTransformer::EncoderLayer::EncoderLayer(const Weights& weights, const std::string& name,
                                            const ModelConfig& config, Activation activation)
    : self_attention(weights, name + ".self_attention", config.encoder.attention_heads),
      self_attention_norm(weights, name + ".self_attention_norm"),
      ffn(weights, name + ".ffn", activation),
      ffn_norm(weights, name + ".ffn_norm") {}

LeapTransformer::DecoderLayer::DecoderLayer(const Weights& weights, const std::string& name,
                                            const ModelConfig& config, Activation activation)
    : self_attention(weights, name + ".self_attention", config.decoder.attention_heads),
      self_attention_norm(weights, name + ".self_attention_norm"),
      cross_attention(weights, name + ".cross_attention", config.decoder.attention_heads),
      cross_attention_norm(weights, name + ".cross_attention_norm"),
      ffn(weights, name + ".ffn", activation),
      ffn_norm(weights, name + ".ffn_norm") {}

absl::StatusOr<std::unique_ptr<LeapTransformer>> LeapTransformer::Create(const ModelConfig& config,
                                                                         Weights weights) {
  if (config.cross_normaliser != "linear") {
    return absl::UnimplementedError(absl::StrCat("cross-attention normaliser must be linear, got ",
                                                 config.cross_normaliser,
                                                 "; export with --cross-normaliser linear"));
  }
  absl::StatusOr<Activation> activation = ParseActivation(config.activation_fn);
  if (!activation.ok()) return activation.status();
  return std::unique_ptr<LeapTransformer>(
      new LeapTransformer(config, std::move(weights), *activation));
}

LeapTransformer::LeapTransformer(const ModelConfig& config, Weights owned_weights,
                                 Activation activation)
    : config_(config),
      weights_(std::move(owned_weights)),
      source_embedding_(weights_, config, config.encoder, "encoder", "encoder.embedding"),
      target_embedding_(weights_, config, config.decoder, "decoder",
                        config.share_all_embeddings ? "encoder.embedding" : "decoder.embedding"),
      output_(OutputProjection(weights_, config)) {
  const Weights& weights = weights_;
  if (config.encoder.layernorm_embedding) {
    embedding_norm_ = LayerNorm(weights, "encoder.embedding_norm");
  }
  if (config.encoder.final_norm) encoder_norm_ = LayerNorm(weights, "encoder.norm");
  if (config.decoder.final_norm) decoder_norm_ = LayerNorm(weights, "decoder.norm");
  for (int l = 0; l < config.encoder.layers; ++l) {
    encoder_.emplace_back(weights, absl::StrCat("encoder.layers.", l), config, activation);
    encoder_.back().state_offset = state_floats_;
    state_floats_ += encoder_.back().self_attention.StateFloats();
  }
  for (int l = 0; l < config.decoder.layers; ++l) {
    decoder_.emplace_back(weights, absl::StrCat("decoder.layers.", l), config, activation);
    DecoderLayer& layer = decoder_.back();
    layer.self_offset = state_floats_;
    layer.cross_offset = layer.self_offset + layer.self_attention.StateFloats();
    state_floats_ = layer.cross_offset + layer.cross_attention.StateFloats();
  }
}

std::unique_ptr<SessionState> LeapTransformer::NewState() const {
  return std::make_unique<State>(state_floats_);
}

int64_t LeapTransformer::state_bytes() const {
  return state_floats_ * static_cast<int64_t>(sizeof(float));
}

void LeapTransformer::ObserveLayer(absl::string_view side, size_t layer, absl::string_view what,
                                   const at::Tensor& rows) const {
  if (observer_) observer_(absl::StrCat(side, ".", layer, ".", what), rows);
}

absl::Status LeapTransformer::Read(absl::Span<const SourceRows> batch) const {
  int64_t count = 0;
  for (const SourceRows& rows : batch) {
    for (const TokenId token : rows.tokens) {
      if (token < 0 || token >= config_.encoder.vocabulary_size) {
        return absl::InvalidArgumentError(absl::StrCat(
            "a source token must be in [0, ", config_.encoder.vocabulary_size, "), got ", token));
      }
    }
    count += static_cast<int64_t>(rows.tokens.size());
  }
  if (count == 0) return absl::OkStatus();
  return TorchCall("reading source tokens", [&] {
    const int64_t width = config_.encoder.embed_dim;
    at::Tensor x = at::empty({count, width});
    std::vector<State*> owner;  // Of each row.
    std::vector<bool> fold;     // All but a segment's first position have a past.
    owner.reserve(count);
    for (const SourceRows& rows : batch) {
      State* state = static_cast<State*>(rows.state);
      int position = state->source_read_;
      for (const TokenId token : rows.tokens) {
        source_embedding_.Row(token, position, x.data_ptr<float>() + owner.size() * width);
        fold.push_back(position > 0);
        owner.push_back(state);
        ++position;
      }
    }
    const auto states_at = [&owner](int64_t offset) {
      std::vector<float*> states;
      states.reserve(owner.size());
      for (State* state : owner) states.push_back(state->floats_.data() + offset);
      return states;
    };
    if (embedding_norm_.defined()) x = embedding_norm_(x);
    const bool before = config_.encoder.normalize_before;
    for (size_t l = 0; l < encoder_.size(); ++l) {
      const EncoderLayer& layer = encoder_[l];
      x = Residual(layer.self_attention_norm, before, x, [&](const at::Tensor& h) {
        at::Tensor attended = layer.self_attention.Output(
            layer.self_attention.Step(h, states_at(layer.state_offset), fold));
        ObserveLayer("enc", l, "self_attn", attended);
        return attended;
      });
      x = Residual(layer.ffn_norm, before, x, layer.ffn);
      ObserveLayer("enc", l, "out", x);
    }
    if (encoder_norm_.defined()) x = encoder_norm_(x);
    Observe("encoder_out", x);
    for (const DecoderLayer& layer : decoder_) {
      layer.cross_attention.Append(x, states_at(layer.cross_offset));
    }
    for (const SourceRows& rows : batch) {
      static_cast<State*>(rows.state)->source_read_ += static_cast<int>(rows.tokens.size());
    }
    return absl::OkStatus();
  });
}

absl::Status LeapTransformer::Decide(absl::Span<SessionState* const> batch,
                                     absl::Span<Decision> result) const {
  for (const SessionState* state : batch) {
    if (state->source_read() == 0) {
      return absl::FailedPreconditionError(
          "a target token needs at least one source token; call Read() first");
    }
  }
  if (batch.empty()) return absl::OkStatus();
  return TorchCall("deciding target tokens", [&] {
    const int64_t count = static_cast<int64_t>(batch.size());
    const int64_t width = config_.decoder.embed_dim;
    at::Tensor x = at::empty({count, width});
    std::vector<State*> owner;
    std::vector<bool> fold;
    for (SessionState* session_state : batch) {
      State* state = static_cast<State*>(session_state);
      target_embedding_.Row(state->last_, state->target_written_,
                            x.data_ptr<float>() + owner.size() * width);
      owner.push_back(state);
      fold.push_back(state->holds_committed_);
    }
    const bool before = config_.decoder.normalize_before;
    for (size_t l = 0; l < decoder_.size(); ++l) {
      const DecoderLayer& layer = decoder_[l];
      std::vector<float*> self_states;
      std::vector<float*> cross_states;
      for (State* state : owner) {
        self_states.push_back(state->floats_.data() + layer.self_offset);
        // A prefix of one source position attends to nothing: the reference zeroes the row when its
        // monotonic step is 0 (FAIRSEQ.md, quirk 4).
        cross_states.push_back(state->source_read_ > 1 ? state->floats_.data() + layer.cross_offset
                                                       : nullptr);
      }
      x = Residual(layer.self_attention_norm, before, x, [&](const at::Tensor& h) {
        at::Tensor attended =
            layer.self_attention.Output(layer.self_attention.Step(h, self_states, fold));
        ObserveLayer("dec", l, "self_attn", attended);
        return attended;
      });
      x = Residual(layer.cross_attention_norm, before, x, [&](const at::Tensor& h) {
        at::Tensor attended =
            layer.cross_attention.Output(layer.cross_attention.Attend(h, cross_states));
        ObserveLayer("dec", l, "encoder_attn", attended);
        return attended;
      });
      x = Residual(layer.ffn_norm, before, x, layer.ffn);
      ObserveLayer("dec", l, "out", x);
    }
    // What the states hold apart is this step's position now, and not of the past until Commit().
    for (State* state : owner) state->holds_committed_ = false;
    if (decoder_norm_.defined()) x = decoder_norm_(x);
    const at::Tensor logits = Apply(output_, x);
    Observe("logits", logits);
    const at::Tensor log_probs = at::log_softmax(logits, -1);  // [R, N]
    for (int64_t r = 0; r < count; ++r) {
      result[r] = BestTwo(log_probs.data_ptr<float>() + r * log_probs.size(1), log_probs.size(1));
    }
    return absl::OkStatus();
  });
}

at::Tensor LeapTransformer::DecoderSelfAttentionState(const SessionState& state, int layer) const {
  const auto& own = static_cast<const State&>(state);
  return decoder_[layer].self_attention.Folded(own.floats_.data() + decoder_[layer].self_offset);
}

}  // namespace leapstream
