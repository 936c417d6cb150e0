#include "model/fairseq/architectures.h"

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"

namespace leapstream {
namespace {

// fairseq's presets say nothing: a checkpoint's options hold every value.
constexpr Architecture kArchitectures[] = {
    {"transformer_monotonic", true, kMonotonicText, true, Simultaneity::kMonotonic},
    {"waitk_transformer", true, kMaskedText, true, Simultaneity::kMasked},
    {"transformer_unidirectional", true, kUnidirectionalText, true},
    {"convtransformer_simul_trans", false, kSimultaneousSpeech, false, Simultaneity::kMonotonic},
    {"convtransformer_simul_trans_espnet", false, kSimultaneousSpeech, false,
     Simultaneity::kMonotonic},
    {"convtransformer_emformer", false, kSimultaneousSpeech, false, Simultaneity::kMonotonic},
    {"convtransformer", false, kOfflineSpeech, false},
    {"convtransformer_espnet", false, kOfflineSpeech, false},
    {"s2t_transformer", true, kOfflineSpeech, false},
    {"s2t_conformer", true, kOfflineSpeech, false},
    {"transformer", false, kBidirectionalText, false},
    {"transformer_tiny", false, kBidirectionalText, false},
    {"transformer_iwslt_de_en", false, kBidirectionalText, false},
    {"transformer_wmt_en_de", true, kBidirectionalText, false},
    {"transformer_vaswani_wmt_en_de_big", false, kBidirectionalText, false},
    {"transformer_vaswani_wmt_en_fr_big", false, kBidirectionalText, false},
    {"transformer_align", false, kBidirectionalText, false},
    // NLLB's presets.
    {"transformer_12_12", false, kBidirectionalText, false},
    {"transformer_24_24", false, kBidirectionalText, false},
    {"transformer_24_24_big", false, kBidirectionalText, false},
    {"multilingual_transformer", false, kBidirectionalText, false},
    {"multilingual_transformer_iwslt_de_en", false, kBidirectionalText, false},
    {"transformer_lm", true, kLanguageModel, true},
    {"mbart_base", true, kBidirectionalText, false},
    {"mbart_large", false, kBidirectionalText, false},
    {"bart_base", false, kBidirectionalText, false},
    {"bart_large", false, kBidirectionalText, false}};

// Parts of names by which architectures, tasks and policies for speech are known.
constexpr absl::string_view kSpeechNames[] = {"speech", "audio",   "convtransformer", "s2t",
                                         "s2s",    "wav2vec", "hubert",          "pre_decision"};

// Architectures that people have and that are not served, by the beginnings of their names.
struct NotServed {
  absl::string_view beginning;
  const char* why;
};
constexpr NotServed kNotServed[] = {
    {"convtransformer_augmented_memory",
     "its encoder keeps a memory of earlier segments, and no checkpoint of it is public"},
    {"fconv", "a convolutional network, not a transformer"},
    {"lightconv", "its layers are lightweight convolutions, not attention"},
    {"dynamicconv", "its layers are dynamic convolutions, not attention"},
    {"lstm", "a recurrent network, not a transformer"},
    {"levenshtein", "it edits a whole target and writes no token after another"},
    {"nonautoregressive", "it writes all target tokens at once"},
    {"iterative_nonautoregressive", "it writes all target tokens at once"},
    {"nacrf", "it writes all target tokens at once"},
    {"cmlm", "it writes all target tokens at once"},
    {"insertion", "it inserts target tokens anywhere"},
    {"latent_", "its layers are chosen by a latent variable"},
    {"transformer_itst", "ITST: an attention and a policy of its own"},
    {"transformer_pointer_generator", "it copies words of the source"},
    {"transformer_from_pretrained_xlm", "an encoder of XLM"},
    {"pipeline_parallel", "its parameters are cut into the parts of a pipeline"},
    {"model_parallel", "its parameters are cut into parts for several machines"},
    {"roberta", "an encoder without decoder"},
    {"masked_lm", "an encoder without decoder"}};

constexpr absl::string_view kTasks[] = {"translation", "simul_text_to_text", "waitk_translation"};
constexpr absl::string_view kOfflineTasks[] = {"translation",
                                               "simul_text_to_text",
                                               "waitk_translation",
                                               "translation_multi_simple_epoch",
                                               "translation_from_pretrained_bart",
                                               "multilingual_translation"};
constexpr absl::string_view kLanguageModelTasks[] = {"language_modeling"};
constexpr absl::string_view kSpeechTasks[] = {"speech_to_text", "simul_speech_to_text"};

// Parts of parameters' names that only other networks, or parts of checkpoints, have.
struct Foreign {
  absl::string_view part;
  const char* what;
  const char* remedy;
};
constexpr Foreign kForeign[] = {
    {"_fsdp_wrapped_module", "a shard of FSDP", "join the shards into one checkpoint first"},
    {"_fpw_module", "a shard of FSDP", "join the shards into one checkpoint first"},
    {"flat_param", "a shard of FSDP", "join the shards into one checkpoint first"},
    {".experts.", "a mixture of experts, which is not served", "use a dense model"},
    {".moe_layer.", "a mixture of experts, which is not served", "use a dense model"},
    {"lora_", "LoRA adapters beside the weights", "merge them into the weights first"},
    {"adapter", "adapters between the layers, which are not served", "use a model without them"},
    {"_packed_params", "weights packed in int8 by PyTorch",
     "use the checkpoint from before that; compute_type int8 of leapstream needs no such file"},
    {".zero_point", "weights quantised in int8 by PyTorch",
     "use the checkpoint from before that; compute_type int8 of leapstream needs no such file"},
    {".centroids", "weights quantised by iPQ", "use the checkpoint from before that"},
    {".assignments", "weights quantised by iPQ", "use the checkpoint from before that"},
    {"decoder.transition_proj.", "HMT, a decoder of several states a token, which is not served",
     "use a wait-k or an offline model"},
    {"partitions.", "the parts of a pipeline", "join them into one checkpoint first"}};

// Options of architectures that call themselves `transformer`.
constexpr Foreign kForeignOptions[] = {
    {"first_read", "HMT, a decoder of several states a token, which is not served",
     "use a wait-k or an offline model"},
    {"cands_per_token", "HMT, a decoder of several states a token, which is not served",
     "use a wait-k or an offline model"},
    {"moe_freq", "a mixture of experts, which is not served", "use a dense model"}};

}  // namespace

const Architecture* FindArchitecture(absl::string_view name) {
  for (const Architecture& each : kArchitectures) {
    if (name == each.name ||
        (each.with_suffix && absl::StartsWith(name, absl::StrCat(each.name, "_")))) {
      return &each;
    }
  }
  return nullptr;
}

std::string WhyNotServed(absl::string_view architecture) {
  const std::string shown =
      absl::StrCat("architecture ", Quoted(architecture));
  std::string why;
  for (const NotServed& each : kNotServed) {
    if (absl::StartsWith(architecture, each.beginning)) why = absl::StrCat(" (", each.why, ")");
  }
  if (IsOfSpeech(architecture)) {
    return absl::StrCat(shown, why,
                        "; served of speech: s2t_transformer*, s2t_conformer*, convtransformer and "
                        "its _espnet, _emformer, _simul_trans and _simul_trans_espnet");
  }
  return absl::StrCat(shown, why,
                      "; served: transformer_monotonic*, waitk_transformer*, "
                      "transformer_unidirectional*, and the translation models of transformer, "
                      "transformer_align, multilingual_transformer and mbart, and the "
                      "language models transformer_lm*",
                      why.empty() ? "; if it is but a preset of one of these, name that with --arch"
                                  : "");
}

absl::Span<const absl::string_view> ServedTasks(ModelKind kind) {
  if (kind == kSimultaneousSpeech || kind == kOfflineSpeech) return kSpeechTasks;
  if (kind == kLanguageModel) return kLanguageModelTasks;
  if (kind == kBidirectionalText || kind == kUnidirectionalText) return kOfflineTasks;
  return kTasks;
}

std::string ForeignParts(const FairseqCheckpoint& checkpoint) {
  const auto sentence = [](absl::string_view kind, absl::string_view name, const Foreign& row) {
    return absl::StrCat(kind, " ", absl::CHexEscape(name.substr(0, 200)), " shows ", row.what, "; ",
                        row.remedy);
  };
  for (const Foreign& row : kForeignOptions) {
    const auto found = checkpoint.options().find(std::string(row.part));
    if (found == checkpoint.options().end()) continue;
    if (row.part != "first_read" && IsOff(found->second)) continue;
    return sentence("option", row.part, row);
  }
  if (checkpoint.is_shard()) {
    return "the entry shard_metadata shows a shard of FSDP; join the shards into one checkpoint "
           "first";
  }
  for (const auto& entry : checkpoint.parameters()) {
    for (const Foreign& row : kForeign) {
      if (absl::StrContains(entry.first, row.part)) {
        return sentence("parameter", entry.first, row);
      }
    }
  }
  return "";
}

bool IsOfSpeech(absl::string_view name) {
  return absl::c_any_of(kSpeechNames,
                        [&](absl::string_view part) { return absl::StrContains(name, part); });
}

}  // namespace leapstream
