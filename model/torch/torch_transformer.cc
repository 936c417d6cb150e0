#include "model/torch/torch_transformer.h"

#include <utility>
#include <vector>

#include "base/status.h"
#include "model/engine/contract.h"
#include "model/engine/model_call.h"
#include "model/engine/session_state.h"
#include "model/torch/torch_call.h"

namespace leapstream {

absl::StatusOr<std::unique_ptr<SessionState>> TorchTransformer::NewState() const {
  std::unique_ptr<TransformerState> state;
  LEAPSTREAM_RETURN_IF_ERROR(ModelCall("a session's state", 1, [&] {
    state = std::make_unique<TransformerState>();
    parts_.reader->AddTo(state.get());
    encoder_.AddTo(state.get());
    decoder_.AddTo(state.get());
    return absl::OkStatus();
  }));
  return state;
}

absl::Status TorchTransformer::Reserve(int states) const {
  LEAPSTREAM_RETURN_IF_ERROR(encoder_.Reserve(states));
  return decoder_.Reserve(states);
}

void TorchTransformer::Encode(const SourceBatch& batch) const {
  encoder_.Encode(batch, [&](const TorchEncoder::Encoded& encoded) { decoder_.Append(encoded); });
}

void TorchTransformer::EncodePrefixes(absl::Span<SessionState* const> states,
                                      Scratch& scratch) const {
  parts_.reader->ReadPrefixes(
      states, scratch, [&] { Encode(scratch.source); }, [] {});
}

absl::Status TorchTransformer::Read(absl::Span<const SourceRows> batch,
                                    BetweenLayers /*between_layers*/) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckSource(batch, *parts_.config));
  MutexLock lock(&parts_.context->mutex);
  return TorchCall("reading source tokens", parts_.context->threads, [&] {
    const ScratchLoan loan;
    SourceBatch& source = (*loan).source;
    source.Clear();
    for (const SourceRows& rows : batch) parts_.reader->Read(rows, &source);
    Encode(source);
    return absl::OkStatus();
  });
}

absl::Status TorchTransformer::Decide(absl::Span<SessionState* const> batch,
                                      absl::Span<Decision> result,
                                      BetweenLayers /*between_layers*/) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckHaveSource(batch));
  if (batch.empty()) return absl::OkStatus();
  MutexLock lock(&parts_.context->mutex);
  return TorchCall("deciding target tokens", parts_.context->threads, [&] {
    const ScratchLoan loan;
    EncodePrefixes(batch, *loan);
    decoder_.Decide(batch, result, *loan);
    return absl::OkStatus();
  });
}

absl::Status TorchTransformer::Score(absl::Span<const ScoreRow> batch, ScoreVisitor visit,
                                     BetweenLayers /*between_layers*/) const {
  std::vector<SessionState*> states;
  for (const ScoreRow& row : batch) states.push_back(row.state);
  LEAPSTREAM_RETURN_IF_ERROR(CheckHaveSource(states));
  if (batch.empty()) return absl::OkStatus();
  MutexLock lock(&parts_.context->mutex);
  return TorchCall("scoring target tokens", parts_.context->threads, [&] {
    const ScratchLoan loan;
    EncodePrefixes(states, *loan);
    decoder_.Score(batch, visit, *loan);
    return absl::OkStatus();
  });
}

absl::Status TorchTransformer::Verify(absl::Span<const GivenRows> batch,
                                      BetweenLayers between_layers) const {
  if (parts_.config->LearnedPolicy()) return Translator::Verify(batch, between_layers);
  std::vector<SessionState*> states;
  for (const GivenRows& rows : batch) states.push_back(rows.state);
  LEAPSTREAM_RETURN_IF_ERROR(CheckHaveSource(states));
  if (batch.empty()) return absl::OkStatus();
  std::vector<GivenRows> apart;
  {
    MutexLock lock(&parts_.context->mutex);
    LEAPSTREAM_RETURN_IF_ERROR(TorchCall("verifying target tokens", parts_.context->threads, [&] {
      const ScratchLoan loan;
      EncodePrefixes(states, *loan);
      apart = decoder_.Verify(batch, *loan);
      return absl::OkStatus();
    }));
  }
  return apart.empty() ? absl::OkStatus() : Translator::Verify(apart, between_layers);
}

}  // namespace leapstream
