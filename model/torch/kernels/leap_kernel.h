#ifndef LEAPSTREAM_MODEL_TORCH_KERNELS_LEAP_KERNEL_H_
#define LEAPSTREAM_MODEL_TORCH_KERNELS_LEAP_KERNEL_H_

#include <cstdint>

namespace leapstream {

// On the denominator only, as in fairseq-leapformer's leapformer_attention.py.
inline constexpr float kLeapNormaliserFloor = 0.1f;

// What one head of a LeaP block keeps of the past: sums over positions of k v^T and of k, weighted
// by the sine and the cosine of the key's proportion. One piece of memory, LeapStateFloats(d) long:
// kv_sin [d, d], kv_cos [d, d], k_sin [d], k_cos [d], all float32.
constexpr int64_t LeapStateFloats(int64_t d) { return 2 * d * d + 2 * d; }

// One position of one head after projection and feature map. features: [d] relu'd; proportion in
// (0, 1) given as sine and cosine of pi/2 times it.
struct LeapFeatures {
  const float* features = nullptr;
  float sine = 0;
  float cosine = 0;
};

// Adds a position to the state. value: [d].
void LeapAppend(float* state, int64_t d, const LeapFeatures& key, const float* value);

// out [d] = (q_s M_s + q_c M_c + own) / max(q_s z_s + q_c z_c + own, 0.1): attends to the state
// and, if `own_value` is not null, to one more position (own_key, own_value) that the state does
// not hold. If `past_value` is not null, first adds (past_key, past_value) to the state, in the
// same pass.
struct LeapStep {
  LeapFeatures query;
  LeapFeatures own_key;
  const float* own_value = nullptr;
  LeapFeatures past_key;
  const float* past_value = nullptr;
};
void LeapAttend(float* state, int64_t d, const LeapStep& step, float* out);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_KERNELS_LEAP_KERNEL_H_
