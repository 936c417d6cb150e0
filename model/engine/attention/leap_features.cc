#include "model/engine/attention/leap_features.h"

#include <cmath>
#include <utility>

#include "model/engine/kernels/simd.h"

namespace leapstream {

std::unique_ptr<const FeatureMap> MakeLeapFeatures(const AttentionBlock& block) {
  const int64_t hidden = block.d / block.config.leap_factor;
  const auto net = [&](const char* name) {
    const Parameters parameters = block.parameters.Under(name);
    ProportionNet net;
    net.hidden = parameters.Under("hidden").ExactLinear({hidden, block.d});
    net.out = parameters.Under("out").ExactLinear({1, hidden});
    return net;
  };
  ProportionNet query = net("query_proportion");
  return std::make_unique<LeapFeatures>(std::move(query), net("key_proportion"), block.heads,
                                        block.d);
}

void LeapFeatures::Map(const Scaled& rows, const ProportionNet& net, float* features,
                       Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  float* positive = scratch.Floats(rows.count * d_);
  for (int64_t i = 0; i < rows.count * d_; ++i) {
    const float x = rows.scale * rows.x[i];
    positive[i] = x < 0 ? 0 : x;  // NaN stays NaN.
  }
  float* hidden = scratch.Floats(rows.count * net.hidden.out());
  net.hidden.Apply(positive, rows.count, hidden, scratch, Epilogue::kRelu);
  float* sine = scratch.Floats(rows.count);  // Holds the net's output before the sigmoid at first.
  float* cosine = scratch.Floats(rows.count);
  net.out.Apply(hidden, rows.count, sine, scratch);
  Simd().leap_angles(sine, rows.count, cosine);
  for (int64_t i = 0; i < rows.count; ++i) {
    float* out = features + i * 2 * d_;
    const float* in = positive + i * d_;
    for (int64_t j = 0; j < d_; ++j) out[j] = in[j] * sine[i];
    for (int64_t j = 0; j < d_; ++j) out[d_ + j] = in[j] * cosine[i];
  }
}

void LeapFeatures::Queries(const float* x, absl::Span<const AttentionRow> rows, float* features,
                           Workspace& scratch) const {
  const float scale = 1.0f / std::sqrt(static_cast<float>(d_));
  Map({x, static_cast<int64_t>(rows.size()) * heads_, scale}, query_proportion_, features, scratch);
}

void LeapFeatures::Keys(const float* x, absl::Span<const AttentionRow> rows, float* features,
                        Workspace& scratch) const {
  Map({x, static_cast<int64_t>(rows.size()) * heads_, 1.0f}, key_proportion_, features, scratch);
}

}  // namespace leapstream
