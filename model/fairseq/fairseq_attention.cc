#include "model/fairseq/fairseq_attention.h"

#include "absl/strings/str_cat.h"
#include "model/engine/attention/leap_features.h"

namespace leapstream {
namespace {

using Names = std::pair<absl::string_view, absl::string_view>;

// Earlier versions of LeaPformer called the proportion nets "denom" and "numer".
constexpr absl::string_view kLeapMarkers[] = {"q_LeaP.0.weight", "q_denom.0.weight",
                                              "q_numer.0.weight"};
constexpr Names kLeapRenames[] = {{"query_proportion.hidden", "q_LeaP.0"},
                                  {"query_proportion.out", "q_LeaP.2"},
                                  {"key_proportion.hidden", "k_LeaP.0"},
                                  {"key_proportion.out", "k_LeaP.2"}};
constexpr Names kLeapOlderNames[] = {{"_LeaP.", "_denom."}, {"_LeaP.", "_numer."}};

const FairseqAttention kAttentions[] = {
    {&kLeapKind,
     {{"enc_leapformer_enable", "encoder_leapformer_enable"},
      {"dec_sa_leapformer_enable", "decoder_sa_leapformer_enable"},
      {"dec_ca_leapformer_enable", "decoder_ca_leapformer_enable"}},
     kLeapMarkers,
     "LeaP's",
     "proportion nets",
     "linearized_train",
     kLeapRenames,
     kLeapOlderNames},
};

}  // namespace

absl::Span<const FairseqAttention> FairseqAttentions() { return kAttentions; }

const FairseqAttention* FindFairseqAttention(const FairseqCheckpoint& checkpoint,
                                             AttentionPlace place, int layer) {
  for (const FairseqAttention& row : kAttentions) {
    for (const absl::string_view marker : row.markers) {
      // Models of text and of speech name their layers differently.
      for (const char* layers : {".layers.", ".transformer_layers."}) {
        const std::string name =
            absl::StrCat(SideOf(place), layers, layer, ".", BlockOf(place), ".", marker);
        if (checkpoint.parameters().count(name) > 0) return &row;
      }
    }
  }
  return nullptr;
}

const char* SideOf(AttentionPlace place) { return place == kEncoderSelf ? "encoder" : "decoder"; }
const char* BlockOf(AttentionPlace place) {
  return place == kDecoderCross ? "encoder_attn" : "self_attn";
}

}  // namespace leapstream
