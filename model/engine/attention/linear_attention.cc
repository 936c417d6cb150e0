#include "model/engine/attention/linear_attention.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "base/check.h"
#include "model/engine/attention/state_bytes.h"
#include "model/engine/kernels/simd.h"

namespace leapstream {

// The past of one block. At first it is rows: for each position and head, features [F] and value
// [V]. When there is no more room for rows, they are folded: the same memory then holds each head's
// sums, and only the newest positions are kept as rows, apart from the sums. They are folded
// together, kFoldRows at a time, by the first query after them, since it goes through the sums
// anyway: each step reads the sums once, and every other one writes them, too. (With four at a time
// every fourth would, which is no faster, and states would be larger.) Which positions are in
// the sums when a query sees them depends on the number of positions alone, however they came.
//
//              memory()                        newest()              always
//   !folded_   rows of held_ positions         unused                settled_ <= held_ <= rows_
//   folded_    sums of all earlier positions   held_ positions       settled_ <= held_ <= newest_
//
// Settle() makes all held positions part of the past, Drop() forgets those that are not.
//
// Copies share a slot. A state whose slot others have, too, copies it before a position is added:
// see Own(). Queries to such a state fold positions only for themselves.
class LinearAttention::State : public AttentionState {
 public:
  explicit State(const LinearAttention& kind)
      : kind_(kind),
        width_(kind.F_ + kind.d_),
        slot_(std::make_shared<SlotArena::Slot>(kind.arena_)) {}

  void Reset() override {
    folded_ = false;
    held_ = 0;
    settled_ = 0;
  }
  void Settle() override { settled_ = held_; }
  void Drop() override { held_ = settled_; }
  std::unique_ptr<AttentionState> Clone() const override {
    return std::unique_ptr<AttentionState>(new State(*this));
  }
  void CopyFrom(const AttentionState& any) override {
    const auto& other = static_cast<const State&>(any);
    if (slot_.use_count() == 1 && spare_ == nullptr) spare_ = std::move(slot_);
    slot_ = other.slot_;
    folded_ = other.folded_;
    held_ = other.held_;
    settled_ = other.settled_;
  }
  // Folded or not, the held positions and, if folded, the sums: as they lie in memory.
  void Save(std::string* bytes) const override {
    AppendNumber(folded_ ? 1 : 0, bytes);
    AppendNumber(held_, bytes);
    for (int64_t h = 0; h < kind_.heads_; ++h) AppendFloats(memory(h), UsedFloats(), bytes);
    for (int64_t n = 0; n < Newest(); ++n) {
      for (int64_t h = 0; h < kind_.heads_; ++h)
        AppendFloats(newest(h) + n * width_, width_, bytes);
    }
  }
  bool Load(int64_t length, absl::string_view* bytes) override {
    Reset();
    Own();
    int64_t folded = 0;
    int64_t held = 0;
    if (!TakeNumber(bytes, 1, &folded)) return false;
    if (!TakeNumber(bytes, folded == 1 ? kind_.newest_ : kind_.rows_, &held)) return false;
    // A layer that shares its state has more positions than the text.
    if (folded == 0 && held < length) return false;
    folded_ = folded == 1;
    held_ = held;
    const int64_t halves = folded_ ? kind_.HalfFloats() : 0;
    for (int64_t h = 0; h < kind_.heads_; ++h) {
      if (!TakeHalves(bytes, 2 * halves, memory(h))) return false;
      if (!TakeFloats(bytes, UsedFloats() - halves, memory(h) + halves)) return false;
    }
    for (int64_t n = 0; n < Newest(); ++n) {
      for (int64_t h = 0; h < kind_.heads_; ++h) {
        if (!TakeFloats(bytes, width_, newest(h) + n * width_)) return false;
      }
    }
    Settle();
    return true;
  }
  int64_t bytes() const override {
    const int64_t slot = slot_->size() * static_cast<int64_t>(sizeof(float));
    return static_cast<int64_t>(sizeof(State)) + slot / slot_.use_count() +
           (spare_ != nullptr ? slot : 0);
  }

