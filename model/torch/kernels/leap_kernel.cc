#include "model/torch/kernels/leap_kernel.h"

#include "model/torch/kernels/simd.h"

namespace leapstream {

void LeapAppend(float* state, int64_t d, const LeapFeatures& key, const float* value) {
  Simd().leap_append(state, d, key, value);
}

void LeapAttend(float* state, int64_t d, const LeapStep& step, float* out) {
  Simd().leap_attend(state, d, step, out);
}

}  // namespace leapstream
