#include "model/torch/kernels/leap_kernel.h"

#include <algorithm>

#include "model/torch/kernels/clones.h"

namespace leapstream {
namespace {

struct StateView {
  StateView(float* state, int64_t d)
      : kv_sin(state), kv_cos(state + d * d), k_sin(state + 2 * d * d), k_cos(k_sin + d) {}
  float* kv_sin;
  float* kv_cos;
  float* k_sin;
  float* k_cos;
};

}  // namespace

LEAPSTREAM_PER_PROCESSOR
void LeapAppend(float* state, int64_t d, const LeapFeatures& key, const float* value) {
  const StateView s(state, d);
  for (int64_t i = 0; i < d; ++i) {
    const float k_sin = key.features[i] * key.sine;
    const float k_cos = key.features[i] * key.cosine;
    float* __restrict row_sin = s.kv_sin + i * d;
    float* __restrict row_cos = s.kv_cos + i * d;
    for (int64_t j = 0; j < d; ++j) {
      row_sin[j] += k_sin * value[j];
      row_cos[j] += k_cos * value[j];
    }
    s.k_sin[i] += k_sin;
    s.k_cos[i] += k_cos;
  }
}

LEAPSTREAM_PER_PROCESSOR
void LeapAttend(float* state, int64_t d, const LeapStep& step, float* __restrict out) {
  const StateView s(state, d);
  const bool fold = step.past_value != nullptr;
  float denominator = 0;
  std::fill(out, out + d, 0.0f);
  for (int64_t i = 0; i < d; ++i) {
    const float q_sin = step.query.features[i] * step.query.sine;
    const float q_cos = step.query.features[i] * step.query.cosine;
    float* __restrict row_sin = s.kv_sin + i * d;
    float* __restrict row_cos = s.kv_cos + i * d;
    if (fold) {
      const float k_sin = step.past_key.features[i] * step.past_key.sine;
      const float k_cos = step.past_key.features[i] * step.past_key.cosine;
      const float* value = step.past_value;
      for (int64_t j = 0; j < d; ++j) {
        row_sin[j] += k_sin * value[j];
        row_cos[j] += k_cos * value[j];
        out[j] += q_sin * row_sin[j];
        out[j] += q_cos * row_cos[j];
      }
      s.k_sin[i] += k_sin;
      s.k_cos[i] += k_cos;
    } else {
      for (int64_t j = 0; j < d; ++j) {
        out[j] += q_sin * row_sin[j];
        out[j] += q_cos * row_cos[j];
      }
    }
    denominator += q_sin * s.k_sin[i] + q_cos * s.k_cos[i];
  }
  if (step.own_value != nullptr) {
    float dot = 0;
    for (int64_t i = 0; i < d; ++i) dot += step.query.features[i] * step.own_key.features[i];
    // cos(a - b) = sin a sin b + cos a cos b.
    const float weight = dot * (step.query.sine * step.own_key.sine +
                                step.query.cosine * step.own_key.cosine);
    for (int64_t j = 0; j < d; ++j) out[j] += weight * step.own_value[j];
    denominator += weight;
  }
  const float scale = 1.0f / std::max(denominator, kLeapNormaliserFloor);
  for (int64_t j = 0; j < d; ++j) out[j] *= scale;
}

}  // namespace leapstream
