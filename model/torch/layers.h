#ifndef LEAPSTREAM_MODEL_TORCH_LAYERS_H_
#define LEAPSTREAM_MODEL_TORCH_LAYERS_H_

#include <string>

#include <ATen/core/Tensor.h>
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/model_directory.h"
#include "model/torch/kernels/packed_linear.h"
#include "model/torch/weights.h"

// The layers that have no state. All take and give rows: [R, width] float32, contiguous, one row
// per token of whatever session. Const and thread-safe. Rows do not see each other.
namespace leapstream {

at::Tensor Apply(const PackedLinear& linear, const at::Tensor& x);  // [R, in] -> [R, out]

struct LayerNorm {  // epsilon 1e-5, as fairseq's.
  LayerNorm() = default;
  LayerNorm(const Weights& weights, const std::string& name)
      : weight(weights.Get(name + ".weight")), bias(weights.Get(name + ".bias")) {}
  at::Tensor operator()(const at::Tensor& x) const;
  bool defined() const { return weight.defined(); }

  at::Tensor weight;  // [width]
  at::Tensor bias;    // [width]
};

enum class Activation { kRelu, kGelu, kGeluTanh, kTanh, kSwish, kLinear };
// fairseq's --activation-fn. UNIMPLEMENTED: another name.
absl::StatusOr<Activation> ParseActivation(absl::string_view activation_fn);

struct FeedForward {
  FeedForward(const Weights& weights, const std::string& name, Activation activation)
      : hidden(weights.Linear(name + ".hidden")),
        out(weights.Linear(name + ".out")),
        activation(activation) {}
  at::Tensor operator()(const at::Tensor& x) const;

  PackedLinear hidden;
  PackedLinear out;
  Activation activation;
};

// Token embedding plus position. fairseq's first position is row padding_idx + 1 = 2 of its table.
class Embedding {
 public:
  // prefix: "encoder" or "decoder"; `tokens`: the embedding's name, which may be the other side's.
  Embedding(const Weights& weights, const ModelConfig& config, const SideConfig& side,
            const std::string& prefix, const std::string& tokens);
  // Writes the row of `token` at `position` (from 0) to out [width].
  void Row(int token, int position, float* out) const;

 private:
  at::Tensor tokens_;   // [N, width]
  at::Tensor learned_;  // [P + 2, width], or undefined.
  PositionKind positions_;
  std::vector<float> frequencies_;  // Sinusoidal: exp(-i ln 10000 / (width / 2 - 1)).
  float scale_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_LAYERS_H_
