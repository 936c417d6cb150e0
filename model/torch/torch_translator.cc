#include "model/torch/torch_translator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "model/api/frame.h"
#include "model/api/vocabulary.h"
#include "model/engine/attention/leap_features.h"
#include "model/engine/contract.h"
#include "model/engine/model_family.h"
#include "model/torch/torch_call.h"

namespace leapstream {
namespace {

std::string Layer(absl::string_view side, int l) { return absl::StrCat(side, ".layers.", l, "."); }

}  // namespace

class TorchTranslator::State : public SessionState {
 public:
  // `slot` must have been taken. The destructor gives it back.
  State(std::shared_ptr<Slots> slots, int64_t slot) : slots_(std::move(slots)), slot_(slot) {}
  ~State() override { slots_->Give(slot_); }

  void Reset() override {
    progress_ = Progress();
  }
  void SetFrame(const Frame& frame) override {
    frame_ = frame;
    Reset();
  }
  void LeaveForced() override {
    if (progress_.target_written == 0) frame_.forced.clear();
  }
  void Commit(TokenId token) override {
    progress_.last = token;
    ++progress_.target_written;
    Repeat();
  }
  void Repeat() override { progress_.settled = progress_.begun = true; }
  absl::StatusOr<std::unique_ptr<SessionState>> Clone() const override {
    LEAPSTREAM_ASSIGN_OR_RETURN(const int64_t slot, slots_->Take());
    auto copy = std::make_unique<State>(slots_, slot);  // It gives the slot back on an error.
    LEAPSTREAM_RETURN_IF_ERROR(slots_->Copy(slot_, slot));
    copy->progress_ = progress_;
    copy->frame_ = frame_;
    return copy;
  }
  absl::Status CopyFrom(const SessionState& any) override {
    const auto& other = static_cast<const State&>(any);
    LEAPSTREAM_RETURN_IF_ERROR(slots_->Copy(other.slot_, slot_));
    progress_ = other.progress_;
    frame_ = other.frame_;
    return absl::OkStatus();
  }
  int source_read() const override { return progress_.source_read; }
  int target_written() const override { return progress_.target_written; }
  int64_t bytes() const override { return slots_->bytes_of_one; }

 private:
  friend class TorchTranslator;
  // Counts the tokens as read, and puts the frame's lead before the first ones. Leaves source_rows
  // to Encode()'s caller.
  void CountSource(std::vector<TokenId>* tokens) {
    if (tokens->empty()) return;
    const std::vector<TokenId>& tail = frame_.source_tail;
    progress_.source_read += static_cast<int>(tokens->size());
    if (tokens->size() >= tail.size() && std::equal(tail.rbegin(), tail.rend(), tokens->rbegin())) {
      progress_.source_read -= static_cast<int>(tail.size()) - 1;
    }
    if (progress_.source_rows > 0) return;
    tokens->insert(tokens->begin(), frame_.source_lead.begin(), frame_.source_lead.end());
  }
  const std::shared_ptr<Slots> slots_;
  const int64_t slot_;
  struct Progress {
    bool cleared = false;  // The slot no longer holds another segment's sums.
    bool settled = false;  // The newest position is part of the past, and not yet in the sums.
    bool begun = false;    // The frame's start and forced tokens are part of the past.
    int source_read = 0;
    int source_rows = 0;  // The tokens of source_read and the frame's.
    int target_written = 0;
    TokenId last = 0;  // The target token that was committed last, if there is one.
  };
  // The start, then the forced tokens.
  TokenId FirstRow(size_t i) const { return i == 0 ? frame_.start : frame_.forced[i - 1]; }

