#include "model/engine/contract.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "model/engine/kernels/simd.h"

namespace leapstream {
namespace {

absl::Status CheckTokens(absl::string_view side, absl::Span<const TokenId> tokens, int size) {
  for (const TokenId token : tokens) {
    if (token >= 0 && token < size) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("a ", side, " token must be in [0, ", size, "), got ", token));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSource(absl::Span<const SourceRows> batch, const ModelConfig& config) {
  for (const SourceRows& rows : batch) {
    const bool wrong = config.speech.has_value() ? !rows.tokens.empty() : !rows.samples.empty();
    if (wrong) {
      return absl::InvalidArgumentError(
          absl::StrCat("the model takes ", config.speech.has_value() ? "samples" : "tokens",
                       ", got the other kind of source"));
    }
    LEAPSTREAM_RETURN_IF_ERROR(CheckTokens("source", rows.tokens, config.encoder.vocabulary_size));
  }
  return absl::OkStatus();
}

absl::Status CheckReplay(absl::Span<const ReplayRows> batch, const ModelConfig& config,
                         absl::FunctionRef<int64_t(const ReplayRows&)> source_read_after) {
  for (const ReplayRows& rows : batch) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckTokens("source", rows.source, config.encoder.vocabulary_size));
    LEAPSTREAM_RETURN_IF_ERROR(CheckTokens("target", rows.target, config.decoder.vocabulary_size));
    if (rows.source_read.size() != rows.target.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("each target token needs its source_read, got ", rows.source_read.size(),
                       " of them for ", rows.target.size(), " tokens"));
    }
    const int64_t read = rows.state->source_read();
    const int64_t most = source_read_after(rows);
    int64_t least = std::max<int64_t>(read, 1);
    for (const int source_read : rows.source_read) {
      if (source_read < least || source_read > most) {
        return absl::InvalidArgumentError(absl::StrCat("a target token's source_read must be in [",
                                                       least, ", ", most, "], got ", source_read));
      }
      least = source_read;
    }
  }
  return absl::OkStatus();
}

absl::Status CheckHaveSource(absl::Span<SessionState* const> batch) {
  for (const SessionState* state : batch) {
    if (state->source_read() == 0) {
      return absl::FailedPreconditionError(
          "a target token needs at least one source token; call Read() first");
    }
  }
  return absl::OkStatus();
}

const char* OutputName(const ModelConfig& config) {
  if (config.share_all_embeddings) return "encoder.embedding";
  return config.share_decoder_input_output_embed ? "decoder.embedding" : "decoder.output";
}

Decision Decided(const float* logits, int64_t size) {
  float most = logits[0];
  for (int64_t i = 1; i < size; ++i) most = std::max(most, logits[i]);
  const float log_sum = std::log(Simd().sum_exp(logits, size, most, nullptr));
  // Log-probabilities are rounded in the order of log_softmax: different logits may then tie.
  const auto log_prob = [&](int64_t i) { return (logits[i] - most) - log_sum; };
  // Ties go to the lowest index, as with argmax in fairseq's agents.
  int64_t best = 0;
  int64_t second = 1;
  if (log_prob(1) > log_prob(0)) std::swap(best, second);
  for (int64_t i = 2; i < size; ++i) {
    const float p = log_prob(i);
    if (p <= log_prob(second)) continue;
    if (p > log_prob(best)) {
      second = best;
      best = i;
    } else {
      second = i;
    }
  }
  Decision decision;
  decision.best = {static_cast<TokenId>(best), log_prob(best)};
  decision.second = {static_cast<TokenId>(second), log_prob(second)};
  return decision;
}

}  // namespace leapstream
