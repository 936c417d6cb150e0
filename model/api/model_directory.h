#ifndef LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_
#define LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/api/file_bytes.h"
#include "model/api/speech.h"

namespace leapstream {

inline constexpr int kModelFormatVersion = 1;

// The files of a model directory, beside model.json.
inline constexpr char kModelJson[] = "model.json";
inline constexpr char kWeightsFile[] = "weights.safetensors";
inline constexpr char kSourceDictionaryFile[] = "source.dict.txt";
inline constexpr char kTargetDictionaryFile[] = "target.dict.txt";
inline constexpr char kSourceSentencePieceFile[] = "source.spm.model";
inline constexpr char kTargetSentencePieceFile[] = "target.spm.model";

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
  std::string self_attention = "softmax";  // An attention kind: "softmax" or "leap".
  std::string cross_attention = "softmax";  // Decoder only.
  // Layers (from 1) that are one and the same: fairseq-leapformer's
  // share_{en,de}coder_ffn_attn_layer.
  std::vector<int> shared_layers;

  // The layer (from 0) whose parameters and state layer `layer` (from 0) uses.
  int LayerOf(int layer) const;
};

// What is before the first layer of an encoder of speech: log mel filter banks, global CMVN and two
// convolutions.
struct SpeechConfig {
  SpeechInput input;
  int conv_channels = 0;
  std::vector<float> cmvn_mean;  // [kMelBins]
  std::vector<float> cmvn_std;   // [kMelBins], positive.
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
  std::string cross_normaliser = "linear";  // Of LeaP: "linear" or "softmax" (reference quirk 10).
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

// A parameter of the network under the name it has in weights.safetensors.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};

// Every tensor that a model of this configuration has, and no other. Names:
//   encoder.embedding [N, input_dim] (text), encoder.conv.{0,1}.{weight,bias}, [C, 1 and C, 3, 3],
//   and encoder.conv.out.{weight,bias} [E, 20 C], channel-major (speech); encoder.positions [P + 2,
//   E] (learned only); encoder.embedding_norm.{weight,bias}; encoder.norm.{weight,bias};
//   encoder.layers.L.self_attention.{query,key,value,output}.{weight,bias};
//   encoder.layers.L.self_attention.{query,key}_proportion.{hidden,out}.{weight,bias} (leap only);
//   encoder.layers.L.{self_attention_norm,ffn_norm}.{weight,bias};
//   encoder.layers.L.ffn.{hidden,out}.{weight,bias};
//   the same under decoder., and there cross_attention, cross_attention_norm (key and value take
//   the encoder's width; with SoftLookback() also {query,key}_soft.{weight,bias}; with energy_bias
//   also energy_bias [1]), decoder.project_in [E, input_dim], decoder.project_out [output_dim, E]
//   and decoder.output [N, output_dim], none with a bias. All weights are [out, in]. Of layers that
//   are shared, only the first has tensors.
std::vector<TensorSpec> ExpectedTensors(const ModelConfig& config);

// INVALID_ARGUMENT: sizes that cannot be (zero, negative, absurd, heads that do not divide the
// width, unknown names).
absl::Status ValidateModelConfig(const ModelConfig& config);

// INVALID_ARGUMENT, naming the first field: the two are not the same network, trained for the same.
absl::Status CheckSameNetwork(const ModelConfig& first, const ModelConfig& other);

// Reads DIR/model.json. NOT_FOUND: no such file; INVALID_ARGUMENT: not JSON, another format
// version, a missing or wrong field; FAILED_PRECONDITION: a file's sha256 is not the one recorded.
absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory);
// The same, and gives what it read: model.json and the files that it records, each as it was when
// its SHA-256 was taken.
absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory, ModelFiles* files);
// Writes DIR/model.json; fills `sha256` from the files that lie there already.
absl::Status WriteModelJson(const std::string& directory, ModelConfig config);

// Lower-case hex of the file's SHA-256. NOT_FOUND: it cannot be read.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);
std::string Sha256OfBytes(absl::string_view bytes);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_
