#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_KINDS_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_KINDS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/engine/attention/attention.h"
#include "model/engine/attention/attention_entry.h"
#include "model/engine/parameters.h"

namespace leapstream {

// The kinds of attention that a model can ask for.
absl::Span<const AttentionEntry* const> AttentionEntries();
// The kind of this name; null if there is none.
const AttentionEntry* FindAttention(absl::string_view name);
// Whether the kind of this name has LeaP's proportion nets.
bool HasProportionNets(absl::string_view kind);

// INVALID_ARGUMENT: a side asks for a kind that there is not, or for one that its sizes do not fit.
absl::Status CheckAttentionKinds(const ModelConfig& config);

// The block whose parameters are given, of the kind that the configuration asks for, which
// CheckAttentionKinds() has passed.
Attention MakeSelfAttention(const Parameters& parameters, const ModelConfig& config,
                            const SideConfig& side);
Attention MakeCrossAttention(const Parameters& parameters, const ModelConfig& config);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_KINDS_H_
