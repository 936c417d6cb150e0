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
  shape.floor = entry->floor / TorchEnergyScale(kind, shape.V);
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

// Multiplies the first `outputs` outputs of a layer, whose tensors are the model's, by `scale`.
TorchLinear Scaled(const TorchLinear& linear, int64_t outputs, double scale) {
  TorchLinear scaled;
  scaled.weight = linear.weight.clone();
  scaled.bias = linear.bias.clone();
  scaled.weight.narrow(0, 0, outputs).mul_(scale);
  scaled.bias.narrow(0, 0, outputs).mul_(scale);
  return scaled;
}

// A layer whose last outputs are the values of heads, with a one behind the V values of each.
TorchLinear WithOnes(const TorchLinear& linear, int64_t heads, int64_t V) {
  const auto extended = [&](const at::Tensor& rows, double last) {  // [out, width]
    const int64_t others = rows.size(0) - heads * V;
    const at::Tensor values = rows.narrow(0, others, heads * V).view({heads, V, rows.size(1)});
    const at::Tensor more = at::full({heads, 1, rows.size(1)}, last, rows.options());
    return at::cat({rows.narrow(0, 0, others), at::cat({values, more}, 1).flatten(0, 1)});
  };
  TorchLinear with_ones;
  with_ones.weight = extended(linear.weight, 0);
  with_ones.bias = extended(linear.bias.unsqueeze(-1), 1).squeeze(-1);
  return with_ones;
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
  if (!config.LearnedPolicy()) return MakeTorchPast(shape, std::move(context));
  std::vector<at::Tensor> bias;
  for (int l = 0; config.energy_bias && l < config.decoder.layers; ++l) {
    bias.push_back(
        parameters.Get(absl::StrCat("decoder.layers.", l, ".cross_attention.energy_bias")));
  }
  return std::make_unique<TorchMonotonic>(shape, MonotonicOptionsOf(config), std::move(bias),
                                          std::move(context));
}

TorchAttention::TorchAttention(const TorchParameters& parameters, const ModelConfig& config,
                               const TorchShape& shape, const std::string& kind, bool has_sums,
                               TorchLinear query, TorchLinear others)
    : shape_(shape),
      energy_type_(EnergyType(shape, config, parameters)),
      value_width_(has_sums ? shape.V + 1 : shape.V),
      query_(std::move(query)),
      others_(std::move(others)),
      output_(parameters.Under("output")),
      features_(MakeTorchFeatures(kind, parameters, config, shape.V)) {
  const double scale = TorchEnergyScale(kind, shape.V);
  if (has_sums) {  // The floor has the scale.
    others_ = WithOnes(others_, shape.heads, shape.V);
  } else if (kind != "softmax") {
    query_scale_ = scale;
  } else if (query_.weight.defined()) {  // Features are the projections themselves.
    query_ = Scaled(query_, query_.weight.size(0), scale);
  } else {
    others_ = Scaled(others_, shape.heads * shape.V, scale);
  }
}

TorchAttention::TorchAttention(const TorchParameters& parameters, const ModelConfig& config,
                               const SideConfig& side)
    : TorchAttention(parameters, config, ShapeOfSelf(side, config), side.self_attention,
                     ShapeOfSelf(side, config).normaliser == Normaliser::kSum, TorchLinear(),
                     TorchLinear(parameters, {"query", "key", "value"})) {}

TorchAttention TorchAttention::Cross(const TorchParameters& parameters, const ModelConfig& config) {
  const bool soft = config.SoftLookback();
  const TorchShape shape = ShapeOfCross(config);
  return TorchAttention(parameters, config, shape, config.decoder.cross_attention,
                        shape.normaliser == Normaliser::kSum && !config.LearnedPolicy(),
                        soft ? TorchLinear(parameters, {"query", "query_soft"})
                             : TorchLinear(parameters.Under("query")),
                        soft ? TorchLinear(parameters, {"key", "key_soft", "value"})
                             : TorchLinear(parameters, {"key", "value"}));
}

at::Tensor TorchAttention::Values(const at::Tensor& all) const {
  const int64_t outputs = shape_.heads * value_width_;
  return all.narrow(1, all.size(1) - outputs, outputs).view({-1, shape_.heads, value_width_});
}

TorchHeads TorchAttention::HeadsOf(const at::Tensor& x, const at::Tensor& positions) const {
  const at::Tensor all = others_(x).to(energy_type_);
  const int64_t width = shape_.heads * shape_.V;
  const at::Tensor both =
      all.narrow(1, 0, 2 * width).view({-1, 2, shape_.heads, shape_.V}).transpose(0, 1);
  const at::Tensor features = features_.both(both, positions);  // [2, R, H, F]
  const at::Tensor query = features.select(0, 0);
  return {query_scale_ == 1 ? query : query * query_scale_, features.select(0, 1), Values(all)};
}

TorchHeads TorchAttention::KeysAndValues(const at::Tensor& x, const at::Tensor& positions) const {
  const at::Tensor all = others_(x).to(energy_type_);
  const int64_t keys = all.size(1) - shape_.heads * value_width_;
  return {{},
          features_.keys(all.narrow(1, 0, keys).view({1, -1, keys / shape_.V, shape_.V}), positions)
              .select(0, 0),
          Values(all)};
}

at::Tensor TorchAttention::Query(const at::Tensor& x, const at::Tensor& positions) const {
  const at::Tensor heads = query_(x).to(energy_type_);
  const at::Tensor query =
      features_.queries(heads.view({1, heads.size(0), -1, shape_.V}), positions).select(0, 0);
  return query_scale_ == 1 ? query : query * query_scale_;
}

at::Tensor TorchAttention::Output(const at::Tensor& attended) const {
  return output_(attended.reshape({attended.size(0), -1}).to(output_.weight.scalar_type()));
}

}  // namespace leapstream
