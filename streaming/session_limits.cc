#include "streaming/session_limits.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "model/api/speech.h"
#include "streaming/policy.h"

namespace leapstream {
namespace {

constexpr int kMaxTargetTokens = 1 << 20;  // More than in any segment; keeps a * S + b an int.

constexpr int kMaxReadMs = 40'000;  // SpeechConfig's range of pre_decision_ratio.

constexpr char kEndSymbol[] = "<e>";       // See docs/fairseq.md, rule 24.

// The smaller one of two limits; 0: no limit.
int Smaller(int one, int other) {
  if (one == 0 || other == 0) return std::max(one, other);
  return std::min(one, other);
}

absl::Status CheckChunk(const SessionOptions& options, const ModelInfo& model) {
  if (options.read_tokens < 0 || options.read_words < 0 ||
      (options.read_tokens > 0 && options.read_words > 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "one of read_tokens and read_words may be positive, got ", options.read_tokens, " and ",
        options.read_words, "; leave both unset for the default"));
  }
  if (options.read_words > 0 && model.speech.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model ", model.name, " takes speech, whose words cannot be counted; use read_tokens"));
  }
  if (options.read_ms == 0) return absl::OkStatus();
  if (!model.speech.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model ", model.name, " takes text, whose READs have no duration, got read_ms ",
        options.read_ms, "; leave it unset, or use read_tokens or read_words"));
  }
  const int state = model.speech->MillisecondsPerState();
  if (options.read_ms < state || options.read_ms > kMaxReadMs || options.read_ms % state != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "read_ms needs to be a multiple of ", state, ", the encoder state of model ", model.name,
        ", of ", kMaxReadMs, " at most, got ", options.read_ms, "; leave it unset for ",
        state * model.speech->pre_decision_ratio));
  }
  return absl::OkStatus();
}

absl::Status CheckTerms(const SessionOptions& options, const ModelInfo& model) {
  if (TakesTerms(options, model) || (options.glossary == nullptr && !options.keep_markup)) {
    return absl::OkStatus();
  }
  if (model.speech.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a glossary and keep_markup are for text, and model ", model.name,
                     " takes speech; leave them unset"));
  }
  return absl::InvalidArgumentError(
      "a glossary and keep_markup are for policies that decide of one token at a time: wait_k, "
      "adaptive_wait_k, learned, and offline without a beam; leave them unset, or take one of "
      "these");
}

}  // namespace

bool TakesTerms(const SessionOptions& options, const ModelInfo& model) {
  return !model.speech.has_value() && !options.beam.has_value() && !UsesDrafts(options.policy);
}

absl::Status CheckOptions(const SessionOptions& options, const ModelInfo& model) {
  if (absl::Status policy = CheckFor(options.policy, model); !policy.ok()) return policy;
  if (options.max_target_tokens < 0 || options.max_length_b < 0 || !(options.max_length_a >= 0) ||
      options.max_length_a > kMaxTargetTokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "length limits must not be negative or absurd, got max_target_tokens ",
        options.max_target_tokens, ", max_length_a ", options.max_length_a, ", max_length_b ",
        options.max_length_b, "; leave them unset for the defaults"));
  }
  if (options.max_target_tokens_after_source < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_target_tokens_after_source must not be negative, got ",
                     options.max_target_tokens_after_source, "; leave it unset for the default"));
  }
  if (options.max_target_tokens_cap < 0 || options.max_queued_bytes < 1) {
    return absl::InvalidArgumentError("a session needs a target limit and room for its source");
  }
  if (options.max_source_tokens < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_source_tokens must be at least 2 (a token and </s>), got ",
                     options.max_source_tokens));
  }
  if (absl::Status chunk = CheckChunk(options, model); !chunk.ok()) return chunk;
  if (!model.bidirectional_encoder &&
      (options.past == Past::kRefreshed || options.prefix_end.value_or(false))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a refreshed past and the end of a prefix need a bidirectional encoder, which model ",
        model.name, " does not have; leave past and prefix_end unset"));
  }
  if (options.past == Past::kRefreshed && options.early_end == EarlyEnd::kForceFinish) {
    return absl::InvalidArgumentError(
        "a refreshed past cannot have steps without a token, as early_end force-finish has; leave "
        "past unset");
  }
  if (options.prefix_end.value_or(false) && model.speech.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model ", model.name, " takes speech, which has no </s>; leave prefix_end unset"));
  }
  if (absl::Status terms = CheckTerms(options, model); !terms.ok()) return terms;
  return options.beam.has_value() ? CheckBeamOptions(*options.beam) : absl::OkStatus();
}

int SourceLimit(const SessionOptions& options, const ModelInfo& model) {
  return Smaller(options.max_source_tokens, model.max_source_tokens);
}

SpeechInput InputOf(const SessionOptions& options, const ModelInfo& model) {
  SpeechInput input = *model.speech;
  if (options.read_ms > 0) {
    input.pre_decision_ratio = options.read_ms / input.MillisecondsPerState();
  }
  return input;
}

absl::Duration AudioLimit(const SessionOptions& options, const ModelInfo& model) {
  return absl::Milliseconds(model.speech->MillisecondsPerState()) * SourceLimit(options, model);
}

int TargetCap(const SessionOptions& options, const ModelInfo& model) {
  return Smaller(options.max_target_tokens_cap, model.max_target_tokens);
}

int TargetLimit(const SessionOptions& options, const ModelInfo& model, int source_read) {
  double limit = options.max_target_tokens > 0
                     ? options.max_target_tokens
                     : options.max_length_a * source_read + options.max_length_b;
  const int tokens = static_cast<int>(std::min<double>(limit, kMaxTargetTokens));
  const int cap = TargetCap(options, model);
  return cap > 0 ? std::min(tokens, cap) : tokens;
}

int SearchCap(const SessionOptions& options, const ModelInfo& model) {
  return Smaller(options.max_target_tokens, TargetCap(options, model));
}

int64_t StateBytes(const SessionOptions& options, const ModelInfo& model) {
  // A draft has a state, which is not needed any more when a search begins.
  const int drafts = UsesDrafts(options.policy) ? 1 : 0;
  const int rows = options.beam.has_value() ? options.beam->beam : 0;
  const int probes = options.glossary != nullptr ? 1 : 0;  // See SegmentTerms.
  return model.state_bytes_per_session * (1 + std::max({drafts, rows, probes}));
}

bool RefreshesPast(const SessionOptions& options, const ModelInfo& model) {
  if (options.past != Past::kDefault) return options.past == Past::kRefreshed;
  return model.bidirectional_encoder && UsesDrafts(options.policy);
}

AgentRules AgentRulesOf(const Model& model) {
  if (!model.info.speech.has_value()) return {};
  return {false, model.target_vocabulary.Id(kEndSymbol)};
}

}  // namespace leapstream
