#include "model/api/model_config.h"

#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/model_fields.h"

namespace leapstream {
namespace {

absl::Status CheckRange(absl::string_view what, int64_t value, const Range& range) {
  if (value >= range.low && value <= range.high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, " needs to be in [", range.low, ", ", range.high, "], got ", value));
}

// Checks each field by itself; keeps the first error.
class FieldChecker {
 public:
  explicit FieldChecker(std::string where) : where_(std::move(where)) {}

  template <typename T>
  void operator()(const char* name, const T& value) {
    if constexpr (Fields<T>::value) {
      FieldChecker nested(absl::StrCat(where_, name, "."));
      Fields<T>::Visit(value, nested);
      Keep(nested.status_);
    }
  }
  void operator()(const char* name, int value, const Range& range) {
    Keep(CheckRange(absl::StrCat(where_, name), value, range));
  }
  template <typename T>
  void operator()(const char* name, const std::vector<T>& value) {
    if constexpr (Fields<T>::value) {
      for (size_t i = 0; i < value.size(); ++i) {
        (*this)(absl::StrCat(name, "[", i, "]").c_str(), value[i]);
      }
    }
  }
  template <typename T>
  void operator()(const char* name, const T& value, const Range& range) {
    const auto size = static_cast<int64_t>(value.size());
    Keep(CheckRange(absl::StrCat("length of ", where_, name), size, range));
    (*this)(name, value);
  }
  void operator()(const char* name, const std::string& value, const OneOf& one) {
    if (absl::c_linear_search(one.names, value)) return;
    Keep(absl::InvalidArgumentError(absl::StrCat(
        where_, name, " needs to be one of ", absl::StrJoin(one.names, ", "), ", got ",
        Quoted(value))));
  }
  template <typename T, typename... Check>
  void Later(const char* name, const T& value, const T& /*first*/, const Check&... check) {
    (*this)(name, value, check...);
  }
  template <typename T>
  void Optional(const char* name, const std::optional<T>& value) {
    if (value.has_value()) (*this)(name, *value);
  }

  const absl::Status& status() const { return status_; }

 private:
  void Keep(const absl::Status& status) {
    if (status_.ok()) status_ = status;
  }

  const std::string where_;
  absl::Status status_;
};

absl::Status CheckSide(absl::string_view name, const SideConfig& side, bool embeds_tokens) {
  const auto what = [name](absl::string_view field) { return absl::StrCat(name, ".", field); };
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange(what("vocabulary_size"), side.vocabulary_size,
                                        embeds_tokens ? Range{4, 1 << 24} : Range{0, 0}));
  if (side.embed_dim % side.attention_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(what("embed_dim"), " ", side.embed_dim,
                                                   " is no multiple of attention_heads ",
                                                   side.attention_heads));
  }
  for (const int layer : side.shared_layers) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckRange(what("shared_layers"), layer, {1, side.layers}));
  }
  const bool learned = side.positions == PositionKind::kLearned;
  // The shortest table has two positions: one for a token and one for </s>.
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange(what("max_positions"), side.max_positions,
                                        learned ? Range{2, 1 << 24} : Range{0, 0}));
  if (side.positions == PositionKind::kSinusoidal && side.embed_dim < 4) {
    return absl::InvalidArgumentError(
        absl::StrCat(what("embed_dim"), " is below 4, too small for sinusoidal positions"));
  }
  return absl::OkStatus();
}

// Checks that the convolutions make as many frames one row as the durations say.
absl::Status CheckConvolutions(const SpeechConfig& speech) {
  const int frames = speech.input.frames_per_state;
  if (speech.front_end == "conv2d") {
    if (speech.mel_bins % 4 == 0 && frames == 4 && speech.conv_kernels.empty()) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "speech.front_end conv2d needs mel_bins that are a multiple of 4, frames_per_state 4 and "
        "no conv_kernels, got ",
        speech.mel_bins, ", ", frames, " and ", speech.conv_kernels.size(), " kernels"));
  }
  if (speech.conv_kernels.empty() || frames != 1 << speech.conv_kernels.size() ||
      speech.conv_channels % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "speech.front_end conv1d needs one of conv_kernels or more, conv_channels that are even, "
        "and frames_per_state 2 to the power of the number of conv_kernels, got ",
        speech.conv_channels, ", and ", frames, " for ", speech.conv_kernels.size(), " kernels"));
  }
  for (const int kernel : speech.conv_kernels) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckRange("speech.conv_kernels", kernel, {1, 63}));
    if (kernel % 2 == 1) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("speech.conv_kernels needs odd numbers, got ", kernel));
  }
  return absl::OkStatus();
}

