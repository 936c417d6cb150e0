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
#include "model/fairseq/option_reader.h"
#include "model/fairseq/option_table.h"
#include "model/fairseq/parameter_names.h"
#include "model/fairseq/read_language_model.h"
#include "model/fairseq/read_speech.h"

namespace leapstream {
namespace {

// The values of options that take one of few.
constexpr absl::string_view kSimulTypes[] = {"waitk", "hard_aligned", "infinite_lookback",
                                             "chunkwise"};
constexpr absl::string_view kSpeechSimulTypes[] = {"waitk_fixed_pre_decision"};
constexpr absl::string_view kPolicyCriteria[] = {"any"};
constexpr absl::string_view kActivations[] = {"relu", "gelu",  "gelu_fast", "gelu_accurate",
                                              "tanh", "swish", "linear"};

// The member of the configuration that holds a block's kind of attention.
struct Block {
  AttentionPlace place;
  SideConfig ModelConfig::*config;
  std::string SideConfig::*kind;
};
constexpr Block kBlocks[] = {{kEncoderSelf, &ModelConfig::encoder, &SideConfig::self_attention},
                             {kDecoderSelf, &ModelConfig::decoder, &SideConfig::self_attention},
                             {kDecoderCross, &ModelConfig::decoder, &SideConfig::cross_attention}};

constexpr int kDefaultPositions = 1024;  // fairseq's DEFAULT_MAX_{SOURCE,TARGET}_POSITIONS.
constexpr int kDefaultLeapFactor = 4;    // The fork's default. Checkpoints do not always have it.
constexpr int kWholeSource = 1024;       // attn2d's default of waitk and max_waitk: no limit.
// The k of a model that was trained for every k: attn2d's page evaluates with this one.
constexpr int kMultiPathWaitk = 5;
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
      : checkpoint_(checkpoint), ignored_(ignored), options_(checkpoint) {}

