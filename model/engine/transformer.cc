#include "model/engine/transformer.h"

#include "base/status.h"
#include "model/engine/contract.h"
#include "model/engine/model_call.h"

namespace leapstream {
namespace {

// A batch of prefixes is encoded once it has so many rows, so that many sessions with bidirectional
// encoders need no more scratch memory than a few.
constexpr size_t kPrefixRows = 1024;

}  // namespace

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::Create(const ModelConfig& config,
                                                                 Weights weights, int threads) {
  LEAPSTREAM_RETURN_IF_ERROR(ParseActivation(config.activation_fn).status());
  std::unique_ptr<Transformer> transformer(new Transformer(config, std::move(weights), threads));
  LEAPSTREAM_RETURN_IF_ERROR(transformer->weights_.Finish());
  return transformer;
}

std::vector<TensorSpec> Transformer::ListTensors(const ModelConfig& config) {
  return Transformer(config, Weights::Listing(), /*threads=*/1).weights_.taken();
}

Transformer::Transformer(const ModelConfig& config, Weights weights, int threads)
    : config_(config),
      threads_(threads),
      weights_(std::move(weights)),
      encoder_(Parameters(weights_), config_, observer_),
      decoder_(Parameters(weights_), config_, observer_) {}

absl::StatusOr<std::unique_ptr<SessionState>> Transformer::NewState() const {
  std::unique_ptr<TransformerState> state;
  LEAPSTREAM_RETURN_IF_ERROR(ModelCall("a session's state", 1, [&] {
    state = std::make_unique<TransformerState>();
    encoder_.AddTo(state.get());
    decoder_.AddTo(state.get());
    return absl::OkStatus();
  }));
  return state;
}

absl::Status Transformer::Reserve(int states) const {
  return ModelCall("states of sessions", 1, [&] {
    encoder_.Reserve(states);
    decoder_.Reserve(states);
    return absl::OkStatus();
  });
}

absl::Status Transformer::Read(absl::Span<const SourceRows> batch,
                               BetweenLayers between_layers) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckSource(batch, config_));
  return ModelCall("reading source tokens", threads_, [&] {
    const ScratchLoan loan;
    Scratch& scratch = *loan;
    scratch.source.Clear();
    for (const SourceRows& rows : batch) {
      if (!rows.samples.empty()) {
        encoder_.ReadSamples(rows);
        between_layers();
      } else {
        encoder_.ReadTokens(rows, &scratch.source);
      }
    }
    const Workspace::Scope scope(scratch.floats);
    decoder_.Append(scratch.source, encoder_.Encode(scratch.source, scratch, between_layers),
                    scratch);
    return absl::OkStatus();
  });
}

void Transformer::EncodePrefixes(absl::Span<SessionState* const> batch, Scratch& scratch,
                                 BetweenLayers between_layers) const {
  if (config_.causal_encoder) return;
  SourceBatch& prefixes = scratch.source;
  prefixes.Clear();
  const auto encode = [&] {
    const Workspace::Scope scope(scratch.floats);
    decoder_.Append(prefixes, encoder_.Encode(prefixes, scratch, between_layers), scratch);
  };
  for (SessionState* session_state : batch) {
    auto* const state = static_cast<TransformerState*>(session_state);
    if (!encoder_.ReadPrefix(state, &prefixes, scratch.floats)) continue;
    if (config_.speech.has_value()) between_layers();
    decoder_.ForgetSource(state);
    state->MakeStale();
    if (prefixes.owners.size() >= kPrefixRows) {
      encode();
      prefixes.Clear();
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
    EncodePrefixes(batch, *loan, between_layers);
    return decoder_.Decide(batch, result, *loan, between_layers);
  });
}

absl::Status Transformer::Score(absl::Span<const ScoreRow> batch, ScoreVisitor visit,
                                BetweenLayers between_layers) const {
  if (batch.empty()) return absl::OkStatus();
  return ModelCall("scoring target tokens", threads_, [&] {
    const ScratchLoan loan;
    std::vector<SessionState*>& states = (*loan).states;
    states.clear();
    for (const ScoreRow& row : batch) states.push_back(row.state);
    LEAPSTREAM_RETURN_IF_ERROR(CheckHaveSource(states));
    EncodePrefixes(states, *loan, between_layers);
    return decoder_.Score(batch, visit, *loan, between_layers);
  });
}

absl::Status Transformer::Verify(absl::Span<const GivenRows> batch,
                                 BetweenLayers between_layers) const {
  // With layers that share their past, a step changes what was before it.
  if (config_.LearnedPolicy() || decoder_.shares_layers()) {
    return Translator::Verify(batch, between_layers);
  }
  return ModelCall("verifying target tokens", threads_, [&] {
    const ScratchLoan loan;
    std::vector<SessionState*>& states = (*loan).states;
    states.clear();
    for (const GivenRows& rows : batch) states.push_back(rows.state);
    LEAPSTREAM_RETURN_IF_ERROR(CheckHaveSource(states));
    EncodePrefixes(states, *loan, between_layers);
    return decoder_.Verify(batch, *loan, between_layers);
  });
}

bool Transformer::can_replay() const {
  return config_.causal_encoder && !config_.LearnedPolicy() && !decoder_.shares_layers();
}

absl::Status Transformer::Replay(absl::Span<const ReplayRows> batch,
                                 BetweenLayers between_layers) const {
  if (!can_replay()) return Translator::Replay(batch, between_layers);
  LEAPSTREAM_RETURN_IF_ERROR(CheckReplay(batch, config_, [](const ReplayRows& rows) {
    return static_cast<const TransformerState*>(rows.state)->SourceReadAfter(rows.source);
  }));
  return ModelCall("replaying a target", threads_, [&] {
    const ScratchLoan loan;
    Scratch& scratch = *loan;
    scratch.source.Clear();
    scratch.target.Clear();
    for (const ReplayRows& rows : batch) decoder_.OpenReplay(rows, scratch);
    const Workspace::Scope scope(scratch.floats);
    decoder_.Replay(encoder_.Encode(scratch.source, scratch, between_layers), scratch,
                    between_layers);
    return absl::OkStatus();
  });
}

}  // namespace leapstream
