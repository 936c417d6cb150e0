#include "model/torch/attention/torch_monotonic.h"

#include <limits>
#include <utility>

#include <ATen/ATen.h>
#include "model/torch/attention/torch_cache.h"
#include "model/torch/attention/torch_sums.h"

namespace leapstream {
namespace {

enum StepPart { kHeadSteps, kSettledSteps };

}  // namespace

class TorchMonotonic::State : public AttentionState {
 public:
  explicit State(const TorchMonotonic& kind)
      : cache_(kind.cache_pool_), steps_(kind.step_pool_->Take()) {}

  void Reset() override {
    cache_.Reset();
    fresh_ = true;
    pending_ = Pending::kNothing;
  }
  void ForgetSource() override { cache_.Reset(); }
  // Only the heads' places are provisional; the source never is.
  void Settle() override {
    if (pending_ == Pending::kNothing) pending_ = Pending::kSettle;
  }
  void Drop() override {
    if (pending_ == Pending::kNothing) pending_ = Pending::kDrop;
  }
  int64_t bytes() const override {
    return static_cast<int64_t>(sizeof(State)) + cache_.bytes() +
           steps_->bytes() / steps_.use_count();
  }
  std::unique_ptr<AttentionState> Clone() const override { return std::make_unique<State>(*this); }
  void CopyFrom(const AttentionState& any) override {
    const auto& other = static_cast<const State&>(any);
    cache_.CopyFrom(other.cache_);
    steps_ = other.steps_;
    fresh_ = other.fresh_;
    pending_ = other.pending_;
  }

 private:
  friend class TorchMonotonic;
  // The end of the last moves, which the next call brings about on the device.
  enum class Pending { kNothing, kSettle, kDrop };

  TorchCacheState cache_;
  DevicePool::BlockPointer steps_;
  bool fresh_ = true;  // All heads stand at the first position.
  Pending pending_ = Pending::kNothing;
};

class TorchMonotonic::Call : public TorchPastCall, public Moves {
 public:
  Call(const TorchMonotonic& kind, absl::Span<AttentionState* const> states, const RowGrid& grid,
       Use use)
      : kind_(kind),
        grid_(grid),
        caches_(*kind.cache_pool_, kind.shape_, kind.projections() * kind.shape_.heads,
                Caches(states), grid, use != Use::kReads) {}

  // Before the first Attend().
  void StartMoving(absl::Span<AttentionState* const> states, const std::vector<int64_t>& finished) {
    TORCH_CHECK(grid_.most() == 1, "the heads of a learned policy need to move row by row");
    DevicePool& pool = *kind_.step_pool_;
    const TorchContext& context = pool.context();
    DevicePool::Changes changes;
    std::vector<int64_t> blocks, settled, dropped, lengths;
    for (AttentionState* any : states) {
      auto& state = static_cast<State&>(*any);
      pool.Own(/*keeps=*/!state.fresh_, &state.steps_, &changes);
      const int64_t block = state.steps_->index();
      blocks.push_back(block);
      lengths.push_back(state.cache_.length());
      if (!state.fresh_ && state.pending_ == State::Pending::kSettle) settled.push_back(block);
      if (!state.fresh_ && state.pending_ == State::Pending::kDrop) dropped.push_back(block);
    }
    pool.Apply(changes);
    const auto copy = [&](const std::vector<int64_t>& of, StepPart from, StepPart to) {
      if (of.empty()) return;
      const at::Tensor at = context.Upload(of);
      pool.part(to).index_copy_(1, at, pool.part(from).index_select(1, at));
    };
    copy(settled, kHeadSteps, kSettledSteps);
    copy(dropped, kSettledSteps, kHeadSteps);
    for (AttentionState* any : states) {
      auto& state = static_cast<State&>(*any);
      state.fresh_ = false;
      state.pending_ = State::Pending::kNothing;
    }
    blocks_ = context.Upload(blocks);
    length_ = context.Upload(lengths).view({-1, 1});  // [B, 1]
    may_want_ = context.Upload(finished).eq(0);       // [B]
    wanted_ = at::zeros_like(may_want_);
  }

  at::Tensor wanted() const override { return wanted_; }

  at::Tensor Step(int64_t, const TorchHeads&) override {
    TORCH_CHECK(false, "monotonic attention is cross-attention only");
  }
  void Append(int64_t layer, const TorchHeads& heads) override {
    caches_.Write(layer, heads.key, heads.value);
  }
  at::Tensor Attend(int64_t layer, const at::Tensor& query) override {
    return caches_.ByGroups(
        [&](const Group& group) { return AttendIn(group, layer, group.Of(query)); });
  }
  at::Tensor MostAttended(int64_t, const at::Tensor&, const TorchLook&) override {
    TORCH_CHECK(false, "a learned policy needs no weights of positions");
  }
  void Close(const Kept& kept) override { caches_.Close(kept); }

 private:
  using Group = TorchCaches::Group;

  static std::vector<TorchCacheState*> Caches(absl::Span<AttentionState* const> states) {
    std::vector<TorchCacheState*> caches;
    for (AttentionState* state : states) caches.push_back(&static_cast<State*>(state)->cache_);
    return caches;
  }

