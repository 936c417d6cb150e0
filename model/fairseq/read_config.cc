#include "model/fairseq/read_config.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/quoted.h"
#include "model/engine/attention/kinds.h"
#include "model/engine/attention/softmax_attention.h"
#include "model/engine/model_family.h"
#include "model/fairseq/architectures.h"
#include "model/fairseq/fairseq_attention.h"
#include "model/fairseq/global_cmvn.h"
#include "model/fairseq/option_table.h"
#include "model/fairseq/read_language_model.h"
#include "model/fairseq/parameter_names.h"

namespace leapstream {
namespace {

// The values of options that take one of few.
constexpr absl::string_view kSimulTypes[] = {"waitk", "hard_aligned", "infinite_lookback",
                                             "chunkwise"};
constexpr absl::string_view kSpeechSimulTypes[] = {"waitk_fixed_pre_decision"};
// In the order of PreDecision.
constexpr absl::string_view kPreDecisionTypes[] = {"average", "last"};
constexpr absl::string_view kPolicyCriteria[] = {"any"};
constexpr absl::string_view kActivations[] = {"relu", "gelu",  "gelu_fast", "gelu_accurate",
                                              "tanh", "swish", "linear"};

// The member of the configuration that holds a block's kind of attention.
struct Block {
  AttentionPlace place;
  SideConfig ModelConfig::*config;
  std::string SideConfig::*kind;
};
constexpr Block kBlocks[] = {
    {kEncoderSelf, &ModelConfig::encoder, &SideConfig::self_attention},
    {kDecoderSelf, &ModelConfig::decoder, &SideConfig::self_attention},
    {kDecoderCross, &ModelConfig::decoder, &SideConfig::cross_attention}};

constexpr int kDefaultPositions = 1024;  // fairseq's DEFAULT_MAX_{SOURCE,TARGET}_POSITIONS.
constexpr int kDefaultLeapFactor = 4;    // The fork's default. Checkpoints do not always have it.
constexpr int kWholeSource = 1024;       // attn2d's default of waitk and max_waitk: no limit.
// The k of a model that was trained for every k: attn2d's page evaluates with this one.
constexpr int kMultiPathWaitk = 5;
constexpr size_t kMostConvolutions = 6;  // As the range in model.json.
// The encoder states of a READ of a model of speech that was trained offline: one second.
constexpr int kStatesPerRead = 25;
constexpr size_t kMaxShownBytes = 1000;  // Those of an option that model.json has.

// Whether an option names files, machines or people of the training, which are of no use to users
// of the model. Some options are known by name, since their values need not look like paths.
bool IsOfTheTrainingMachine(absl::string_view option, absl::string_view value) {
  constexpr absl::string_view kNames[] = {"data",         "restore_file", "wandb_project",
                                          "wandb_entity", "aim_repo",     "aim_run_hash",
                                          "user_dir"};
  constexpr absl::string_view kEndings[] = {"_dir", "_path", "_file", "_logdir"};
  return absl::StrContains(value, '/') || absl::StrContains(value, '\\') ||
         absl::c_linear_search(kNames, option) ||
         absl::c_any_of(kEndings, [&](absl::string_view e) { return absl::EndsWith(option, e); });
}

// The beginning of an option's value, for people: model.json stays small.
std::string Shortened(absl::string_view value) {
  if (value.size() <= kMaxShownBytes) return std::string(value);
  size_t size = kMaxShownBytes;
  while ((value[size] & 0xC0) == 0x80) --size;  // No character of UTF-8 is cut.
  return absl::StrCat(value.substr(0, size), "... (", value.size(), " bytes)");
}

class ConfigReader {
 public:
  ConfigReader(const FairseqCheckpoint& checkpoint, absl::Span<const std::string> ignored)
      : checkpoint_(checkpoint), ignored_(ignored) {}

