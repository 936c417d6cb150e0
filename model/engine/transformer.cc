#include "model/engine/transformer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "model/api/vocabulary.h"
#include "model/engine/attention/leap_features.h"
#include "model/engine/attention/linear_attention.h"
#include "model/engine/attention/kinds.h"
#include "model/engine/contract.h"
#include "model/engine/kernels/simd.h"
#include "model/engine/model_call.h"

namespace leapstream {
namespace {

// Pre-norm: x + f(norm(x)); post-norm: norm(x + f(x)). `add` gets f's input and adds to x.
template <typename F>
void Residual(const LayerNorm& norm, bool normalize_before, const Transformer::Rows& x,
              Workspace& scratch, F&& add) {
  const Workspace::Scope scope(scratch);
  float* input = scratch.Floats(x.count * x.width);
  if (normalize_before) {
    norm.Apply(x.x, x.count, input);
  } else {
    std::copy_n(x.x, x.count * x.width, input);  // It is read while x changes.
  }
  add(input);
  if (!normalize_before) norm.Apply(x.x, x.count, x.x);
}

// Makes each distinct layer once; returns the order in which they are run.
template <typename Layer>
std::vector<size_t> MakeLayers(const Parameters& parameters, const ModelConfig& config,
                               const SideConfig& side, Activation activation,
                               std::vector<Layer>* layers) {
  std::vector<size_t> order;
  for (int l = 0; l < side.layers; ++l) {
    const int distinct = side.LayerOf(l);
    if (distinct != l) {
      order.push_back(order[distinct]);
      continue;
    }
    order.push_back(layers->size());
    layers->emplace_back(parameters.Under(absl::StrCat("layers.", l)), config, activation);
  }
  return order;
}

Tensor TableOf(const Parameters& parameters, absl::string_view name, const SideConfig& side) {
  return parameters.Under(name).Table("embedding", {side.vocabulary_size, side.input_dim});
}

// Rows of prefixes after which a batch is encoded, so that many sessions with bidirectional
// encoders need no more scratch memory than a few.
constexpr size_t kPrefixRows = 1024;

}  // namespace

class Transformer::State : public SessionState {
 public:
  void Reset() override {
    for (const auto* states : {&encoder_, &self_, &cross_}) {
      for (const auto& state : *states) state->Reset();
    }
    prefix_.clear();
    speech_.Reset();
    prefix_is_encoded_ = true;
    source_read_ = 0;
    target_written_ = 0;
    steps_ = 0;
    source_finished_ = false;
    last_ = kEndOfSentence;
    committed_ = true;
  }
  void SetWaitK(int k, int write_stride) override {
    k_ = k;
    write_stride_ = write_stride;
  }
  void Commit(TokenId token) override {
    last_ = token;
    ++target_written_;
    Repeat();
  }
  void Repeat() override {
    committed_ = true;
    ++steps_;
    for (const auto* states : {&self_, &cross_}) {
      for (const auto& state : *states) state->Settle();
    }
  }
  int source_read() const override { return source_read_; }
  int target_written() const override { return target_written_; }
  int64_t bytes() const override {
    int64_t bytes = static_cast<int64_t>(sizeof(State) + prefix_.capacity() * sizeof(TokenId)) +
                    speech_.bytes();
    for (const auto* states : {&encoder_, &self_, &cross_}) {
      for (const auto& state : *states) bytes += state->bytes();
    }
    return bytes;
  }

 private:
  friend class Transformer;

  void CountSource(absl::Span<const TokenId> tokens) {
    if (tokens.empty()) return;
    source_read_ += static_cast<int>(tokens.size());
    source_finished_ = tokens.back() == kEndOfSentence;
  }
  // Forgets a step that was opened and not committed.
  void OpenStep() {
    if (!committed_) {
      for (const auto& self : self_) self->Drop();
      // The moves of a learned policy's heads stay if they were what asked for more source.
      for (const auto& cross : cross_) {
        if (!wanted_source_) cross->Drop();
      }
    }
    committed_ = false;
    wanted_source_ = false;
  }

