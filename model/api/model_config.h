#ifndef LEAPSTREAM_MODEL_API_MODEL_CONFIG_H_
#define LEAPSTREAM_MODEL_API_MODEL_CONFIG_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "model/api/speech.h"

namespace leapstream {

enum class PositionKind { kNone, kSinusoidal, kLearned };

// One side of the network. The fields are named as fairseq's options, without encoder_ / decoder_.
struct SideConfig {
  int embed_dim = 0;
  int ffn_embed_dim = 0;
  int layers = 0;
  int attention_heads = 0;
  // Width of the token embedding. If it is not embed_dim, project_in follows the embedding.
  int input_dim = 0;
  // Decoder only: width of the output projection's input. If it is not embed_dim, project_out
  // precedes the output projection.
  int output_dim = 0;
  bool normalize_before = false;
  bool final_norm = false;           // A layer norm after the last layer.
  bool layernorm_embedding = false;  // False for the decoder of a simul_type: it has no such norm.
  PositionKind positions = PositionKind::kSinusoidal;
  int max_positions = 0;    // Tokens that a learned table has rows for; 0: there is no such table.
  int vocabulary_size = 0;  // Rows of the embedding; 0 in an encoder of speech.
  std::string self_attention = "softmax";  // A kind of attention: see engine/attention/kinds.cc.
  std::string cross_attention = "softmax";  // Decoder only.
  // The layers (from 1) that share their parameters and state, as fairseq-leapformer's
  // share_{en,de}coder_ffn_attn_layer asks.
  std::vector<int> shared_layers;

  // The layer (from 0) whose parameters and state layer `layer` (from 0) uses.
  int LayerOf(int layer) const;
};

// The layers of fairseq's s2t_conformer (Gulati et al. 2020), in the place of a transformer's.
struct ConformerConfig {
  int depthwise_kernel = 31;  // Odd: the states that each convolution sees.
  // "absolute": as a transformer, positions are added to the first layer's input. "relative": the
  // attention's energies have a part for the distance (Dai et al. 2019). "rotary": the input of the
  // queries' and keys' projections is rotated.
  std::string positions = "absolute";
};

// The front end of an encoder of speech: log mel filter banks, their normalisation (CMVN), and
// convolutions that make one row of several frames.
struct SpeechConfig {
  SpeechInput input;
  int mel_bins = 80;  // The number of filter banks.
  // "conv2d": two convolutions over time and filter banks, with ReLU, and a linear layer.
  // "conv1d": convolutions over time, each with a gated linear unit.
  std::string front_end = "conv2d";
  int conv_channels = 0;  // Of the first convolution; of conv1d, before its gate halves them.
  std::vector<int> conv_kernels;  // Of conv1d only: the kernel of each convolution, odd.
  // "global": by stored statistics. "utterance": by those of what has been heard of the segment.
  // "none": features stay as they are.
  std::string cmvn = "global";
  bool norm_means = true;  // Of utterance CMVN: whether the mean is subtracted, and
  bool norm_vars = true;   // whether the standard deviation divides.
  // With utterance CMVN: stored statistics stand for the frames that a segment has fewer than this.
  // 0: they never do.
  int cmvn_stored_frames = 0;
  std::vector<float> cmvn_mean;  // [mel_bins], or empty if nothing asks for stored statistics.
  std::vector<float> cmvn_std;   // The same, positive.
  std::optional<ConformerConfig> conformer;

  // Whether the normalisation needs cmvn_mean and cmvn_std.
  bool HasStoredStatistics() const {
    return cmvn == "global" || (cmvn == "utterance" && cmvn_stored_frames > 0);
  }
};

// One of the bands of words, by frequency, of adaptive input or of an adaptive soft-max.
struct BandConfig {
  int words = 0;  // The tokens that it has: the bands divide the dictionary in order.
  int width = 0;  // Of its vectors.

