#include "model/engine/transformer.h"

#include "base/status.h"
#include "model/engine/contract.h"
#include "model/engine/model_call.h"

namespace leapstream {
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
      reader_(Parameters(weights_), config_, observer_),
      encoder_(Parameters(weights_), config_, observer_),
      decoder_(Parameters(weights_), config_, observer_) {}

absl::StatusOr<std::unique_ptr<SessionState>> Transformer::NewState() const {
  std::unique_ptr<TransformerState> state;
  LEAPSTREAM_RETURN_IF_ERROR(ModelCall("a session's state", 1, [&] {
    state = std::make_unique<TransformerState>();
    reader_.AddTo(state.get());
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
      reader_.Read(rows, &scratch.source);
      if (!rows.samples.empty()) between_layers();
    }
    const Workspace::Scope scope(scratch.floats);
    decoder_.Append(scratch.source, encoder_.Encode(scratch.source, scratch, between_layers),
                    scratch);
    return absl::OkStatus();
  });
}

void Transformer::EncodePrefixes(absl::Span<SessionState* const> batch, Scratch& scratch,
                                 BetweenLayers between_layers) const {
  const auto encode = [&] {
    const Workspace::Scope scope(scratch.floats);
    decoder_.Append(scratch.source, encoder_.Encode(scratch.source, scratch, between_layers),
                    scratch);
  };
  reader_.ReadPrefixes(batch, scratch, encode, between_layers);
}

absl::Status Transformer::Decide(absl::Span<SessionState* const> batch, absl::Span<Decision> result,
                                 BetweenLayers between_layers) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckHaveSource(batch));
  if (batch.empty()) return absl::OkStatus();
  return ModelCall("deciding target tokens", threads_, [&] {
    const ScratchLoan loan;
    EncodePrefixes(batch, *loan, between_layers);
    decoder_.Decide(batch, result, *loan, between_layers);
    return absl::OkStatus();
  });
}

absl::Status Transformer::Score(absl::Span<const ScoreRow> batch, ScoreVisitor visit,
                                BetweenLayers between_layers) const {
  if (batch.empty()) return absl::OkStatus();
  return ModelCall("scoring target tokens", threads_, [&]() -> absl::Status {
    const ScratchLoan loan;
    std::vector<SessionState*>& states = (*loan).states;
    states.clear();
    for (const ScoreRow& row : batch) states.push_back(row.state);
    LEAPSTREAM_RETURN_IF_ERROR(CheckHaveSource(states));
    EncodePrefixes(states, *loan, between_layers);
    decoder_.Score(batch, visit, *loan, between_layers);
    return absl::OkStatus();
  });
}

absl::Status Transformer::Verify(absl::Span<const GivenRows> batch,
                                 BetweenLayers between_layers) const {
  // With layers that share their past, a step changes what was before it.
  if (config_.LearnedPolicy() || decoder_.shares_layers()) {
    return Translator::Verify(batch, between_layers);
  }
  return ModelCall("verifying target tokens", threads_, [&]() -> absl::Status {
    const ScratchLoan loan;
    std::vector<SessionState*>& states = (*loan).states;
    states.clear();
    for (const GivenRows& rows : batch) states.push_back(rows.state);
    LEAPSTREAM_RETURN_IF_ERROR(CheckHaveSource(states));
    EncodePrefixes(states, *loan, between_layers);
    decoder_.Verify(batch, *loan, between_layers);
    return absl::OkStatus();
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
