#ifndef LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_SUMS_H_
#define LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_SUMS_H_

#include <memory>

#include <ATen/core/Tensor.h>
#include "absl/types/span.h"
#include "model/engine/attention/attention.h"
#include "model/torch/attention/torch_past.h"
#include "model/torch/device_pool.h"

namespace leapstream {

// The past of linear attention: see LinearAttention. All of it is sums, but for the newest position
// of self-attention, which may be provisional.
class TorchSums : public TorchPast {
 public:
  TorchSums(const TorchShape& shape, bool steps, std::shared_ptr<TorchContext> context);

  std::unique_ptr<AttentionState> NewState() const override;
  absl::Status Reserve(int64_t states) const override { return pool_->Reserve(states); }
  std::unique_ptr<TorchPastCall> Open(absl::Span<AttentionState* const> states, const RowGrid& grid,
                                      Use use) const override;

 private:
  class State;
  class Call;
  // The parts of the pool: sums [H, F, V + 1] of keys times values that a one follows; the newest
  // position's key [H, F] and value [H, V + 1].
  enum Part { kSums, kNewestKey, kNewestValue };

  const TorchShape shape_;
  const std::shared_ptr<DevicePool> pool_;
};

// Values that a one follows [..., V + 1], so that a product with sums gives numerator and
// denominator; and the quotient of such a product.
at::Tensor WithOne(const at::Tensor& values);
at::Tensor Quotient(const at::Tensor& product, double floor);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_SUMS_H_
