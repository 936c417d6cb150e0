#include "model/engine/decoder_only.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "model/engine/contract.h"
#include "model/engine/layers.h"
#include "model/engine/model_call.h"

namespace leapstream {

absl::StatusOr<std::unique_ptr<DecoderOnly>> DecoderOnly::Create(const ModelConfig& config,
                                                                 Weights weights, int threads) {
  LEAPSTREAM_RETURN_IF_ERROR(ParseActivation(config.activation_fn).status());
  std::unique_ptr<const TextNetwork> network;
  LEAPSTREAM_ASSIGN_OR_RETURN(network, MakeTextNetwork(config, std::move(weights)));
  return std::make_unique<DecoderOnly>(config, std::move(network), threads);
}

absl::StatusOr<std::unique_ptr<SessionState>> DecoderOnly::NewState() const {
  std::unique_ptr<TransformerState> state;
  LEAPSTREAM_RETURN_IF_ERROR(ModelCall("a text's state", 1, [&] {
    state = std::make_unique<TransformerState>();
    network_->AddTo(state.get());
    return absl::OkStatus();
  }));
  return state;
}

absl::Status DecoderOnly::Reserve(int states) const { return network_->Reserve(states); }

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
    std::vector<TextNetwork::Scored> scored;
    for (size_t t = 0; t < texts.size(); ++t) {
      auto* const state = static_cast<TransformerState*>(texts[t].state);
      const size_t count = texts[t].tokens.size();
      for (size_t i = texts[t].scored_from; i < count; ++i) {
        places.emplace_back(t, i);
        TextNetwork::Scored& row = scored.emplace_back();
        row.row = static_cast<int64_t>(batch.owners.size() + i);
        if (!texts[t].wanted.empty()) row.wanted = texts[t].wanted[i - texts[t].scored_from];
      }
      batch.Add(state, texts[t].tokens, state->progress_.source_rows);
      state->progress_.source_rows += static_cast<int>(count);
      state->progress_.source_read += static_cast<int>(count);
    }
    return network_->Score(
        batch, scored,
        [&](size_t i, const TokenScores& scores) {
          return visit(places[i].first, places[i].second, scores);
        },
        scratch, between_layers);
  });
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
    const auto ignore = [](size_t, const TokenScores&) { return true; };
    return network_->Score(scratch.source, {}, ignore, scratch, between_layers);
  });
}

absl::Status DecoderOnly::OpenSteps(absl::Span<SessionState* const> states,
                                    SourceBatch* batch) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckHaveSource(states));
  batch->Clear();
  for (SessionState* state : states) static_cast<TransformerState*>(state)->StepAsText(batch);
  return absl::OkStatus();
}

absl::Status DecoderOnly::Decide(absl::Span<SessionState* const> batch, absl::Span<Decision> result,
                                 BetweenLayers between_layers) const {
  return ModelCall("deciding target tokens", threads_, [&]() -> absl::Status {
    const ScratchLoan loan;
    Scratch& scratch = *loan;
    LEAPSTREAM_RETURN_IF_ERROR(OpenSteps(batch, &scratch.source));
    return network_->Decide(scratch.source, result, scratch, between_layers);
  });
}

absl::Status DecoderOnly::Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                                BetweenLayers between_layers) const {
  return ModelCall("scoring target tokens", threads_, [&]() -> absl::Status {
    const ScratchLoan loan;
    Scratch& scratch = *loan;
    scratch.states.clear();
    std::vector<TextNetwork::Scored> scored;
    for (const ScoreRow& row : rows) {
      scored.push_back({static_cast<int64_t>(scored.size()), row.temperature, row.wanted});
      scratch.states.push_back(row.state);
    }
    LEAPSTREAM_RETURN_IF_ERROR(OpenSteps(scratch.states, &scratch.source));
    return network_->Score(scratch.source, scored, visit, scratch, between_layers);
  });
}

}  // namespace leapstream