  // Of each distinct layer; a bidirectional encoder keeps nothing and has one for all.
  std::vector<std::unique_ptr<AttentionState>> encoder_;
  std::vector<std::unique_ptr<AttentionState>> self_;
  std::vector<std::unique_ptr<AttentionState>> cross_;
  std::vector<TokenId> prefix_;   // The source, for a bidirectional encoder of text,
  SpeechFrontEnd::State speech_;  // and for one of speech.
  bool prefix_is_encoded_ = true;
  int source_read_ = 0;
  int target_written_ = 0;
  int steps_ = 0;  // Target tokens committed, and steps repeated.
  int k_ = 0;      // The session's, which says how much a step waits for; 0: it has no wait-k.
  int write_stride_ = 1;
  bool source_finished_ = false;
  TokenId last_ = kEndOfSentence;  // What the next step feeds; fairseq starts from </s>.
  bool committed_ = true;          // No step is open: nothing provisional is in the states.
  bool wanted_source_ = false;     // How the open step was decided.
};

// Source rows of several sessions. Those of one are in order; of a bidirectional encoder, its whole
// prefix.
struct Transformer::SourceBatch {
  void Clear() {
    owners.clear();
    tokens.clear();
    positions.clear();
  }
  void Add(State* owner, absl::Span<const TokenId> source, int first) {
    AddRows(owner, static_cast<int>(source.size()), first);
    tokens.insert(tokens.end(), source.begin(), source.end());
  }
  void AddRows(State* owner, int count, int first) {
    for (int i = 0; i < count; ++i) {
      owners.push_back(owner);
      positions.push_back(first + i);
    }
  }

  std::vector<State*> owners;   // Of each row.
  std::vector<TokenId> tokens;  // None for speech.
  std::vector<int> positions;
};

// What a call needs beside its results.
struct Transformer::Scratch {
  Workspace floats;
  SourceBatch source;
  std::vector<AttentionRow> rows;
  // Of each target row that is still to be decided: whose it is and its place in the batch.
  std::vector<State*> owners;
  std::vector<size_t> places;
  std::vector<TokenId> tokens;  // Of all target rows.
  std::vector<int> positions;
  // For each target row that is replayed: whether it reads nothing of the source, and how many rows
  // of `source` are before it.
  std::vector<bool> reads_nothing;
  std::vector<int64_t> seen;
  std::vector<AttentionRow> source_rows;
};

// Scratch memory for one call, kept by the thread that makes it for its next one. A call that is
// made between the layers of another has its own.
class Transformer::ScratchLoan {
 public:
  ScratchLoan() {
    if (Idle().empty()) Idle().push_back(std::make_unique<Scratch>());
    scratch_ = std::move(Idle().back());
    Idle().pop_back();
  }
  ~ScratchLoan() { Idle().push_back(std::move(scratch_)); }
  ScratchLoan(const ScratchLoan&) = delete;
  ScratchLoan& operator=(const ScratchLoan&) = delete;
  Scratch& operator*() const { return *scratch_; }

