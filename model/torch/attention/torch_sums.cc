#include "model/torch/attention/torch_sums.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include "model/engine/attention/state_bytes.h"
#include "model/torch/torch_call.h"

namespace leapstream {

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
    held_ = 0;
    open_ = false;
  }
  void Settle() override {
    if (open_) ++held_;
    open_ = false;
  }
  void Drop() override { open_ = false; }
  int64_t bytes() const override {
    return static_cast<int64_t>(sizeof(State)) + block_->bytes() / block_.use_count();
  }
  std::unique_ptr<AttentionState> Clone() const override { return std::make_unique<State>(*this); }
  void CopyFrom(const AttentionState& any) override {
    const auto& other = static_cast<const State&>(any);
    block_ = other.block_;
    empty_ = other.empty_;
    held_ = other.held_;
    open_ = other.open_;
  }
  // In the form of LinearAttention's states, folded and without newest positions.
  void Save(std::string* bytes) const override;
  bool Load(int64_t length, absl::string_view* bytes) override;

 private:
  friend class TorchSums;
  // One layer's sums, the held positions included, on the processor.
  at::Tensor SumsOf(int64_t l) const;
  bool LoadLayer(int64_t length, absl::string_view* bytes, float* sums) const;

  const TorchShape shape_;
  const std::shared_ptr<DevicePool> pool_;
  DevicePool::BlockPointer block_;
  bool empty_ = true;  // The block's numbers mean nothing.
  int64_t held_ = 0;   // The settled positions that are not in the sums.
  bool open_ = false;  // Whether a provisional position is behind them.
};

at::Tensor TorchSums::State::SumsOf(int64_t l) const {
  const at::Tensor table = pool_->layer(kTable, l).select(0, block_->index());
  at::Tensor sums = table.narrow(1, 0, shape_.F);
  if (empty_) {
    sums = at::zeros_like(sums);
  } else if (held_ > 0) {
    const at::Tensor keys = pool_->layer(kKeys, l).select(0, block_->index()).narrow(1, 0, held_);
    sums = sums + keys.transpose(1, 2).matmul(table.narrow(1, shape_.F, held_));
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
    pool_->part(kTable)
        .select(1, block_->index())
        .narrow(2, 0, shape_.F)
        .copy_(pool_->context().Upload(sums.data(),
                                       {shape_.layers, shape_.heads, shape_.F, shape_.V + 1}));
    return absl::OkStatus();
  });
  empty_ = !status.ok();
  return status.ok();
}

// Rows come one a session, or some sessions have several. One row is held, and reads the table
// where it lies. Several are a grid; the sums are gathered for them, and no row is held.
class TorchSums::Call : public TorchPastCall {
 public:
  Call(const TorchSums& kind, absl::Span<AttentionState* const> states, const RowGrid& grid,
       Use use)
      : kind_(kind), pool_(*kind.pool_), grid_(grid), settles_(use == Use::kSettles) {
    for (AttentionState* state : states) states_.push_back(static_cast<State*>(state));
    if (use != Use::kReads) MakeRoom();
    std::vector<int64_t> blocks;
    for (const State* state : states_) {
      TORCH_CHECK(use != Use::kReads || !state->empty_, "there is no past to attend to");
      blocks.push_back(state->block_->index());
    }
    blocks_ = pool_.context().Upload(blocks);
    if (HasOneRow()) FindPlaces(use != Use::kReads);
  }

  at::Tensor Step(int64_t layer, const TorchHeads& heads) override {
    if (HasOneRow()) {
      Hold(layer, heads);
      return Read(layer, heads.query);
    }
    const at::Tensor query = grid_.Spread(heads.query).transpose(1, 2);  // [B, H, T, F]
    const at::Tensor key = grid_.Spread(heads.key).transpose(1, 2);
    const at::Tensor value = grid_.Spread(heads.value).transpose(1, 2);  // [B, H, T, V + 1]
    const at::Tensor sums = Gathered(kTable, layer).narrow(2, 0, kind_.shape_.F);
    // Later rows have weight 0, so one that is not finite spoils those before it.
    const at::Tensor out =
        query.matmul(sums) + query.matmul(key.transpose(-1, -2)).tril().matmul(value);
    if (settles_) {
      kind_.Add(layer, blocks_, key, value);
    } else {
      keys_.push_back(key);
      values_.push_back(value);
    }
    return Quotient(grid_.Collect(out.transpose(1, 2)), kind_.shape_.floor);
  }

  void Append(int64_t layer, const TorchHeads& heads) override {
    if (HasOneRow()) return Hold(layer, heads);
    kind_.Add(layer, blocks_, grid_.Spread(heads.key).transpose(1, 2),
              grid_.Spread(heads.value).transpose(1, 2));
  }

