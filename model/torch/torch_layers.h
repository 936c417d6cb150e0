#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_LAYERS_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_LAYERS_H_

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/layers.h"
#include "model/engine/weights.h"
#include "model/torch/torch_context.h"

// The layers that have no state, in LibTorch's operations. All take and return rows [R, width], one
// row per token, of any sessions. Const and thread-safe.
namespace leapstream {

// A layer's part of a model's tensors, on the device. The first engine's layers say which tensors
// there are, and of which shape.
class TorchParameters {
 public:
  // Takes all tensors of the model. Errors are those of Weights::Finish().
  TorchParameters(const ModelConfig& config, Weights& weights,
                  std::shared_ptr<const TorchContext> context);

  // The tensors whose names go on with `name` and a dot.
  TorchParameters Under(absl::string_view name) const;
  bool Has(absl::string_view name) const;
  at::Tensor Get(absl::string_view name) const;
  const TorchContext& context() const { return *context_; }
  const std::shared_ptr<const TorchContext>& shared_context() const { return context_; }

 private:
  std::shared_ptr<const std::map<std::string, at::Tensor>> tensors_;
  std::shared_ptr<const TorchContext> context_;
  std::string prefix_;
};

// A product, and a bias if there is one.
struct TorchLinear {
  TorchLinear() = default;
  // The tensors "weight" and, if there is one, "bias".
  explicit TorchLinear(const TorchParameters& parameters);
  // Several products of one input as one: their outputs lie one after the other.
  TorchLinear(const TorchParameters& parameters, std::initializer_list<absl::string_view> names);
  at::Tensor operator()(const at::Tensor& x) const;

  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out], or undefined.
};

struct TorchNorm {  // A layer norm. Its epsilon is 1e-5, as fairseq's.
  TorchNorm() = default;
  explicit TorchNorm(const TorchParameters& parameters);
  at::Tensor operator()(const at::Tensor& x) const;

  at::Tensor weight, bias;
};

class TorchFeedForward {
 public:
  TorchFeedForward(const TorchParameters& parameters, Activation activation)
      : hidden_(parameters.Under("hidden")),
        out_(parameters.Under("out")),
        activation_(activation) {}
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  const TorchLinear hidden_, out_;
  const Activation activation_;
};

// Returns x + f(norm(x)) (pre-norm) or norm(x + f(x)) (post-norm).
template <typename F>
at::Tensor TorchResidual(const TorchNorm& norm, bool normalize_before, const at::Tensor& x,
                         const F& f) {
  return normalize_before ? x + f(norm(x)) : norm(x + f(x));
}

// The input of a side's first layer: see Embedding.
class TorchEmbedding {
 public:
  // parameters: the whole model's. side_name: "encoder" or "decoder".
  TorchEmbedding(const TorchParameters& parameters, absl::string_view side_name,
                 const SideConfig& side, const ModelConfig& config);
  // positions: those of the tokens, from 0, on the device [R].
  at::Tensor operator()(absl::Span<const TokenId> tokens, const at::Tensor& positions) const;
  // Scales rows that stand for token embeddings of speech, and adds positions.
  at::Tensor OfRows(const at::Tensor& x, const at::Tensor& positions) const;

 private:
  struct Band {
    int64_t first;  // The first token of the band.
    at::Tensor words, project;
  };
  at::Tensor ReadBands(absl::Span<const TokenId> tokens) const;
  at::Tensor AddPositions(const at::Tensor& x, const at::Tensor& positions) const;

  std::shared_ptr<const TorchContext> context_;
  at::Tensor tokens_;        // [N, input_dim]; undefined for speech and adaptive input.
  std::vector<Band> bands_;  // Of adaptive input.
  at::Tensor project_in_;    // Undefined if there is none.
  at::Tensor learned_;       // [P + 2, E], or undefined.
  at::Tensor frequencies_;   // [E / 2], for sinusoidal positions; else undefined.
  double scale_ = 1;
  TorchNorm norm_;  // Undefined if there is none.
};

// The layers behind a decoder's last norm: a projection, if there is one, and the product or the
// adaptive soft-max that gives the scores of all tokens. See OutputLayer.
class TorchOutput {
 public:
  TorchOutput(const TorchParameters& parameters, const ModelConfig& config);
  // x: [R, E]. Returns logits, or log-probabilities if the layer is adaptive: [R, N] float32.
  at::Tensor operator()(const at::Tensor& x) const;
  int64_t vocabulary() const { return vocabulary_; }

 private:
  struct Tail {
    at::Tensor project, words;
  };
  const int64_t vocabulary_;
  at::Tensor project_out_;  // Undefined if there is none.
  TorchLinear words_;       // All tokens; or the first band's, and the classes behind them.
  std::vector<Tail> tails_;
  int64_t first_band_ = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_LAYERS_H_
