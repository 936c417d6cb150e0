#include "model/fairseq/parameter_names.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/half.h"
#include "model/engine/model_family.h"
#include "model/fairseq/fairseq_attention.h"

namespace leapstream {
namespace {

constexpr size_t kMaxNamesInError = 10;
constexpr int64_t kComparedAtOnce = 1 << 16;  // The numbers that are compared at a time.

// An earlier name of a parameter, which fairseq still upgrades itself. FairseqAttention has more of
// them.
struct OlderName {
  absl::string_view side;  // The row is for parameters whose name starts with this.
  absl::string_view now;
  absl::string_view before;
  int part = 0;  // The parameter is this one of the `parts` equal parts of the rows of `before`.
  int parts = 1;
};
constexpr OlderName kOlderNames[] = {
    {"decoder.", "decoder.output_projection.weight", "decoder.embed_out"},
    {"encoder.", ".self_attn_layer_norm.", ".layer_norms.0."},
    {"encoder.", ".final_layer_norm.", ".layer_norms.1."},
    {"decoder.", ".self_attn_layer_norm.", ".layer_norms.0."},
    {"decoder.", ".encoder_attn_layer_norm.", ".layer_norms.1."},
    {"decoder.", ".final_layer_norm.", ".layer_norms.2."},
    {"", ".q_proj.weight", ".in_proj_weight", 0, 3},
    {"", ".k_proj.weight", ".in_proj_weight", 1, 3},
    {"", ".v_proj.weight", ".in_proj_weight", 2, 3},
    {"", ".q_proj.bias", ".in_proj_bias", 0, 3},
    {"", ".k_proj.bias", ".in_proj_bias", 1, 3},
    {"", ".v_proj.bias", ".in_proj_bias", 2, 3},
    // The rest are attn2d's names if the widths of the two sides differ.
    {"decoder.", ".q_proj.weight", ".q_proj_weight"},
    {"decoder.", ".k_proj.weight", ".kv_proj_weight", 0, 2},
    {"decoder.", ".v_proj.weight", ".kv_proj_weight", 1, 2}};

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::string NameList(const std::vector<std::string>& names) {
  std::string result;
  for (size_t i = 0; i < names.size() && i < kMaxNamesInError; ++i) {
    absl::StrAppend(&result, i == 0 ? "" : ", ", OneLine(names[i]));
  }
  if (names.size() > kMaxNamesInError) {
    absl::StrAppend(&result, " and ", names.size() - kMaxNamesInError, " more");
  }
  return result;
}

absl::Status Error(const FairseqCheckpoint& checkpoint, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(checkpoint.name(), ": ", what));
}

// Checks that a parameter of the checkpoint has this shape.
absl::Status CheckShape(const FairseqCheckpoint& checkpoint, const std::string& parameter,
                        const std::vector<int64_t>& shape) {
  const std::vector<int64_t>& found = checkpoint.parameters().at(parameter).shape;
  if (found == shape) return absl::OkStatus();
  return Error(checkpoint,
               absl::StrCat("parameter ", OneLine(parameter), " has the shape ", ShapeText(found),
                            ", the options ask for ", ShapeText(shape)));
}

// The rows in which the checkpoint has the tensor; nullopt if it is missing.
absl::StatusOr<std::optional<ParameterRows>> FindSource(const FairseqCheckpoint& checkpoint,
                                                        const ModelConfig& config,
                                                        const TensorSpec& spec) {
  const std::string now = FairseqName(config, spec.name);
  static constexpr OlderName kItself = {"", "", ""};
  std::vector<std::pair<std::string, const OlderName*>> candidates = {{now, &kItself}};
  for (const FairseqAttention& row : FairseqAttentions()) {
    for (const auto& [name, before] : row.older_names) {
      if (!absl::StrContains(now, name)) continue;
      candidates.emplace_back(absl::StrReplaceAll(now, {{name, before}}), &kItself);
    }
  }
  for (const OlderName& older : kOlderNames) {
    if (!absl::StartsWith(now, older.side) || !absl::StrContains(now, older.now)) continue;
    candidates.emplace_back(absl::StrReplaceAll(now, {{older.now, older.before}}), &older);
  }
  for (const auto& [name, place] : candidates) {
    if (checkpoint.parameters().count(name) == 0) continue;
    std::vector<int64_t> shape = spec.shape;
    shape[0] *= place->parts;
    LEAPSTREAM_RETURN_IF_ERROR(CheckShape(checkpoint, name, shape));
    const int64_t rows = spec.shape[0];
    return ParameterRows{name, place->part * rows, rows};
  }
  return std::nullopt;
}

// The parameter of adaptive input that a parameter of an adaptive soft-max is, too; empty: none.
std::string TiedBandOf(const ModelConfig& config, absl::string_view parameter) {
  if (!config.language_model.has_value() || !config.language_model->tie_adaptive_weights) return "";
  absl::string_view rest = parameter;
  if (!absl::ConsumePrefix(&rest, "decoder.adaptive_softmax.")) return "";
  if (rest == "head.word_proj.weight") return "decoder.embed_tokens.embeddings.0.0.weight";
  const std::vector<absl::string_view> parts = absl::StrSplit(rest, '.');
  int tail = 0;
  if (parts.size() != 4 || parts[0] != "tail" || !absl::SimpleAtoi(parts[1], &tail)) return "";
  const bool words = parts[2] == "2";
  if (!words && !config.language_model->tie_adaptive_proj) return "";
  return absl::StrCat("decoder.embed_tokens.embeddings.", tail + 1, words ? ".0" : ".1",
                      ".weight");
}

// fairseq's name of a parameter of adaptive input or of an adaptive soft-max; empty: it is none.
std::string BandName(absl::string_view name) {
  if (absl::ConsumePrefix(&name, "decoder.bands.")) {
    return absl::StrCat("decoder.embed_tokens.embeddings.",
                        absl::StrReplaceAll(name, {{".embedding", ".0.weight"},
                                                   {".project", ".1.weight"}}));
  }
  if (!absl::ConsumePrefix(&name, "decoder.adaptive.")) return "";
  return absl::StrCat("decoder.adaptive_softmax.",
                      absl::StrReplaceAll(name, {{"head", "head.weight"},
                                                 {"classes", "head.class_proj.weight"},
                                                 {"tails.", "tail."},
                                                 {".project", ".0.weight"},
                                                 {".words", ".2.weight"}}));
}

// Another name of the same parameter; empty if there is none. fairseq writes a shared parameter
// under each of its names.
std::string TwinOf(const ModelConfig& config, absl::string_view parameter) {
  const bool is_output = parameter == "decoder.output_projection.weight";
  if (config.share_all_embeddings && (is_output || parameter == "decoder.embed_tokens.weight")) {
    return "encoder.embed_tokens.weight";
  }
  if (config.share_decoder_input_output_embed && is_output) return "decoder.embed_tokens.weight";
  if (std::string tied = TiedBandOf(config, parameter); !tied.empty()) return tied;
  for (const auto& [side, name] :
       {std::pair(&config.encoder, "encoder.layers."), {&config.decoder, "decoder.layers."}}) {
    absl::string_view rest = parameter;
    if (!absl::ConsumePrefix(&rest, name)) continue;
    const size_t dot = rest.find('.');
    int layer = 0;
    if (dot == rest.npos || !absl::SimpleAtoi(rest.substr(0, dot), &layer)) continue;
    if (layer >= side->layers || side->LayerOf(layer) == layer) continue;
    return absl::StrCat(name, side->LayerOf(layer), rest.substr(dot));
  }
  return "";
}

// A sum, rounded as fairseq's average_checkpoints.py does between its steps: to float32 for half
// precision, otherwise to the first checkpoint's type.
double Rounded(StorageType type, double value) {
  if (type == StorageType::kFloat64) return value;
  const auto single = static_cast<float>(value);
  return type == StorageType::kBFloat16 ? RoundToBfloat16(single) : single;
}

absl::Status CheckEqual(const FairseqCheckpoint& checkpoint, const std::string& parameter,
                        const std::string& twin) {
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckShape(checkpoint, parameter, checkpoint.parameters().at(twin).shape));
  LEAPSTREAM_ASSIGN_OR_RETURN(const ParameterRows rows, checkpoint.AllRows(parameter));
  LEAPSTREAM_ASSIGN_OR_RETURN(const ParameterRows twin_rows, checkpoint.AllRows(twin));
  const PickledTensor& here = checkpoint.parameters().at(parameter);
  const PickledTensor& there = checkpoint.parameters().at(twin);
  if (std::tie(here.storage.key, here.offset, here.strides) ==
      std::tie(there.storage.key, there.offset, there.strides)) {
    return absl::OkStatus();  // They are the same numbers of the file.
  }
  const int64_t count = ElementsOf(here);
  std::vector<float> values, twin_values;
  bool equal = true;
  for (int64_t first = 0; first < count && equal; first += kComparedAtOnce) {
    values.resize(std::min(count - first, kComparedAtOnce));
    twin_values.resize(values.size());
    LEAPSTREAM_RETURN_IF_ERROR(checkpoint.ReadPart(rows, first, absl::MakeSpan(values)));
    LEAPSTREAM_RETURN_IF_ERROR(checkpoint.ReadPart(twin_rows, first, absl::MakeSpan(twin_values)));
    equal = values == twin_values;
  }
  if (equal) return absl::OkStatus();
  return Error(checkpoint,
               absl::StrCat("parameter ", OneLine(parameter), " differs from ", OneLine(twin),
                            ", though the options say that they are shared"));
}

