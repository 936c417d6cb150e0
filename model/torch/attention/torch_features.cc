#include "model/torch/attention/torch_features.h"

#include <cmath>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

namespace leapstream {
namespace {

at::Tensor Turned(const at::Tensor& x, const at::Tensor& angle) {
  return at::cat({x * angle.sin(), x * angle.cos()}, -1);
}

// See LeapFeatures.
TorchFeatures MakeTorchLeap(const TorchParameters& parameters, int64_t d) {
  const auto map = [&](const char* name, double scale) {
    const TorchLinear hidden(parameters.Under(name).Under("hidden"));
    const TorchLinear out(parameters.Under(name).Under("out"));
    return [=](const at::Tensor& x, const at::Tensor&) {
      const at::Tensor f = at::relu(scale == 1 ? x : x * scale);
      const at::Tensor p = at::sigmoid(out(hidden(f).relu_()));
      return Turned(f, p * M_PI_2);
    };
  };
  return {map("query_proportion", 1 / std::sqrt(static_cast<double>(d))), map("key_proportion", 1)};
}

// See CosformerFeatures.
TorchFeatures MakeTorchCosformer(int64_t max_length) {
  const auto map = [=](const at::Tensor& x, const at::Tensor& positions) {
    const at::Tensor angle =
        positions.clamp_max(max_length).to(at::kFloat) * M_PI_2 / static_cast<double>(max_length);
    return Turned(at::relu(x), angle.view({-1, 1, 1}));
  };
  return {map, map};
}

}  // namespace

int64_t TorchFeatureWidth(absl::string_view kind, int64_t d) {
  return kind == "leap" || kind == "cosformer" ? 2 * d : d;
}

TorchFeatures MakeTorchFeatures(absl::string_view kind, const TorchParameters& parameters,
                                const ModelConfig& config, int64_t d) {
  const auto same = [](const at::Tensor& x, const at::Tensor&) { return x; };
  if (kind == "softmax") {
    const double scale = 1 / std::sqrt(static_cast<double>(d));
    return {[=](const at::Tensor& x, const at::Tensor&) { return x * scale; }, same};
  }
  if (kind == "leap") return MakeTorchLeap(parameters, d);
  if (kind == "cosformer") return MakeTorchCosformer(config.cosformer_max_length);
  if (kind == "linear_relu") {
    const auto map = [](const at::Tensor& x, const at::Tensor&) { return at::relu(x); };
    return {map, map};
  }
  if (kind == "linear_elu") {
    const auto map = [](const at::Tensor& x, const at::Tensor&) {
      return at::where(x > 0, x + 1, x.exp());
    };
    return {map, map};
  }
  TORCH_CHECK(false, "LibTorch's devices need to have attention of kind ", std::string(kind));
}

}  // namespace leapstream