 private:
  static std::vector<std::unique_ptr<Scratch>>& Idle() {
    thread_local std::vector<std::unique_ptr<Scratch>> idle;
    return idle;
  }
  std::unique_ptr<Scratch> scratch_;
};

Transformer::EncoderLayer::EncoderLayer(const Parameters& parameters, const ModelConfig& config,
                                        Activation activation)
    : self_attention(
          MakeSelfAttention(parameters.Under("self_attention"), config, config.encoder)),
      self_attention_norm(parameters.Under("self_attention_norm"), config.encoder.embed_dim),
      ffn(parameters.Under("ffn"), config.encoder, activation),
      ffn_norm(parameters.Under("ffn_norm"), config.encoder.embed_dim) {}

Transformer::DecoderLayer::DecoderLayer(const Parameters& parameters, const ModelConfig& config,
                                        Activation activation)
    : self_attention(
          MakeSelfAttention(parameters.Under("self_attention"), config, config.decoder)),
      self_attention_norm(parameters.Under("self_attention_norm"), config.decoder.embed_dim),
      cross_attention(MakeCrossAttention(parameters.Under("cross_attention"), config)),
      cross_attention_norm(parameters.Under("cross_attention_norm"), config.decoder.embed_dim),
      ffn(parameters.Under("ffn"), config.decoder, activation),
      ffn_norm(parameters.Under("ffn_norm"), config.decoder.embed_dim) {}

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::Create(const ModelConfig& config,
                                                                 Weights weights, int threads) {
  absl::StatusOr<Activation> activation = ParseActivation(config.activation_fn);
  if (!activation.ok()) return activation.status();
  std::unique_ptr<Transformer> transformer(
      new Transformer(config, std::move(weights), *activation, threads));
  LEAPSTREAM_RETURN_IF_ERROR(transformer->weights_.Finish());
  return transformer;
}

std::vector<TensorSpec> Transformer::ListTensors(const ModelConfig& config) {
  const Transformer listed(config, Weights::Listing(), Activation::kRelu, /*threads=*/1);
  return listed.weights_.taken();
}

Transformer::Transformer(const ModelConfig& config, Weights owned_weights, Activation activation,
                         int threads)
    : config_(config),
      threads_(threads),
      weights_(std::move(owned_weights)),
      parameters_(weights_),
      speech_(config.speech.has_value()
                  ? std::make_unique<const SpeechFrontEnd>(parameters_.Under("encoder"),
                                                           *config.speech, config.encoder.embed_dim)
                  : nullptr),
      source_embedding_(config.speech.has_value() ? Tensor() : TableOf(parameters_, "encoder", config.encoder),
                        parameters_.Under("encoder"), config.encoder, config),
      target_embedding_(config.share_all_embeddings ? TableOf(parameters_, "encoder", config.encoder) : TableOf(parameters_, "decoder", config.decoder),
                        parameters_.Under("decoder"), config.decoder, config),
      encoder_order_(MakeLayers(parameters_.Under("encoder"), config, config.encoder, activation,
                                &encoder_layers_)),
      decoder_order_(MakeLayers(parameters_.Under("decoder"), config, config.decoder, activation,
                                &decoder_layers_)),
      output_(parameters_.Matrix(OutputName(config), {config.decoder.vocabulary_size,
                                                      config.decoder.output_dim})) {
  for (int l = 0; l < config.encoder.layers; ++l) encoder_names_.push_back(absl::StrCat("enc.", l));
  for (int l = 0; l < config.decoder.layers; ++l) decoder_names_.push_back(absl::StrCat("dec.", l));
  if (config.encoder.final_norm) encoder_norm_ = LayerNorm(parameters_.Under("encoder.norm"), config.encoder.embed_dim);
  if (config.decoder.final_norm) decoder_norm_ = LayerNorm(parameters_.Under("decoder.norm"), config.decoder.embed_dim);
  if (config.decoder.output_dim != config.decoder.embed_dim) {
    project_out_ = parameters_.Matrix("decoder.project_out", {config.decoder.output_dim, config.decoder.embed_dim});
  }
}

absl::StatusOr<std::unique_ptr<SessionState>> Transformer::NewState() const {
  std::unique_ptr<State> state;
  LEAPSTREAM_RETURN_IF_ERROR(ModelCall("a session's state", 1, [&] {
    state = std::make_unique<State>();
    const size_t encoder_states = config_.causal_encoder ? encoder_layers_.size() : 1;
    for (size_t l = 0; l < encoder_states; ++l) {
      state->encoder_.push_back(encoder_layers_[l].self_attention.NewState());
    }
    for (const DecoderLayer& layer : decoder_layers_) {
      state->self_.push_back(layer.self_attention.NewState());
      state->cross_.push_back(layer.cross_attention.NewState());
    }
    return absl::OkStatus();
  }));
  return state;
}

absl::Status Transformer::Reserve(int states) const {
  return ModelCall("states of sessions", 1, [&] {
    const size_t encoder_states = config_.causal_encoder ? encoder_layers_.size() : 1;
    for (size_t l = 0; l < encoder_states; ++l) {
      encoder_layers_[l].self_attention.kind().Reserve(states);
    }
    for (const DecoderLayer& layer : decoder_layers_) {
      layer.self_attention.kind().Reserve(states);
      layer.cross_attention.kind().Reserve(states);
    }
    return absl::OkStatus();
  });
}

void Transformer::Observe(const std::string& layer, const char* what, const Rows& rows) const {
  if (!observer_) return;
  observer_(layer + what, {{rows.count, rows.width},
                           std::vector<float>(rows.x, rows.x + rows.count * rows.width)});
}

// Runs `add`, which adds to y; shows what it has added.
template <typename F>
void Transformer::ObserveAdded(const std::string& layer, const char* what, const Rows& y,
                               F&& add) const {
  if (!observer_) return add();
  const std::vector<float> before(y.x, y.x + y.count * y.width);
  add();
  std::vector<float> added(y.x, y.x + y.count * y.width);
  for (size_t i = 0; i < added.size(); ++i) added[i] -= before[i];
  Observe(layer, what, {added.data(), y.count, y.width});
}

// The proportions that LeaP's features were made with: p = 2 / pi atan2(f sin, f cos), which a
// feature that is not zero gives back.
void Transformer::ObserveProportions(const std::string& layer, const Attention& attention,
                                     const Rows& in) const {
  const auto* linear = dynamic_cast<const LinearAttention*>(&attention.kind());
  if (!observer_ || linear == nullptr) return;
  Workspace scratch;
  const int64_t heads = config_.encoder.attention_heads;
  const int64_t d = config_.encoder.embed_dim / heads;
  const std::vector<AttentionRow> each(in.count);
  std::vector<float> projected(in.count * heads * d);
  std::vector<float> features(in.count * heads * 2 * d);
  const auto observe = [&](const char* what) {
    std::vector<float> p(in.count * heads);
    for (int64_t i = 0; i < in.count * heads; ++i) {
      const float* f = features.data() + i * 2 * d;
      const float sine = std::accumulate(f, f + d, 0.0f);
      p[i] =
          std::atan2(sine, std::accumulate(f + d, f + 2 * d, 0.0f)) * static_cast<float>(2 / M_PI);
    }
    Observe(layer, what, {p.data(), in.count, heads});
  };
  attention.projections().query.Apply(in.x, in.count, projected.data(), scratch);
  linear->features().Queries(projected.data(), each, features.data(), scratch);
  observe(".q_LeaP");
  attention.projections().key.Apply(in.x, in.count, projected.data(), scratch);
  linear->features().Keys(projected.data(), each, features.data(), scratch);
  observe(".k_LeaP");
}

void Transformer::Embed(const SourceBatch& batch, float* x, Workspace& scratch) const {
  if (speech_ == nullptr) {
    return source_embedding_.Apply(batch.tokens, batch.positions, x, scratch);
  }
  const int64_t width = config_.encoder.embed_dim;
  for (size_t r = 0; r < batch.owners.size(); ++r) {
    std::copy_n(batch.owners[r]->speech_.rows().data() + batch.positions[r] * width, width,
                x + static_cast<int64_t>(r) * width);
  }
  Observe("", "subsampled", {x, static_cast<int64_t>(batch.owners.size()), width});
  source_embedding_.ApplyToRows(batch.positions, x);
  Observe("", "encoder_in", {x, static_cast<int64_t>(batch.owners.size()), width});
}

Transformer::Rows Transformer::Encode(const SourceBatch& batch, Scratch& scratch,
                                      BetweenLayers between_layers) const {
  Workspace& floats = scratch.floats;
  const auto count = static_cast<int64_t>(batch.owners.size());
  const int64_t width = config_.encoder.embed_dim;
  const Rows x{floats.Floats(count * width), count, width};
  if (count == 0) return x;
  Embed(batch, x.x, floats);
  const bool before = config_.encoder.normalize_before;
  std::vector<AttentionRow>& rows = scratch.rows;
  rows.resize(count);
  for (size_t l = 0; l < encoder_order_.size(); ++l) {
    if (l > 0) between_layers();
    const EncoderLayer& layer = encoder_layers_[encoder_order_[l]];
    const std::string& name = encoder_names_[l];
    for (int64_t r = 0; r < count; ++r) {
      const auto& states = batch.owners[r]->encoder_;
      AttentionState* state = states[config_.causal_encoder ? encoder_order_[l] : 0].get();
      rows[r] = {state, batch.positions[r]};
      if (!config_.causal_encoder && batch.positions[r] == 0) state->Reset();
    }
    Residual(layer.self_attention_norm, before, x, floats, [&](float* in) {
      ObserveProportions(name, layer.self_attention, {in, count, width});
      ObserveAdded(name, ".self_attn", x, [&] {
        if (config_.causal_encoder) {
          layer.self_attention.Step(in, rows, Past::kSettled, x.x, floats);
        } else {
          layer.self_attention.Append(in, rows, floats);
          layer.self_attention.Attend(in, rows, x.x, floats);
        }
      });
    });
    Residual(layer.ffn_norm, before, x, floats,
             [&](const float* in) { layer.ffn.Apply(in, count, x.x, floats); });
    Observe(name, ".out", x);
  }
  if (encoder_norm_.defined()) encoder_norm_.Apply(x.x, count, x.x);
  Observe("", "encoder_out", x);
  between_layers();
  return x;
}

void Transformer::AppendToCross(const SourceBatch& batch, const Rows& encoded,
                                Scratch& scratch) const {
  if (batch.owners.empty()) return;
  for (size_t l = 0; l < decoder_layers_.size(); ++l) {
    scratch.rows.clear();
    for (size_t r = 0; r < batch.owners.size(); ++r) {
      scratch.rows.push_back({batch.owners[r]->cross_[l].get(), batch.positions[r]});
    }
    decoder_layers_[l].cross_attention.Append(encoded.x, scratch.rows, scratch.floats);
  }
}

absl::Status Transformer::Read(absl::Span<const SourceRows> batch,
                               BetweenLayers between_layers) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckSource(batch, config_));
  return ModelCall("reading source tokens", threads_, [&] {
    const ScratchLoan loan;
    Scratch& scratch = *loan;
    SourceBatch& encoded = scratch.source;
    encoded.Clear();
    for (const SourceRows& rows : batch) {
      if (!rows.samples.empty()) {
        ReadSpeech(rows, scratch.floats);
        between_layers();
        continue;
      }
      if (rows.tokens.empty()) continue;
      State* state = static_cast<State*>(rows.state);
      if (config_.causal_encoder) {
        encoded.Add(state, rows.tokens, state->source_read_);
      } else {
        state->prefix_.insert(state->prefix_.end(), rows.tokens.begin(), rows.tokens.end());
        state->prefix_is_encoded_ = false;  // Decide() does, once for all that was read until then.
      }
      state->CountSource(rows.tokens);
    }
    const Workspace::Scope scope(scratch.floats);
    AppendToCross(encoded, Encode(encoded, scratch, between_layers), scratch);
    return absl::OkStatus();
  });
}

