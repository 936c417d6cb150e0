#include "model/torch/attention/torch_sums.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include "model/engine/attention/state_bytes.h"
#include "model/torch/torch_call.h"

namespace leapstream {

at::Tensor WithOne(const at::Tensor& values) {
  std::vector<int64_t> shape = values.sizes().vec();
  shape.back() = 1;
  return at::cat({values, at::ones(shape, values.options())}, -1);
}

at::Tensor Quotient(const at::Tensor& product, double floor) {
  const int64_t V = product.size(-1) - 1;
  return product.narrow(-1, 0, V) / product.narrow(-1, V, 1).clamp_min(floor);
}

class TorchSums::State : public AttentionState {
 public:
  explicit State(const TorchSums& kind)
      : shape_(kind.shape_), pool_(kind.pool_), block_(pool_->Take()) {}

  void Reset() override {
    empty_ = true;
    newest_ = Newest::kNone;
  }
  void Settle() override {
    if (newest_ == Newest::kProvisional) newest_ = Newest::kSettled;
  }
  void Drop() override {
    if (newest_ == Newest::kProvisional) newest_ = Newest::kNone;
  }
  int64_t bytes() const override {
    return static_cast<int64_t>(sizeof(State)) + block_->bytes() / block_.use_count();
  }
  std::unique_ptr<AttentionState> Clone() const override { return std::make_unique<State>(*this); }
  void CopyFrom(const AttentionState& any) override {
    const auto& other = static_cast<const State&>(any);
    block_ = other.block_;
    empty_ = other.empty_;
    newest_ = other.newest_;
  }
  // In the form of LinearAttention's states, folded and without newest positions.
  void Save(std::string* bytes) const override;
  bool Load(int64_t length, absl::string_view* bytes) override;

 private:
  friend class TorchSums;
  enum class Newest { kNone, kProvisional, kSettled };
  // One layer's sums, the newest position included, on the processor.
  at::Tensor SumsOf(int64_t l) const;
  bool LoadLayer(int64_t length, absl::string_view* bytes, float* sums) const;

