#include "model/torch/attention/torch_features.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

namespace leapstream {
namespace {

// Turns of which the sine is a sine, and a cosine: [2, 1].
at::Tensor Quarters(const TorchContext& context) {
  const float turns[] = {0, static_cast<float>(M_PI_2)};
  return context.Upload(turns, {2, 1});
}

// Features [..., 2 d]: x [..., d] times the sine, then times the cosine, of `angles` times `scale`.
at::Tensor Turned(const at::Tensor& x, const at::Tensor& angles, double scale,
                  const at::Tensor& quarters) {
  return at::add(quarters, angles.unsqueeze(-2), scale).sin_().mul(x.unsqueeze(-2)).flatten(-2);
}

// One layer of several nets side by side: weights [n, in, out], biases [n, 1, out].
struct StackedLinear {
  StackedLinear(const TorchParameters& parameters, const std::vector<std::string>& nets,
                const char* layer) {
    std::vector<at::Tensor> weights, biases;
    for (const std::string& net : nets) {
      const TorchLinear linear(parameters.Under(net).Under(layer));
      weights.push_back(linear.weight.t());
      biases.push_back(linear.bias.unsqueeze(0));
    }
    weight = at::stack(weights);
    bias = at::stack(biases);
  }
  at::Tensor operator()(const at::Tensor& x) const { return at::baddbmm(bias, x, weight); }

  at::Tensor weight, bias;
};

// See LeapFeatures. Queries are not scaled, but the net sees them so.
TorchFeatures MakeTorchLeap(const TorchParameters& parameters, int64_t d) {
  const char* const query = "query_proportion";
  const char* const key = "key_proportion";
  const auto map = [&](const std::vector<std::string>& nets) -> TorchFeatures::Map {
    StackedLinear hidden(parameters, nets, "hidden");
    if (nets[0] == query) hidden.weight.select(0, 0).mul_(TorchEnergyScale("leap", d));
    const StackedLinear out(parameters, nets, "out");
    const at::Tensor quarters = Quarters(parameters.context());
    return [=](const at::Tensor& x, const at::Tensor&) {
      const at::Tensor positive = at::relu(x.reshape({x.size(0), -1, d}));  // [n, R H, d]
      const at::Tensor p = out(hidden(positive).relu_()).sigmoid_();        // [n, R H, 1]
      return Turned(positive, p, M_PI_2, quarters).view({x.size(0), x.size(1), -1, 2 * d});
    };
  };
  return {map({query}), map({key}), map({query, key})};
}

// See CosformerFeatures.
TorchFeatures::Map CosformerMap(int64_t max_length, const at::Tensor& quarters) {
  return [=](const at::Tensor& x, const at::Tensor& positions) {
    const at::Tensor turns = positions.clamp_max(max_length).to(at::kFloat).view({1, -1, 1, 1});
    return Turned(at::relu(x), turns, M_PI_2 / static_cast<double>(max_length), quarters);
  };
}

TorchFeatures Everywhere(const TorchFeatures::Map& map) { return {map, map, map}; }

}  // namespace

int64_t TorchFeatureWidth(absl::string_view kind, int64_t d) {
  return kind == "leap" || kind == "cosformer" ? 2 * d : d;
}

double TorchEnergyScale(absl::string_view kind, int64_t d) {
  return kind == "softmax" || kind == "leap" ? 1 / std::sqrt(static_cast<double>(d)) : 1;
}

TorchFeatures MakeTorchFeatures(absl::string_view kind, const TorchParameters& parameters,
                                const ModelConfig& config, int64_t d) {
  if (kind == "softmax") {
    return Everywhere([](const at::Tensor& x, const at::Tensor&) { return x; });
  }
  if (kind == "leap") return MakeTorchLeap(parameters, d);
  if (kind == "cosformer") {
    return Everywhere(CosformerMap(config.cosformer_max_length, Quarters(parameters.context())));
  }
  if (kind == "linear_relu") {
    return Everywhere([](const at::Tensor& x, const at::Tensor&) { return at::relu(x); });
  }
  if (kind == "linear_elu") {
    return Everywhere(
        [](const at::Tensor& x, const at::Tensor&) { return at::where(x > 0, x + 1, x.exp()); });
  }
  TORCH_CHECK(false, "LibTorch's devices need to have attention of kind ", std::string(kind));
}

}  // namespace leapstream
