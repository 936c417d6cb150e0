#include "model/fairseq/inspect.h"

#include <algorithm>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "model/engine/attention/kinds.h"
#include "model/engine/network_cost.h"
#include "model/fairseq/checkpoint.h"
#include "model/fairseq/open_checkpoint.h"
#include "model/fairseq/option_table.h"
#include "model/fairseq/parameter_names.h"
#include "model/fairseq/read_config.h"

namespace leapstream {
namespace {

constexpr int64_t kElementsAtOnce = 1 << 18;  // The numbers that are read at a time.

std::string KnownOr(absl::string_view text, absl::string_view otherwise) {
  return std::string(text.empty() ? otherwise : text);
}

std::string SideText(const SideConfig& side) {
  // In the order of PositionKind.
  constexpr const char* kPositions[] = {"no", "sinusoidal", "learned"};
  std::string text = absl::StrCat(
      side.layers, " layers, width ", side.embed_dim, ", feed-forward ", side.ffn_embed_dim, ", ",
      side.attention_heads, " heads, ", side.normalize_before ? "pre-norm" : "post-norm",
      side.final_norm ? " with final norm" : "", ", ", kPositions[static_cast<int>(side.positions)],
      " positions, ", side.vocabulary_size, " symbols");
  if (side.layernorm_embedding) absl::StrAppend(&text, ", norm after the embedding");
  if (side.input_dim != side.embed_dim) absl::StrAppend(&text, ", input width ", side.input_dim);
  if (side.output_dim != side.embed_dim) absl::StrAppend(&text, ", output width ", side.output_dim);
  if (!side.shared_layers.empty()) {
    absl::StrAppend(&text, ", layers ", absl::StrJoin(side.shared_layers, ", "),
                    " are one and the same");
  }
  return text;
}

std::string EncoderText(const ModelConfig& config) {
  if (config.language_model.has_value()) return "none: a language model";
  std::string text = absl::StrCat(config.causal_encoder ? "causal" : "bidirectional", ", ",
                                  SideText(config.encoder));
  if (!config.speech.has_value()) return text;
  const SpeechConfig& speech = *config.speech;
  absl::StrAppend(&text, "\nsource: speech, ", speech.mel_bins, " filter banks, ");
  if (speech.front_end == "conv1d") {
    absl::StrAppend(&text, speech.conv_kernels.size(), " convolutions over time of kernels ",
                    absl::StrJoin(speech.conv_kernels, ", "), " and ", speech.conv_channels,
                    " channels, gated");
  } else {
    absl::StrAppend(&text, "2 convolutions of ", speech.conv_channels, " channels");
  }
  if (speech.conformer.has_value()) {
    absl::StrAppend(&text, "\nlayers: of a conformer, ", speech.conformer->positions,
                    " positions, convolutions over ", speech.conformer->depthwise_kernel,
                    " states");
  }
  if (config.architecture == kEmformer) {
    absl::StrAppend(&text,
                    "\nnote: fairseq runs a plain convtransformer in this architecture; the "
                    "layers of Emformer that are in the file never run");
  }
  const int read = speech.input.pre_decision_ratio;
  absl::StrAppend(&text, config.simul_type == "none" ? "\nread: " : "\npre-decision: ", "every ",
                  read, " states (", read * speech.input.MillisecondsPerState(), " ms)");
  if (config.simul_type != "none") {
    absl::StrAppend(&text, speech.input.pre_decision_type == PreDecision::kLast ? ", last"
                                                                                : ", average");
  }
  return text;
}

std::string PolicyText(const ModelConfig& config) {
  if (config.simul_type == "none") return "none (trained offline)";
  std::string text = absl::CHexEscape(config.simul_type.substr(0, 100));
  if (config.waitk_lagging > 0) absl::StrAppend(&text, ", trained with k ", config.waitk_lagging);
  if (config.energy_bias) absl::StrAppend(&text, ", energy bias");
  if (!config.mass_preservation) absl::StrAppend(&text, ", no mass preservation");
  return text;
}

// A sentence on the translations that a model gives.
std::string ServedText(const ModelConfig& config) {
  if (config.language_model.has_value() && config.source_language.empty()) {
    return "text that goes on, with `leapstream generate` and `leapstream perplexity`";
  }
  const std::string source = config.speech.has_value() ? "speech" : "text";
  const auto known = [](const std::string& language) {
    return language.empty() ? "?" : absl::CHexEscape(language);
  };
  const std::string pair = absl::StrCat(known(config.source_language), " to ",
                                        known(config.target_language));
  int sources = 0, targets = 0;
  for (const LanguageConfig& language : config.languages) {
    sources += language.source_token.empty() ? 0 : 1;
    targets += language.target_token.empty() ? 0 : 1;
  }
  if (sources <= 1 && targets <= 1) return absl::StrCat(source, " translated from ", pair);
  return absl::StrCat(source, " translated from any of ", sources, " languages to any of ",
                      targets, ", as each session asks",
                      config.source_language.empty() || config.target_language.empty()
                          ? ""
                          : absl::StrCat("; ", pair, " for sessions that do not say"));
}

// A sentence on the policy that suits a model.
std::string SuitingPolicy(const ModelConfig& config) {
  if (config.language_model.has_value()) return "none, or offline if it translates";
  if (config.LearnedPolicy()) {
    return "its own, which was trained with it; sessions may ask for offline";
  }
  if (config.waitk_lagging > 0) {
    return absl::StrCat("wait-k, which it was trained for; k ", config.waitk_lagging,
                        " unless a session asks for another");
  }
  if (config.speech.has_value()) {
    return "offline (whole segments), as it was trained; live: local agreement (la:2), AlignAtt or "
           "hold-n, which look at the audio once a READ, and test-time wait-k";
  }
  if (config.causal_encoder) {
    return "offline (whole segments), as it was trained; wait-k works at test time without "
           "encoding anything twice; la:2 is the other live policy to try";
  }
  return "offline (whole segments), as it was trained; wait-k works at test time, encodes what was "
         "read again after each READ, and translates worse the smaller k is; la:2 is the other live "
         "policy to try";
}

std::string Amount(double number, absl::string_view unit) {
  const bool billions = number >= 1e9;
  return absl::StrFormat("%.3g %c%s", number / (billions ? 1e9 : 1e6), billions ? 'G' : 'M', unit);
}

std::string CostText(const ModelConfig& config) {
  const NetworkCost cost = CostOf(config);
  return absl::StrCat(Amount(cost.source_token, ""), " multiply-adds a source token, ",
                      Amount(cost.target_token, ""), " a target token; ",
                      Amount(cost.numbers, ""), " parameters, whose memory is about ",
                      Amount(cost.float32_bytes, "B"), " in float32 and ",
                      Amount(cost.int8_bytes, "B"), " in int8");
}

// Checks that all numbers of some rows can be read.
absl::Status CheckNumbers(const FairseqCheckpoint& checkpoint, const ParameterRows& rows) {
  const std::vector<int64_t>& shape = checkpoint.parameters().at(rows.parameter).shape;
  int64_t count = rows.count;
  for (size_t d = 1; d < shape.size(); ++d) count *= shape[d];
  std::vector<float> values;
  for (int64_t first = 0; first < count; first += kElementsAtOnce) {
    values.resize(std::min(count - first, kElementsAtOnce));
    LEAPSTREAM_RETURN_IF_ERROR(checkpoint.ReadPart(rows, first, absl::MakeSpan(values)));
  }
  return absl::OkStatus();
}

// The effect of an option that is on, in words; empty if the option is applied, or matters in
// training only.
std::string Effect(const ConfigReading& reading, const std::string& name, absl::string_view value) {
  if (!reading.known_architecture || IsOff(value)) return "";
  const OptionRow* row = FindOption(name, reading.kind);
  if (row == nullptr) return "  (not known to leapstream)";
  const bool of_the_model = !row->why.empty() && row->kinds != kAllModels;
  switch (row->effect) {
    case OptionEffect::kApplied:
      return "";
    case OptionEffect::kRefused:
      return absl::StrCat("  (refused unless off: ", row->why, ")");
    case OptionEffect::kNone:
      return of_the_model ? absl::StrCat("  (without effect: ", row->why, ")") : "";
  }
  return "";
}

}  // namespace

std::string ServingText(const ModelConfig& config) {
  return absl::StrCat("served as: ", ServedText(config), "\npolicy: ", SuitingPolicy(config),
                      "\ncost: ", CostText(config), "\n");
}

absl::StatusOr<std::string> InspectCheckpoint(const std::string& path,
                                              const ExportOptions& options) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const OpenedCheckpoint opened, OpenCheckpoint(path, options));
  const FairseqCheckpoint& checkpoint = opened.checkpoint;
  const ConfigReading reading = ReadConfig(checkpoint, options.ignored_options);
  const ModelConfig& config = reading.config;
  absl::Status served = reading.status;
  if (served.ok()) {
    const absl::StatusOr<ParameterMap> map = MapParameters(checkpoint, config);
    served = map.status();
    if (map.ok()) {
      for (const auto& source : map->sources) {
        if (served.ok()) served = CheckNumbers(checkpoint, source.second);
      }
    }
  }
  const absl::StatusOr<std::vector<std::string>> pieces = CheckPieceFiles(options);
  if (served.ok()) served = pieces.status();

  std::string text = absl::StrCat(
      "checkpoint: ", path, "\narchitecture: ",
      KnownOr(absl::CHexEscape(checkpoint.architecture().substr(0, 100)), "not recorded"),
      "\ncan be exported: ", served.ok() ? "yes" : absl::StrCat("no: ", served.message()), "\n");
  if (pieces.ok()) {
    for (const std::string& note : *pieces) absl::StrAppend(&text, "note: ", note, "\n");
  }
  if (served.ok()) {
    absl::StrAppend(&text, ServingText(config));
  }
  if (reading.known_architecture) {
    absl::StrAppend(
        &text, "simul type: ", PolicyText(config), "\nencoder: ", EncoderText(config),
        "\ndecoder: ", SideText(config.decoder), "\nattention: encoder ",
        config.encoder.self_attention, ", decoder ", config.decoder.self_attention, ", cross ",
        config.decoder.cross_attention,
        HasProportionNets(config.encoder.self_attention) ||
                HasProportionNets(config.decoder.self_attention) ||
                HasProportionNets(config.decoder.cross_attention)
            ? absl::StrCat("\nleap factor: ", config.leap_factor)
            : "",
        "\nactivation: ", absl::CHexEscape(config.activation_fn.substr(0, 100)), "\nembeddings: ",
        config.share_all_embeddings               ? "all shared"
        : config.share_decoder_input_output_embed ? "decoder's shared with its output"
                                                  : "separate",
        config.scale_embedding ? ", scaled" : ", not scaled", "\n");
  }
  absl::StrAppend(&text, "parameters:\n");
  for (const auto& [name, tensor] : checkpoint.parameters()) {
    const std::string why = reading.known_architecture ? WhyIgnored(config, name) : "";
    absl::StrAppend(&text, "  ", absl::CHexEscape(name), " [", absl::StrJoin(tensor.shape, ", "),
                    "] ", tensor.storage.TypeName(),
                    why.empty() ? "" : absl::StrCat("  (ignored: ", why, ")"), "\n");
  }
  absl::StrAppend(&text, "options:\n");
  for (const auto& [name, value] : checkpoint.options()) {
    absl::StrAppend(&text, "  ", absl::CHexEscape(name), ": ", absl::Utf8SafeCHexEscape(value),
                    Effect(reading, name, value), "\n");
  }
  return text;
}

}  // namespace leapstream