  const TorchShape shape_;
  const std::shared_ptr<DevicePool> pool_;
  DevicePool::BlockPointer block_;
  bool empty_ = true;              // The block's numbers mean nothing.
  Newest newest_ = Newest::kNone;  // Settled: it is part of the past, and not yet in the sums.
};

at::Tensor TorchSums::State::SumsOf(int64_t l) const {
  const int64_t block = block_->index();
  at::Tensor sums = pool_->layer(kSums, l).select(0, block);
  if (empty_) {
    sums = at::zeros_like(sums);
  } else if (newest_ == Newest::kSettled) {
    sums = sums + pool_->layer(kNewestKey, l).select(0, block).unsqueeze(-1) *
                      pool_->layer(kNewestValue, l).select(0, block).unsqueeze(-2);
  }
  return sums.to(c10::Device("cpu")).contiguous();
}

void TorchSums::State::Save(std::string* bytes) const {
  MutexLock lock(&pool_->context().mutex);
  const size_t before = bytes->size();
  const absl::Status status = TorchCall("saving a state", pool_->context().threads, [&] {
    for (int64_t l = 0; l < shape_.layers; ++l) {
      AppendNumber(1, bytes);  // Folded,
      AppendNumber(0, bytes);  // with no positions apart.
      const at::Tensor sums = SumsOf(l);
      for (int64_t h = 0; h < shape_.heads; ++h) {
        const at::Tensor head = sums.select(0, h);  // [F, V + 1]
        const at::Tensor values = head.narrow(1, 0, shape_.V).contiguous();
        const at::Tensor keys = head.select(1, shape_.V).contiguous();
        AppendFloats(values.data_ptr<float>(), values.numel(), bytes);
        AppendFloats(keys.data_ptr<float>(), keys.numel(), bytes);
      }
    }
    return absl::OkStatus();
  });
  if (!status.ok()) bytes->resize(before);  // No state: whoever loads it is told.
}

bool TorchSums::State::LoadLayer(int64_t length, absl::string_view* bytes, float* sums) const {
  const int64_t F = shape_.F;
  const int64_t V = shape_.V;
  int64_t folded = 0;
  int64_t held = 0;
  const auto most = static_cast<int64_t>(bytes->size() / sizeof(float));
  if (!TakeNumber(bytes, 1, &folded) || !TakeNumber(bytes, most, &held)) return false;
  if (folded == 0 && held < length) return false;
  std::vector<float> row(static_cast<size_t>(std::max(F + V, F * V)));
  const auto add = [&](float* head) {  // A position: its features, then its value.
    for (int64_t i = 0; i < F; ++i) {
      for (int64_t j = 0; j < V; ++j) head[i * (V + 1) + j] += row[i] * row[F + j];
      head[i * (V + 1) + V] += row[i];
    }
  };
  for (int64_t h = 0; h < shape_.heads; ++h) {
    float* const head = sums + h * F * (V + 1);
    if (folded == 1) {
      if (!TakeFloats(bytes, F * V, row.data())) return false;
      for (int64_t i = 0; i < F * V; ++i) head[i / V * (V + 1) + i % V] = row[i];
      if (!TakeFloats(bytes, F, row.data())) return false;
      for (int64_t i = 0; i < F; ++i) head[i * (V + 1) + V] = row[i];
    }
    for (int64_t p = 0; folded == 0 && p < held; ++p) {
      if (!TakeFloats(bytes, F + V, row.data())) return false;
      add(head);
    }
  }
  for (int64_t p = 0; folded == 1 && p < held; ++p) {
    for (int64_t h = 0; h < shape_.heads; ++h) {
      if (!TakeFloats(bytes, F + V, row.data())) return false;
      add(sums + h * F * (V + 1));
    }
  }
  return true;
}

bool TorchSums::State::Load(int64_t length, absl::string_view* bytes) {
  Reset();
  const int64_t layer_floats = shape_.heads * shape_.F * (shape_.V + 1);
  std::vector<float> sums(static_cast<size_t>(shape_.layers * layer_floats));
  for (int64_t l = 0; l < shape_.layers; ++l) {
    if (!LoadLayer(length, bytes, sums.data() + l * layer_floats)) return false;
  }
  MutexLock lock(&pool_->context().mutex);
  const absl::Status status = TorchCall("restoring a state", pool_->context().threads, [&] {
    DevicePool::Changes changes;
    pool_->Own(/*keeps=*/false, &block_, &changes);
    pool_->Apply(changes);
    pool_->part(kSums)
        .select(1, block_->index())
        .copy_(pool_->context().Upload(sums.data(),
                                       {shape_.layers, shape_.heads, shape_.F, shape_.V + 1}));
    return absl::OkStatus();
  });
  empty_ = !status.ok();
  return status.ok();
}

class TorchSums::Call : public TorchPastCall {
 public:
  Call(const TorchSums& kind, absl::Span<AttentionState* const> states, const RowGrid& grid,
       Use use)
      : shape_(kind.shape_), pool_(*kind.pool_), grid_(grid), settles_(use == Use::kSettles) {
    for (AttentionState* state : states) states_.push_back(static_cast<State*>(state));
    if (use != Use::kReads) OwnBlocks();
    std::vector<int64_t> blocks, settled;
    for (const State* state : states_) {
      TORCH_CHECK(use != Use::kReads || !state->empty_, "there is no past to attend to");
      blocks.push_back(state->block_->index());
      if (use != Use::kReads && state->newest_ == State::Newest::kSettled) {
        settled.push_back(state->block_->index());
      }
    }
    blocks_ = pool_.context().Upload(blocks);
    if (settled.empty()) return;
    const at::Tensor of =
        settled.size() == blocks.size() ? blocks_ : pool_.context().Upload(settled);
    pool_.part(kSums).index_add_(1, of,
                                 pool_.part(kNewestKey).index_select(1, of).unsqueeze(-1) *
                                     pool_.part(kNewestValue).index_select(1, of).unsqueeze(-2));
    for (State* state : states_) {
      if (state->newest_ == State::Newest::kSettled) state->newest_ = State::Newest::kNone;
    }
  }

  at::Tensor Step(int64_t layer, const TorchHeads& heads) override {
    const at::Tensor query = grid_.Spread(heads.query).transpose(1, 2);  // [B, H, T, F]
    const at::Tensor key = grid_.Spread(heads.key).transpose(1, 2);
    const at::Tensor value = grid_.Spread(WithOne(heads.value)).transpose(1, 2);  // [.., V + 1]
    at::Tensor out = query.matmul(SumsOf(layer));
    if (grid_.most() == 1) {
      out += (query * key).sum(-1, /*keepdim=*/true) * value;
    } else {
      out += query.matmul(key.transpose(-1, -2)).tril().matmul(value);
    }
    if (settles_) {
      pool_.layer(kSums, layer).index_add_(0, blocks_, key.transpose(-1, -2).matmul(value));
    } else {
      keys_.push_back(key);
      values_.push_back(value);
    }
    return Quotient(grid_.Collect(out.transpose(1, 2)), shape_.floor);
  }

