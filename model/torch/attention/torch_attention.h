#ifndef LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_ATTENTION_H_
#define LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_ATTENTION_H_

#include <cstdint>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>
#include "model/api/model_config.h"
#include "model/torch/attention/torch_features.h"
#include "model/torch/attention/torch_past.h"
#include "model/torch/torch_layers.h"

namespace leapstream {

// The sizes of a side's self-attention, and of cross-attention.
TorchShape ShapeOfSelf(const SideConfig& side, const ModelConfig& config);
TorchShape ShapeOfCross(const ModelConfig& config);

// The past of cross-attention.
std::unique_ptr<const TorchPast> MakeCrossPast(const TorchParameters& parameters,
                                               const ModelConfig& config,
                                               std::shared_ptr<TorchContext> context);

// The projections of an attention block, and the features of its kind: what comes before the past
// and behind it. Const and thread-safe.
class TorchAttention {
 public:
  // A block of self-attention, or of cross-attention. parameters: the block's.
  TorchAttention(const TorchParameters& parameters, const ModelConfig& config,
                 const SideConfig& side);
  static TorchAttention Cross(const TorchParameters& parameters, const ModelConfig& config);

  // x: [R, E]; positions: [R].
  TorchHeads HeadsOf(const at::Tensor& x, const at::Tensor& positions) const;
  // The keys and values of cross-attention. x: encoded rows, [R, E]; positions: [R].
  TorchHeads KeysAndValues(const at::Tensor& x, const at::Tensor& positions) const;
  at::Tensor Query(const at::Tensor& x, const at::Tensor& positions) const;
  // attended: [R, H, V].
  at::Tensor Output(const at::Tensor& attended) const;

 private:
  // query: see query_. names: of the tensors of `others_`, which the values are the last of.
  TorchAttention(const TorchParameters& parameters, const ModelConfig& config,
                 const TorchShape& shape, const std::string& kind, bool has_sums, TorchLinear query,
                 TorchLinear others);
  at::Tensor Values(const at::Tensor& all) const;  // [R, all outputs] -> [R, H, V]

  const TorchShape shape_;
  const at::ScalarType energy_type_;  // That of features and values.
  const int64_t value_width_;         // V, or V + 1: see TorchHeads.
  double query_scale_ = 1;            // What the features of queries are multiplied by.
  TorchLinear query_;                 // Undefined in self-attention,
  TorchLinear others_;                // where this has the queries, too; then keys and values.
  const TorchLinear output_;
  const TorchFeatures features_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_ATTENTION_H_
