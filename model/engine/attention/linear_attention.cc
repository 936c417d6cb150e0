#include "model/engine/attention/linear_attention.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "base/check.h"
#include "model/engine/attention/state_bytes.h"
#include "model/engine/kernels/simd.h"

namespace leapstream {
namespace {

// The number of settled positions that are folded into the sums together. Each step reads the sums,
// but only every other one writes them, too. The positions take memory meanwhile: with a head of
// 64, states would be larger by 4 % with 4, and so that a huge page has room for fewer of them.
constexpr int64_t kFoldRows = 2;

}  // namespace

// The past of one block. At first it is rows: for each position and head, features [F] and value
// [V]. When there is no more room for rows, they are folded: the same memory then holds each head's
// sums, and only the newest positions are kept as rows, apart from the sums. They are folded
// together, kFoldRows at a time. Which positions are in the sums depends on their number alone,
// however they came.
//
//              memory()                        newest_               always
//   !folded_   rows of held_ positions         unused                settled_ <= held_ <= rows_
//   folded_    sums of all earlier positions   held_ positions       settled_ <= held_ <= newest
//
// Add() raises held_, and folds settled positions first if there are as many as are folded
// together. Settle() makes all held positions part of the past, Drop() forgets those that are not.
//
// Copies share a slot. A state whose slot others have, too, copies it before it writes there: see
// Own().
class LinearAttention::State : public AttentionState {
 public:
  explicit State(const LinearAttention& kind)
      : heads_(kind.heads_),
        head_floats_(kind.HeadFloats()),
        sum_floats_(kind.SumFloats()),
        width_(kind.F_ + kind.d_),
        rows_(kind.rows_),
        newest_(kind.newest_),
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
    const int64_t used = UsedFloats();
    for (int64_t h = 0; h < heads_; ++h) AppendFloats(memory() + h * head_floats_, used, bytes);
    if (folded_) AppendFloats(newest(), held_ * heads_ * width_, bytes);
  }
  bool Load(int64_t length, absl::string_view* bytes) override {
    Reset();
    Own();
    int64_t folded = 0;
    int64_t held = 0;
    if (!TakeNumber(bytes, 1, &folded)) return false;
    if (!TakeNumber(bytes, folded == 1 ? newest_ : rows_, &held)) return false;
    // A layer that shares its state has more positions than the text.
    if (folded == 0 && held < length) return false;
    folded_ = folded == 1;
    held_ = held;
    for (int64_t h = 0; h < heads_; ++h) {
      if (!TakeFloats(bytes, UsedFloats(), memory() + h * head_floats_)) return false;
    }
    if (folded_ && !TakeFloats(bytes, held_ * heads_ * width_, newest())) return false;
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
      : heads_(other.heads_),
        head_floats_(other.head_floats_),
        sum_floats_(other.sum_floats_),
        width_(other.width_),
        rows_(other.rows_),
        newest_(other.newest_),
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
    const int64_t used = UsedFloats();
    for (int64_t h = 0; h < heads_; ++h) {
      std::copy_n(memory() + h * head_floats_, used, own->floats() + h * head_floats_);
    }
    if (folded_) {
      std::copy_n(newest(), held_ * heads_ * width_, own->floats() + heads_ * head_floats_);
    }
    slot_ = std::move(own);
  }
  // The floats of one head in memory() that mean something.
  int64_t UsedFloats() const { return folded_ ? sum_floats_ : held_ * width_; }

  float* memory() const { return slot_->floats(); }  // [H, max(sums, rows)]
  // Once folded: the newest positions [.., H, F + V].
  float* newest() const { return slot_->floats() + heads_ * head_floats_; }

  const int64_t heads_;
  const int64_t head_floats_;
  const int64_t sum_floats_;
  const int64_t width_;
  const int64_t rows_;
  const int64_t newest_;
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
      rows_(options.rows.value_or(SumFloats() / (F_ + d_))),
      newest_(kFoldRows - 1 + options.provisional),
      arena_(std::make_shared<SlotArena>(heads_ * (HeadFloats() + newest_ * (F_ + d_)))) {}

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
    float* memory = state.memory() + h * HeadFloats();
    std::copy_n(memory, state.held_ * width, rows);
    std::fill_n(memory, SumFloats(), 0.0f);
    Simd().linear_fold(memory, F_, d_, {rows, state.settled_, width});
    // Positions that are not settled may still be dropped: they stay out of the sums.
    for (int64_t n = state.settled_; n < state.held_; ++n) {
      std::copy_n(rows + n * width, width,
                  state.newest() + ((n - state.settled_) * heads_ + h) * width);
    }
  }
  state.folded_ = true;
  state.held_ -= state.settled_;
  state.settled_ = 0;
}

