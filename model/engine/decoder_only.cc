#include "model/engine/decoder_only.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "model/engine/contract.h"
#include "model/engine/model_call.h"

namespace leapstream {
namespace {

constexpr char kSide[] = "decoder";
constexpr int64_t kScoredTogether = 16;  // With a large vocabulary their logits are most of the
                                         // scratch memory.

}  // namespace

absl::StatusOr<std::unique_ptr<DecoderOnly>> DecoderOnly::Create(const ModelConfig& config,
                                                                 Weights weights, int threads) {
  LEAPSTREAM_RETURN_IF_ERROR(ParseActivation(config.activation_fn).status());
  std::unique_ptr<DecoderOnly> model(new DecoderOnly(config, std::move(weights), threads));
  LEAPSTREAM_RETURN_IF_ERROR(model->weights_.Finish());
  return model;
}

std::vector<TensorSpec> DecoderOnly::ListTensors(const ModelConfig& config) {
  return DecoderOnly(config, Weights::Listing(), /*threads=*/1).weights_.taken();
}

DecoderOnly::DecoderOnly(const ModelConfig& config, Weights weights, int threads)
    : config_(config),
      threads_(threads),
      weights_(std::move(weights)),
      layers_(Parameters(weights_), config_, observer_),
      project_out_(config.decoder.output_dim != config.decoder.embed_dim
                       ? Parameters(weights_).Under(kSide).Matrix(
                             "project_out", {config.decoder.output_dim, config.decoder.embed_dim})
                       : PackedLinear()),
      output_(Parameters(weights_).Under(kSide), config_) {}

absl::StatusOr<std::unique_ptr<SessionState>> DecoderOnly::NewState() const {
  std::unique_ptr<TransformerState> state;
  LEAPSTREAM_RETURN_IF_ERROR(ModelCall("a text's state", 1, [&] {
    state = std::make_unique<TransformerState>();
    layers_.AddTo(state.get());
    return absl::OkStatus();
  }));
  return state;
}

absl::Status DecoderOnly::Reserve(int states) const {
  return ModelCall("states of texts", 1, [&] {
    layers_.Reserve(states);
    return absl::OkStatus();
  });
}

// --- Texts. ---

absl::Status DecoderOnly::CheckText(const TextRows& text) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckSource({SourceRows{text.state, text.tokens}}, config_));
  const int64_t most = config_.decoder.max_positions;
  const int64_t length = text.state->source_read() + static_cast<int64_t>(text.tokens.size());
  if (most == 0 || length <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the model has positions for a text of ", most, " tokens, got ", length,
      "; begin a new text, or use a model without a table of positions"));
}

absl::Status DecoderOnly::Extend(absl::Span<const TextRows> texts, TextVisitor visit,
                                 BetweenLayers between_layers) const {
  for (const TextRows& text : texts) LEAPSTREAM_RETURN_IF_ERROR(CheckText(text));
  return ModelCall("going on with texts", threads_, [&]() -> absl::Status {
    const ScratchLoan loan;
    Scratch& scratch = *loan;
    SourceBatch& batch = scratch.source;
    batch.Clear();
    std::vector<std::pair<size_t, size_t>> places;  // Of each row that is scored.
    std::vector<int64_t> scored;                    // The row itself.
    for (size_t t = 0; t < texts.size(); ++t) {
      auto* const state = static_cast<TransformerState*>(texts[t].state);
      const size_t count = texts[t].tokens.size();
      for (size_t i = texts[t].scored_from; i < count; ++i) {
        places.emplace_back(t, i);
        scored.push_back(static_cast<int64_t>(batch.owners.size() + i));
      }
      batch.Add(state, texts[t].tokens, state->progress_.source_rows);
      state->progress_.source_rows += static_cast<int>(count);
      state->progress_.source_read += static_cast<int>(count);
    }
    const Workspace::Scope scope(scratch.floats);
    Rows x = layers_.Encode(batch, scratch, between_layers);
    for (size_t i = 0; i < scored.size(); ++i) {
      std::copy_n(x.x + scored[i] * x.width, x.width, x.x + static_cast<int64_t>(i) * x.width);
    }
    x.count = static_cast<int64_t>(scored.size());
    return ShowScores(
        x, [](int64_t) { return 1.0f; },
        [&](int64_t row, const TokenScores& scores) {
          const auto [text, token] = places[static_cast<size_t>(row)];
          visit(text, token, scores);
        },
        scratch.floats, between_layers);
  });
}

