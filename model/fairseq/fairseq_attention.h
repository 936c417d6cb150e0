#ifndef LEAPSTREAM_MODEL_FAIRSEQ_FAIRSEQ_ATTENTION_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_FAIRSEQ_ATTENTION_H_

#include <utility>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/engine/attention/attention_entry.h"
#include "model/fairseq/checkpoint.h"

namespace leapstream {

// The attention blocks of fairseq's layers.
enum AttentionPlace { kEncoderSelf, kDecoderSelf, kDecoderCross };
inline constexpr int kAttentionPlaces = 3;

// The names that checkpoints have for a kind of attention, its options and its parameters.
struct FairseqAttention {
  const AttentionEntry* kind;
  // The spellings of the options that switch the kind on, by AttentionPlace.
  const char* options[kAttentionPlaces][2];
  // The names that fairseq has or had for a parameter that only blocks of this kind have.
  absl::Span<const absl::string_view> markers;
  const char* owner;  // The owner of this parameter, for messages: "LeaP's".
  const char* part;   // The part that it is, for messages: "proportion nets".
  // An option that trains the kind without a mask; an encoder then has no mask in inference either.
  // Null: there is no such option.
  const char* unmasked_option;
  // Pairs of a parameter's name in leapstream and in fairseq; then pairs of its present and an
  // earlier name in fairseq.
  absl::Span<const std::pair<absl::string_view, absl::string_view>> renames;
  absl::Span<const std::pair<absl::string_view, absl::string_view>> older_names;
};

// The kinds of attention in checkpoints, but for soft-max: a block without any of these kinds'
// markers is soft-max.
absl::Span<const FairseqAttention> FairseqAttentions();

// The kind of a layer's block; null: soft-max. Layers count from 0.
const FairseqAttention* FindFairseqAttention(const FairseqCheckpoint& checkpoint,
                                             AttentionPlace place, int layer);

// fairseq's names of a place, such as "encoder" and "self_attn".
const char* SideOf(AttentionPlace place);
const char* BlockOf(AttentionPlace place);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_FAIRSEQ_ATTENTION_H_