void Transformer::ReadSpeech(const SourceRows& rows, Workspace& scratch) const {
  State* state = static_cast<State*>(rows.state);
  SpeechFrontEnd::Observer observer;
  if (observer_) {
    observer = [this](absl::string_view name, int64_t first_row, const Tensor& values) {
      observer_(absl::StrCat(name, "@", first_row), values);
    };
  }
  speech_->Append(rows.samples, state->speech_, scratch, observer);
  const auto states = static_cast<int>(static_cast<int64_t>(state->speech_.rows().size()) /
                                       config_.encoder.embed_dim);
  // The last rows may have changed even if there are no more of them.
  state->prefix_is_encoded_ = states == 0;
  state->source_read_ = states;
}

void Transformer::EncodePrefixes(absl::Span<SessionState* const> batch, Scratch& scratch,
                                 BetweenLayers between_layers) const {
  if (config_.causal_encoder) return;
  SourceBatch& encoded = scratch.source;
  encoded.Clear();
  const auto encode = [&] {
    const Workspace::Scope scope(scratch.floats);
    AppendToCross(encoded, Encode(encoded, scratch, between_layers), scratch);
  };
  for (SessionState* session_state : batch) {
    State* state = static_cast<State*>(session_state);
    if (state->prefix_is_encoded_) continue;
    for (const auto& cross : state->cross_) cross->ForgetSource();
    if (speech_ != nullptr) {
      encoded.AddRows(state, state->source_read_, 0);
    } else {
      encoded.Add(state, state->prefix_, 0);
    }
    state->prefix_is_encoded_ = true;
    if (encoded.owners.size() >= kPrefixRows) {
      encode();
      encoded.Clear();
    }
  }
  encode();
}

