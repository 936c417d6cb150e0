#ifndef LEAPSTREAM_STREAMING_DRAFT_RULES_H_
#define LEAPSTREAM_STREAMING_DRAFT_RULES_H_

#include "absl/types/span.h"
#include "model/api/translator.h"
#include "streaming/policy.h"

// The rules of drafts: pure functions of tokens and counts. A draft is the greedy translation, from
// the written target on, of the source that was read.
namespace leapstream {

// The most tokens of a draft. source_read: the source tokens read; new_source: those of them that
// were read since the last look that wrote something; written: the target tokens written.
struct DraftLength {
  int source_read = 0;
  int new_source = 0;
  int written = 0;
};
int MostDraftTokens(const DraftLength& length);

// The most tokens of a draft behind those with which the last one began, too. For local agreement
// only these matter: a draft that differs from the last one ends with the first other token, and one
// that agrees with all of it goes on for a few tokens, which the next one may agree with. So a look
// costs about as many steps as source tokens were read. chunk: these; agrees: with all of it.
int MostNewTokens(const Policy& policy, int chunk, bool agrees);

// The number of last tokens of `target` that say again what stands before them: after eight tokens
// or more, the same token for the fifth time in a row, or two or three tokens for the third time. 0:
// nothing repeats.
int RepeatedTokens(absl::Span<const TokenId> target);

// The number of first tokens of a draft that the policy lets be written, units apart. agreed[i]: the
// number of last drafts in a row, this one included, that agree up to token i. REQUIRES:
// UsesDrafts(policy).
int Keeps(const Policy& policy, absl::Span<const int> agreed);

// Whether the policy ends a draft before the decided token, since the token may depend on source
// that is still to come. source_read: the source tokens that were read.
bool IsUnsafe(const Policy& policy, const Decision& decision, int source_read);

// Whether a first unit is written at once, with so many more source words than target words.
bool LagsTooMuch(const Policy& policy, int words);

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_DRAFT_RULES_H_