  bool operator==(const BandConfig& other) const {
    return words == other.words && width == other.width;
  }
  bool operator!=(const BandConfig& other) const { return !(*this == other); }
};

// The parts that a decoder without an encoder may have beside its layers: those of fairseq's
// transformer_lm. See model/engine/adaptive.h.
struct LanguageModelConfig {
  std::vector<BandConfig> adaptive_input;    // Empty: one table of embeddings.
  std::vector<BandConfig> adaptive_softmax;  // Empty: one matrix. The first band's width is that of
                                             // the layer's input.
  bool tie_adaptive_weights = false;         // The two have the same tables of words.
  bool tie_adaptive_proj = false;            // And the same projections, but for the first band's.
};

// How one side's text becomes symbols and back. The fields are named as fairseq's options.
struct TokenizerConfig {
  // fairseq's --bpe: "sentencepiece", "subword_nmt", "fastbpe", "characters", "bytes" or "none".
  std::string bpe = "sentencepiece";
  std::string tokenizer = "none";  // fairseq's --tokenizer: "none", "space" or "moses".
  std::string moses_language;      // The language of the Moses rules, such as "de".
  bool moses_no_dash_splits = false;
  bool moses_no_escape = false;
  bool lowercase = false;  // Source only: the text is lower-cased after the tokenizer.
  // Target only: transformers' clean_up_tokenization_spaces, see model/api/target_filter.h.
  bool clean_up = false;
  // Source only: "none", or "fsmt", which is NormalizePunctuation() in the language of Moses' rules.
  std::string normalize = "none";
  // subword-nmt's --vocabulary-threshold: a symbol of a lower count in the vocabulary's file is
  // undone. 0: there is no vocabulary.
  int bpe_vocabulary_threshold = 0;

  bool operator==(const TokenizerConfig& other) const;
  bool operator!=(const TokenizerConfig& other) const { return !(*this == other); }
};

// The tokens that surround a segment's words. An entry is a symbol of the side's dictionary, or
// "{source}" or "{target}": the token of the session's source or target language.
struct FrameConfig {
  std::vector<std::string> source_lead;              // Read before the first READ; no READs.
  std::vector<std::string> source_tail = {"</s>"};   // The last READ reads these together.
  std::string start = "</s>";                        // The token that the first step feeds.
  std::vector<std::string> forced;                   // Written before the first WRITE; no WRITEs.
  std::string end = "</s>";                          // The token that ends the translation.

  bool operator==(const FrameConfig& other) const;
  bool operator!=(const FrameConfig& other) const { return !(*this == other); }
};

// A language of a model that translates many pairs.
struct LanguageConfig {
  std::string code;          // The model's own code, such as "deu_Latn", "de_DE" or "de".
  std::string source_token;  // The symbol for "{source}". Empty: it is no source language.
  std::string target_token;  // The symbol for "{target}". Empty: it is no target language.

