#ifndef LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_SUMS_H_
#define LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_SUMS_H_

#include <memory>

#include <ATen/core/Tensor.h>
#include "absl/types/span.h"
#include "model/engine/attention/attention.h"
#include "model/torch/attention/torch_past.h"
#include "model/torch/device_pool.h"

namespace leapstream {

// The past of linear attention: see LinearAttention. All of it is sums, but for the newest
// positions, which are kept as they are until there are kHeld of them: reading the sums costs a
// third of adding to them. The newest position of self-attention may be provisional.
class TorchSums : public TorchPast {
 public:
  TorchSums(const TorchShape& shape, std::shared_ptr<TorchContext> context);

  std::unique_ptr<AttentionState> NewState() const override;
  absl::Status Reserve(int64_t states) const override { return pool_->Reserve(states); }
  std::unique_ptr<TorchPastCall> Open(absl::Span<AttentionState* const> states, const RowGrid& grid,
                                      Use use) const override;

 private:
  class State;
  class Call;
  // With 128 features the products of a query and held keys are so small that LibTorch's processor
  // makes them itself, in place of one call of BLAS for each head.
  static constexpr int64_t kHeld = 3;
  // The parts of the pool: a table [H, F + kHeld, V + 1] of the sums of keys times values, [F, V +
  // 1], and of the held positions' values; their keys [H, kHeld, F]. Keys of places behind the
  // newest position are zeros or of a position that was given up.
  enum Part { kTable, kKeys };

  // Adds the first held[i] positions of blocks[i] to its sums. Needs the context's mutex.
  void Fold(const std::vector<int64_t>& blocks, const std::vector<int64_t>& held) const;
  // Adds keys [B, H, T, F] times values [B, H, T, V + 1] to the sums of one layer.
  void Add(int64_t layer, const at::Tensor& blocks, const at::Tensor& keys,
           const at::Tensor& values) const;

  const TorchShape shape_;
  const std::shared_ptr<DevicePool> pool_;
};

// The quotient of a product [..., V + 1] with sums: numerators, and the denominator behind them.
at::Tensor Quotient(const at::Tensor& product, double floor);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_SUMS_H_