absl::Status Transformer::Decide(absl::Span<SessionState* const> batch, absl::Span<Decision> result,
                                 BetweenLayers between_layers) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckHaveSource(batch));
  if (batch.empty()) return absl::OkStatus();
  return ModelCall("deciding target tokens", threads_, [&] {
    const ScratchLoan loan;
    Scratch& scratch = *loan;
    EncodePrefixes(batch, scratch, between_layers);
    std::vector<State*>& owners = scratch.owners;
    owners.clear();
    scratch.places.clear();
    scratch.tokens.clear();
    scratch.positions.clear();
    for (size_t b = 0; b < batch.size(); ++b) {
      State* state = static_cast<State*>(batch[b]);
      state->OpenStep();
      owners.push_back(state);
      scratch.places.push_back(b);
      scratch.tokens.push_back(state->last_);
      scratch.positions.push_back(state->target_written_);
    }
    Workspace& floats = scratch.floats;
    const Workspace::Scope scope(floats);
    const int64_t width = config_.decoder.embed_dim;
    Rows x{floats.Floats(static_cast<int64_t>(owners.size()) * width),
           static_cast<int64_t>(owners.size()), width};
    target_embedding_.Apply(scratch.tokens, scratch.positions, x.x, floats);
    for (size_t l = 0; l < decoder_order_.size() && x.count > 0; ++l) {
      between_layers();
      DecodeLayer(l, scratch, &x, result);
    }
    if (x.count == 0) return absl::OkStatus();
    between_layers();
    if (decoder_norm_.defined()) decoder_norm_.Apply(x.x, x.count, x.x);
    const float* features = x.x;
    if (project_out_.in() > 0) {
      float* projected = floats.Floats(x.count * project_out_.out());
      project_out_.Apply(x.x, x.count, projected, floats);
      features = projected;
    }
    const int64_t vocabulary = output_.out();
    float* logits = floats.Floats(x.count * vocabulary);
    output_.Apply(features, x.count, logits, floats);
    Observe("", "logits", {logits, x.count, vocabulary});
    for (int64_t r = 0; r < x.count; ++r) {
      Decision& decision = result[scratch.places[r]];
      decision = Decided(logits + r * vocabulary, vocabulary);
      if (!std::isfinite(decision.best.log_prob)) {
        return absl::InternalError("the model's activations are not finite; check its weights");
      }
    }
    return absl::OkStatus();
  });
}