  // Attend() for the rows of a group.
  at::Tensor AttendIn(const Group& group, int64_t layer, const at::Tensor& query) {
    const int64_t heads = kind_.shape_.heads;
    const int64_t n = kind_.projections();
    const at::Tensor length = group.Of(length_);                                 // [G, 1]
    const at::Tensor step = MoveHeads(group, layer, query.narrow(1, 0, heads));  // [G, H]
    const at::Tensor values = caches_.Values(group, layer);                      // [G, H, N, V]
    if (kind_.options_.lookback == Lookback::kHard) {
      const at::Tensor read = step.clamp_max(group.N - 1).unsqueeze(-1).unsqueeze(-1);
      return values.gather(2, read.expand({-1, -1, 1, values.size(3)}))
          .squeeze(2)
          .masked_fill((step >= length).unsqueeze(-1), 0);
    }
    const at::Tensor energies =
        Energies(group, layer, query.narrow(1, (n - 1) * heads, heads), (n - 1) * heads);
    const at::Tensor last = at::minimum(step, length - 1).unsqueeze(-1);
    const at::Tensor hidden = at::arange(group.N, step.options()) > last;
    at::Tensor weights;  // [G, H, N]
    if (kind_.options_.lookback == Lookback::kSoftmax) {
      weights = energies.masked_fill(hidden, -std::numeric_limits<float>::infinity()).softmax(-1);
    } else {
      weights = energies.masked_fill(hidden, 0);
      weights = weights / weights.sum(-1, /*keepdim=*/true).clamp_min(kind_.options_.floor);
    }
    // Weight 0 is not enough: a source token ahead of the heads may not be finite. This is a copy.
    values.masked_fill_(hidden.unsqueeze(-1), 0);
    const at::Tensor out =
        weights.unsqueeze(2).to(values.scalar_type()).matmul(values).squeeze(2);  // [G, H, V]
    return out.masked_fill((step <= 0).unsqueeze(-1), 0);
  }

  // query: [G, H, F], for the cache's heads from `first` on. Returns [G, H, N] float32.
  at::Tensor Energies(const Group& group, int64_t layer, const at::Tensor& query,
                      int64_t first) const {
    const at::Tensor keys = caches_.Keys(group, layer, first, query.size(1));
    return keys.matmul(query.to(keys.scalar_type()).unsqueeze(-1)).squeeze(-1).to(at::kFloat);
  }

  // Moves the heads of the rows that still take part, and returns where they stand, [G, H].
  at::Tensor MoveHeads(const Group& group, int64_t layer, const at::Tensor& query) {
    at::Tensor pool = kind_.step_pool_->layer(kHeadSteps, layer);
    const at::Tensor blocks = group.Of(blocks_);
    const at::Tensor wanted = group.Of(wanted_);
    const at::Tensor length = group.Of(length_);
    const at::Tensor before = pool.index_select(0, blocks);
    const at::Tensor ceiling = kind_.options_.mass_preservation ? length - 1 : length;  // [G, 1]
    // In the fork, one head at the ceiling takes all others there (docs/fairseq.md, rule 12).
    const at::Tensor arrived = before.ge(ceiling).any(-1, /*keepdim=*/true);
    const at::Tensor from = at::where(arrived, ceiling, before);
    at::Tensor energies = Energies(group, layer, query, 0);
    if (!kind_.energy_bias_.empty()) energies = energies + kind_.energy_bias_[layer];
    const at::Tensor stays = energies.sigmoid() >= 0.5;  // [G, H, N]
    const at::Tensor positions = at::arange(group.N, before.options());
    const at::Tensor stops =
        stays & (positions >= from.unsqueeze(-1)) & (positions < ceiling.unsqueeze(-1));
    const at::Tensor to = at::where(stops, positions, ceiling.unsqueeze(-1)).amin(-1);  // [G, H]
    const at::Tensor at_end = stays.gather(-1, at::minimum(to, length - 1).unsqueeze(-1));
    const at::Tensor wants = (to.eq(ceiling) & at_end.squeeze(-1).logical_not()).any(-1);
    const at::Tensor active = wanted.logical_not().unsqueeze(-1);
    const at::Tensor step = at::where(active, to, before);
    pool.index_copy_(0, blocks, step);
    group.Set(wanted | (wants & group.Of(may_want_)), &wanted_);
    return step;
  }

  const TorchMonotonic& kind_;
  const RowGrid& grid_;
  TorchCaches caches_;
  at::Tensor blocks_, length_, may_want_, wanted_;
};

TorchMonotonic::TorchMonotonic(const TorchShape& shape, const MonotonicOptions& options,
                               std::vector<at::Tensor> energy_bias,
                               std::shared_ptr<TorchContext> context)
    : shape_(shape),
      options_(options),
      energy_bias_(std::move(energy_bias)),
      cache_pool_(MakeCachePool(shape, projections() * shape.heads, context)),
      step_pool_(std::make_shared<DevicePool>(
          std::move(context), shape.layers,
          std::vector<DevicePool::Part>{{{shape.heads}, at::kLong}, {{shape.heads}, at::kLong}})) {}

std::unique_ptr<AttentionState> TorchMonotonic::NewState() const {
  return std::make_unique<State>(*this);
}

absl::Status TorchMonotonic::Reserve(int64_t states) const {
  const absl::Status status = step_pool_->Reserve(states);
  return status.ok() ? cache_pool_->Reserve(states) : status;
}

std::unique_ptr<TorchPastCall> TorchMonotonic::Open(absl::Span<AttentionState* const> states,
                                                    const RowGrid& grid, Use use) const {
  return std::make_unique<Call>(*this, states, grid, use);
}

TorchMonotonic::MovingCall TorchMonotonic::OpenMoving(absl::Span<AttentionState* const> states,
                                                      const RowGrid& grid,
                                                      const std::vector<int64_t>& finished) const {
  auto call = std::make_unique<Call>(*this, states, grid, Use::kReads);
  call->StartMoving(states, finished);
  const Moves* const moves = call.get();
  return {std::move(call), moves};
}

}  // namespace leapstream