  void Append(int64_t layer, const TorchHeads& heads) override {
    const at::Tensor key = grid_.Spread(heads.key).permute({0, 2, 3, 1});  // [B, H, F, T]
    const at::Tensor value =
        grid_.Spread(WithOne(heads.value)).transpose(1, 2);  // [B, H, T, V + 1]
    pool_.layer(kSums, layer).index_add_(0, blocks_, key.matmul(value));
  }

  at::Tensor Attend(int64_t layer, const at::Tensor& query) override {
    const at::Tensor out = grid_.Spread(query).transpose(1, 2).matmul(SumsOf(layer));
    return Quotient(grid_.Collect(out.transpose(1, 2)), shape_.floor);
  }

  at::Tensor MostAttended(int64_t, const at::Tensor&, const TorchLook&) override {
    TORCH_CHECK(false, "linear attention needs no weights of positions");
  }

  void Close(const Kept& kept) override {
    if (!keys_.empty()) {
      const at::Tensor keys = at::stack(keys_);      // [L, B, H, T, F]
      const at::Tensor values = at::stack(values_);  // [L, B, H, T, V + 1]
      AddSettled(kept, keys, values);
      SetNewest(kept, keys, values);
    }
    for (size_t b = 0; b < states_.size(); ++b) {
      states_[b]->newest_ = kept.open[b] ? State::Newest::kProvisional : State::Newest::kNone;
      if (kept.open[b] || kept.settled[b] > 0) states_[b]->empty_ = false;
    }
  }

 private:
  void OwnBlocks() {
    DevicePool::Changes changes;
    for (State* state : states_) pool_.Own(!state->empty_, &state->block_, &changes);
    pool_.Apply(changes);
  }

  at::Tensor SumsOf(int64_t layer) const {  // [B, H, F, V + 1]
    return pool_.layer(kSums, layer).index_select(0, blocks_);
  }

  void AddSettled(const Kept& kept, const at::Tensor& keys, const at::Tensor& values) {
    const auto some = [](int64_t count) { return count > 0; };
    if (std::none_of(kept.settled.begin(), kept.settled.end(), some)) return;
    at::Tensor of_rows = keys;
    if (kept.settled != grid_.counts()) {
      const at::Tensor rows = at::arange(grid_.most(), blocks_.options());
      const at::Tensor stays = rows < pool_.context().Upload(kept.settled).unsqueeze(-1);
      of_rows = keys * stays.view({1, -1, 1, grid_.most(), 1});
    }
    pool_.part(kSums).index_add_(1, blocks_, of_rows.transpose(-1, -2).matmul(values));
  }

  void SetNewest(const Kept& kept, const at::Tensor& keys, const at::Tensor& values) {
    std::vector<int64_t> blocks, places;
    for (size_t b = 0; b < states_.size(); ++b) {
      if (!kept.open[b]) continue;
      blocks.push_back(states_[b]->block_->index());
      places.push_back(static_cast<int64_t>(b) * grid_.most() + kept.settled[b]);
    }
    if (blocks.empty()) return;
    const at::Tensor to = pool_.context().Upload(blocks);
    const at::Tensor from = pool_.context().Upload(places);
    const auto set = [&](Part part, const at::Tensor& all) {  // [L, B, H, T, ...]
      pool_.part(part).index_copy_(1, to, all.transpose(2, 3).flatten(1, 2).index_select(1, from));
    };
    set(kNewestKey, keys);
    set(kNewestValue, values);
  }

  const TorchShape& shape_;
  DevicePool& pool_;
  const RowGrid& grid_;
  const bool settles_;
  std::vector<State*> states_;
  at::Tensor blocks_;                      // [B]
  std::vector<at::Tensor> keys_, values_;  // Of each layer's Step(), unless all rows are settled.
};

TorchSums::TorchSums(const TorchShape& shape, bool steps, std::shared_ptr<TorchContext> context)
    : shape_(shape), pool_([&] {
        std::vector<DevicePool::Part> parts = {{{shape.heads, shape.F, shape.V + 1}}};
        if (steps) {
          parts.push_back({{shape.heads, shape.F}});
          parts.push_back({{shape.heads, shape.V + 1}});
        }
        return std::make_shared<DevicePool>(std::move(context), shape.layers, parts);
      }()) {}

std::unique_ptr<AttentionState> TorchSums::NewState() const {
  return std::make_unique<State>(*this);
}

std::unique_ptr<TorchPastCall> TorchSums::Open(absl::Span<AttentionState* const> states,
                                               const RowGrid& grid, Use use) const {
  return std::make_unique<Call>(*this, states, grid, use);
}

}  // namespace leapstream