void LinearAttention::FoldNewest(State& state) const {
  const int64_t width = F_ + d_;
  for (int64_t h = 0; h < heads_; ++h) {
    Simd().linear_fold(state.memory() + h * HeadFloats(), F_, d_,
                       {state.newest() + h * width, kFoldRows, heads_ * width});
  }
  const int64_t position = heads_ * width;
  std::copy(state.newest() + kFoldRows * position, state.newest() + state.held_ * position,
            state.newest());
  state.held_ -= kFoldRows;
  state.settled_ -= kFoldRows;
}

void LinearAttention::Add(const Row& row, State& state) const {
  state.Own();
  if (!state.folded_ && state.held_ >= rows_) FoldAll(state);
  if (state.folded_ && state.settled_ >= kFoldRows) FoldNewest(state);
  const int64_t width = F_ + d_;
  LEAPSTREAM_CHECK(!state.folded_ || state.held_ < newest_);
  for (int64_t h = 0; h < heads_; ++h) {
    float* to = state.folded_ ? state.newest() + (state.held_ * heads_ + h) * width
                              : state.memory() + h * HeadFloats() + state.held_ * width;
    std::copy_n(row.features + h * F_, F_, to);
    std::copy_n(row.values + h * d_, d_, to + F_);
  }
  ++state.held_;
}

void LinearAttention::AttendRow(const float* features, const State& state, float* out) const {
  const int64_t width = F_ + d_;
  std::fill_n(out, heads_ * d_, 0.0f);
  for (int64_t h = 0; h < heads_; ++h) {
    const float* const memory = state.memory() + h * HeadFloats();
    float* head_out = out + h * d_;
    const float* query = features + h * F_;
    float denominator = 0;
    HeadRows rows{memory, state.held_, width};
    if (state.folded_) {
      rows = {state.newest() + h * width, state.held_, heads_ * width};
      denominator = Simd().linear_attend(memory, F_, d_, query, head_out);
    }
    denominator += Simd().linear_attend_rows(rows, F_, d_, query, head_out);
    const float scale = 1.0f / std::max(denominator, floor_);
    for (int64_t j = 0; j < d_; ++j) head_out[j] *= scale;
  }
}

void LinearAttention::Append(const float* keys, const float* values,
                             absl::Span<const AttentionRow> rows, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  float* features = scratch.Floats(static_cast<int64_t>(rows.size()) * heads_ * F_);
  features_->Keys(keys, rows, features, scratch);
  OwnSlots(rows);
  ForEachRow(rows, [&](int64_t r) {
    auto& state = static_cast<State&>(*rows[r].state);
    Add({features + r * heads_ * F_, values + r * heads_ * d_}, state);
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
      AttendRow(features + r * heads_ * F_, static_cast<const State&>(*rows[r].state), row_out);
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
    const float* key = state.memory() + h * HeadFloats();
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
    Add({key + r * heads_ * F_, x.values + r * heads_ * d_}, state);
    AttendRow(query + r * heads_ * F_, state, out + r * heads_ * d_);
    if (past == StepPast::kSettled && !rows[r].provisional) state.Settle();
  });
}

Tensor LinearAttention::SumsForTest(const AttentionState& state) const {
  const auto& own = static_cast<const State&>(state);
  const int64_t width = F_ + d_;
  std::vector<float> sums(heads_ * SumFloats());
  for (int64_t h = 0; h < heads_; ++h) {
    float* out = sums.data() + h * SumFloats();
    const float* memory = own.memory() + h * HeadFloats();
    HeadRows rows{memory, own.held_, width};
    if (own.folded_) {
      std::copy_n(memory, SumFloats(), out);
      rows = {own.newest() + h * width, own.held_, heads_ * width};
    }
    Simd().linear_fold(out, F_, d_, rows);
  }
  return {{heads_, SumFloats()}, std::move(sums)};
}

}  // namespace leapstream
