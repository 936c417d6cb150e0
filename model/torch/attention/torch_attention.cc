#include "model/torch/attention/torch_attention.h"

#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include "absl/strings/str_cat.h"
#include "model/engine/attention/kinds.h"
#include "model/torch/attention/torch_monotonic.h"

namespace leapstream {
namespace {

TorchShape ShapeOf(const SideConfig& side, const std::string& kind) {
  TorchShape shape;
  shape.layers = side.layers;
  shape.heads = side.attention_heads;
  shape.V = side.embed_dim / side.attention_heads;
  const AttentionEntry* const entry = FindAttention(kind);
  TORCH_CHECK(entry != nullptr, "there is no attention of kind ", kind);
  shape.normaliser = entry->normaliser;
  shape.floor = entry->floor;
  shape.F = TorchFeatureWidth(kind, shape.V);
  return shape;
}

// Soft-max attention computes in the type of products, all other kinds in float32.
at::ScalarType EnergyType(const TorchShape& shape, const ModelConfig& config,
                          const TorchParameters& parameters) {
  const bool plain =
      shape.normaliser == Normaliser::kSoftmax && shape.F == shape.V && !config.LearnedPolicy();
  return plain ? parameters.context().type : at::kFloat;
}

}  // namespace

TorchShape ShapeOfSelf(const SideConfig& side, const ModelConfig&) {
  return ShapeOf(side, side.self_attention);
}

TorchShape ShapeOfCross(const ModelConfig& config) {
  TorchShape shape = ShapeOf(config.decoder, config.decoder.cross_attention);
  if (!config.LearnedPolicy() && config.cross_normaliser == "softmax") {
    shape.normaliser = Normaliser::kSoftmax;
  }
  return shape;
}

std::unique_ptr<const TorchPast> MakeCrossPast(const TorchParameters& parameters,
                                               const ModelConfig& config,
                                               std::shared_ptr<TorchContext> context) {
  const TorchShape shape = ShapeOfCross(config);
  if (!config.LearnedPolicy()) return MakeTorchPast(shape, /*steps=*/false, std::move(context));
  std::vector<at::Tensor> bias;
  for (int l = 0; config.energy_bias && l < config.decoder.layers; ++l) {
    bias.push_back(
        parameters.Get(absl::StrCat("decoder.layers.", l, ".cross_attention.energy_bias")));
  }
  return std::make_unique<TorchMonotonic>(shape, MonotonicOptionsOf(config), std::move(bias),
                                          std::move(context));
}

TorchAttention::TorchAttention(const TorchParameters& parameters, const ModelConfig& config,
                               const TorchShape& shape, const std::string& kind, TorchLinear query,
                               TorchLinear others)
    : shape_(shape),
      energy_type_(EnergyType(shape, config, parameters)),
      query_(std::move(query)),
      others_(std::move(others)),
      output_(parameters.Under("output")),
      features_(MakeTorchFeatures(kind, parameters, config, shape.V)) {}

TorchAttention::TorchAttention(const TorchParameters& parameters, const ModelConfig& config,
                               const SideConfig& side)
    : TorchAttention(parameters, config, ShapeOfSelf(side, config), side.self_attention,
                     TorchLinear(), TorchLinear(parameters, {"query", "key", "value"})) {}

TorchAttention TorchAttention::Cross(const TorchParameters& parameters, const ModelConfig& config) {
  const bool soft = config.SoftLookback();
  return TorchAttention(parameters, config, ShapeOfCross(config), config.decoder.cross_attention,
                        soft ? TorchLinear(parameters, {"query", "query_soft"})
                             : TorchLinear(parameters.Under("query")),
                        soft ? TorchLinear(parameters, {"key", "key_soft", "value"})
                             : TorchLinear(parameters, {"key", "value"}));
}

at::Tensor TorchAttention::Heads(const at::Tensor& x) const {
  return x.view({x.size(0), -1, shape_.V}).to(energy_type_);
}

TorchHeads TorchAttention::HeadsOf(const at::Tensor& x, const at::Tensor& positions) const {
  const at::Tensor all = Heads(others_(x));  // [R, 3 H, d]
  const int64_t H = shape_.heads;
  return {features_.queries(all.narrow(1, 0, H), positions),
          features_.keys(all.narrow(1, H, H), positions), all.narrow(1, 2 * H, H)};
}

TorchHeads TorchAttention::KeysAndValues(const at::Tensor& x, const at::Tensor& positions) const {
  const at::Tensor all = Heads(others_(x));
  const int64_t keys = all.size(1) - shape_.heads;
  return {{}, features_.keys(all.narrow(1, 0, keys), positions), all.narrow(1, keys, shape_.heads)};
}

at::Tensor TorchAttention::Query(const at::Tensor& x, const at::Tensor& positions) const {
  return features_.queries(Heads(query_(x)), positions);
}

at::Tensor TorchAttention::Output(const at::Tensor& attended) const {
  return output_(attended.reshape({attended.size(0), -1}).to(output_.weight.scalar_type()));
}

}  // namespace leapstream