 private:
  friend class LinearAttention;
  State(const State& other)
      : kind_(other.kind_),
        width_(other.width_),
        slot_(other.slot_),
        folded_(other.folded_),
        held_(other.held_),
        settled_(other.settled_) {}

  // Makes the slot this state's own. Must be called before it is written to; for states that
  // several threads serve, on one thread.
  void Own() {
    if (slot_.use_count() == 1) return;
    std::shared_ptr<SlotArena::Slot> own = std::move(spare_);
    if (own == nullptr) own = std::make_shared<SlotArena::Slot>(slot_->arena());
    const std::shared_ptr<SlotArena::Slot> shared = std::move(slot_);
    slot_ = std::move(own);
    for (int64_t h = 0; h < kind_.heads_; ++h) {
      const float* const from = shared->floats() + (memory(h) - slot_->floats());
      std::copy_n(from, UsedFloats(), memory(h));
      std::copy_n(from + kind_.HeadFloats(), Newest() * width_, newest(h));
    }
  }
  // The floats of one head in memory() that mean something.
  int64_t UsedFloats() const { return folded_ ? kind_.SumFloats() : held_ * width_; }
  // The number of positions in newest().
  int64_t Newest() const { return folded_ ? held_ : 0; }

  // A head's rows [.., F + V], or its sums; and behind them its newest positions [.., F + V].
  float* memory(int64_t h) const { return slot_->floats() + h * kind_.HeadSlotFloats(); }
  float* newest(int64_t h) const { return memory(h) + kind_.HeadFloats(); }
  // The sums, once there are any.
  HeadSums sums(int64_t h) const { return {memory(h), kind_.F_, kind_.d_}; }
  // The held positions of a head, but for the first `from`.
  HeadRows rows(int64_t h, int64_t from = 0) const {
    return {(folded_ ? newest(h) : memory(h)) + from * width_, held_ - from, width_};
  }