  Progress progress_;
  Frame frame_;
};

absl::StatusOr<std::unique_ptr<TorchTranslator>> TorchTranslator::Create(
    const ModelConfig& config, Weights& weights, const TorchDevice& device) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckTorchComputes(config));
  try {
    c10::InferenceMode guard;
    // A test that the device computes and returns its result.
    at::zeros({1}, c10::Device(device.name)).add_(1).item<float>();
    std::unique_ptr<TorchTranslator> translator(new TorchTranslator(config, weights, device));
    LEAPSTREAM_RETURN_IF_ERROR(weights.Finish());
    return translator;
  } catch (const c10::Error& e) {
    // Only the beginning is kept: the rest lists everything that LibTorch was built with.
    const std::string why = std::string(e.what_without_backtrace()).substr(0, 100);
    return absl::FailedPreconditionError(absl::StrCat(
        "LibTorch cannot use device ", device.name, " (", why.substr(0, why.find('\n')),
        "...); leave device unset for leapstream's own kernels"));
  }
}

TorchTranslator::TorchTranslator(const ModelConfig& config, Weights& weights,
                                 const TorchDevice& device)
    : config_(config),
      activation_(*ParseActivation(config.activation_fn)),
      device_(device.name),
      threads_(device.threads),
      slots_(std::make_shared<Slots>(config, device_, threads_)) {
  for (const TensorSpec& spec : ListTensors(config)) {
    const Tensor tensor = weights.Take(spec.name, spec.shape);
    weights_[spec.name] =
        at::from_blob(const_cast<float*>(tensor.data()), tensor.shape()).clone().to(device_);
  }
}

TorchTranslator::~TorchTranslator() = default;

absl::StatusOr<std::unique_ptr<SessionState>> TorchTranslator::NewState() const {
  LEAPSTREAM_ASSIGN_OR_RETURN(const int64_t slot, slots_->Take());
  return std::make_unique<State>(slots_, slot);
}

absl::Status TorchTranslator::Reserve(int states) const { return slots_->Reserve(states); }

at::Tensor TorchTranslator::Linear(const std::string& name, const at::Tensor& x) const {
  const auto bias = weights_.find(name + ".bias");
  return at::linear(x, weights_.at(name + ".weight"),
                    bias != weights_.end() ? bias->second : at::Tensor());
}

at::Tensor TorchTranslator::Norm(const std::string& name, const at::Tensor& x) const {
  return at::layer_norm(x, {x.size(-1)}, weights_.at(name + ".weight"),
                        weights_.at(name + ".bias"));
}

at::Tensor TorchTranslator::FeedForward(const std::string& name, const at::Tensor& x) const {
  at::Tensor h = Linear(name + ".hidden", x);
  switch (activation_) {
    case Activation::kRelu:
      h = at::relu(h);
      break;
    case Activation::kGelu:
      h = at::gelu(h);
      break;
    case Activation::kGeluTanh:
      h = at::gelu(h, "tanh");
      break;
    case Activation::kTanh:
      h = at::tanh(h);
      break;
    case Activation::kSwish:
      h = at::silu(h);
      break;
    case Activation::kLinear:
      break;
  }
  return Linear(name + ".out", h);
}

at::Tensor TorchTranslator::Embed(const std::string& side, const SideConfig& config,
                                  const at::Tensor& tokens, const at::Tensor& positions) const {
  const bool shared = config_.share_all_embeddings;
  at::Tensor x =
      weights_.at(shared ? "encoder.embedding" : side + ".embedding").index_select(0, tokens);
  if (config_.scale_embedding) x = x * std::sqrt(static_cast<float>(config.embed_dim));
  if (config.input_dim != config.embed_dim) {
    x = at::linear(x, weights_.at(side + ".project_in"));
  }
  const at::Tensor rows = positions + (kPadding + 1);  // The rows of fairseq's table.
  if (config.positions == PositionKind::kLearned) {
    x = x + weights_.at(side + ".positions").index_select(0, rows);
  } else if (config.positions == PositionKind::kSinusoidal) {
    const int64_t half = config.embed_dim / 2;
    const at::Tensor frequencies = at::exp(at::arange(half, x.options()) *
                                           (-std::log(10000.0) / static_cast<double>(half - 1)));
    const at::Tensor angles = rows.to(at::kFloat).unsqueeze(-1) * frequencies;
    x = x + at::cat({angles.sin(), angles.cos()}, -1);
  }
  return config.layernorm_embedding ? Norm(side + ".embedding_norm", x) : x;
}