  ConfigReading Run() {
    ModelConfig& config = reading_.config;
    config.source_language = options_.Text("source_lang", "");
    config.target_language = options_.Text("target_lang", "");
    config.architecture = checkpoint_.architecture();
    config.waitk_lagging = 0;
    ReadFamily();
    if (const std::string why = ForeignParts(checkpoint_); !why.empty()) {
      // Whatever else is strange about it follows from this.
      options_.RefuseOnly(why);
      reading_.status = Status();
      reading_.known_architecture = false;
      return std::move(reading_);
    }
    if (reading_.known_architecture) CheckOptions();
    reading_.languages = ReadLanguageSetup(checkpoint_.options());
    for (const std::string& error : reading_.languages.errors) options_.Fail(error);
    config.frame = reading_.languages.frame;
    config.languages = reading_.languages.languages;
    const bool gelu = simultaneity_ == Simultaneity::kMasked && options_.IsTrue("gelu");
    config.activation_fn = options_.OneOf("activation_fn", gelu ? "gelu" : "relu", kActivations);
    config.scale_embedding = !options_.IsTrue("no_scale_embedding");
    config.share_all_embeddings =
        options_.IsTrue("share_all_embeddings") && !config.speech.has_value();
    config.share_decoder_input_output_embed =
        config.share_all_embeddings || options_.IsTrue("share_decoder_input_output_embed");
    config.max_source_positions =
        options_.Int("max_source_positions", options_.Int("max_positions", kDefaultPositions));
    // The bare transformer_lm has the option and no value.
    const bool bare = config.language_model.has_value() && !options_.IsTrue("max_target_positions");
    config.max_target_positions =
        bare ? options_.Int("tokens_per_sample", kDefaultPositions)
             : options_.Int("max_target_positions",
                            options_.Int("max_positions", kDefaultPositions));
    if (config.speech.has_value()) config.speech = ReadSpeech(config, reading_.kind, &options_);
    if (config.language_model.has_value()) {
      config.language_model = ReadLanguageModel(&options_);
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
  absl::Status Status() const {
    if (absl::Status read = options_.Status(); !read.ok()) return read;
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
    return absl::InvalidArgumentError(absl::StrCat(checkpoint_.name(), ": ", valid.message()));
  }

  void ReadFamily() {
    ModelConfig& config = reading_.config;
    const Architecture* const family = FindArchitecture(config.architecture);
    if (family == nullptr) {
      options_.Refuse(WhyNotServed(config.architecture));
      options_.OneOf("task", "translation", ServedTasks(kBidirectionalText));
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
    options_.OneOf("task", tasks[0], tasks);
    if (simultaneity_ == Simultaneity::kMonotonic) ReadPolicy();
    if (simultaneity_ == Simultaneity::kMasked) ReadMask();
  }

  // Checks that each option that is on is in the table, and that the table does not refuse it.
  void CheckOptions() {
    for (const std::string& name : ignored_) {
      if (FindOption(name, reading_.kind) == nullptr) continue;
      options_.Fail(absl::StrCat("option ", OneLine(name),
                                 " is one that leapstream knows (docs/models.md, "
                                 "\"Options\"), so it cannot be ignored; leave --ignore-option ",
                                 OneLine(name), " out"));
    }
    const bool other_task = !options_.refusals().empty();
    for (const auto& [name, value] : checkpoint_.options()) {
      const OptionRow* row = FindOption(name, reading_.kind);
      if (row == nullptr) {
        if (other_task) continue;  // Options of other tasks are not in the table.
        if (IsOff(value) || absl::c_linear_search(ignored_, name)) continue;
        options_.RefuseOption(
            name, absl::StrCat("; leapstream does not know it (docs/models.md, \"Options\"), "
                               "and it may change what the model computes; if it does "
                               "nothing but in training, export with --ignore-option ",
                               OneLine(name)));
      } else if (row->effect == OptionEffect::kRefused) {
        // The value `0` of *_layers_to_keep keeps only the first layer, so the option is on. With
        // blocks of one position, encoder_mask_block_size is off.
        const bool of_layers = absl::EndsWith(name, "_layers_to_keep");
        const bool off = IsOff(value) ? !(of_layers && value == "0")
                                      : name == "encoder_mask_block_size" && value == "1";
        if (!off) options_.RefuseOption(name, "");
      }
    }
  }

  void ReadPolicy() {
    ModelConfig& config = reading_.config;
    if (config.speech.has_value()) {
      options_.OneOf("simul_type", "", kSpeechSimulTypes);
      config.simul_type = "waitk";  // config.speech has the fixed pre-decision.
    } else {
      config.simul_type = options_.OneOf("simul_type", "", kSimulTypes);
    }
    options_.OneOf("policy_criterion", "any", kPolicyCriteria);
    config.mass_preservation =
        !options_.Has("mass_preservation") || options_.IsTrue("mass_preservation");
    // A wait-k checkpoint may have an energy bias, but never uses it.
    config.energy_bias = config.LearnedPolicy() && options_.IsTrue("energy_bias");
    if (config.simul_type != "waitk") return;
    config.waitk_lagging = options_.Int("waitk_lagging");
    if (options_.Has("waitk_lagging"))
      options_.CheckPositive("waitk_lagging", config.waitk_lagging);
  }

  void ReadMask() {
    ModelConfig& config = reading_.config;
    const int heads = options_.Int("decoder_attention_heads", 0);
    if (options_.Int("encoder_decoder_attention_heads", heads) != heads) {
      options_.RefuseOption("encoder_decoder_attention_heads",
                            absl::StrCat("; served: the decoder_attention_heads, ", heads));
    }
    if (options_.IsTrue("multi_waitk")) {
      const int low = options_.Int("min_waitk", 1), high = options_.Int("max_waitk", kWholeSource);
      options_.CheckPositive("min_waitk", low);
      options_.CheckPositive("max_waitk", high);
      config.waitk_lagging = std::max(low, std::min(kMultiPathWaitk, high));
      return;
    }
    const int waitk = options_.Int("waitk", kWholeSource);
    options_.CheckPositive("waitk", waitk);
    config.waitk_lagging = waitk < kWholeSource ? waitk : 0;
  }

  void ReadSide(const std::string& name, SideConfig* side) {
    const bool is_decoder = name == "decoder";
    side->embed_dim = options_.Int(name + "_embed_dim");
    side->ffn_embed_dim = options_.Int(name + "_ffn_embed_dim");
    side->layers = options_.Int(name + "_layers");
    side->attention_heads = options_.Int(name + "_attention_heads");
    side->normalize_before = options_.IsTrue(name + "_normalize_before");
    // The decoder of a simul_type has this norm and never applies it (docs/fairseq.md, rule 19).
    side->layernorm_embedding = options_.IsTrue("layernorm_embedding") &&
                                !(is_decoder && reading_.config.simul_type != "none");
    const bool of_speech = !is_decoder && reading_.config.speech.has_value();
    const auto& model = reading_.config.language_model;
    if (model.has_value() && !model->adaptive_input.empty()) {
      side->input_dim = side->embed_dim;
      for (const BandConfig& band : model->adaptive_input) {
        side->vocabulary_size = std::min(side->vocabulary_size, kMostTableRows) + band.words;
      }
    } else if (of_speech) {
      side->input_dim = side->embed_dim;
      side->layernorm_embedding = false;
      // Only absolute positions are added to the input of a conformer.
      if (reading_.config.speech->conformer.has_value() &&
          options_.Text("pos_enc_type", "abs") != "abs") {
        side->positions = PositionKind::kNone;
      }
    } else {
      std::tie(side->vocabulary_size, side->input_dim) =
          options_.TableShape(name + ".embed_tokens.weight");
    }
    side->output_dim =
        is_decoder ? options_.Int("decoder_output_dim", side->embed_dim) : side->embed_dim;
    if (options_.IsTrue("no_token_positional_embeddings") && !of_speech) {
      side->positions = PositionKind::kNone;
    } else if (options_.IsTrue(name + "_learned_pos") && !of_speech) {
      side->positions = PositionKind::kLearned;
      // Positions start at padding_idx + 1.
      side->max_positions = options_.TableShape(name + ".embed_positions.weight").first - 2;
    }
    // The fork's causal encoder makes all its layers anew, and so ignores this option.
    if (!of_speech && (is_decoder || !reading_.config.causal_encoder)) {
      ReadSharedLayers(absl::StrCat("share_", name, "_ffn_attn_layer"), side);
    }
  }

  void ReadSharedLayers(const std::string& option, SideConfig* side) {
    for (absl::string_view part :
         absl::StrSplit(options_.Text(option, ""), absl::ByAnyChar("[](), "), absl::SkipEmpty())) {
      int layer = 0;
      if (!absl::SimpleAtoi(part, &layer)) {
        options_.Fail(absl::StrCat("option ", option, " needs numbers of layers, got ",
                                   Quoted(options_.Text(option, ""))));
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
      decoder.final_norm = decoder.normalize_before && !options_.IsTrue("no_decoder_final_norm");
      return;
    }
    encoder.final_norm = encoder.normalize_before && Version("encoder") >= 2;
    if (reading_.config.speech.has_value()) {
      // s2t_transformer applies its norm, convtransformer has one and does not.
      encoder.final_norm = encoder.normalize_before &&
                           absl::StartsWith(reading_.config.architecture, "s2t_transformer");
    }
    decoder.final_norm = decoder.normalize_before && !options_.IsTrue("no_decoder_final_norm") &&
                         Version("decoder") > 2;
  }
  float Version(absl::string_view side) {
    const std::string parameter = absl::StrCat(side, ".version");
    if (checkpoint_.parameters().count(parameter) == 0) return 1;
    const auto values = checkpoint_.ReadFloats(parameter);
    if (values.ok() && !values->empty()) return values->front();
    options_.Fail(absl::StrCat("parameter ", parameter, " needs one number"));
    return 1;
  }

  void ReadAttention() {
    ModelConfig& config = reading_.config;
    config.leap_factor = options_.Int("leap_factor", kDefaultLeapFactor);
    for (const Block& block : kBlocks) {
      SideConfig& side = config.*block.config;
      const char* const side_name = SideOf(block.place);
      const FairseqAttention* const row = FindFairseqAttention(checkpoint_, block.place, 0);
      side.*block.kind = row != nullptr ? row->kind->name : kSoftmaxKind.name;
      for (int i = 1; i < side.layers && HasLayer(checkpoint_, side_name, i); ++i) {
        const FairseqAttention* const other = FindFairseqAttention(checkpoint_, block.place, i);
        if (other == row) continue;
        const FairseqAttention& one = row != nullptr ? *row : *other;
        options_.Fail(absl::StrCat(side_name, " layers 0 and ", i, " differ in ",
                                   BlockOf(block.place), ": only one of them has ", one.owner, " ",
                                   one.part));
        break;
      }
      for (const FairseqAttention& each : FairseqAttentions()) {
        CheckAttentionOptions(block.place, each, &each == row);
      }
      const int head_dim = side.attention_heads > 0 ? side.embed_dim / side.attention_heads : 0;
      if (HasProportionNets(side.*block.kind) &&
          (config.leap_factor < 1 || head_dim % config.leap_factor != 0)) {
        options_.Refuse(absl::StrCat("option leap_factor is ",
                                     Quoted(absl::StrCat(config.leap_factor)),
                                     ", no divisor of the ", side_name, "'s head size ", head_dim));
      }
    }
    // The fork's linear form of training has no mask, and its encoders have none in inference
    // either.
    const FairseqAttention* const encoder = FindFairseqAttention(checkpoint_, kEncoderSelf, 0);
    if (simultaneity_ != Simultaneity::kMasked && encoder != nullptr &&
        encoder->unmasked_option != nullptr && options_.IsTrue(encoder->unmasked_option)) {
      config.causal_encoder = false;
    }
  }
  // Checks that the options that switch a kind on agree with the parameters. `found`: the block has
  // the kind's parameters.
  void CheckAttentionOptions(AttentionPlace place, const FairseqAttention& row, bool found) {
    std::vector<std::string> recorded;
    bool enabled = false;
    for (const char* option : row.options[place]) {
      if (!options_.Has(option)) continue;
      enabled = enabled || options_.IsTrue(option);
      recorded.push_back(
          absl::StrCat("option ", option, " is ", Quoted(options_.Text(option, ""))));
    }
    if (recorded.empty() || enabled == found) return;
    options_.Fail(absl::StrCat(absl::StrJoin(recorded, ", "), ", but ", SideOf(place), ".layers.*.",
                               BlockOf(place), found ? " has " : " has no ", row.part));
  }

  const FairseqCheckpoint& checkpoint_;
  const absl::Span<const std::string> ignored_;
  OptionReader options_;
  ConfigReading reading_;
  Simultaneity simultaneity_ = Simultaneity::kNone;
};

}  // namespace

ConfigReading ReadConfig(const FairseqCheckpoint& checkpoint,
                         absl::Span<const std::string> ignored_options) {
  return ConfigReader(checkpoint, ignored_options).Run();
}

}  // namespace leapstream
