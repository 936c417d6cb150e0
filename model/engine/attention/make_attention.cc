#include "model/engine/attention/make_attention.h"

#include <utility>

#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "model/engine/attention/feature_map.h"
#include "model/engine/attention/leap_features.h"
#include "model/engine/attention/linear_attention.h"
#include "model/engine/attention/monotonic_attention.h"
#include "model/engine/attention/softmax_attention.h"

namespace leapstream {
namespace {

struct Block {
  const Weights& weights;
  const std::string& name;
  int64_t heads;
  int64_t d;
  int64_t sharing = 1;  // Layers that may add to one state in one step.
};

std::unique_ptr<const FeatureMap> Scaled(const Block& block) {
  return std::make_unique<ScaledFeatures>(block.heads, block.d);
}
std::unique_ptr<const FeatureMap> Leap(const Block& block) {
  const auto net = [&](const char* side) {
    const std::string name = block.name + side;
    return ProportionNet{block.weights.ExactLinear(name + ".hidden"),
                         block.weights.ExactLinear(name + ".out")};
  };
  return std::make_unique<LeapFeatures>(net(".query_proportion"), net(".key_proportion"),
                                        block.heads, block.d);
}
std::unique_ptr<const AttentionKind> Softmax(std::unique_ptr<const FeatureMap> features,
                                             const Block& block) {
  return std::make_unique<SoftmaxAttention>(std::move(features), block.heads, block.d);
}
std::unique_ptr<const AttentionKind> ClampedLinear(std::unique_ptr<const FeatureMap> features,
                                                   const Block& block) {
  LinearOptions options;
  options.heads = block.heads;
  options.d = block.d;
  options.floor = kLeapNormaliserFloor;
  options.provisional = block.sharing;
  return std::make_unique<LinearAttention>(std::move(features), options);
}

// The kinds that a checkpoint can ask for: what the energies are, how they weigh positions, and how
// a learned policy's heads read.
struct Kind {
  const char* name;
  std::unique_ptr<const FeatureMap> (*features)(const Block&);
  std::unique_ptr<const AttentionKind> (*weigh)(std::unique_ptr<const FeatureMap>, const Block&);
  Lookback lookback;
};
constexpr Kind kKinds[] = {
    {"softmax", &Scaled, &Softmax, Lookback::kSoftmax},
    {"leap", &Leap, &ClampedLinear, Lookback::kClamped},
};

const Kind& Find(const std::string& name) {
  for (const Kind& kind : kKinds) {
    if (name == kind.name) return kind;
  }
  throw std::invalid_argument(absl::StrCat("there is no attention kind ", name));
}

Block BlockOf(const Weights& weights, const std::string& name, const SideConfig& side) {
  return {weights, name, side.attention_heads, side.embed_dim / side.attention_heads};
}

Attention::Projections ProjectionsOf(const Weights& weights, const std::string& name) {
  return {weights.Linear({name + ".query"}), weights.Linear({name + ".key"}),
          weights.Linear({name + ".value"}), weights.Linear({name + ".output"})};
}

}  // namespace

Attention MakeSelfAttention(const Weights& weights, const std::string& name,
                            const SideConfig& side) {
  Block block = BlockOf(weights, name, side);
  for (int l = 0; l < side.layers; ++l) {
    if (side.LayerOf(l) != l) block.sharing = side.layers;
  }
  const Kind& kind = Find(side.self_attention);
  return Attention(ProjectionsOf(weights, name), kind.weigh(kind.features(block), block));
}

Attention MakeCrossAttention(const Weights& weights, const std::string& name,
                             const ModelConfig& config) {
  const Block block = BlockOf(weights, name, config.decoder);
  const Kind& kind = Find(config.decoder.cross_attention);
  Attention::Projections projections = ProjectionsOf(weights, name);
  if (!config.LearnedPolicy()) {
    const auto weigh = config.cross_normaliser == "softmax" ? &Softmax : kind.weigh;
    return Attention(std::move(projections), weigh(kind.features(block), block));
  }
  MonotonicOptions options;
  options.heads = block.heads;
  options.d = block.d;
  options.mass_preservation = config.mass_preservation;
  if (config.energy_bias) {
    options.energy_bias = weights.Get(name + ".energy_bias").data()[0];
  }
  if (config.SoftLookback()) {
    options.lookback = kind.lookback;
    projections.query = weights.Linear({name + ".query", name + ".query_soft"});
    projections.key = weights.Linear({name + ".key", name + ".key_soft"});
  }
  return Attention(std::move(projections),
                   std::make_unique<MonotonicAttention>(kind.features(block), options));
}

}  // namespace leapstream