at::Tensor TorchTranslator::Features(const std::string& net, const SideConfig& side,
                                     const at::Tensor& x) const {
  const at::Tensor f = at::relu(x.view({x.size(0), side.attention_heads, -1}));
  const at::Tensor p = Linear(net + ".out", at::relu(Linear(net + ".hidden", f)));
  const at::Tensor angle = at::sigmoid(p) * (M_PI / 2);
  return at::cat({f * angle.sin(), f * angle.cos()}, -1);
}

at::Tensor TorchTranslator::Query(const std::string& name, const SideConfig& side,
                                  const at::Tensor& x) const {
  const double d = side.embed_dim / side.attention_heads;
  return Features(name + ".query_proportion", side, Linear(name + ".query", x) / std::sqrt(d));
}

void TorchTranslator::KeyAndValue(const std::string& name, const SideConfig& side,
                                  const at::Tensor& x, Heads* heads) const {
  heads->key = Features(name + ".key_proportion", side, Linear(name + ".key", x));
  const at::Tensor v = Linear(name + ".value", x).view({x.size(0), side.attention_heads, -1});
  heads->value = at::cat({v, at::ones({v.size(0), v.size(1), 1}, v.options())}, -1);
}

at::Tensor TorchTranslator::Output(const std::string& name, const at::Tensor& attended,
                                   const at::Tensor& x) const {
  const int64_t d = attended.size(-1) - 1;
  const at::Tensor out =
      attended.narrow(-1, 0, d) / attended.narrow(-1, d, 1).clamp_min(kLeapNormaliserFloor);
  return x + Linear(name + ".output", out.reshape({x.size(0), -1}));
}

at::Tensor TorchTranslator::Indices(const std::vector<int64_t>& values) const {
  return at::from_blob(const_cast<int64_t*>(values.data()), {static_cast<int64_t>(values.size())},
                       at::kLong)
      .to(device_, /*non_blocking=*/false, /*copy=*/true);
}

namespace {

at::Tensor Outer(const at::Tensor& key, const at::Tensor& value) {
  return key.unsqueeze(-1) * value.unsqueeze(-2);
}
at::Tensor Times(const at::Tensor& query, const at::Tensor& sums) {
  return query.unsqueeze(-2).matmul(sums).squeeze(-2);
}

}  // namespace

// Encodes one token of each of several sessions.
void TorchTranslator::Encode(const std::vector<int64_t>& tokens,
                             const std::vector<int64_t>& positions, const at::Tensor& slots) const {
  const SideConfig& side = config_.encoder;
  const bool before = side.normalize_before;
  at::Tensor x = Embed("encoder", side, Indices(tokens), Indices(positions));
  for (int l = 0; l < side.layers; ++l) {
    const std::string layer = Layer("encoder", l);
    const std::string block = layer + "self_attention";
    const at::Tensor in = before ? Norm(layer + "self_attention_norm", x) : x;
    Heads heads;
    KeyAndValue(block, side, in, &heads);
    at::Tensor pool = slots_->encoder.select(0, l);
    const at::Tensor sums = pool.index_select(0, slots) + Outer(heads.key, heads.value);
    pool.index_copy_(0, slots, sums);
    x = Output(block, Times(Query(block, side, in), sums), x);
    if (!before) x = Norm(layer + "self_attention_norm", x);
    x = x + FeedForward(layer + "ffn", before ? Norm(layer + "ffn_norm", x) : x);
    if (!before) x = Norm(layer + "ffn_norm", x);
  }
  if (side.final_norm) x = Norm("encoder.norm", x);
  for (int l = 0; l < config_.decoder.layers; ++l) {
    Heads heads;
    KeyAndValue(Layer("decoder", l) + "cross_attention", config_.decoder, x, &heads);
    slots_->cross.select(0, l).index_add_(0, slots, Outer(heads.key, heads.value));
  }
}