// The name of a parameter of an encoder of speech, as fairseq has it but for the parts of layers.
std::string SpeechName(const ModelConfig& config, absl::string_view name) {
  const bool is_s2t = absl::StartsWith(config.architecture, "s2t");
  if (config.speech->front_end == "conv1d") {
    return absl::StrReplaceAll(name, {{"encoder.layers.", "encoder.transformer_layers."},
                                      {"encoder.conv.", "encoder.subsample.conv_layers."},
                                      {"encoder.input.", "encoder.linear."}});
  }
  const char* const encoder =
      config.architecture == kEmformer ? "encoder.conv_transformer_encoder." : "encoder.";
  const std::string front = absl::StrCat(encoder, is_s2t ? "subsample." : "");
  const std::string layers = absl::StrCat(encoder, "transformer_layers.");
  return absl::StrReplaceAll(name, {{"encoder.layers.", layers},
                                    {"encoder.conv.0.", absl::StrCat(front, "conv.0.")},
                                    {"encoder.conv.1.", absl::StrCat(front, "conv.2.")},
                                    {"encoder.conv.out.", absl::StrCat(front, "out.")},
                                    {"encoder.input.", "encoder.linear."}});
}

// The name of a parameter of a conformer's layer. `name` begins with "encoder.layers.".
std::string ConformerName(const ConformerConfig& conformer, const ModelConfig& config,
                          absl::string_view name) {
  // Both names of the projections are fairseq's: its own attention's and espnet's.
  const auto option = config.fairseq_options.find("attn_type");
  const bool espnet =
      conformer.positions != "absolute" ||
      (option != config.fairseq_options.end() && option->second == "espnet");
  const auto projection = [espnet](const char* letter) {
    return espnet ? absl::StrCat("self_attn.linear_", letter, ".")
                  : absl::StrCat("self_attn.", letter, "_proj.");
  };
  return absl::StrReplaceAll(
      name, {{"encoder.layers.", "encoder.conformer_layers."},
             {".norm.", ".final_layer_norm."},
             {".ffn1.norm.", ".ffn1.layer_norm."},
             {".ffn2.norm.", ".ffn2.layer_norm."},
             {".hidden.", ".w_1."},
             {".out.", ".w_2."},
             {"self_attention_norm.", "self_attn_layer_norm."},
             {"self_attention.query.", projection("q")},
             {"self_attention.key.", projection("k")},
             {"self_attention.value.", projection("v")},
             {"self_attention.output.",
              espnet ? "self_attn.linear_out." : "self_attn.out_proj."},
             {"self_attention.positions", "self_attn.linear_pos.weight"},
             {"self_attention.bias_", "self_attn.pos_bias_"},
             {".conv.norm.", ".conv_module.layer_norm."},
             {".conv.expand", ".conv_module.pointwise_conv1.weight"},
             {".conv.depthwise", ".conv_module.depthwise_conv.weight"},
             {".conv.contract", ".conv_module.pointwise_conv2.weight"},
             {".conv.batch_norm.mean", ".conv_module.batch_norm.running_mean"},
             {".conv.batch_norm.variance", ".conv_module.batch_norm.running_var"},
             {".conv.", ".conv_module."}});
}

}  // namespace

