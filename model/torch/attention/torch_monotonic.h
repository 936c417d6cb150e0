#ifndef LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_MONOTONIC_H_
#define LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_MONOTONIC_H_

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include "absl/types/span.h"
#include "model/engine/attention/attention.h"
#include "model/engine/attention/monotonic_attention.h"
#include "model/torch/attention/torch_past.h"
#include "model/torch/device_pool.h"

namespace leapstream {

// The cross-attention of a learned policy: see MonotonicAttention. A call has one row of each
// session.
class TorchMonotonic : public TorchPast {
 public:
  // options: those of the first engine's. energy_bias: that of each layer, or none.
  TorchMonotonic(const TorchShape& shape, const MonotonicOptions& options,
                 std::vector<at::Tensor> energy_bias, std::shared_ptr<TorchContext> context);

  std::unique_ptr<AttentionState> NewState() const override;
  absl::Status Reserve(int64_t states) const override;
  std::unique_ptr<TorchPastCall> Open(absl::Span<AttentionState* const> states, const RowGrid& grid,
                                      Use use) const override;

  // A call that attends, of sessions whose heads move. Rows that want more source in a layer are
  // not part of later layers: their heads stay there.
  class Moves {
   public:
    virtual ~Moves() = default;
    // Whether each row wanted more source: [R] bool, on the device.
    virtual at::Tensor wanted() const = 0;
  };
  struct MovingCall {
    std::unique_ptr<TorchPastCall> call;
    const Moves* moves;  // A part of `call`.
  };
  // finished: whether the source of each session has ended, so that nothing more is wanted.
  MovingCall OpenMoving(absl::Span<AttentionState* const> states, const RowGrid& grid,
                        const std::vector<int64_t>& finished) const;

 private:
  class State;
  class Call;
  int64_t projections() const { return options_.lookback == Lookback::kHard ? 1 : 2; }

  const TorchShape shape_;
  const MonotonicOptions options_;
  const std::vector<at::Tensor> energy_bias_;
  const std::shared_ptr<DevicePool> cache_pool_;
  const std::shared_ptr<DevicePool> step_pool_;  // Each head's position, and the settled one: [H].
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_MONOTONIC_H_