// Returns logits [B, N]. sees_source: [B, 1, 1], 0 for rows whose cross-attention attends to
// nothing.
at::Tensor TorchTranslator::Decode(const std::vector<int64_t>& tokens,
                                   const std::vector<int64_t>& positions, const at::Tensor& slots,
                                   const at::Tensor& sees_source) const {
  const SideConfig& side = config_.decoder;
  const bool before = side.normalize_before;
  at::Tensor x = Embed("decoder", side, Indices(tokens), Indices(positions));
  for (int l = 0; l < side.layers; ++l) {
    const std::string layer = Layer("decoder", l);
    const std::string self = layer + "self_attention";
    at::Tensor in = before ? Norm(layer + "self_attention_norm", x) : x;
    Heads heads;
    KeyAndValue(self, side, in, &heads);
    heads.query = Query(self, side, in);
    slots_->newest_key.select(0, l).index_copy_(0, slots, heads.key);
    slots_->newest_value.select(0, l).index_copy_(0, slots, heads.value);
    const at::Tensor energy = (heads.query * heads.key).sum(-1, /*keepdim=*/true);
    x = Output(
        self,
        Times(heads.query, slots_->self.select(0, l).index_select(0, slots)) + energy * heads.value,
        x);
    if (!before) x = Norm(layer + "self_attention_norm", x);
    const std::string cross = layer + "cross_attention";
    in = before ? Norm(layer + "cross_attention_norm", x) : x;
    const at::Tensor sums = slots_->cross.select(0, l).index_select(0, slots);
    x = Output(cross, Times(Query(cross, side, in), sums) * sees_source, x);
    if (!before) x = Norm(layer + "cross_attention_norm", x);
    x = x + FeedForward(layer + "ffn", before ? Norm(layer + "ffn_norm", x) : x);
    if (!before) x = Norm(layer + "ffn_norm", x);
  }
  if (side.final_norm) x = Norm("decoder.norm", x);
  if (side.output_dim != side.embed_dim) x = at::linear(x, weights_.at("decoder.project_out"));
  const at::Tensor bias = config_.output_bias ? weights_.at(kOutputBiasName) : at::Tensor();
  return at::linear(x, weights_.at(OutputName(config_)), bias);
}

absl::Status TorchTranslator::Read(absl::Span<const SourceRows> batch,
                                   BetweenLayers /*between_layers*/) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckSource(batch, config_));
  MutexLock lock(&slots_->mutex);
  return TorchCall("reading source tokens", threads_, [&] {
    size_t most = 0;
    std::vector<int64_t> fresh;
    std::vector<std::vector<TokenId>> source;  // The tokens of each entry, the frame's included.
    for (const SourceRows& rows : batch) {
      State& state = static_cast<State&>(*rows.state);
      source.emplace_back(rows.tokens.begin(), rows.tokens.end());
      state.CountSource(&source.back());
      most = std::max(most, source.back().size());
      if (!state.progress_.cleared) fresh.push_back(state.slot_);
      state.progress_.cleared = true;
    }
    if (!fresh.empty()) {
      const at::Tensor slots = Indices(fresh);
      for (at::Tensor* pool : {&slots_->encoder, &slots_->self, &slots_->cross}) {
        pool->index_fill_(1, slots, 0);
      }
    }
    // The first tokens of all sessions are encoded, then the second ones, and so on: a row of a
    // session needs the row before it.
    for (size_t t = 0; t < most; ++t) {
      std::vector<int64_t> tokens, positions, slots;
      for (size_t b = 0; b < batch.size(); ++b) {
        if (t >= source[b].size()) continue;
        State& state = static_cast<State&>(*batch[b].state);
        tokens.push_back(source[b][t]);
        positions.push_back(state.progress_.source_rows++);
        slots.push_back(state.slot_);
      }
      Encode(tokens, positions, Indices(slots));
    }
    return absl::OkStatus();
  });
}

