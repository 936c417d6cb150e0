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

// One side of the network. Names are fairseq's options without encoder_ / decoder_.
struct SideConfig {
  int embed_dim = 0;
  int ffn_embed_dim = 0;
  int layers = 0;
  int attention_heads = 0;
  int input_dim = 0;   // Width of the token embedding; if not embed_dim, project_in follows it.
  int output_dim = 0;  // Decoder: what the output projection takes; if not embed_dim, project_out.
  bool normalize_before = false;
  bool final_norm = false;           // A layer norm after the last layer.
  bool layernorm_embedding = false;  // The decoder of a simul_type never applies its own.
  PositionKind positions = PositionKind::kSinusoidal;
  int max_positions = 0;                   // Tokens that a learned table has rows for; 0: no limit.
  int vocabulary_size = 0;                 // Rows of the embedding; 0 in an encoder of speech.
  std::string self_attention = "softmax";  // A kind of attention: see engine/attention/kinds.cc.
  std::string cross_attention = "softmax";  // Decoder only.
  // Layers (from 1) that are one and the same: fairseq-leapformer's
  // share_{en,de}coder_ffn_attn_layer.
  std::vector<int> shared_layers;

  // The layer (from 0) whose parameters and state layer `layer` (from 0) uses.
  int LayerOf(int layer) const;
};

// The front end of an encoder of speech: log mel filter banks, global CMVN and two convolutions.
struct SpeechConfig {
  SpeechInput input;
  int mel_bins = 80;  // Filter banks.
  int conv_channels = 0;
  std::vector<float> cmvn_mean;  // [mel_bins]
  std::vector<float> cmvn_std;   // [mel_bins], positive.
};

struct ModelConfig {
  std::string name;  // "en-de"; what clients ask for.
  std::string source_language;
  std::string target_language;
  std::string architecture;  // fairseq's --arch, as found: "transformer_monotonic".
  // transformer_monotonic*, transformer_unidirectional*, unless LeaP's encoder lost its mask to
  // linearized_train.
  bool causal_encoder = true;
  // fairseq's --simul-type: "waitk", "hard_aligned", "infinite_lookback", "chunkwise"; "none": the
  // decoder of a model that was trained offline.
  std::string simul_type = "none";
  std::optional<SpeechConfig> speech;  // The source is audio: no source embedding and vocabulary.
  SideConfig encoder;
  SideConfig decoder;
  std::string activation_fn = "relu";  // fairseq's name.
  bool scale_embedding = true;         // Embeddings times sqrt(embed_dim).
  int leap_factor = 4;  // The proportion nets are head_dim -> head_dim / leap_factor -> 1.
  int cosformer_max_length = 8192;  // cosFormer's M: the positions over which its weights fade.
  std::string cross_normaliser = "linear";  // "linear" or "softmax"; docs/fairseq.md, rule 10.
  bool mass_preservation = true;            // Learned policies stay on the last source token.
  bool energy_bias = false;                 // Learned policies.
  bool share_all_embeddings = false;        // Then decoder.embedding is encoder.embedding.
  bool share_decoder_input_output_embed = false;  // Then decoder.output is decoder.embedding.
  int waitk_lagging = 0;                          // The k trained with; 0: none.
  // fairseq's limits, 0 if not found; a bidirectional encoder keeps to its own, other sides only to
  // learned tables.
  int max_source_positions = 0;
  int max_target_positions = 0;
  std::string compute_type = "float32";
  std::map<std::string, std::string> fairseq_options;  // As found; for people, never read back.
  std::map<std::string, std::string> sha256;           // File name to lower-case hex.

  // The model decides itself when to READ: a monotonic multihead attention.
  bool LearnedPolicy() const { return simul_type != "none" && simul_type != "waitk"; }
  // Its cross-attention has a second pair of projections, for the soft energies.
  bool SoftLookback() const {
    return simul_type == "infinite_lookback" || simul_type == "chunkwise";
  }
};

// Whether the fields are in their ranges and go together; what kinds of attention there are is the
// engine's to know, see ValidateModelConfig() there. INVALID_ARGUMENT: sizes that cannot be (zero,
// negative, absurd, heads that do not divide the width), unknown names.
absl::Status CheckModelFields(const ModelConfig& config);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_CONFIG_H_