absl::Status DecoderOnly::ShowScores(const Rows& x,
                                     absl::FunctionRef<float(int64_t row)> temperature,
                                     absl::FunctionRef<void(int64_t, const TokenScores&)> visit,
                                     Workspace& floats, BetweenLayers between_layers) const {
  if (x.count == 0) return absl::OkStatus();
  const float* features = x.x;
  int64_t width = x.width;
  if (project_out_.in() > 0) {
    width = project_out_.out();
    float* projected = floats.Floats(x.count * width);
    project_out_.Apply(x.x, x.count, projected, floats);
    features = projected;
  }
  const int64_t vocabulary = output_.vocabulary();
  float* logits = floats.Floats(std::min(x.count, kScoredTogether) * vocabulary);
  for (int64_t begin = 0; begin < x.count; begin += kScoredTogether) {
    if (begin > 0) between_layers();
    const int64_t count = std::min(kScoredTogether, x.count - begin);
    output_.Apply(features + begin * width, count, logits, floats);
    for (int64_t r = 0; r < count; ++r) {
      const absl::StatusOr<TokenScores> scores = Scored(
          absl::MakeSpan(logits + r * vocabulary, vocabulary), temperature(begin + r));
      if (!scores.ok()) return scores.status();
      visit(begin + r, *scores);
    }
  }
  return absl::OkStatus();
}

std::string DecoderOnly::Save(const SessionState& state) const {
  return static_cast<const TransformerState&>(state).SaveText();
}

absl::StatusOr<std::unique_ptr<SessionState>> DecoderOnly::Restore(absl::string_view bytes) const {
  LEAPSTREAM_ASSIGN_OR_RETURN(std::unique_ptr<SessionState> state, NewState());
  absl::Status status = ModelCall("restoring a text's state", 1, [&] {
    return static_cast<TransformerState&>(*state).LoadText(bytes);
  });
  if (!status.ok()) return status;
  const int most = config_.decoder.max_positions;
  if (most > 0 && state->source_read() > most) {
    return absl::InvalidArgumentError("the state is longer than the model's table of positions");
  }
  return state;
}

// --- Translation. ---

absl::Status DecoderOnly::Read(absl::Span<const SourceRows> batch,
                               BetweenLayers between_layers) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckSource(batch, config_));
  return ModelCall("reading source tokens", threads_, [&] {
    const ScratchLoan loan;
    Scratch& scratch = *loan;
    scratch.source.Clear();
    for (const SourceRows& rows : batch) {
      static_cast<TransformerState*>(rows.state)->ReadAsText(rows.tokens, &scratch.source);
    }
    const Workspace::Scope scope(scratch.floats);
    layers_.Encode(scratch.source, scratch, between_layers);
    return absl::OkStatus();
  });
}

absl::Status DecoderOnly::Step(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                               Scratch& scratch, BetweenLayers between_layers) const {
  std::vector<SessionState*> states;
  for (const ScoreRow& row : rows) states.push_back(row.state);
  LEAPSTREAM_RETURN_IF_ERROR(CheckHaveSource(states));
  SourceBatch& batch = scratch.source;
  batch.Clear();
  for (const ScoreRow& row : rows) {
    static_cast<TransformerState*>(row.state)->StepAsText(&batch);
  }
  const Workspace::Scope scope(scratch.floats);
  const Rows x = layers_.Encode(batch, scratch, between_layers);
  return ShowScores(
      x, [&](int64_t row) { return rows[static_cast<size_t>(row)].temperature; },
      [&](int64_t row, const TokenScores& scores) { visit(static_cast<size_t>(row), scores); },
      scratch.floats, between_layers);
}

absl::Status DecoderOnly::Decide(absl::Span<SessionState* const> batch, absl::Span<Decision> result,
                                 BetweenLayers between_layers) const {
  return ModelCall("deciding target tokens", threads_, [&] {
    const ScratchLoan loan;
    std::vector<ScoreRow> rows;
    for (SessionState* state : batch) rows.push_back({state});
    return Step(
        rows, [&](size_t row, const TokenScores& scores) { result[row] = Decided(scores); }, *loan,
        between_layers);
  });
}

absl::Status DecoderOnly::Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                                BetweenLayers between_layers) const {
  return ModelCall("scoring target tokens", threads_, [&] {
    const ScratchLoan loan;
    return Step(rows, visit, *loan, between_layers);
  });
}

}  // namespace leapstream