  at::Tensor Attend(int64_t layer, const at::Tensor& query) override {
    if (HasOneRow()) return Read(layer, query);
    const at::Tensor grid = grid_.Spread(query).transpose(1, 2);
    const at::Tensor of_held = grid.matmul(Gathered(kKeys, layer).transpose(-1, -2));
    const at::Tensor out = at::cat({grid, of_held}, -1).matmul(Gathered(kTable, layer));
    return Quotient(grid_.Collect(out.transpose(1, 2)), kind_.shape_.floor);
  }

  at::Tensor MostAttended(int64_t, const at::Tensor&, const TorchLook&) override {
    TORCH_CHECK(false, "linear attention needs no weights of positions");
  }

  void Close(const Kept& kept) override {
    const bool held = HasOneRow();
    if (!keys_.empty()) {
      GiveUp(kept.given_up);
      AddSettled(kept);
      SetOpen(kept);
    }
    for (size_t b = 0; b < states_.size(); ++b) {
      if (held) states_[b]->held_ += kept.settled[b];
      states_[b]->open_ = kept.open[b];
      if (kept.open[b] || kept.settled[b] > 0) states_[b]->empty_ = false;
    }
  }

 private:
  bool HasOneRow() const { return grid_.most() == 1; }

  // Makes the blocks the sessions' own, with a free place for a row, or with all places free.
  void MakeRoom() {
    DevicePool::Changes changes;
    for (State* state : states_) pool_.Own(!state->empty_, &state->block_, &changes);
    pool_.Apply(changes);
    std::vector<int64_t> blocks, held;
    for (State* state : states_) {
      if (state->held_ < (HasOneRow() ? kHeld : 1)) continue;
      blocks.push_back(state->block_->index());
      held.push_back(std::exchange(state->held_, 0));
    }
    kind_.Fold(blocks, held);
  }

  // Finds the rows of the table that each session's heads read and, if it `holds` a row, that they
  // write.
  void FindPlaces(bool holds) {
    const TorchShape& shape = kind_.shape_;
    const int64_t rows = shape.F + kHeld;
    const at::TensorOptions options = blocks_.options();
    const at::Tensor heads =
        (blocks_.unsqueeze(-1) * shape.heads + at::arange(shape.heads, options)).view({-1, 1});
    read_ = (heads * rows + at::arange(rows, options)).flatten();
    bags_ = at::arange(0, read_.numel(), rows, options);
    if (!holds) return;
    std::vector<int64_t> held;
    for (const State* state : states_) held.push_back(state->held_);
    const at::Tensor places =
        pool_.context().Upload(held).unsqueeze(-1).expand({-1, shape.heads}).reshape({-1, 1});
    value_places_ = (heads * rows + shape.F + places).flatten();
    key_places_ = (heads * kHeld + places).flatten();
  }

  at::Tensor Gathered(Part part, int64_t layer) const {  // [B, H, ...]
    return pool_.layer(part, layer).index_select(0, blocks_);
  }

  void Hold(int64_t layer, const TorchHeads& heads) {
    const auto write = [&](Part part, const at::Tensor& places, const at::Tensor& rows) {
      const int64_t width = rows.size(-1);
      pool_.layer(part, layer).view({-1, width}).index_copy_(0, places, rows.reshape({-1, width}));
    };
    write(kTable, value_places_, heads.value);
    write(kKeys, key_places_, heads.key);
  }

  // The rows' queries [B, H, F] times the sums, plus the held values by their keys' energies. Each
  // head's row is a weighted sum of rows of the table, which embedding_bag() reads in place.
  at::Tensor Read(int64_t layer, const at::Tensor& query) const {
    const int64_t F = kind_.shape_.F;
    const at::Tensor flat = query.reshape({-1, F});
    const at::Tensor keys = Gathered(kKeys, layer).view({-1, kHeld, F});
    const at::Tensor weights = at::cat({flat, keys.bmm(flat.unsqueeze(-1)).squeeze(-1)}, -1);
    const at::Tensor out =
        std::get<0>(at::embedding_bag(pool_.layer(kTable, layer).view({-1, kind_.shape_.V + 1}),
                                      read_, bags_, /*scale_grad_by_freq=*/false, /*mode: sum*/ 0,
                                      /*sparse=*/false, weights.flatten()));
    return Quotient(out.view({query.size(0), kind_.shape_.heads, -1}), kind_.shape_.floor);
  }

  // Makes the rows of these sessions add nothing to any sums.
  void GiveUp(const std::vector<int64_t>& sessions) {
    if (sessions.empty()) return;
    const at::Tensor places = pool_.context().Upload(sessions);
    for (std::vector<at::Tensor>* const of_layers : {&keys_, &values_}) {
      for (at::Tensor& rows : *of_layers) rows = rows.index_fill(0, places, 0);
    }
  }

