#include "model/engine/observer.h"

#include <cmath>
#include <numeric>

#include "model/engine/attention/linear_attention.h"

namespace leapstream {

// LeaP's features are f sin(pi/2 p) and f cos(pi/2 p), so that p = 2 / pi atan2(f sin, f cos) if a
// feature is not zero.
void RowObserver::ShowProportions(const std::string& layer, const Attention& attention,
                                  int64_t heads, const Rows& in) const {
  const auto* linear = dynamic_cast<const LinearAttention*>(&attention.kind());
  if (!listener_ || linear == nullptr) return;
  Workspace scratch;
  const int64_t d = in.width / heads;
  if (linear->features().width() != 2 * d) return;
  const std::vector<AttentionRow> each(in.count);
  std::vector<float> projected(in.count * heads * d);
  std::vector<float> features(in.count * heads * 2 * d);
  const auto show = [&](const char* what) {
    std::vector<float> p(in.count * heads);
    for (int64_t i = 0; i < in.count * heads; ++i) {
      const float* f = features.data() + i * 2 * d;
      const float sine = std::accumulate(f, f + d, 0.0f);
      p[i] =
          std::atan2(sine, std::accumulate(f + d, f + 2 * d, 0.0f)) * static_cast<float>(2 / M_PI);
    }
    Show(layer, what, {p.data(), in.count, heads});
  };
  attention.projections().query.Apply(in.x, in.count, projected.data(), scratch);
  linear->features().Queries(projected.data(), each, features.data(), scratch);
  show(".q_LeaP");
  attention.projections().key.Apply(in.x, in.count, projected.data(), scratch);
  linear->features().Keys(projected.data(), each, features.data(), scratch);
  show(".k_LeaP");
}

}  // namespace leapstream
