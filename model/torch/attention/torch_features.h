#ifndef LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_FEATURES_H_
#define LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_FEATURES_H_

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>
#include "absl/strings/string_view.h"
#include "model/api/model_config.h"
#include "model/torch/torch_layers.h"

namespace leapstream {

// FeatureMap in LibTorch's operations: turns projected queries and keys into vectors whose inner
// product is the attention energy. Const and thread-safe.
struct TorchFeatures {
  // x: [n, R, H, d], of n nets; positions: those of the rows, from 0: [R]. Returns [n, R, H, F].
  using Map = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& positions)>;
  Map queries, keys;  // n = 1.
  Map both;           // n = 2: queries, then keys.
};

// F of a kind of attention.
int64_t TorchFeatureWidth(absl::string_view kind, int64_t d);
// The number by which energies of a kind are still to be multiplied.
double TorchEnergyScale(absl::string_view kind, int64_t d);
// The features of a kind of attention. parameters: the attention block's. Throws c10::Error if
// there is no such kind here.
TorchFeatures MakeTorchFeatures(absl::string_view kind, const TorchParameters& parameters,
                                const ModelConfig& config, int64_t d);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_FEATURES_H_