std::string FairseqName(const ModelConfig& config, absl::string_view name) {
  if (std::string band = BandName(name); !band.empty()) return band;
  std::string spoken;
  if (config.speech.has_value() && absl::StartsWith(name, "encoder.")) {
    if (config.speech->conformer.has_value() && absl::StartsWith(name, "encoder.layers.")) {
      return ConformerName(*config.speech->conformer, config, name);
    }
    spoken = SpeechName(config, name);
    name = spoken;
  }
  std::vector<std::pair<absl::string_view, absl::string_view>> renames = {
      {"coder.embedding", "coder.embed_tokens.weight"},
      {"coder.positions", "coder.embed_positions.weight"},
      {"coder.embedding_norm", "coder.layernorm_embedding"},
      {"coder.norm", "coder.layer_norm"},
      {"coder.output", "coder.output_projection.weight"},
      {"coder.project_in", "coder.project_in_dim.weight"},
      {"coder.project_out", "coder.project_out_dim.weight"},
      {"self_attention", "self_attn"},
      {"self_attention_norm", "self_attn_layer_norm"},
      {"cross_attention", "encoder_attn"},
      {"cross_attention_norm", "encoder_attn_layer_norm"},
      {"query.", "q_proj."},
      {"key.", "k_proj."},
      {"value.", "v_proj."},
      {"output.", "out_proj."},
      {"query_soft.", "q_proj_soft."},
      {"key_soft.", "k_proj_soft."},
      {"ffn.hidden", "fc1"},
      {"ffn.out", "fc2"},
      {"ffn_norm", "final_layer_norm"}};
  for (const FairseqAttention& row : FairseqAttentions()) {
    renames.insert(renames.end(), row.renames.begin(), row.renames.end());
  }
  // StrReplaceAll() takes the longest of the keys that match at the earliest place.
  return absl::StrReplaceAll(name, renames);
}

