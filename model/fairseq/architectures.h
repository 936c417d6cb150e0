#ifndef LEAPSTREAM_MODEL_FAIRSEQ_ARCHITECTURES_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_ARCHITECTURES_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/fairseq/checkpoint.h"
#include "model/fairseq/option_table.h"

namespace leapstream {

// The ways in which a decoder was trained for a source that is still arriving.
enum class Simultaneity {
  kNone,
  kMonotonic,  // With a simul_type, by fairseq's simultaneous_translation.
  kMasked,     // With a mask of one k or of many, by attn2d's examples/waitk (Elbayad et al. 2020).
};

// A family of fairseq's architectures that is served.
struct Architecture {
  const char* name;
  bool with_suffix;  // NAME_* is of this family, too.
  ModelKind kind;
  bool causal_encoder;
  Simultaneity simultaneity = Simultaneity::kNone;
};

// The family of an architecture, which is fairseq's --arch. Null: it is not served.
const Architecture* FindArchitecture(absl::string_view name);

// A sentence on the reason why an architecture is not served, and on those that are.
std::string WhyNotServed(absl::string_view architecture);

// The tasks whose models are served, for a kind of models.
absl::Span<const absl::string_view> ServedTasks(ModelKind kind);

// A sentence on parameters or options that show that a checkpoint is of another network than its
// architecture's, or not whole: shards of FSDP, experts, adapters, quantised weights, HMT. Empty:
// there are none.
std::string ForeignParts(const FairseqCheckpoint& checkpoint);

// Whether a name of an architecture, a task or a policy is of speech.
bool IsOfSpeech(absl::string_view name);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_ARCHITECTURES_H_