absl::Status CheckSpeech(const ModelConfig& config) {
  const SpeechConfig& speech = *config.speech;
  LEAPSTREAM_RETURN_IF_ERROR(CheckConvolutions(speech));
  if (speech.input.SamplesPerState() % (kSpeechSampleRate / 1000) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "speech needs frames_per_state times frame_shift_samples to be a whole number of ms, a "
        "multiple of ",
        kSpeechSampleRate / 1000, ", got ", speech.input.SamplesPerState()));
  }
  if (speech.conformer.has_value() &&
      (speech.conformer->depthwise_kernel % 2 == 0 || config.encoder.self_attention != "softmax" ||
       !config.encoder.shared_layers.empty())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "speech.conformer needs an odd depthwise_kernel, encoder.self_attention softmax and no "
        "encoder.shared_layers, got ",
        speech.conformer->depthwise_kernel, ", ", config.encoder.self_attention, " and ",
        config.encoder.shared_layers.size(), " layers"));
  }
  if (speech.input.frame_shift_samples > speech.input.frame_samples) {
    return absl::InvalidArgumentError(
        absl::StrCat("speech.frame_shift_samples needs to be frame_samples at most, got ",
                     speech.input.frame_shift_samples, " and ", speech.input.frame_samples));
  }
  const int head_dim = config.encoder.embed_dim / config.encoder.attention_heads;
  if (speech.conformer.has_value() && speech.conformer->positions == "rotary" &&
      head_dim % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "speech.conformer.positions rotary needs an even size of heads, got ", head_dim));
  }
  for (const auto& [name, values] :
       {std::pair("mean", &speech.cmvn_mean), {"std", &speech.cmvn_std}}) {
    for (const float value : *values) {
      if (std::isfinite(value) && (value > 0 || values == &speech.cmvn_mean)) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "speech.cmvn_", name, " needs finite numbers, a std also positive ones, got ", value));
    }
  }
  if (config.LearnedPolicy() || config.causal_encoder) {
    return absl::InvalidArgumentError(
        "a model of speech needs simul_type waitk or none, and a bidirectional encoder");
  }
  if (config.share_all_embeddings || config.encoder.layernorm_embedding ||
      config.encoder.positions == PositionKind::kLearned) {
    return absl::InvalidArgumentError(
        "an encoder of speech has no embedding to share or to normalise, and no learned positions");
  }
  return absl::OkStatus();
}

// Checks that the bands divide the dictionary and get no wider.
absl::Status CheckBands(const char* name, const std::vector<BandConfig>& bands, int words) {
  if (bands.empty()) return absl::OkStatus();
  int64_t sum = 0;
  for (size_t i = 0; i < bands.size(); ++i) {
    sum += bands[i].words;
    if (i > 0 && bands[i].width > bands[i - 1].width) {
      return absl::InvalidArgumentError(absl::StrCat("language_model.", name,
                                                     " needs bands that get no wider, got ",
                                                     bands[i].width, " after ",
                                                     bands[i - 1].width));
    }
  }
  if (sum == words && bands.size() >= 2) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("language_model.", name, " needs two bands or more that have the ", words,
                   " symbols of the dictionary together, got ", bands.size(), " with ", sum));
}