std::string WhyIgnored(const ModelConfig& config, absl::string_view parameter) {
  const bool waitk = config.simul_type == "waitk";
  const bool unused_norm = config.simul_type != "none" &&
                           (config.encoder.layernorm_embedding || config.speech.has_value());
  const std::pair<bool, const char*> reasons[] = {
      {parameter == "encoder.version" || parameter == "decoder.version", "a format version"},
      {absl::EndsWith(parameter, "._float_tensor"), "no weight"},
      {parameter == "decoder.adaptive_softmax.version", "a format version"},
      {absl::EndsWith(parameter, ".embed_positions.weights"), "computed"},
      {waitk && absl::StrContains(parameter, "_proj_soft."), "wait-k does not use it"},
      {waitk && absl::EndsWith(parameter, ".energy_bias"), "wait-k does not use it"},
      {config.architecture == kEmformer && absl::StartsWith(parameter, "encoder.") &&
           !absl::StartsWith(parameter, "encoder.conv_transformer_encoder."),
       "a layer of Emformer's, which fairseq never runs"},
      {config.speech.has_value() && !config.encoder.final_norm &&
           absl::StrContains(parameter, "encoder.layer_norm."),
       "an encoder of this architecture never applies it"},
      {config.speech.has_value() && (absl::StrContains(parameter, "encoder.ctc_fc.") ||
                                     absl::StartsWith(parameter, "encoder.ctc_proj.")),
       "only training uses it"},
      {absl::EndsWith(parameter, ".batch_norm.num_batches_tracked"), "only training uses it"},
      {absl::StrContains(config.architecture, "bart") &&
           absl::StartsWith(parameter, "classification_heads."),
       "only classification uses it"},
      {unused_norm && absl::StartsWith(parameter, "decoder.layernorm_embedding."),
       "a simultaneous decoder does not use it"}};
  for (const auto& [applies, why] : reasons) {
    if (applies) return why;
  }
  const std::string twin = TwinOf(config, parameter);
  return twin.empty() ? "" : absl::StrCat("the same as ", twin);
}