  ConfigReading Run() {
    ModelConfig& config = reading_.config;
    config.source_language = Text("source_lang", "");
    config.target_language = Text("target_lang", "");
    config.architecture = checkpoint_.architecture();
    config.waitk_lagging = 0;
    ReadFamily();
    if (const std::string why = ForeignParts(checkpoint_); !why.empty()) {
      // Whatever else is strange about it follows from this.
      refusals_ = {why};
      reading_.status = Status();
      reading_.known_architecture = false;
      return std::move(reading_);
    }
    if (reading_.known_architecture) CheckOptions();
    reading_.languages = ReadLanguageSetup(checkpoint_.options());
    errors_.insert(errors_.end(), reading_.languages.errors.begin(),
                   reading_.languages.errors.end());
    config.frame = reading_.languages.frame;
    config.languages = reading_.languages.languages;
    const bool gelu = simultaneity_ == Simultaneity::kMasked && IsTrue("gelu");
    config.activation_fn = OneOf("activation_fn", gelu ? "gelu" : "relu", kActivations);
    config.scale_embedding = !IsTrue("no_scale_embedding");
    config.share_all_embeddings = IsTrue("share_all_embeddings") && !config.speech.has_value();
    config.share_decoder_input_output_embed =
        config.share_all_embeddings || IsTrue("share_decoder_input_output_embed");
    config.max_source_positions =
        Int("max_source_positions", Int("max_positions", kDefaultPositions));
    // The bare transformer_lm has the option and no value.
    const bool bare = config.language_model.has_value() && !IsTrue("max_target_positions");
    config.max_target_positions =
        bare ? Int("tokens_per_sample", kDefaultPositions)
             : Int("max_target_positions", Int("max_positions", kDefaultPositions));
    if (config.speech.has_value()) ReadSpeech();
    if (config.language_model.has_value()) {
      LanguageModelReading reading = ReadLanguageModel(checkpoint_);
      config.language_model = std::move(reading.config);
      errors_.insert(errors_.end(), reading.errors.begin(), reading.errors.end());
      refusals_.insert(refusals_.end(), reading.refusals.begin(), reading.refusals.end());
    } else {
      ReadSide("encoder", &config.encoder);
    }
    ReadSide("decoder", &config.decoder);
    ReadFinalNorms();
    ReadAttention();
    for (const auto& [option, value] : checkpoint_.options()) {
      if (!IsOfTheTrainingMachine(option, value)) config.fairseq_options[option] = Shortened(value);
    }
    reading_.status = Status();
    return std::move(reading_);
  }

 private:
  void Refuse(std::string reason) { refusals_.push_back(std::move(reason)); }
  void RefuseOption(absl::string_view option, absl::string_view why) {
    Refuse(absl::StrCat("option ", OneLine(option), " is ", Quoted(Text(option, "")), why));
  }
  void Fail(std::string error) { errors_.push_back(std::move(error)); }

  absl::Status Status() const {
    if (!refusals_.empty()) {
      return absl::UnimplementedError(absl::StrCat(
          checkpoint_.name(), ": this model is not served: ", absl::StrJoin(refusals_, "; ")));
    }
    std::vector<std::string> errors = errors_;
    if (errors.empty()) {
      // The caller fills these fields later, so they must not be an error here.
      ModelConfig named = reading_.config;
      if (named.speech.has_value()) {
        named.speech->cmvn_mean.assign(kMelBins, 0);
        named.speech->cmvn_std.assign(kMelBins, 1);
      }
      named.name = "unnamed";
      const char* const language = named.languages.empty() ? "unnamed" : "";
      named.source_language = named.target_language = language;
      const absl::Status valid = ValidateModelConfig(named);
      if (valid.ok()) return valid;
      errors.emplace_back(valid.message());
    }
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint_.name(), ": ", absl::StrJoin(errors, "; ")));
  }

  bool Has(absl::string_view option) const {
    return checkpoint_.options().count(std::string(option)) > 0;
  }
  std::string Text(absl::string_view option, absl::string_view fallback) const {
    const auto found = checkpoint_.options().find(std::string(option));
    return std::string(found == checkpoint_.options().end() ? fallback : found->second);
  }
  bool IsTrue(absl::string_view option) const { return !IsOff(Text(option, "")); }
  // An option that every such model has.
  int Int(absl::string_view option) {
    if (!Has(option)) Fail(absl::StrCat("option ", option, " is missing"));
    return Int(option, 0);
  }
  int Int(absl::string_view option, int fallback) {
    const std::string text = Text(option, absl::StrCat(fallback));
    int value = fallback;
    if (!absl::SimpleAtoi(text, &value)) {
      Fail(absl::StrCat("option ", option, " needs an integer, got ", Quoted(text)));
    }
    return value;
  }
  template <typename Names>
  std::string OneOf(absl::string_view option, absl::string_view fallback, const Names& names) {
    const std::string text = Text(option, fallback);
    if (!absl::c_linear_search(names, text)) {
      RefuseOption(option, absl::StrCat(IsOfSpeech(text) ? " (speech)" : "",
                                        "; served: ", absl::StrJoin(names, ", ")));
    }
    return text;
  }