// FAIRSEQ.md, quirks 4 and 6. The reference's inference zeroes the row of a wait-k step that stands
// on the first source position. With mass preservation that is the last one it can stand on, so
// that one position alone is never read; without, only a step that is due after one position stands
// there. Its training zeroes the rows that wait for more than there is, and those only without mass
// preservation, which otherwise puts them on the last position.
bool Transformer::ReadsNothing(const State& state, int source_read, int ahead) const {
  if (config_.simul_type != "waitk") return false;
  const int64_t due =
      state.k_ > 0 ? int64_t{state.k_} + (state.steps_ + ahead) / state.write_stride_ : 0;
  if (config_.cross_normaliser == "softmax") {
    return !config_.mass_preservation && !config_.speech.has_value() && due > source_read;
  }
  return source_read == 1 && (config_.mass_preservation || due == 1);
}

// The rows that want more source leave: they are decided, and x has one row less for each.
void Transformer::DecodeLayer(size_t l, Scratch& scratch, Rows* x,
                              absl::Span<Decision> result) const {
  const size_t distinct = decoder_order_[l];
  const DecoderLayer& layer = decoder_layers_[distinct];
  const std::string& name = decoder_names_[l];
  const bool before = config_.decoder.normalize_before;
  Workspace& floats = scratch.floats;
  std::vector<State*>& owners = scratch.owners;
  std::vector<AttentionRow>& rows = scratch.rows;
  rows.clear();
  for (State* state : owners)
    rows.push_back({state->self_[distinct].get(), state->target_written_});
  Residual(layer.self_attention_norm, before, *x, floats, [&](const float* in) {
    ObserveAdded(name, ".self_attn", *x,
                 [&] { layer.self_attention.Step(in, rows, Past::kProvisional, x->x, floats); });
  });
  for (size_t r = 0; r < owners.size(); ++r) {
    State& state = *owners[r];
    rows[r].state =
        ReadsNothing(state, state.source_read_, 0) ? nullptr : state.cross_[distinct].get();
  }
  Residual(layer.cross_attention_norm, before, *x, floats, [&](const float* in) {
    ObserveAdded(name, ".encoder_attn", *x,
                 [&] { layer.cross_attention.Attend(in, rows, x->x, floats); });
  });
  if (config_.LearnedPolicy()) {
    size_t kept = 0;
    for (size_t r = 0; r < owners.size(); ++r) {
      if (rows[r].state->wants_source() && !owners[r]->source_finished_) {
        owners[r]->wanted_source_ = true;
        result[scratch.places[r]] = Decision();
        result[scratch.places[r]].wants_source = true;
        continue;
      }
      std::copy_n(x->x + r * x->width, x->width, x->x + kept * x->width);
      owners[kept] = owners[r];
      scratch.places[kept] = scratch.places[r];
      ++kept;
    }
    owners.resize(kept);
    x->count = static_cast<int64_t>(kept);
  }
  Residual(layer.ffn_norm, before, *x, floats,
           [&](const float* in) { layer.ffn.Apply(in, x->count, x->x, floats); });
  Observe(name, ".out", *x);
}