// Makes start and forced tokens of the states that begin part of their past, all but the token that
// each state feeds next.
void TorchTranslator::FeedFirstRows(absl::Span<SessionState* const> batch) const {
  // A first step that was not committed has left positions there.
  std::vector<int64_t> beginning;
  for (SessionState* session_state : batch) {
    const State& state = static_cast<const State&>(*session_state);
    if (!state.progress_.begun) beginning.push_back(state.slot_);
  }
  if (!beginning.empty()) slots_->self.index_fill_(1, Indices(beginning), 0);
  for (size_t i = 0;; ++i) {
    std::vector<int64_t> tokens, positions, slots;
    std::vector<float> sees;
    for (SessionState* session_state : batch) {
      const State& state = static_cast<const State&>(*session_state);
      if (state.progress_.begun || i >= state.frame_.forced.size()) continue;
      tokens.push_back(state.FirstRow(i));
      positions.push_back(static_cast<int64_t>(i));
      slots.push_back(state.slot_);
      sees.push_back(config_.simul_type == "waitk" && state.progress_.source_read == 1 ? 0.0f
                                                                                        : 1.0f);
    }
    if (tokens.empty()) return;
    const at::Tensor of = Indices(slots);
    Decode(tokens, positions, of,
           at::from_blob(sees.data(), {static_cast<int64_t>(sees.size()), 1, 1})
               .clone()
               .to(device_));
    slots_->self.index_add_(
        1, of,
        Outer(slots_->newest_key.index_select(1, of), slots_->newest_value.index_select(1, of)));
  }
}

absl::Status TorchTranslator::Step(absl::Span<SessionState* const> batch, RowFunction take) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckHaveSource(batch));
  if (batch.empty()) return absl::OkStatus();
  MutexLock lock(&slots_->mutex);
  return TorchCall("deciding target tokens", threads_, [&]() -> absl::Status {
    std::vector<int64_t> tokens, positions, slots, settled;
    std::vector<float> sees;
    for (SessionState* session_state : batch) {
      State& state = static_cast<State&>(*session_state);
      const size_t forced = state.frame_.forced.size();
      tokens.push_back(state.progress_.target_written > 0 ? state.progress_.last
                                                          : state.FirstRow(forced));
      positions.push_back(state.progress_.target_written + static_cast<int64_t>(forced));
      slots.push_back(state.slot_);
      // As in Transformer, a wait-k step with one source position read attends to nothing.
      const bool sees_nothing =
          config_.simul_type == "waitk" && state.progress_.source_read == 1;
      sees.push_back(sees_nothing ? 0.0f : 1.0f);
      if (state.progress_.settled) settled.push_back(state.slot_);
      state.progress_.settled = false;
    }
    if (!settled.empty()) {
      const at::Tensor of = Indices(settled);
      slots_->self.index_add_(
          1, of,
          Outer(slots_->newest_key.index_select(1, of), slots_->newest_value.index_select(1, of)));
    }
    FeedFirstRows(batch);
    const auto count = static_cast<int64_t>(batch.size());
    const at::Tensor logits = Decode(tokens, positions, Indices(slots),
                                     at::from_blob(sees.data(), {count, 1, 1}).clone().to(device_))
                                  .to(c10::Device("cpu"))
                                  .contiguous();
    for (int64_t b = 0; b < count; ++b) {
      LEAPSTREAM_RETURN_IF_ERROR(
          take(b, absl::MakeSpan(logits.data_ptr<float>() + b * logits.size(1), logits.size(1))));
    }
    return absl::OkStatus();
  });
}

absl::Status TorchTranslator::Decide(absl::Span<SessionState* const> batch,
                                     absl::Span<Decision> result,
                                     BetweenLayers /*between_layers*/) const {
  return Step(batch, [&](size_t b, absl::Span<float> logits) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const TokenScores scores, Scored(logits, /*temperature=*/1));
    result[b] = Decided(scores);
    return absl::OkStatus();
  });
}

absl::Status TorchTranslator::Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                                    BetweenLayers /*between_layers*/) const {
  std::vector<SessionState*> states;
  for (const ScoreRow& row : rows) states.push_back(row.state);
  return Step(states, [&](size_t b, absl::Span<float> logits) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const TokenScores scores, Scored(logits, rows[b].temperature));
    visit(b, scores);
    return absl::OkStatus();
  });
}

}  // namespace leapstream