  void ReadFamily() {
    ModelConfig& config = reading_.config;
    const Architecture* const family = FindArchitecture(config.architecture);
    if (family == nullptr) {
      Refuse(WhyNotServed(config.architecture));
      OneOf("task", "translation", ServedTasks(kBidirectionalText));
      return;
    }
    reading_.known_architecture = true;
    reading_.kind = family->kind;
    config.causal_encoder = family->causal_encoder;
    simultaneity_ = family->simultaneity;
    if (family->kind == kSimultaneousSpeech || family->kind == kOfflineSpeech) {
      config.speech.emplace();
    }
    if (family->kind == kLanguageModel) config.language_model.emplace();
    const absl::Span<const absl::string_view> tasks = ServedTasks(family->kind);
    OneOf("task", tasks[0], tasks);
    if (simultaneity_ == Simultaneity::kMonotonic) ReadPolicy();
    if (simultaneity_ == Simultaneity::kMasked) ReadMask();
  }

  // Checks that each option that is on is in the table, and that the table does not refuse it.
  void CheckOptions() {
    for (const std::string& name : ignored_) {
      if (FindOption(name, reading_.kind) == nullptr) continue;
      Fail(absl::StrCat("option ", OneLine(name),
                        " is one that leapstream knows (docs/models.md, "
                        "\"Options\"), so it cannot be ignored; leave --ignore-option ",
                        OneLine(name), " out"));
    }
    const bool other_task = !refusals_.empty();
    for (const auto& [name, value] : checkpoint_.options()) {
      const OptionRow* row = FindOption(name, reading_.kind);
      if (row == nullptr) {
        if (other_task) continue;  // Options of other tasks are not in the table.
        if (IsOff(value) || absl::c_linear_search(ignored_, name)) continue;
        RefuseOption(name,
                     absl::StrCat("; leapstream does not know it (docs/models.md, \"Options\"), "
                                  "and it may change what the model computes; if it does "
                                  "nothing but in training, export with --ignore-option ",
                                  OneLine(name)));
      } else if (row->effect == OptionEffect::kRefused) {
        // The value `0` of *_layers_to_keep keeps only the first layer, so the option is on. With
        // blocks of one position, encoder_mask_block_size is off.
        const bool of_layers = absl::EndsWith(name, "_layers_to_keep");
        const bool off = IsOff(value) ? !(of_layers && value == "0")
                                      : name == "encoder_mask_block_size" && value == "1";
        if (!off) RefuseOption(name, "");
      }
    }
  }

  void ReadPolicy() {
    ModelConfig& config = reading_.config;
    if (config.speech.has_value()) {
      OneOf("simul_type", "", kSpeechSimulTypes);
      config.simul_type = "waitk";  // config.speech has the fixed pre-decision.
    } else {
      config.simul_type = OneOf("simul_type", "", kSimulTypes);
    }
    OneOf("policy_criterion", "any", kPolicyCriteria);
    config.mass_preservation = !Has("mass_preservation") || IsTrue("mass_preservation");
    // A wait-k checkpoint may have an energy bias, but never uses it.
    config.energy_bias = config.LearnedPolicy() && IsTrue("energy_bias");
    if (config.simul_type != "waitk") return;
    config.waitk_lagging = Int("waitk_lagging");
    if (Has("waitk_lagging")) CheckPositive("waitk_lagging", config.waitk_lagging);
  }

