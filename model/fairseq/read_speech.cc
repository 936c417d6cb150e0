#include "model/fairseq/read_speech.h"

#include <cstddef>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "model/fairseq/global_cmvn.h"
#include "model/fairseq/option_table.h"
#include "model/fairseq/parameter_names.h"

namespace leapstream {
namespace {

constexpr absl::string_view kSpeechSimulTypes[] = {"waitk_fixed_pre_decision"};
// In the order of PreDecision.
constexpr absl::string_view kPreDecisionTypes[] = {"average", "last"};
constexpr size_t kMostConvolutions = 6;  // As the range in model.json.
// The encoder states of a READ of a model of speech that was trained offline: one second.
constexpr int kStatesPerRead = 25;

// Reads the kind of the front end and its sizes from the parameters.
void ReadFrontEnd(const ModelConfig& model, OptionReader* options, SpeechConfig* speech) {
  const std::string conv1d = "encoder.subsample.conv_layers.0.weight";
  const bool is_conv1d = options->checkpoint().parameters().count(conv1d) > 0;
  const std::string first = is_conv1d ? conv1d : FairseqName(model, "encoder.conv.0.weight");
  const auto found = options->checkpoint().parameters().find(first);
  if (found == options->checkpoint().parameters().end()) {
    if (model.architecture == kEmformer) {
      return options->Refuse(absl::StrCat(
          "architecture \"", kEmformer, "\" without parameter ", first,
          ": the encoder was trained with Emformer's own layers, as by versions of fairseq of "
          "March 2021 alone"));
    }
    return options->Fail(absl::StrCat("parameter ", first, " is missing"));
  }
  if (found->second.shape.empty() || found->second.shape[0] > kMostTableRows) {
    return options->Fail(absl::StrCat("parameter ", first, " has no shape of a convolution"));
  }
  speech->conv_channels = static_cast<int>(found->second.shape[0]);
  if (!is_conv1d) return;
  speech->front_end = "conv1d";
  for (absl::string_view part :
       absl::StrSplit(options->Text("conv_kernel_sizes", "5,5"), ',', absl::SkipWhitespace())) {
    int kernel = 0;
    if (!absl::SimpleAtoi(part, &kernel) || kernel < 1 || kernel % 2 == 0 ||
        speech->conv_kernels.size() == kMostConvolutions) {
      return options->RefuseOption(
          "conv_kernel_sizes",
          absl::StrCat("; served: ", kMostConvolutions, " odd numbers at most"));
    }
    speech->conv_kernels.push_back(kernel);
  }
  if (speech->conv_kernels.empty()) {
    return options->RefuseOption("conv_kernel_sizes", "; served: one odd number or more");
  }
  speech->input.frames_per_state = 1 << speech->conv_kernels.size();
}

void ReadConformer(OptionReader* options, SpeechConfig* speech) {
  ConformerConfig& conformer = speech->conformer.emplace();
  conformer.depthwise_kernel =
      options->Int("depthwise_conv_kernel_size", conformer.depthwise_kernel);
  if (conformer.depthwise_kernel < 1 || conformer.depthwise_kernel % 2 == 0) {
    options->RefuseOption("depthwise_conv_kernel_size", "; served: odd numbers");
  }
  const bool espnet = options->Text("attn_type", "") == "espnet";
  if (!espnet && !IsOff(options->Text("attn_type", ""))) {
    options->RefuseOption("attn_type", "; served: espnet, or none");
  }
  constexpr absl::string_view kPositions[] = {"abs", "rel_pos", "rope"};
  const std::string positions = options->OneOf("pos_enc_type", "abs", kPositions);
  if (positions == "abs") return;
  if (espnet) {
    conformer.positions = positions == "rope" ? "rotary" : "relative";
  } else if (positions == "rel_pos") {
    options->RefuseOption("pos_enc_type", ", which fairseq itself runs only with attn_type espnet");
  }
}

}  // namespace

SpeechConfig ReadSpeech(const ModelConfig& model, ModelKind kind, OptionReader* options) {
  SpeechConfig speech;
  ReadFrontEnd(model, options, &speech);
  if (absl::StartsWith(model.architecture, "s2t_conformer")) ReadConformer(options, &speech);
  if (const int bins = options->Int("input_feat_per_channel", kMelBins); bins != kMelBins) {
    options->RefuseOption("input_feat_per_channel", absl::StrCat("; served: ", kMelBins));
  }
  if (kind == kOfflineSpeech) {
    speech.input.pre_decision_ratio = options->Int("fixed_pre_decision_ratio", kStatesPerRead);
    options->CheckPositive("fixed_pre_decision_ratio", speech.input.pre_decision_ratio);
    return speech;
  }
  speech.input.pre_decision_ratio = options->Int("fixed_pre_decision_ratio");
  const std::string type = options->OneOf("fixed_pre_decision_type", "average", kPreDecisionTypes);
  speech.input.pre_decision_type =
      type == kPreDecisionTypes[1] ? PreDecision::kLast : PreDecision::kAverage;
  return speech;
}

}  // namespace leapstream