  bool operator==(const LanguageConfig& other) const;
};

struct ModelConfig {
  std::string name;  // The name that clients ask for, such as "en-de".
  std::string source_language;
  std::string target_language;
  // fairseq's --arch, as the checkpoint has it, such as "transformer_monotonic".
  std::string architecture;
  TokenizerConfig source_tokenizer;
  TokenizerConfig target_tokenizer;
  FrameConfig frame;
  // Empty: the model translates from source_language to target_language alone. Otherwise from each
  // to each, and source_language and target_language are the pair of a session that asks for none;
  // they may be empty.
  std::vector<LanguageConfig> languages;
  // Symbols of the target dictionary that give no text.
  std::vector<std::string> hidden_symbols;
  std::string license;  // The licence of the weights, as far as their files say it.
  std::string origin;   // The place that the weights came from, as far as their files say it.
  // The encoder sees no token after its own. True for transformer_monotonic* and
  // transformer_unidirectional*, unless LeaP's encoder lost its mask to linearized_train.
  bool causal_encoder = true;
  // fairseq's --simul-type: "waitk", "hard_aligned", "infinite_lookback" or "chunkwise". "none":
  // the model was trained offline.
  std::string simul_type = "none";
  // Set if the source is audio: then there is no source embedding and no source vocabulary.
  std::optional<SpeechConfig> speech;
  // Set if the network is a decoder alone, which goes on with a text. Then `encoder` means nothing,
  // both sides have the decoder's dictionary, and there are no languages.
  std::optional<LanguageModelConfig> language_model;
  SideConfig encoder;
  SideConfig decoder;
  std::string activation_fn = "relu";  // fairseq's name.
  bool scale_embedding = true;         // Embeddings are multiplied by sqrt(embed_dim).
  int leap_factor = 4;  // The proportion nets are head_dim -> head_dim / leap_factor -> 1.
  int cosformer_max_length = 8192;  // cosFormer's M: the positions over which its weights fade.
  std::string cross_normaliser = "linear";  // "linear" or "softmax"; docs/fairseq.md, rule 10.
  bool mass_preservation = true;      // The policy never moves past the last token that was read.
  // The networks that decide together, each with weights of its own: see WeightsFileName().
  int ensemble = 1;
  // The decoder's layer (from 0) and the heads (from 0) whose cross-attention tells where a step
  // looks: see SessionState::ShowAttention(). -1: the last layer but one; none: all heads.
  int alignment_layer = -1;
  std::vector<int> alignment_heads;
  // The numbers that leapstream-calibrate has found, for sessions that do not say their own. 0 and
  // none: it has not run.
  int alignment_frames = 0;                // AlignAtt::frames.
  std::vector<float> adaptive_thresholds;  // AdaptiveWaitK::min_k_threshold, max_k_threshold.
  bool output_bias = false;           // The logits have a bias [N].
  bool energy_bias = false;           // The energies of a learned policy have a bias.
  bool share_all_embeddings = false;  // If so, decoder.embedding is encoder.embedding.
  bool share_decoder_input_output_embed = false;  // If so, decoder.output is decoder.embedding.
  int waitk_lagging = 0;                          // The k that it was trained with; 0: none.
  // fairseq's limits; 0: the checkpoint has none. They bind bidirectional encoders only: the other
  // sides are limited by learned position tables alone.
  int max_source_positions = 0;
  int max_target_positions = 0;
  std::string compute_type = "float32";
  std::string state_type = "float32";  // Of the sums of linear attention: see SimdKernels.
  // fairseq's options as the checkpoint has them. For people: no program reads them back.
  std::map<std::string, std::string> fairseq_options;
  std::map<std::string, std::string> sha256;           // File name to lower-case hex.

  // The size of the dictionary of what the model reads; 0 for speech.
  int SourceVocabularySize() const {
    return language_model.has_value() ? decoder.vocabulary_size : encoder.vocabulary_size;
  }
  // Whether the model itself decides when to READ, by monotonic multihead attention.
  bool LearnedPolicy() const { return simul_type != "none" && simul_type != "waitk"; }
  // The layer that alignment_layer means.
  int AlignmentLayer() const;
  // Whether the network tells where a step looks: its cross-attention is soft-max.
  bool ShowsAttention() const {
    return !LearnedPolicy() && !language_model.has_value() &&
           (decoder.cross_attention == "softmax" || cross_normaliser == "softmax");
  }
  // Whether cross-attention has a second pair of projections, for the soft energies.
  bool SoftLookback() const {
    return simul_type == "infinite_lookback" || simul_type == "chunkwise";
  }
};

// Checks that the fields are in their ranges and fit each other. The engine's ValidateModelConfig()
// also checks the kinds of attention. INVALID_ARGUMENT: sizes that cannot be (zero, negative,
// absurd, heads that do not divide the width), or unknown names.
absl::Status CheckModelFields(const ModelConfig& config);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_CONFIG_H_