absl::Status CheckLanguageModel(const ModelConfig& config) {
  const LanguageModelConfig& model = *config.language_model;
  const SideConfig& decoder = config.decoder;
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckBands("adaptive_input", model.adaptive_input, decoder.vocabulary_size));
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckBands("adaptive_softmax", model.adaptive_softmax, decoder.vocabulary_size));
  const bool adaptive = !model.adaptive_softmax.empty();
  if (adaptive && model.adaptive_softmax[0].width != decoder.output_dim) {
    return absl::InvalidArgumentError(
        absl::StrCat("language_model.adaptive_softmax needs a first band of width output_dim ",
                     decoder.output_dim, ", got ", model.adaptive_softmax[0].width));
  }
  if ((model.tie_adaptive_weights &&
       (!adaptive || model.adaptive_input != model.adaptive_softmax)) ||
      (model.tie_adaptive_proj &&
       (!model.tie_adaptive_weights || decoder.output_dim != decoder.embed_dim))) {
    return absl::InvalidArgumentError(
        "language_model.tie_adaptive_weights needs adaptive_input and adaptive_softmax with the "
        "same bands, and tie_adaptive_proj needs it and output_dim to be embed_dim");
  }
  if (!config.causal_encoder || config.share_all_embeddings || config.simul_type != "none" ||
      config.speech.has_value() || config.output_bias || config.ensemble > 1 ||
      (config.share_decoder_input_output_embed && (adaptive || !model.adaptive_input.empty()))) {
    return absl::InvalidArgumentError(
        "a language model has causal layers, no encoder to share embeddings with, no simul_type, no speech, no "
        "output_bias and no ensemble, and shares no embeddings that are adaptive");
  }
  return absl::OkStatus();
}

// Checks that a side's tokenizer has no field that it makes no use of.
absl::Status CheckTokenizer(const char* side, const TokenizerConfig& tokenizer, bool source) {
  const TokenizerConfig none;
  const bool spm = tokenizer.bpe == "sentencepiece";
  const bool moses = tokenizer.tokenizer == "moses";
  const bool codes = tokenizer.bpe == "subword_nmt" || tokenizer.bpe == "fastbpe";
  const bool lowercase = tokenizer.lowercase;
  const bool normalize = tokenizer.normalize != none.normalize;
  const bool threshold = tokenizer.bpe_vocabulary_threshold != none.bpe_vocabulary_threshold;
  const struct {
    const char* field;
    bool is_set, is_used;
    const char* needs;
  } rows[] = {
      {"tokenizer", tokenizer.tokenizer != none.tokenizer, !spm, "a bpe that is no sentencepiece"},
      {"moses_language", tokenizer.moses_language != none.moses_language, moses,
       "tokenizer moses"},
      {"moses_no_dash_splits", tokenizer.moses_no_dash_splits, moses, "tokenizer moses"},
      {"moses_no_escape", tokenizer.moses_no_escape, moses, "tokenizer moses"},
      {"lowercase", lowercase, source, "the source side"},
      {"lowercase", lowercase, !spm, "a bpe that is no sentencepiece"},
      {"clean_up", tokenizer.clean_up, !source, "the target side"},
      {"normalize", normalize, source, "the source side"},
      {"normalize", normalize, moses, "tokenizer moses"},
      {"bpe_vocabulary_threshold", threshold, source, "the source side"},
      {"bpe_vocabulary_threshold", threshold, codes, "bpe subword_nmt or fastbpe"}};
  for (const auto& row : rows) {
    if (!row.is_set || row.is_used) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(side, ".", row.field, " needs ", row.needs, "; leave it out"));
  }
  return absl::OkStatus();
}

absl::Status CheckLanguages(const ModelConfig& config) {
  if (!config.frame.forced.empty() && config.LearnedPolicy()) {
    return absl::InvalidArgumentError(
        "frame.forced is not served of a model that decides itself when to READ");
  }
  if (config.languages.empty()) {
    if (config.language_model.has_value()) return absl::OkStatus();
    if (!config.source_language.empty() && !config.target_language.empty()) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        "a model without languages needs a source_language and a target_language");
  }
  std::set<std::string> codes, sources, targets;
  for (const LanguageConfig& language : config.languages) {
    // Codes that differ in case alone are two: OPUS-MT's en-ROMANCE has pt_br and pt_BR.
    if (!codes.insert(language.code).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "each of languages needs a code of its own, got ", Quoted(language.code), " twice"));
    }
    if (!language.source_token.empty()) sources.insert(language.code);
    if (!language.target_token.empty()) targets.insert(language.code);
  }
  if (sources.empty() || targets.empty()) {
    return absl::InvalidArgumentError(
        "languages needs one with a source_token and one with a target_token at least");
  }
  if ((!config.source_language.empty() && sources.count(config.source_language) == 0) ||
      (!config.target_language.empty() && targets.count(config.target_language) == 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "source_language and target_language need to be codes of languages or empty, got ",
        Quoted(config.source_language), " and ", Quoted(config.target_language)));
  }
  return absl::OkStatus();
}

}  // namespace