  void ReadMask() {
    ModelConfig& config = reading_.config;
    const int heads = Int("decoder_attention_heads", 0);
    if (Int("encoder_decoder_attention_heads", heads) != heads) {
      RefuseOption("encoder_decoder_attention_heads",
                   absl::StrCat("; served: the decoder_attention_heads, ", heads));
    }
    if (IsTrue("multi_waitk")) {
      const int low = Int("min_waitk", 1), high = Int("max_waitk", kWholeSource);
      CheckPositive("min_waitk", low);
      CheckPositive("max_waitk", high);
      config.waitk_lagging = std::max(low, std::min(kMultiPathWaitk, high));
      return;
    }
    const int waitk = Int("waitk", kWholeSource);
    CheckPositive("waitk", waitk);
    config.waitk_lagging = waitk < kWholeSource ? waitk : 0;
  }

  void CheckPositive(const char* option, int value) {
    if (value < 1) Fail(absl::StrCat("option ", option, " needs to be at least 1, got ", value));
  }

  void ReadSpeech() {
    SpeechConfig& speech = *reading_.config.speech;
    ReadFrontEnd(&speech);
    if (absl::StartsWith(reading_.config.architecture, "s2t_conformer")) ReadConformer(&speech);
    if (const int bins = Int("input_feat_per_channel", kMelBins); bins != kMelBins) {
      RefuseOption("input_feat_per_channel", absl::StrCat("; served: ", kMelBins));
    }
    if (reading_.kind == kOfflineSpeech) {
      speech.input.pre_decision_ratio = Int("fixed_pre_decision_ratio", kStatesPerRead);
      return CheckPositive("fixed_pre_decision_ratio", speech.input.pre_decision_ratio);
    }
    speech.input.pre_decision_ratio = Int("fixed_pre_decision_ratio");
    const std::string type = OneOf("fixed_pre_decision_type", "average", kPreDecisionTypes);
    speech.input.pre_decision_type =
        type == kPreDecisionTypes[1] ? PreDecision::kLast : PreDecision::kAverage;
  }

  // Reads the kind of the front end and its sizes from the parameters.
  void ReadFrontEnd(SpeechConfig* speech) {
    const std::string conv1d = "encoder.subsample.conv_layers.0.weight";
    const bool is_conv1d = checkpoint_.parameters().count(conv1d) > 0;
    const std::string first =
        is_conv1d ? conv1d : FairseqName(reading_.config, "encoder.conv.0.weight");
    const auto found = checkpoint_.parameters().find(first);
    if (found == checkpoint_.parameters().end()) {
      if (reading_.config.architecture == kEmformer) {
        return Refuse(absl::StrCat(
            "architecture \"", kEmformer, "\" without parameter ", first,
            ": the encoder was trained with Emformer's own layers, as by versions of fairseq of "
            "March 2021 alone"));
      }
      return Fail(absl::StrCat("parameter ", first, " is missing"));
    }
    if (found->second.shape.empty() || found->second.shape[0] > kMostTableRows) {
      return Fail(absl::StrCat("parameter ", first, " has no shape of a convolution"));
    }
    speech->conv_channels = static_cast<int>(found->second.shape[0]);
    if (!is_conv1d) return;
    speech->front_end = "conv1d";
    for (absl::string_view part :
         absl::StrSplit(Text("conv_kernel_sizes", "5,5"), ',', absl::SkipWhitespace())) {
      int kernel = 0;
      if (!absl::SimpleAtoi(part, &kernel) || kernel < 1 || kernel % 2 == 0 ||
          speech->conv_kernels.size() == kMostConvolutions) {
        return RefuseOption("conv_kernel_sizes",
                            absl::StrCat("; served: ", kMostConvolutions, " odd numbers at most"));
      }
      speech->conv_kernels.push_back(kernel);
    }
    if (speech->conv_kernels.empty()) {
      return RefuseOption("conv_kernel_sizes", "; served: one odd number or more");
    }
    speech->input.frames_per_state = 1 << speech->conv_kernels.size();
  }

