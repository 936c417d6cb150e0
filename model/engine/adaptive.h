#ifndef LEAPSTREAM_MODEL_ENGINE_ADAPTIVE_H_
#define LEAPSTREAM_MODEL_ENGINE_ADAPTIVE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/row_table.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/parameters.h"

// Layers for large dictionaries that are sorted by frequency: rare words have narrower vectors.
// They are const and thread-safe, and rows do not see each other.
namespace leapstream {

// Adaptive input (Baevski and Auli 2019): E(id) = P_b e_b[id - first_b], with b the band of the id.
// The projection of the first band is there, too.
class AdaptiveInput {
 public:
  AdaptiveInput() = default;
  // parameters: the side's. width: that of the embeddings.
  AdaptiveInput(const Parameters& parameters, absl::Span<const BandConfig> bands, int64_t width);
  bool defined() const { return !bands_.empty(); }
  // Writes the embeddings of R tokens to out [R, width].
  void Apply(absl::Span<const TokenId> tokens, float* out, Workspace& scratch) const;

 private:
  struct Band {
    int64_t first = 0;  // The first token of the band.
    RowTable words;
    PackedLinear project;
  };
  std::vector<Band> bands_;
  int64_t width_ = 0;
};

// The layer that turns a decoder's rows into the scores of all tokens: a product, or an adaptive
// soft-max (Grave et al. 2017), whose first band also has an entry for each of the others. There
//   ln p(id) = h[id] in the first band, h[class of b] + ln softmax(W_b P_b x)[id - first_b] else,
// with h = ln softmax([W_0 x; C x]). Neither has a bias.
class OutputLayer {
 public:
  // parameters: the decoder's. `config`: that of a language model.
  OutputLayer(const Parameters& parameters, const ModelConfig& config);
  int64_t vocabulary() const { return vocabulary_; }
  // x: [R, output_dim]. Writes logits, or log-probabilities if the layer is adaptive, to out [R, N].
  void Apply(const float* x, int64_t rows, float* out, Workspace& scratch) const;

 private:
  struct Tail {
    PackedLinear project;
    PackedLinear words;
    int64_t first;  // Its first token.
    int64_t size;
  };
  // Computes h, head [R, first band + tails], and puts the first band's part of it into `out`.
  void ApplyHead(const float* x, int64_t rows, float* head, float* out, Workspace& scratch) const;

  const int64_t vocabulary_;  // N
  PackedLinear words_;    // All tokens; or the first band's, and the classes if these are not apart.
  PackedLinear classes_;  // Has no outputs if it is not apart.
  std::vector<Tail> tails_;
  int64_t first_band_ = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ADAPTIVE_H_