  void AddSettled(const Kept& kept) {
    const auto some = [](int64_t count) { return count > 0; };
    if (std::none_of(kept.settled.begin(), kept.settled.end(), some)) return;
    at::Tensor stays;
    if (kept.settled != grid_.counts()) {
      const at::Tensor rows = at::arange(grid_.most(), blocks_.options());
      stays = (rows < pool_.context().Upload(kept.settled).unsqueeze(-1))
                  .view({-1, 1, grid_.most(), 1});
    }
    for (size_t l = 0; l < keys_.size(); ++l) {
      kind_.Add(static_cast<int64_t>(l), blocks_, stays.defined() ? keys_[l] * stays : keys_[l],
                values_[l]);
    }
  }

  // Holds the open rows, in first places.
  void SetOpen(const Kept& kept) {
    std::vector<int64_t> blocks, rows;
    for (size_t b = 0; b < states_.size(); ++b) {
      if (!kept.open[b]) continue;
      blocks.push_back(states_[b]->block_->index());
      rows.push_back(static_cast<int64_t>(b) * grid_.most() + kept.settled[b]);
    }
    if (blocks.empty()) return;
    const at::Tensor to = pool_.context().Upload(blocks);
    const at::Tensor from = pool_.context().Upload(rows);
    const auto set = [&](Part part, int64_t place, const std::vector<at::Tensor>& of_layers) {
      const at::Tensor all = at::stack(of_layers);  // [L, B, H, T, ...]
      pool_.part(part).select(3, place).index_copy_(
          1, to, all.transpose(2, 3).flatten(1, 2).index_select(1, from));
    };
    set(kKeys, 0, keys_);
    set(kTable, kind_.shape_.F, values_);
  }

  const TorchSums& kind_;
  DevicePool& pool_;
  const RowGrid& grid_;
  const bool settles_;
  std::vector<State*> states_;
  at::Tensor blocks_;                      // [B]
  at::Tensor read_, bags_;                 // [B H (F + kHeld)], and where each head's begin: [B H].
  at::Tensor value_places_, key_places_;   // [B H]
  std::vector<at::Tensor> keys_, values_;  // Of each layer's Step() of several rows, unless all are
                                           // settled.
};

TorchSums::TorchSums(const TorchShape& shape, std::shared_ptr<TorchContext> context)
    : shape_(shape),
      pool_(std::make_shared<DevicePool>(
          std::move(context), shape.layers,
          std::vector<DevicePool::Part>{{{shape.heads, shape.F + kHeld, shape.V + 1}},
                                        {{shape.heads, kHeld, shape.F}}})) {}

void TorchSums::Fold(const std::vector<int64_t>& blocks, const std::vector<int64_t>& held) const {
  if (blocks.empty()) return;
  const at::Tensor of = pool_->context().Upload(blocks);
  at::Tensor counts;
  const auto all = [](int64_t count) { return count == kHeld; };
  if (!std::all_of(held.begin(), held.end(), all)) {
    counts = (at::arange(kHeld, of.options()) < pool_->context().Upload(held).unsqueeze(-1))
                 .view({-1, 1, kHeld, 1});
  }
  for (int64_t l = 0; l < shape_.layers; ++l) {
    const at::Tensor keys = pool_->layer(kKeys, l).index_select(0, of);
    Add(l, of, counts.defined() ? keys * counts : keys,
        pool_->layer(kTable, l).narrow(2, shape_.F, kHeld).index_select(0, of));
  }
  pool_->part(kKeys).index_fill_(1, of, 0);
}

void TorchSums::Add(int64_t layer, const at::Tensor& blocks, const at::Tensor& keys,
                    const at::Tensor& values) const {
  const at::Tensor all = pool_->layer(kTable, layer);
  const at::Tensor tables = all.index_select(0, blocks);
  const int64_t T = keys.size(2);
  tables.view({-1, all.size(2), all.size(3)})
      .narrow(1, 0, shape_.F)
      .baddbmm_(keys.reshape({-1, T, shape_.F}).transpose(1, 2),
                values.reshape({-1, T, shape_.V + 1}));
  at::Tensor(all).index_copy_(0, blocks, tables);
}

std::unique_ptr<AttentionState> TorchSums::NewState() const {
  return std::make_unique<State>(*this);
}

std::unique_ptr<TorchPastCall> TorchSums::Open(absl::Span<AttentionState* const> states,
                                               const RowGrid& grid, Use use) const {
  return std::make_unique<Call>(*this, states, grid, use);
}

}  // namespace leapstream
