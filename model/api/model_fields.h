#ifndef LEAPSTREAM_MODEL_API_MODEL_FIELDS_H_
#define LEAPSTREAM_MODEL_API_MODEL_FIELDS_H_

#include <cstdint>
#include <initializer_list>
#include <type_traits>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/api/model_config.h"

// The fields of model.json, each listed once: its name, the member that it fills, and the values
// that it may have. Reading, writing, comparing and checking are visitors of these lists. A visitor
// has these calls:
//   v(name, value, check...)              a field that every model.json has;
//   v.Later(name, value, first, check...) a field that older files lack: they mean the value
//                                         `first`, and a field of this value is not written;
//   v.Optional(name, value)               an object that only some models have.
// A new field is visited with Later(), so that users' model directories always load.
namespace leapstream {

// The range of a number, or of the length of a text or a list.
struct Range {
  int64_t low;
  int64_t high;
};
struct OneOf {
  std::initializer_list<absl::string_view> names;
};

// The names of an enum's values, in the enum's order.
template <typename E>
struct EnumNames;
template <>
struct EnumNames<PositionKind> {
  static constexpr const char* kNames[] = {"none", "sinusoidal", "learned"};
};
template <>
struct EnumNames<PreDecision> {
  static constexpr const char* kNames[] = {"average", "last"};
};

// Fields<C>::Visit(c, v) visits all fields of a C, const or not. The bounds are far above any real
// model's sizes, and keep every product of sizes within int64_t.
template <typename Config>
struct Fields : std::false_type {};

template <>
struct Fields<SideConfig> : std::true_type {
  template <typename Side, typename Visitor>
  static void Visit(Side& side, Visitor& v) {
    v("embed_dim", side.embed_dim, Range{1, 1 << 15});
    v("ffn_embed_dim", side.ffn_embed_dim, Range{1, 1 << 18});
    v("layers", side.layers, Range{1, 256});
    v("attention_heads", side.attention_heads, Range{1, 1024});
    v("input_dim", side.input_dim, Range{1, 1 << 15});
    v("output_dim", side.output_dim, Range{1, 1 << 15});
    v("normalize_before", side.normalize_before);
    v("final_norm", side.final_norm);
    v("layernorm_embedding", side.layernorm_embedding);
    v("positions", side.positions);
    v("max_positions", side.max_positions, Range{0, 1 << 24});
    v("vocabulary_size", side.vocabulary_size, Range{0, 1 << 24});
    v("self_attention", side.self_attention);
    v("cross_attention", side.cross_attention);
    v("shared_layers", side.shared_layers);
  }
};

template <>
struct Fields<ConformerConfig> : std::true_type {
  template <typename Conformer, typename Visitor>
  static void Visit(Conformer& conformer, Visitor& v) {
    v("depthwise_kernel", conformer.depthwise_kernel, Range{1, 1023});
    v("positions", conformer.positions, OneOf{{"absolute", "relative", "rotary"}});
  }
};

template <>
struct Fields<SpeechConfig> : std::true_type {
  template <typename Speech, typename Visitor>
  static void Visit(Speech& speech, Visitor& v) {
    // A frame may be no longer than the Fourier transform of the filter banks, 512 samples.
    v.Later("frame_samples", speech.input.frame_samples, SpeechInput().frame_samples,
            Range{2, 512});
    v.Later("frame_shift_samples", speech.input.frame_shift_samples,
            SpeechInput().frame_shift_samples, Range{1, 512});
    v.Later("mel_bins", speech.mel_bins, SpeechConfig().mel_bins, Range{4, 128});
    v.Later("frames_per_state", speech.input.frames_per_state, SpeechInput().frames_per_state,
            Range{1, 64});
    v.Later("front_end", speech.front_end, SpeechConfig().front_end, OneOf{{"conv2d", "conv1d"}});
    v.Later("conv_kernels", speech.conv_kernels, SpeechConfig().conv_kernels, Range{0, 6});
    v.Later("cmvn", speech.cmvn, SpeechConfig().cmvn, OneOf{{"global", "utterance", "none"}});
    v.Later("norm_means", speech.norm_means, true);
    v.Later("norm_vars", speech.norm_vars, true);
    v.Later("cmvn_stored_frames", speech.cmvn_stored_frames, 0, Range{0, 1 << 16});
    v.Optional("conformer", speech.conformer);
    v("pre_decision_ratio", speech.input.pre_decision_ratio, Range{1, 1000});
    v("pre_decision_type", speech.input.pre_decision_type);
    v("conv_channels", speech.conv_channels, Range{1, 1 << 13});
    const int stored = speech.HasStoredStatistics() ? speech.mel_bins : 0;
    v("cmvn_mean", speech.cmvn_mean, Range{stored, stored});
    v("cmvn_std", speech.cmvn_std, Range{stored, stored});
  }
};

template <>
struct Fields<BandConfig> : std::true_type {
  template <typename Band, typename Visitor>
  static void Visit(Band& band, Visitor& v) {
    v("words", band.words, Range{1, 1 << 24});
    v("width", band.width, Range{1, 1 << 15});
  }
};

template <>
struct Fields<LanguageModelConfig> : std::true_type {
  template <typename LanguageModel, typename Visitor>
  static void Visit(LanguageModel& model, Visitor& v) {
    const std::vector<BandConfig> none;
    v.Later("adaptive_input", model.adaptive_input, none, Range{0, 64});
    v.Later("adaptive_softmax", model.adaptive_softmax, none, Range{0, 64});
    v.Later("tie_adaptive_weights", model.tie_adaptive_weights, false);
    v.Later("tie_adaptive_proj", model.tie_adaptive_proj, false);
  }
};

template <>
struct Fields<TokenizerConfig> : std::true_type {
  template <typename Tokenizer, typename Visitor>
  static void Visit(Tokenizer& tokenizer, Visitor& v) {
    v("bpe", tokenizer.bpe,
      OneOf{{"sentencepiece", "subword_nmt", "fastbpe", "characters", "bytes", "none"}});
    v("tokenizer", tokenizer.tokenizer, OneOf{{"none", "space", "moses"}});
    v.Later("moses_language", tokenizer.moses_language, TokenizerConfig().moses_language,
            Range{0, 64});
    v.Later("moses_no_dash_splits", tokenizer.moses_no_dash_splits, false);
    v.Later("moses_no_escape", tokenizer.moses_no_escape, false);
    v.Later("lowercase", tokenizer.lowercase, false);
    v.Later("clean_up", tokenizer.clean_up, false);
    v.Later("normalize", tokenizer.normalize, TokenizerConfig().normalize,
            OneOf{{"none", "fsmt"}});
    v.Later("bpe_vocabulary_threshold", tokenizer.bpe_vocabulary_threshold, 0,
            Range{0, 1'000'000'000});
  }
};

template <>
struct Fields<FrameConfig> : std::true_type {
  template <typename Frame, typename Visitor>
  static void Visit(Frame& frame, Visitor& v) {
    v("source_lead", frame.source_lead, Range{0, 16});
    v("source_tail", frame.source_tail, Range{1, 16});
    v("start", frame.start, Range{1, 256});
    v("forced", frame.forced, Range{0, 16});
    v("end", frame.end, Range{1, 256});
  }
};

template <>
struct Fields<LanguageConfig> : std::true_type {
  template <typename Language, typename Visitor>
  static void Visit(Language& language, Visitor& v) {
    v("code", language.code, Range{1, 64});
    v.Later("source_token", language.source_token, LanguageConfig().source_token, Range{0, 256});
    v.Later("target_token", language.target_token, LanguageConfig().target_token, Range{0, 256});
  }
};

template <>
struct Fields<ModelConfig> : std::true_type {
  // The fields of the network and of its training: all but names and files.
  template <typename Model, typename Visitor>
  static void VisitNetwork(Model& model, Visitor& v) {
    v("architecture", model.architecture);
    v("causal_encoder", model.causal_encoder);
    v("simul_type", model.simul_type,
      OneOf{{"none", "waitk", "hard_aligned", "infinite_lookback", "chunkwise"}});
    v.Optional("speech", model.speech);
    v.Optional("language_model", model.language_model);
    if (!model.language_model.has_value()) v("encoder", model.encoder);
    v("decoder", model.decoder);
    v("activation_fn", model.activation_fn,
      OneOf{{"relu", "gelu", "gelu_accurate", "gelu_fast", "tanh", "linear", "swish"}});
    v("scale_embedding", model.scale_embedding);
    v("leap_factor", model.leap_factor, Range{1, 1 << 15});
    v.Later("cosformer_max_length", model.cosformer_max_length, ModelConfig().cosformer_max_length,
            Range{1, 1 << 24});
    v("cross_normaliser", model.cross_normaliser, OneOf{{"linear", "softmax"}});
    v("mass_preservation", model.mass_preservation);
    v.Later("output_bias", model.output_bias, false);
    v("energy_bias", model.energy_bias);
    v("share_all_embeddings", model.share_all_embeddings);
    v("share_decoder_input_output_embed", model.share_decoder_input_output_embed);
    v("waitk_lagging", model.waitk_lagging, Range{0, 1'000'000});
    v("max_source_positions", model.max_source_positions, Range{0, 1 << 24});
    v("max_target_positions", model.max_target_positions, Range{0, 1 << 24});
  }
  template <typename Model, typename Visitor>
  static void Visit(Model& model, Visitor& v) {
    v("name", model.name, Range{1, 256});
    v("source_language", model.source_language, Range{0, 64});
    v("target_language", model.target_language, Range{0, 64});
    v.Later("source_tokenizer", model.source_tokenizer, TokenizerConfig());
    v.Later("target_tokenizer", model.target_tokenizer, TokenizerConfig());
    v.Later("frame", model.frame, FrameConfig());
    v.Later("languages", model.languages, ModelConfig().languages, Range{0, 4096});
    v.Later("hidden_symbols", model.hidden_symbols, ModelConfig().hidden_symbols, Range{0, 4096});
    v.Later("license", model.license, ModelConfig().license, Range{0, 4096});
    v.Later("origin", model.origin, ModelConfig().origin, Range{0, 4096});
    v.Later("alignment_layer", model.alignment_layer, -1, Range{-1, 255});
    v.Later("alignment_heads", model.alignment_heads, ModelConfig().alignment_heads,
            Range{0, 1024});
    v.Later("alignment_frames", model.alignment_frames, 0, Range{0, 1000});
    v.Later("adaptive_thresholds", model.adaptive_thresholds, ModelConfig().adaptive_thresholds,
            Range{0, 2});
    v.Later("ensemble", model.ensemble, 1, Range{1, 8});
    VisitNetwork(model, v);
    v("compute_type", model.compute_type, OneOf{{"float32", "bfloat16", "int8"}});
    v.Later("state_type", model.state_type, ModelConfig().state_type,
            OneOf{{"float32", "float16"}});
    v("fairseq_options", model.fairseq_options);
    v("sha256", model.sha256);
  }
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_FIELDS_H_
