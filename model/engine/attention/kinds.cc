#include "model/engine/attention/kinds.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/engine/attention/cosformer_features.h"
#include "model/engine/attention/elementwise_features.h"
#include "model/engine/attention/leap_features.h"
#include "model/engine/attention/linear_attention.h"
#include "model/engine/attention/monotonic_attention.h"
#include "model/engine/attention/softmax_attention.h"

namespace leapstream {
namespace {

constexpr const AttentionEntry* kKinds[] = {
    &kSoftmaxKind, &kLeapKind, &kCosformerKind, &kLinearReluKind, &kLinearEluKind,
};

std::unique_ptr<const AttentionKind> MakeKind(const AttentionEntry& entry, Normaliser normaliser,
                                              const AttentionBlock& block) {
  std::unique_ptr<const FeatureMap> features = entry.features(block);
  if (normaliser == Normaliser::kSoftmax) {
    return std::make_unique<SoftmaxAttention>(std::move(features), block.heads, block.d);
  }
  LinearOptions options;
  options.heads = block.heads;
  options.d = block.d;
  options.floor = entry.floor;
  options.provisional = block.sharing;
  if (block.config.state_type == "float16") options.state_type = StateType::kFloat16;
  return std::make_unique<LinearAttention>(std::move(features), options);
}

std::unique_ptr<const AttentionKind> MakeMonotonic(const AttentionEntry& entry,
                                                   const AttentionBlock& block) {
  MonotonicOptions options = MonotonicOptionsOf(block.config);
  if (block.config.energy_bias) {
    const std::vector<float> bias = block.parameters.Values("energy_bias", {1});
    if (!bias.empty()) options.energy_bias = bias[0];
  }
  return std::make_unique<MonotonicAttention>(entry.features(block), options);
}

const AttentionEntry& Find(absl::string_view name) {
  const AttentionEntry* const entry = FindAttention(name);
  LEAPSTREAM_CHECK(entry != nullptr);
  return *entry;
}

AttentionBlock BlockOf(const Parameters& parameters, const ModelConfig& config,
                       const SideConfig& side) {
  return {parameters, config, side.attention_heads, side.embed_dim / side.attention_heads};
}

// Checks that LeaP's nets can be made for the head size.
absl::Status CheckLeapFactor(const ModelConfig& config, const SideConfig& side,
                             absl::string_view side_name) {
  if (!HasProportionNets(side.self_attention) && !HasProportionNets(side.cross_attention)) {
    return absl::OkStatus();
  }
  const int head_dim = side.embed_dim / side.attention_heads;
  if (head_dim % config.leap_factor == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("leap_factor ", config.leap_factor,
                                                 " does not divide the ", side_name,
                                                 "'s head size ", head_dim));
}

}  // namespace

absl::Span<const AttentionEntry* const> AttentionEntries() { return kKinds; }

const AttentionEntry* FindAttention(absl::string_view name) {
  for (const AttentionEntry* const entry : kKinds) {
    if (name == entry->name) return entry;
  }
  return nullptr;
}

bool HasProportionNets(absl::string_view kind) {
  const AttentionEntry* const entry = FindAttention(kind);
  return entry != nullptr && entry->proportion_nets;
}

absl::Status CheckAttentionKinds(const ModelConfig& config) {
  for (const auto& [name, side] :
       {std::pair("encoder", &config.encoder), {"decoder", &config.decoder}}) {
    for (const auto& [field, kind] : {std::pair("self_attention", &side->self_attention),
                                      {"cross_attention", &side->cross_attention}}) {
      if (FindAttention(*kind) != nullptr) continue;
      const auto name_of = [](std::string* out, const AttentionEntry* entry) {
        *out += entry->name;
      };
      return absl::InvalidArgumentError(absl::StrCat(
          name, ".", field, " needs to be one of ", absl::StrJoin(kKinds, ", ", name_of),
          ", got ", Quoted(*kind)));
    }
    LEAPSTREAM_RETURN_IF_ERROR(CheckLeapFactor(config, *side, name));
  }
  return absl::OkStatus();
}

MonotonicOptions MonotonicOptionsOf(const ModelConfig& config) {
  const AttentionEntry& entry = Find(config.decoder.cross_attention);
  MonotonicOptions options;
  options.heads = config.decoder.attention_heads;
  options.d = config.decoder.embed_dim / config.decoder.attention_heads;
  options.mass_preservation = config.mass_preservation;
  options.floor = entry.floor;
  if (config.SoftLookback()) {
    options.lookback =
        entry.normaliser == Normaliser::kSoftmax ? Lookback::kSoftmax : Lookback::kClamped;
  }
  return options;
}

Attention MakeSelfAttention(const Parameters& parameters, const ModelConfig& config,
                            const SideConfig& side) {
  AttentionBlock block = BlockOf(parameters, config, side);
  for (int l = 0; l < side.layers; ++l) {
    if (side.LayerOf(l) != l) block.sharing = side.layers;
  }
  const int64_t E = side.embed_dim;
  Attention::Projections projections;
  for (const auto& [name, projection] :
       {std::pair("query", &projections.query), {"key", &projections.key},
        {"value", &projections.value}, {"output", &projections.output}}) {
    *projection = parameters.Under(name).Linear({E, E});
  }
  const AttentionEntry& entry = Find(side.self_attention);
  return Attention(std::move(projections), MakeKind(entry, entry.normaliser, block));
}

Attention MakeCrossAttention(const Parameters& parameters, const ModelConfig& config) {
  const AttentionBlock block = BlockOf(parameters, config, config.decoder);
  const int64_t E = config.decoder.embed_dim;
  const int64_t source = config.encoder.embed_dim;
  Attention::Projections projections;
  if (config.SoftLookback()) {
    projections.query = parameters.Stacked({"query", "query_soft"}, {E, E});
    projections.key = parameters.Stacked({"key", "key_soft"}, {E, source});
  } else {
    projections.query = parameters.Under("query").Linear({E, E});
    projections.key = parameters.Under("key").Linear({E, source});
  }
  projections.value = parameters.Under("value").Linear({E, source});
  projections.output = parameters.Under("output").Linear({E, E});
  const AttentionEntry& entry = Find(config.decoder.cross_attention);
  if (config.LearnedPolicy()) return Attention(std::move(projections), MakeMonotonic(entry, block));
  const Normaliser normaliser =
      config.cross_normaliser == "softmax" ? Normaliser::kSoftmax : entry.normaliser;
  return Attention(std::move(projections), MakeKind(entry, normaliser, block));
}

}  // namespace leapstream