  void ReadConformer(SpeechConfig* speech) {
    ConformerConfig& conformer = speech->conformer.emplace();
    conformer.depthwise_kernel = Int("depthwise_conv_kernel_size", conformer.depthwise_kernel);
    if (conformer.depthwise_kernel < 1 || conformer.depthwise_kernel % 2 == 0) {
      RefuseOption("depthwise_conv_kernel_size", "; served: odd numbers");
    }
    const bool espnet = Text("attn_type", "") == "espnet";
    if (!espnet && !IsOff(Text("attn_type", ""))) {
      RefuseOption("attn_type", "; served: espnet, or none");
    }
    constexpr absl::string_view kPositions[] = {"abs", "rel_pos", "rope"};
    const std::string positions = OneOf("pos_enc_type", "abs", kPositions);
    if (positions == "abs") return;
    if (espnet) {
      conformer.positions = positions == "rope" ? "rotary" : "relative";
    } else if (positions == "rel_pos") {
      RefuseOption("pos_enc_type", ", which fairseq itself runs only with attn_type espnet");
    }
  }

  // The shape of a table of embeddings.
  std::pair<int, int> TableShape(const std::string& parameter) {
    const absl::StatusOr<std::pair<int, int>> shape = ShapeOfTable(checkpoint_, parameter);
    if (shape.ok()) return *shape;
    Fail(std::string(shape.status().message()));
    return {0, 0};
  }

  void ReadSide(const std::string& name, SideConfig* side) {
    const bool is_decoder = name == "decoder";
    side->embed_dim = Int(name + "_embed_dim");
    side->ffn_embed_dim = Int(name + "_ffn_embed_dim");
    side->layers = Int(name + "_layers");
    side->attention_heads = Int(name + "_attention_heads");
    side->normalize_before = IsTrue(name + "_normalize_before");
    // The decoder of a simul_type has this norm and never applies it (docs/fairseq.md, rule 19).
    side->layernorm_embedding =
        IsTrue("layernorm_embedding") && !(is_decoder && reading_.config.simul_type != "none");
    const bool of_speech = !is_decoder && reading_.config.speech.has_value();
    const auto& model = reading_.config.language_model;
    if (model.has_value() && !model->adaptive_input.empty()) {
      side->input_dim = side->embed_dim;
      for (const BandConfig& band : model->adaptive_input) {
        side->vocabulary_size =
            std::min(side->vocabulary_size, kMostTableRows) + band.words;
      }
    } else if (of_speech) {
      side->input_dim = side->embed_dim;
      side->layernorm_embedding = false;
      // Only absolute positions are added to the input of a conformer.
      if (reading_.config.speech->conformer.has_value() && Text("pos_enc_type", "abs") != "abs") {
        side->positions = PositionKind::kNone;
      }
    } else {
      std::tie(side->vocabulary_size, side->input_dim) = TableShape(name + ".embed_tokens.weight");
    }
    side->output_dim = is_decoder ? Int("decoder_output_dim", side->embed_dim) : side->embed_dim;
    if (IsTrue("no_token_positional_embeddings") && !of_speech) {
      side->positions = PositionKind::kNone;
    } else if (IsTrue(name + "_learned_pos") && !of_speech) {
      side->positions = PositionKind::kLearned;
      // Positions start at padding_idx + 1.
      side->max_positions = TableShape(name + ".embed_positions.weight").first - 2;
    }
    // The fork's causal encoder makes all its layers anew, and so ignores this option.
    if (!of_speech && (is_decoder || !reading_.config.causal_encoder)) {
      ReadSharedLayers(absl::StrCat("share_", name, "_ffn_attn_layer"), side);
    }
  }

  void ReadSharedLayers(const std::string& option, SideConfig* side) {
    for (absl::string_view part :
         absl::StrSplit(Text(option, ""), absl::ByAnyChar("[](), "), absl::SkipEmpty())) {
      int layer = 0;
      if (!absl::SimpleAtoi(part, &layer)) {
        Fail(absl::StrCat("option ", option, " needs numbers of layers, got ",
                          Quoted(Text(option, ""))));
        return;
      }
      // fairseq looks each of its layers up in the list, so other numbers do nothing.
      if (layer >= 1 && layer <= side->layers) side->shared_layers.push_back(layer);
    }
  }

