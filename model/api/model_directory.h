#ifndef LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_
#define LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace leapstream {

inline constexpr int kModelFormatVersion = 1;

// The files of a model directory, beside model.json.
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
  bool normalize_before = false;
  bool final_norm = false;  // A layer norm after the last layer.
  bool layernorm_embedding =
      false;  // Encoder only (FAIRSEQ quirk: the monotonic decoder skips it).
  PositionKind positions = PositionKind::kSinusoidal;
  int max_positions = 0;    // Tokens that a learned table has rows for; 0: no limit.
  int vocabulary_size = 0;  // Rows of the embedding.
};

struct ModelConfig {
  std::string name;  // "en-de"; what clients ask for.
  std::string source_language;
  std::string target_language;
  std::string architecture;  // fairseq's --arch, as found: "transformer_monotonic".
  SideConfig encoder;
  SideConfig decoder;
  std::string activation_fn = "relu";  // fairseq's name.
  bool scale_embedding = true;         // Embeddings times sqrt(embed_dim).
  int leap_factor = 4;  // The proportion nets are head_dim -> head_dim / leap_factor -> 1.
  std::string cross_normaliser = "linear";        // "linear" or "softmax" (reference quirk 10).
  bool share_all_embeddings = false;              // Then decoder.embedding is encoder.embedding.
  bool share_decoder_input_output_embed = false;  // Then decoder.output is decoder.embedding.
  int waitk_lagging = 0;                          // The k trained with.
  std::string compute_type = "float32";
  std::map<std::string, std::string> fairseq_options;  // As found; for people, never read back.
  std::map<std::string, std::string> sha256;           // File name to lower-case hex.
};

// A parameter of the network under the name it has in weights.safetensors.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
};

// Every tensor that a model of this configuration has, and no other. Names:
//   encoder.embedding [N, E]; encoder.positions [P + 2, E] (learned only);
//   encoder.embedding_norm.{weight,bias}; encoder.norm.{weight,bias};
//   encoder.layers.L.self_attention.{query,key,value,output}.{weight,bias};
//   encoder.layers.L.self_attention.{query,key}_proportion.{hidden,out}.{weight,bias};
//   encoder.layers.L.{self_attention_norm,ffn_norm}.{weight,bias};
//   encoder.layers.L.ffn.{hidden,out}.{weight,bias};
//   the same under decoder., and there cross_attention, cross_attention_norm (key and value take
//   the encoder's width) and decoder.output [N, E] without bias. All weights are [out, in].
std::vector<TensorSpec> ExpectedTensors(const ModelConfig& config);

// INVALID_ARGUMENT: sizes that cannot be (zero, negative, absurd, heads that do not divide the
// width, unknown names).
absl::Status ValidateModelConfig(const ModelConfig& config);

// Reads DIR/model.json. NOT_FOUND: no such file; INVALID_ARGUMENT: not JSON, another format
// version, a missing or wrong field; FAILED_PRECONDITION: a file's sha256 is not the one recorded.
absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory);
// Writes DIR/model.json; fills `sha256` from the files that lie there already.
absl::Status WriteModelJson(const std::string& directory, ModelConfig config);

// Lower-case hex of the file's SHA-256. NOT_FOUND: it cannot be read.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_DIRECTORY_H_
