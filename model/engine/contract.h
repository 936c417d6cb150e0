#ifndef LEAPSTREAM_MODEL_ENGINE_CONTRACT_H_
#define LEAPSTREAM_MODEL_ENGINE_CONTRACT_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"

// The checks that every Translator of a fairseq model makes before a call: see Translator for the
// errors.
namespace leapstream {

absl::Status CheckSource(absl::Span<const SourceRows> rows, const ModelConfig& config);
// source_read_after: SessionState::source_read() of a state once all of its rows' source is read.
absl::Status CheckReplay(absl::Span<const ReplayRows> rows, const ModelConfig& config,
                         absl::FunctionRef<int64_t(const ReplayRows&)> source_read_after);
absl::Status CheckHaveSource(absl::Span<SessionState* const> states);

// The name of the matrix that turns a decoder's output into logits.
const char* OutputName(const ModelConfig& config);
// The name of the bias of the logits [N], which a model with ModelConfig::output_bias has.
inline constexpr char kOutputBiasName[] = "decoder.output_bias";

// The scores of one row of logits, which are divided by `temperature` in place.
TokenScores Scored(absl::Span<float> logits, float temperature);
// The best and the second token of one row. Of scores that are not finite, the decision is not.
Decision Decided(const TokenScores& scores);
// Decided(Scored(logits, 1)), with one look less at the logits: those of many rows of a large
// vocabulary are in no cache.
Decision DecidedFrom(absl::Span<const float> logits);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_CONTRACT_H_