  // Finds out which sides have a norm after their layers: checkpoints of early versions have none.
  void ReadFinalNorms() {
    SideConfig& encoder = reading_.config.encoder;
    SideConfig& decoder = reading_.config.decoder;
    if (simultaneity_ == Simultaneity::kMasked) {  // attn2d is younger than these versions.
      encoder.final_norm = encoder.normalize_before;
      decoder.final_norm = decoder.normalize_before && !IsTrue("no_decoder_final_norm");
      return;
    }
    encoder.final_norm = encoder.normalize_before && Version("encoder") >= 2;
    if (reading_.config.speech.has_value()) {
      // s2t_transformer applies its norm, convtransformer has one and does not.
      encoder.final_norm = encoder.normalize_before &&
                           absl::StartsWith(reading_.config.architecture, "s2t_transformer");
    }
    decoder.final_norm =
        decoder.normalize_before && !IsTrue("no_decoder_final_norm") && Version("decoder") > 2;
  }
  float Version(absl::string_view side) {
    const std::string parameter = absl::StrCat(side, ".version");
    if (checkpoint_.parameters().count(parameter) == 0) return 1;
    const auto values = checkpoint_.ReadFloats(parameter);
    if (values.ok() && !values->empty()) return values->front();
    Fail(absl::StrCat("parameter ", parameter, " needs one number"));
    return 1;
  }

  void ReadAttention() {
    ModelConfig& config = reading_.config;
    config.leap_factor = Int("leap_factor", kDefaultLeapFactor);
    for (const Block& block : kBlocks) {
      SideConfig& side = config.*block.config;
      const char* const side_name = SideOf(block.place);
      const FairseqAttention* const row = FindFairseqAttention(checkpoint_, block.place, 0);
      side.*block.kind = row != nullptr ? row->kind->name : kSoftmaxKind.name;
      for (int i = 1; i < side.layers && HasLayer(checkpoint_, side_name, i); ++i) {
        const FairseqAttention* const other = FindFairseqAttention(checkpoint_, block.place, i);
        if (other == row) continue;
        const FairseqAttention& one = row != nullptr ? *row : *other;
        Fail(absl::StrCat(side_name, " layers 0 and ", i, " differ in ", BlockOf(block.place),
                          ": only one of them has ", one.owner, " ", one.part));
        break;
      }
      for (const FairseqAttention& each : FairseqAttentions()) {
        CheckAttentionOptions(block.place, each, &each == row);
      }
      const int head_dim = side.attention_heads > 0 ? side.embed_dim / side.attention_heads : 0;
      if (HasProportionNets(side.*block.kind) &&
          (config.leap_factor < 1 || head_dim % config.leap_factor != 0)) {
        Refuse(absl::StrCat("option leap_factor is ", Quoted(absl::StrCat(config.leap_factor)),
                            ", no divisor of the ", side_name, "'s head size ", head_dim));
      }
    }
    // The fork's linear form of training has no mask, and its encoders have none in inference
    // either.
    const FairseqAttention* const encoder = FindFairseqAttention(checkpoint_, kEncoderSelf, 0);
    if (simultaneity_ != Simultaneity::kMasked && encoder != nullptr &&
        encoder->unmasked_option != nullptr && IsTrue(encoder->unmasked_option)) {
      config.causal_encoder = false;
    }
  }
  // Checks that the options that switch a kind on agree with the parameters. `found`: the block has
  // the kind's parameters.
  void CheckAttentionOptions(AttentionPlace place, const FairseqAttention& row, bool found) {
    std::vector<std::string> recorded;
    bool enabled = false;
    for (const char* option : row.options[place]) {
      if (!Has(option)) continue;
      enabled = enabled || IsTrue(option);
      recorded.push_back(absl::StrCat("option ", option, " is ", Quoted(Text(option, ""))));
    }
    if (recorded.empty() || enabled == found) return;
    Fail(absl::StrCat(absl::StrJoin(recorded, ", "), ", but ", SideOf(place), ".layers.*.",
                      BlockOf(place), found ? " has " : " has no ", row.part));
  }

  const FairseqCheckpoint& checkpoint_;
  const absl::Span<const std::string> ignored_;
  ConfigReading reading_;
  Simultaneity simultaneity_ = Simultaneity::kNone;
  std::vector<std::string> refusals_;
  std::vector<std::string> errors_;
};

}  // namespace

ConfigReading ReadConfig(const FairseqCheckpoint& checkpoint,
                         absl::Span<const std::string> ignored_options) {
  return ConfigReader(checkpoint, ignored_options).Run();
}

}  // namespace leapstream