  const LinearAttention& kind_;  // The destructor does not need it.
  const int64_t width_;
  std::shared_ptr<SlotArena::Slot> slot_;
  std::shared_ptr<SlotArena::Slot> spare_;  // A slot of its own that CopyFrom() has freed, or null.
  bool folded_ = false;
  int64_t held_ = 0;     // The number of positions that are not in the sums.
  int64_t settled_ = 0;  // The number of held positions that are part of the past.
};

LinearAttention::LinearAttention(std::unique_ptr<const FeatureMap> features, LinearOptions options)
    : features_(std::move(features)),
      F_(features_->width()),
      heads_(options.heads),
      d_(options.d),
      floor_(options.floor),
      state_type_(options.state_type),
      kernels_(state_type_ == StateType::kFloat16 ? Simd().half_sums : Simd().float_sums),
      rows_(options.rows.value_or(SumFloats() / (F_ + d_))),
      newest_(kFoldRows - 1 + options.provisional),
      arena_(std::make_shared<SlotArena>(heads_ * HeadSlotFloats())) {}

std::unique_ptr<AttentionState> LinearAttention::NewState() const {
  return std::make_unique<State>(*this);
}

void LinearAttention::OwnSlots(absl::Span<const AttentionRow> rows) {
  // Those with a slot to spare leave the shared one to the others, so that none is allocated.
  for (const bool spare : {true, false}) {
    for (const AttentionRow& row : rows) {
      auto* const state = static_cast<State*>(row.state);
      if (state != nullptr && (state->spare_ != nullptr) == spare) state->Own();
    }
  }
}

void LinearAttention::FoldAll(State& state) const {
  static thread_local std::vector<float> copies;  // It never shrinks.
  const int64_t width = F_ + d_;
  if (static_cast<int64_t>(copies.size()) < state.held_ * width) copies.resize(state.held_ * width);
  float* rows = copies.data();
  for (int64_t h = 0; h < heads_; ++h) {
    std::copy_n(state.memory(h), state.held_ * width, rows);
    std::fill_n(state.memory(h), SumFloats(), 0.0f);
    kernels_.fold(state.sums(h), {rows, state.settled_, width});
    // Positions that are not settled may still be dropped: they stay out of the sums.
    std::copy(rows + state.settled_ * width, rows + state.held_ * width, state.newest(h));
  }
  state.folded_ = true;
  state.held_ -= state.settled_;
  state.settled_ = 0;
}

void LinearAttention::FoldNewest(State& state) const {
  for (int64_t h = 0; h < heads_; ++h) {
    kernels_.fold(state.sums(h), {state.newest(h), kFoldRows, F_ + d_});
    DropFolded(state, h);
  }
  state.held_ -= kFoldRows;
  state.settled_ -= kFoldRows;
}

void LinearAttention::DropFolded(const State& state, int64_t h) const {
  const HeadRows kept = state.rows(h, kFoldRows);
  std::copy_n(kept.rows, kept.count * kept.stride, state.newest(h));
}

void LinearAttention::Put(const Row& row, int64_t h, float* to) const {
  std::copy_n(row.features + h * F_, F_, to);
  std::copy_n(row.values + h * d_, d_, to + F_);
}

void LinearAttention::Prefetch(const State& state, int64_t h) const {
  if (!state.folded_) return;
  const float* const keys = state.memory(h) + SumFloats() - F_;
  const float* const end = state.newest(h) + state.held_ * (F_ + d_);
  for (const float* at = keys; at < end; at += 64 / sizeof(float)) __builtin_prefetch(at);
}

void LinearAttention::AttendRow(const float* features, const Row* add, State& state,
                                float* out) const {
  if (add != nullptr && !state.folded_ && state.held_ >= rows_) FoldAll(state);
  const bool folds = state.folded_ && state.settled_ >= kFoldRows;
  // Others who have this slot fold the same positions, each for itself.
  const bool stores = folds && state.slot_.use_count() == 1;
  const FoldResult result = stores ? FoldResult::kStored : FoldResult::kForgotten;
  LEAPSTREAM_CHECK(add == nullptr ||
                   state.held_ - (folds ? kFoldRows : 0) < (state.folded_ ? newest_ : rows_));
  std::fill_n(out, heads_ * d_, 0.0f);
  for (int64_t h = 0; h < heads_; ++h) {
    float* head_out = out + h * d_;
    const float* query = features + h * F_;
    float denominator = 0;
    HeadRows rows = state.rows(h, folds ? kFoldRows : 0);
    if (h + 1 < heads_) Prefetch(state, h + 1);
    if (folds) {
      denominator = kernels_.fold_and_attend(
          state.sums(h), {state.newest(h), kFoldRows, rows.stride}, result, query, head_out);
    } else if (state.folded_) {
      denominator = kernels_.attend(state.sums(h), query, head_out);
    }
    if (stores) {
      DropFolded(state, h);
      rows.rows = state.newest(h);
    }
    if (add != nullptr) {
      Put(*add, h, const_cast<float*>(rows.rows) + rows.count * rows.stride);
      ++rows.count;
    }
    denominator += Simd().linear_attend_rows(rows, F_, d_, query, head_out);
    const float scale = 1.0f / std::max(denominator, floor_);
    for (int64_t j = 0; j < d_; ++j) head_out[j] *= scale;
  }
  if (stores) {
    state.held_ -= kFoldRows;
    state.settled_ -= kFoldRows;
  }
  if (add != nullptr) ++state.held_;
}

void LinearAttention::Append(const float* keys, const float* values,
                             absl::Span<const AttentionRow> rows, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  float* features = scratch.Floats(static_cast<int64_t>(rows.size()) * heads_ * F_);
  features_->Keys(keys, rows, features, scratch);
  OwnSlots(rows);
  ForEachRow(rows, [&](int64_t r) {
    auto& state = static_cast<State&>(*rows[r].state);
    if (!state.folded_ && state.held_ >= rows_) FoldAll(state);
    if (state.folded_ && state.held_ >= newest_) FoldNewest(state);
    const Row row{features + r * heads_ * F_, values + r * heads_ * d_};
    for (int64_t h = 0; h < heads_; ++h) {
      const HeadRows held = state.rows(h);
      Put(row, h, const_cast<float*>(held.rows) + held.count * held.stride);
    }
    ++state.held_;
    state.Settle();
  });
}

void LinearAttention::Attend(const float* queries, absl::Span<const AttentionRow> rows, float* out,
                             Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  float* features = scratch.Floats(static_cast<int64_t>(rows.size()) * heads_ * F_);
  features_->Queries(queries, rows, features, scratch);
  ForEachRow(rows, [&](int64_t r) {
    float* row_out = out + r * heads_ * d_;
    if (rows[r].state == nullptr) {
      std::fill_n(row_out, heads_ * d_, 0.0f);
    } else {
      AttendRow(features + r * heads_ * F_, nullptr, static_cast<State&>(*rows[r].state), row_out);
    }
  });
}

int64_t LinearAttention::AddWeights(const float* queries, const AttentionRow& row,
                                    absl::Span<const int> heads, std::vector<float>* sums,
                                    Workspace& scratch) const {
  const auto& state = static_cast<const State&>(*row.state);
  if (state.folded_) return kNoWeights;
  const Workspace::Scope scope(scratch);
  float* features = scratch.Floats(heads_ * F_);
  features_->Queries(queries, {row}, features, scratch);
  std::vector<float> energies(static_cast<size_t>(state.held_));
  sums->assign(energies.size(), 0.0f);
  for (const int h : heads) {
    const float* const query = features + h * F_;
    const float* key = state.memory(h);
    float total = 0;
    for (float& energy : energies) {
      energy = std::inner_product(query, query + F_, key, 0.0f);
      total += energy;
      key += F_ + d_;
    }
    const float scale = 1.0f / std::max(total, kTinyNormaliserFloor);
    for (size_t p = 0; p < energies.size(); ++p) (*sums)[p] += energies[p] * scale;
  }
  return state.held_;
}

void LinearAttention::Step(const Projected& x, absl::Span<const AttentionRow> rows, StepPast past,
                           float* out, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const auto count = static_cast<int64_t>(rows.size());
  float* query = scratch.Floats(count * heads_ * F_);
  float* key = scratch.Floats(count * heads_ * F_);
  features_->Queries(x.queries, rows, query, scratch);
  features_->Keys(x.keys, rows, key, scratch);
  OwnSlots(rows);
  ForEachRow(rows, [&](int64_t r) {
    auto& state = static_cast<State&>(*rows[r].state);
    const Row row{key + r * heads_ * F_, x.values + r * heads_ * d_};
    AttendRow(query + r * heads_ * F_, &row, state, out + r * heads_ * d_);
    if (past == StepPast::kSettled && !rows[r].provisional) state.Settle();
  });
}

Tensor LinearAttention::SumsForTest(const AttentionState& state) const {
  const auto& own = static_cast<const State&>(state);
  const int64_t sums = F_ * (d_ + 1);
  std::vector<float> all(heads_ * sums);
  for (int64_t h = 0; h < heads_; ++h) {
    float* const out = all.data() + h * sums;
    for (int64_t i = 0; own.folded_ && i < F_; ++i) {
      std::vector<float> query(F_);
      query[i] = 1;
      out[F_ * d_ + i] = kernels_.attend(own.sums(h), query.data(), out + i * d_);
    }
    Simd().float_sums.fold({out, F_, d_}, own.rows(h));
  }
  return {{heads_, sums}, std::move(all)};
}

}  // namespace leapstream
