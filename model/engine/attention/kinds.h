#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_KINDS_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_KINDS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/engine/attention/attention.h"
#include "model/engine/attention/attention_entry.h"
#include "model/engine/attention/monotonic_attention.h"
#include "model/engine/parameters.h"

namespace leapstream {

// The kinds of attention that a model can ask for.
absl::Span<const AttentionEntry* const> AttentionEntries();
// The kind of this name; null if there is none.
const AttentionEntry* FindAttention(absl::string_view name);
// Whether the kind of this name has LeaP's proportion nets.
bool HasProportionNets(absl::string_view kind);

// Checks the kinds that both sides ask for. INVALID_ARGUMENT: there is no such kind, or the side's
// sizes do not fit it.
absl::Status CheckAttentionKinds(const ModelConfig& config);

// The options of a learned policy's cross-attention, but for the bias of its energies, which is a
// parameter of each block.
MonotonicOptions MonotonicOptionsOf(const ModelConfig& config);

// The attention block with these parameters, of the kind that the configuration asks for. The
// configuration must have passed CheckAttentionKinds().
Attention MakeSelfAttention(const Parameters& parameters, const ModelConfig& config,
                            const SideConfig& side);
Attention MakeCrossAttention(const Parameters& parameters, const ModelConfig& config);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_KINDS_H_
