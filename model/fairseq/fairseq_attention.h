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

// How checkpoints spell a kind of attention.
struct FairseqAttention {
  const AttentionEntry* kind;
  // The spellings of the options that switch it on, by AttentionPlace.
  const char* options[kAttentionPlaces][2];
  // A parameter that a block of this kind has and no other, under each of the names that it had,
  // and what people call it.
  absl::Span<const absl::string_view> markers;
  const char* owner;  // "LeaP's".
  const char* part;   // "proportion nets".
  // An option that trains it without a mask; an encoder then has none in inference either. Null:
  // there is none.
  const char* unmasked_option;
  // Names of its parameters: ours and fairseq's; fairseq's now and one of before.
  absl::Span<const std::pair<absl::string_view, absl::string_view>> renames;
  absl::Span<const std::pair<absl::string_view, absl::string_view>> older_names;
};

// The kinds that checkpoints have beside soft-max, which is what has the marker of none of them.
absl::Span<const FairseqAttention> FairseqAttentions();

// The row of the block of a layer, which counts from 0; null: soft-max.
const FairseqAttention* FindFairseqAttention(const FairseqCheckpoint& checkpoint,
                                             AttentionPlace place, int layer);

// fairseq's names of a place: "encoder" and "self_attn".
const char* SideOf(AttentionPlace place);
const char* BlockOf(AttentionPlace place);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_FAIRSEQ_ATTENTION_H_