bool TokenizerConfig::operator==(const TokenizerConfig& other) const {
  return bpe == other.bpe && tokenizer == other.tokenizer &&
         moses_language == other.moses_language &&
         moses_no_dash_splits == other.moses_no_dash_splits &&
         moses_no_escape == other.moses_no_escape && lowercase == other.lowercase &&
         clean_up == other.clean_up && normalize == other.normalize &&
         bpe_vocabulary_threshold == other.bpe_vocabulary_threshold;
}

bool FrameConfig::operator==(const FrameConfig& other) const {
  return source_lead == other.source_lead && source_tail == other.source_tail &&
         start == other.start && forced == other.forced && end == other.end;
}

bool LanguageConfig::operator==(const LanguageConfig& other) const {
  return code == other.code && source_token == other.source_token &&
         target_token == other.target_token;
}

int SideConfig::LayerOf(int layer) const {
  if (!absl::c_linear_search(shared_layers, layer + 1)) return layer;
  return *absl::c_min_element(shared_layers) - 1;
}

int ModelConfig::AlignmentLayer() const {
  return alignment_layer >= 0 ? alignment_layer : std::max(decoder.layers - 2, 0);
}

absl::Status CheckModelFields(const ModelConfig& config) {
  FieldChecker fields("");
  Fields<ModelConfig>::Visit(config, fields);
  LEAPSTREAM_RETURN_IF_ERROR(fields.status());
  if (config.language_model.has_value()) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckLanguageModel(config));
  } else {
    LEAPSTREAM_RETURN_IF_ERROR(CheckSide("encoder", config.encoder, !config.speech.has_value()));
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckSide("decoder", config.decoder, /*embeds_tokens=*/true));
  if (config.speech.has_value()) LEAPSTREAM_RETURN_IF_ERROR(CheckSpeech(config));
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckTokenizer("source_tokenizer", config.source_tokenizer, /*source=*/true));
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckTokenizer("target_tokenizer", config.target_tokenizer, /*source=*/false));
  LEAPSTREAM_RETURN_IF_ERROR(CheckLanguages(config));
  if (config.encoder.input_dim != config.encoder.embed_dim ||
      config.encoder.output_dim != config.encoder.embed_dim) {
    return absl::InvalidArgumentError("encoder.input_dim and output_dim need to be embed_dim");
  }
  if (config.share_decoder_input_output_embed &&
      config.decoder.input_dim != config.decoder.output_dim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "share_decoder_input_output_embed needs decoder.output_dim ", config.decoder.output_dim,
        " to be the embedding's width ", config.decoder.input_dim));
  }
  if (config.ensemble > 1 && config.LearnedPolicy()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "networks that decide together need one policy, so that ensemble must be 1 with simul_type ",
        config.simul_type, ", got ", config.ensemble));
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckRange("alignment_layer", config.alignment_layer,
                                        Range{-1, config.decoder.layers - 1}));
  for (const int head : config.alignment_heads) {
    LEAPSTREAM_RETURN_IF_ERROR(
        CheckRange("alignment_heads", head, Range{0, config.decoder.attention_heads - 1}));
  }
  const bool complete = config.adaptive_thresholds.size() != 1;
  const bool probabilities = absl::c_all_of(
      config.adaptive_thresholds, [](float value) { return value > 0 && value <= 1; });
  if (!complete || !probabilities) {
    return absl::InvalidArgumentError(
        "adaptive_thresholds needs two probabilities, in (0, 1], or none; run leapstream calibrate");
  }
  if (config.energy_bias && !config.LearnedPolicy()) {
    return absl::InvalidArgumentError("energy_bias needs a simul_type that learns its policy");
  }
  if (config.share_all_embeddings &&
      (config.encoder.input_dim != config.decoder.input_dim ||
       config.encoder.vocabulary_size != config.decoder.vocabulary_size)) {
    return absl::InvalidArgumentError(
        "share_all_embeddings needs the same embed_dim and vocabulary_size on both sides");
  }
  return absl::OkStatus();
}

}  // namespace leapstream
