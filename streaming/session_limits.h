#ifndef LEAPSTREAM_STREAMING_SESSION_LIMITS_H_
#define LEAPSTREAM_STREAMING_SESSION_LIMITS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "model/api/model.h"
#include "model/api/translator.h"
#include "model/api/vocabulary.h"
#include "streaming/session.h"

// The rules for a session's options and for the lengths of its segments. These are pure functions:
// sessions obey them, and clients are told their results.
namespace leapstream {

// Checks a session's options. INVALID_ARGUMENT: an option is out of range, or the model does not
// take the policy.
absl::Status CheckOptions(const SessionOptions& options, const ModelInfo& model);

// Whether a session with these options may have a glossary and keep mark-up.
bool TakesTerms(const SessionOptions& options, const ModelInfo& model);

// The most source tokens of a segment, </s> included; of speech, encoder states.
int SourceLimit(const SessionOptions& options, const ModelInfo& model);
// The model's input, with the READs that the session asks for. REQUIRES: the model takes speech.
SpeechInput InputOf(const SessionOptions& options, const ModelInfo& model);
// SourceLimit() for speech, as the time that so many encoder states last. REQUIRES: the model takes
// speech.
absl::Duration AudioLimit(const SessionOptions& options, const ModelInfo& model);

// The most target tokens of a segment, </s> not included, however long its source is; 0: the source
// alone limits them.
int TargetCap(const SessionOptions& options, const ModelInfo& model);
// The most target tokens of a segment, </s> not included, when `source_read` source tokens, </s>
// included, have been read. Never more than TargetCap(), and never less for more source.
int TargetLimit(const SessionOptions& options, const ModelInfo& model, int source_read);

// The most tokens that a beam search of a segment may write, </s> not included, beside its own
// max_length_a and max_length_b; 0: no limit.
int SearchCap(const SessionOptions& options, const ModelInfo& model);
// The bytes of a session's states when a segment starts: its own, and one for each row of its beam,
// for its draft, or for the probes of its glossary.
int64_t StateBytes(const SessionOptions& options, const ModelInfo& model);

// Whether the session's states refresh their past: SessionOptions::past, with its default.
bool RefreshesPast(const SessionOptions& options, const ModelInfo& model);

// The differences between the ways in which fairseq's agents for text and for speech end a segment.
struct AgentRules {
  // The text agent decides one more step than the limit allows, and drops its token. The speech
  // agent does not, and counts steps that wrote nothing.
  bool decides_past_limit = true;
  // A target token that ends the segment once its source is finished; kUnknown: there is none.
  TokenId end_symbol = kUnknown;
};
AgentRules AgentRulesOf(const Model& model);

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SESSION_LIMITS_H_