absl::StatusOr<ParameterMap> MapParameters(const FairseqCheckpoint& checkpoint,
                                           const ModelConfig& config) {
  ParameterMap result;
  std::vector<std::string> missing;
  std::set<std::string> used;
  for (const TensorSpec& spec : ListTensors(config)) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const std::optional<ParameterRows> source,
                                FindSource(checkpoint, config, spec));
    if (!source.has_value()) {
      missing.push_back(absl::StrCat(FairseqName(config, spec.name), " ", ShapeText(spec.shape)));
      continue;
    }
    used.insert(source->parameter);
    result.sources[spec.name] = *source;
  }
  if (!missing.empty()) {
    return Error(checkpoint,
                 absl::StrCat(missing.size(), " parameters are missing: ", NameList(missing)));
  }

  std::vector<std::string> left_over;
  for (const auto& entry : checkpoint.parameters()) {
    const std::string& name = entry.first;
    if (used.count(name) > 0) continue;
    const std::string why = WhyIgnored(config, name);
    const std::string twin = TwinOf(config, name);
    if (why.empty() || (!twin.empty() && checkpoint.parameters().count(twin) == 0)) {
      left_over.push_back(name);
      continue;
    }
    if (!twin.empty()) LEAPSTREAM_RETURN_IF_ERROR(CheckEqual(checkpoint, name, twin));
    result.ignored[name] = why;
  }
  if (!left_over.empty()) {
    return Error(checkpoint, absl::StrCat(left_over.size(),
                                          " parameters have no place in a model with these "
                                          "options: ",
                                          NameList(left_over)));
  }
  return result;
}

absl::Status ReadMean(absl::Span<const FairseqCheckpoint> checkpoints, const ParameterRows& rows,
                      int64_t first, absl::Span<float> values) {
  if (checkpoints.size() == 1) return checkpoints[0].ReadPart(rows, first, values);
  const auto type = [&rows](const FairseqCheckpoint& checkpoint) {
    return checkpoint.parameters().at(rows.parameter).storage.type;
  };
  std::vector<double> sums(values.size()), more(values.size());
  LEAPSTREAM_RETURN_IF_ERROR(checkpoints[0].ReadPart(rows, first, absl::MakeSpan(sums)));
  const StorageType kept = type(checkpoints[0]);
  for (const FairseqCheckpoint& checkpoint : checkpoints.subspan(1)) {
    LEAPSTREAM_RETURN_IF_ERROR(checkpoint.ReadPart(rows, first, absl::MakeSpan(more)));
    const bool wide = kept == StorageType::kFloat64 || type(checkpoint) == StorageType::kFloat64;
    for (size_t i = 0; i < sums.size(); ++i) {
      sums[i] = Rounded(kept, wide ? sums[i] + more[i]
                                   : static_cast<float>(sums[i]) + static_cast<float>(more[i]));
    }
  }
  const auto count = static_cast<float>(checkpoints.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    values[i] = static_cast<float>(
        Rounded(kept, kept == StorageType::kFloat64 ? sums[i] / count
                                                    : static_cast<float>(sums[i]) / count));
  }
  return absl::OkStatus();
}

absl::Status CheckSameParameters(const FairseqCheckpoint& first, const FairseqCheckpoint& other) {
  for (const auto& [here, there] : {std::pair(&first, &other), std::pair(&other, &first)}) {
    for (const auto& entry : here->parameters()) {
      if (there->parameters().count(entry.first) > 0) continue;
      return Error(*there, absl::StrCat("has no parameter ", OneLine(entry.first), ", which ",
                                        here->name(), " has; these cannot be averaged"));
    }
  }
  for (const auto& [name, tensor] : first.parameters()) {
    const std::vector<int64_t>& shape = other.parameters().at(name).shape;
    if (shape == tensor.shape) continue;
    return Error(other, absl::StrCat("parameter ", OneLine(name), " has the shape ",
                                     ShapeText(shape), ", in ", first.name(), " it has ",
                                     ShapeText(tensor.shape), "; these cannot be averaged"));
  }
  return absl::OkStatus();
}

bool HasLayer(const FairseqCheckpoint& checkpoint, absl::string_view side, int layer) {
  return checkpoint.parameters().count(absl::StrCat(side, ".layers.", layer, ".fc1.weight")) > 0 ||
         checkpoint.parameters().count(
             absl::StrCat(side, ".transformer_layers.", layer, ".fc1.weight")) > 0;
}

}  // namespace leapstream
