#ifndef LEAPSTREAM_MODEL_ENGINE_LAYERS_H_
#define LEAPSTREAM_MODEL_ENGINE_LAYERS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/adaptive.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/parameters.h"

// The layers that have no state. All take and return rows: [R, width] float32, contiguous, one row
// per token, of any sessions. Const and thread-safe. Rows do not see each other. Only the workspace
// allocates memory.
namespace leapstream {

class LayerNorm {  // Its epsilon is 1e-5, as fairseq's.
 public:
  LayerNorm() = default;
  LayerNorm(const Parameters& parameters, int64_t width)
      : weight_(parameters.Values("weight", {width})), bias_(parameters.Values("bias", {width})) {}
  // y may be x.
  void Apply(const float* x, int64_t rows, float* y) const;
  bool defined() const { return !weight_.empty(); }

 private:
  std::vector<float> weight_;  // [width]
  std::vector<float> bias_;    // [width]
};

enum class Activation { kRelu, kGelu, kGeluTanh, kTanh, kSwish, kLinear };
// fairseq's --activation-fn. UNIMPLEMENTED: another name.
absl::StatusOr<Activation> ParseActivation(absl::string_view activation_fn);

// y[i] = x[i] times the sigmoid of gate[i]: gated linear units, and swish if gate is x. y may be x.
void MultiplyBySigmoid(const float* x, const float* gate, int64_t count, float* y);

// The frequencies of sinusoidal positions: exp(-i ln 10000 / (width / 2 - 1)), rounded as in
// fairseq/modules/sinusoidal_positional_embedding.py.
std::vector<float> SinusoidalFrequencies(int64_t width);

// A side's token embeddings [N, input_dim]. parameters: the side's.
inline RowTable EmbeddingTable(const Parameters& parameters, const SideConfig& side) {
  return parameters.Table("embedding", {side.vocabulary_size, side.input_dim});
}

class FeedForward {
 public:
  FeedForward(const Parameters& parameters, const SideConfig& side, Activation activation)
      : hidden_(parameters.Under("hidden").Linear({side.ffn_embed_dim, side.embed_dim})),
        out_(parameters.Under("out").Linear({side.embed_dim, side.ffn_embed_dim})),
        activation_(activation) {}
  // Adds the result to y.
  void Apply(const float* x, int64_t rows, float* y, Workspace& scratch) const;

 private:
  PackedLinear hidden_;
  PackedLinear out_;
  Activation activation_;
};

// The input of a side's first layer: the token embedding, projected to the side's width if it has
// another width, plus the position's, and normalised if the side asks for it. As in fairseq, the
// first position is row padding_idx + 1 = 2 of the table.
class Embedding {
 public:
  // tokens: the embedding table [N, input_dim], which may be the other side's; empty for an encoder
  // of speech, and if the input is adaptive. parameters: the side's.
  Embedding(RowTable tokens, const Parameters& parameters, const SideConfig& side,
            const ModelConfig& config);
  // Embeds R tokens at R positions (from 0). out: [R, E].
  void Apply(absl::Span<const TokenId> tokens, absl::Span<const int> positions, float* out,
             Workspace& scratch) const;
  // Scales rows x [R, E], which stand for token embeddings of speech, and adds positions, in place.
  void ApplyToRows(absl::Span<const int> positions, float* x, Workspace& scratch) const;

 private:
  // learned: scratch memory [width] for a row of the learned table, or null if there is none.
  void AddPosition(int position, float* learned, float* out) const;

  // Adds the sines and cosines of a row of fairseq's table.
  void AddSinusoids(int64_t row, float* out) const;

  static constexpr int64_t kSinusoidalRows = 256;
  // Writes the tokens' vectors [R, input_dim], scaled.
  void ReadTokens(absl::Span<const TokenId> tokens, float* out, Workspace& scratch) const;

  RowTable tokens_;       // [N, input_dim]; empty for speech and adaptive input.
  AdaptiveInput adaptive_;  // Undefined if there is none.
  PackedLinear project_;  // The projection to the side's width; without inputs if there is none.
  RowTable learned_;      // [P + 2, width], or empty.
  PositionKind positions_;
  std::vector<float> sinusoidal_;   // [kSinusoidalRows, width], or empty.
  std::vector<float> frequencies_;  // SinusoidalFrequencies().
  float scale_;
  int64_t width_;
  LayerNorm norm_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_LAYERS_H_