bool Transformer::can_replay() const {
  return config_.causal_encoder && !config_.LearnedPolicy() &&
         decoder_layers_.size() == decoder_order_.size();
}

absl::Status Transformer::Replay(absl::Span<const ReplayRows> batch,
                                 BetweenLayers between_layers) const {
  if (!can_replay()) return Translator::Replay(batch, between_layers);
  LEAPSTREAM_RETURN_IF_ERROR(CheckReplay(batch, config_));
  return ModelCall("replaying a target", threads_, [&] {
    const ScratchLoan loan;
    Scratch& scratch = *loan;
    scratch.source.Clear();
    scratch.owners.clear();
    scratch.tokens.clear();
    scratch.positions.clear();
    scratch.reads_nothing.clear();
    scratch.seen.clear();
    for (const ReplayRows& rows : batch) {
      State* state = static_cast<State*>(rows.state);
      state->OpenStep();
      const auto before = static_cast<int64_t>(scratch.source.owners.size());
      for (size_t i = 0; i < rows.target.size(); ++i) {
        scratch.owners.push_back(state);
        scratch.tokens.push_back(i == 0 ? state->last_ : rows.target[i - 1]);
        scratch.positions.push_back(state->target_written_ + static_cast<int>(i));
        scratch.reads_nothing.push_back(
            ReadsNothing(*state, rows.source_read[i], static_cast<int>(i)));
        scratch.seen.push_back(before + rows.source_read[i] - state->source_read_);
      }
      scratch.source.Add(state, rows.source, state->source_read_);
      state->CountSource(rows.source);
      state->target_written_ += static_cast<int>(rows.target.size());
      state->steps_ += static_cast<int>(rows.target.size());
      if (!rows.target.empty()) state->last_ = rows.target.back();
      state->committed_ = true;
    }
    Workspace& floats = scratch.floats;
    const Workspace::Scope scope(floats);
    const Rows encoded = Encode(scratch.source, scratch, between_layers);
    if (scratch.owners.empty()) {
      AppendToCross(scratch.source, encoded, scratch);
      return absl::OkStatus();
    }
    const auto count = static_cast<int64_t>(scratch.owners.size());
    const int64_t width = config_.decoder.embed_dim;
    const Rows x{floats.Floats(count * width), count, width};
    target_embedding_.Apply(scratch.tokens, scratch.positions, x.x, floats);
    for (size_t l = 0; l < decoder_layers_.size(); ++l) {
      between_layers();
      ReplayLayer(l, encoded, scratch, x, between_layers);
    }
    return absl::OkStatus();
  });
}

// Soft-max over a long past makes each half of it as long as a step: there is a gap between them,
// too.
void Transformer::ReplayLayer(size_t l, const Rows& encoded, Scratch& scratch, const Rows& x,
                              BetweenLayers between_layers) const {
  const DecoderLayer& layer = decoder_layers_[l];
  const bool before = config_.decoder.normalize_before;
  Workspace& floats = scratch.floats;
  std::vector<AttentionRow>& rows = scratch.rows;
  rows.clear();
  for (size_t r = 0; r < scratch.owners.size(); ++r) {
    rows.push_back({scratch.owners[r]->self_[l].get(), scratch.positions[r]});
  }
  Residual(layer.self_attention_norm, before, x, floats, [&](const float* in) {
    layer.self_attention.Step(in, rows, Past::kSettled, x.x, floats);
  });
  between_layers();
  for (size_t r = 0; r < rows.size(); ++r) {
    rows[r].state = scratch.reads_nothing[r] ? nullptr : scratch.owners[r]->cross_[l].get();
  }
  scratch.source_rows.clear();
  for (size_t s = 0; s < scratch.source.owners.size(); ++s) {
    scratch.source_rows.push_back(
        {scratch.source.owners[s]->cross_[l].get(), scratch.source.positions[s]});
  }
  Residual(layer.cross_attention_norm, before, x, floats, [&](const float* in) {
    layer.cross_attention.AppendAndAttend(encoded.x, scratch.source_rows, in, rows, scratch.seen,
                                          x.x, floats);
  });
  Residual(layer.ffn_norm, before, x, floats,
           [&](const float* in) { layer.ffn.Apply(in, x.count, x.x, floats); });
}

Tensor Transformer::DecoderSelfAttentionSums(const SessionState& state, int layer) const {
  const size_t distinct = decoder_order_[layer];
  const auto& kind = decoder_layers_[distinct].self_attention.kind();
  return dynamic_cast<const LinearAttention&>(kind).Sums(
      *static_cast<const State&>(state).self_[distinct]);
}

}  // namespace leapstream
