#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_ATTENTION_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_ATTENTION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/parallel.h"

namespace leapstream {

// The past of one attention block in a segment. A value that its session owns.
class AttentionState {
 public:
  virtual ~AttentionState() = default;
  // Forgets all positions. Keeps the memory.
  virtual void Reset() = 0;
  // Forgets the source, which is about to be appended anew, whole. A learned policy's heads stay
  // where they are.
  virtual void ForgetSource() { Reset(); }
  // AttentionKind::Step() adds a position provisionally: Settle() makes it part of the past, Drop()
  // takes it back. Both do the same with the moves of a learned policy's heads.
  virtual void Settle() = 0;
  virtual void Drop() = 0;
  // Makes the first `settled` of the provisional positions part of the past, keeps the one after them
  // and takes back the others. REQUIRES: AttentionKind::can_keep().
  virtual void Keep(int64_t /*settled*/) {}
  // Whether a head of a learned policy wants to see more of the source first. Valid after Attend().
  virtual bool wants_source() const { return false; }
  virtual int64_t bytes() const = 0;  // Memory that n states share counts as an nth.
  // A copy that goes on by itself. The two share memory until one of them changes what lies there.
  virtual std::unique_ptr<AttentionState> Clone() const = 0;
  // Becomes what other.Clone() would be. `other`: a state of the same kind.
  virtual void CopyFrom(const AttentionState& other) = 0;
  // Appends the state as bytes, which Load() of a state of the same block takes again: see
  // state_bytes.h. REQUIRES: no position is provisional. Only kinds with Step() have these two.
  virtual void Save(std::string* /*bytes*/) const {}
  // Takes the bytes from the beginning of *bytes. False: they are not those of a state of `length`
  // positions of this block; then the state is good for Reset() alone.
  virtual bool Load(int64_t /*length*/, absl::string_view* /*bytes*/) { return false; }
};

// One row: its state, which may be null, and its position in the segment, from 0.
struct AttentionRow {
  AttentionState* state = nullptr;
  int position = 0;
  bool provisional = false;  // Step() adds the row provisionally, whatever it does with the others.
};

// Calls f(begin, end) for each run of rows of one state. A row without a state is a run by itself.
template <typename F>
void ForEachRun(absl::Span<const AttentionRow> rows, const F& f) {
  const auto count = static_cast<int64_t>(rows.size());
  ParallelFor(count, /*grain=*/1, [&](int64_t begin, int64_t end) {
    // All rows of a state belong to the part that has the first of these rows.
    const auto goes_on = [&](int64_t r) {
      return r > 0 && r < count && rows[r].state != nullptr && rows[r].state == rows[r - 1].state;
    };
    while (begin < end && goes_on(begin)) ++begin;
    if (begin == end) return;
    while (goes_on(end)) ++end;
    while (begin < end) {
      int64_t next = begin + 1;
      while (goes_on(next)) ++next;
      f(begin, next);
      begin = next;
    }
  });
}

// Calls f(r) for each row; for the rows of one state on one thread, in order.
template <typename F>
void ForEachRow(absl::Span<const AttentionRow> rows, const F& f) {
  ForEachRun(rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f(r);
  });
}

// The state of the positions that Step() adds: settled at once, as an encoder's, or provisional
// until the caller settles or drops them.
enum class StepPast { kSettled, kProvisional };

// A kind of attention: the operations between the projections of one block, with the weights that
// the kind itself has. Const and thread-safe. Rows are float32, after projection and bias; queries
// are not scaled yet. Queries and keys are [R, H, K], values [R, H, V], with K = V = E / H unless a
// kind says otherwise. Rows of one state are in order. Rows of different states do not see each
// other, so that a row's result is, to the bit, the same in any batch. `scratch` is the caller's.
class AttentionKind {
 public:
  virtual ~AttentionKind() = default;
  virtual std::unique_ptr<AttentionState> NewState() const = 0;
  // Whether states may have several provisional positions, for AttentionState::Keep().
  virtual bool can_keep() const { return false; }
  // Takes memory for so many states at once, as far as their size is known before.
  virtual void Reserve(int64_t /*states*/) const {}

  // Adds positions for good: row r to *rows[r].state.
  virtual void Append(const float* keys, const float* values, absl::Span<const AttentionRow> rows,
                      Workspace& scratch) const = 0;
  // Row r attends to all positions of its state; a row without a state attends to nothing. out:
  // [R, H, V].
  virtual void Attend(const float* queries, absl::Span<const AttentionRow> rows, float* out,
                      Workspace& scratch) const = 0;
  // Adds the weights with which one row attends to the positions of its state, of each of `heads`,
  // to `sums`: [positions], and returns how many there are. kNoWeights: the state does not have them.
  // `queries`: the row's.
  static constexpr int64_t kNoWeights = -1;
  virtual int64_t AddWeights(const float* /*queries*/, const AttentionRow& /*row*/,
                             absl::Span<const int> /*heads*/, std::vector<float>* /*sums*/,
                             Workspace& /*scratch*/) const {
    return kNoWeights;
  }
  // Causal self-attention: each row in turn is added to its state and attends. Not every kind has
  // it.
  struct Projected {
    const float* queries;
    const float* keys;
    const float* values;
  };
  virtual void Step(const Projected& x, absl::Span<const AttentionRow> rows, StepPast past,
                    float* out, Workspace& scratch) const = 0;
};

// An attention block: projections around a kind. Takes rows x [R, E], contiguous float32, and adds
// its result to y [R, E].
class Attention {
 public:
  struct Projections {
    PackedLinear query;
    PackedLinear key;
    PackedLinear value;
    PackedLinear output;
  };
  Attention(Projections projections, std::unique_ptr<const AttentionKind> kind)
      : projections_(std::move(projections)), kind_(std::move(kind)) {}

  std::unique_ptr<AttentionState> NewState() const { return kind_->NewState(); }

  void Step(const float* x, absl::Span<const AttentionRow> rows, StepPast past, float* y,
            Workspace& scratch) const;
  // x: [R, width of the encoder].
  void Append(const float* x, absl::Span<const AttentionRow> rows, Workspace& scratch) const;
  void Attend(const float* x, absl::Span<const AttentionRow> rows, float* y,
              Workspace& scratch) const;

  // See AttentionKind::AddWeights(). x: one row [E].
  int64_t AddWeights(const float* x, const AttentionRow& row, absl::Span<const int> heads,
                     std::vector<float>* sums, Workspace& scratch) const;

  // Cross-attention of target rows that see different lengths of their source. Target row r sees,
  // of its own state, the first seen[r] source rows of this batch and no later ones. The results
  // are, to the bit, those of Append() and Attend() called by turns. `sources`: [S, width of the
  // encoder], rows of one state together, states in the order of `rows`. A target row without a
  // state attends to nothing.
  void AppendAndAttend(const float* sources, absl::Span<const AttentionRow> source_rows,
                       const float* x, absl::Span<const AttentionRow> rows,
                       absl::Span<const int64_t> seen, float* y, Workspace& scratch) const;

  const Projections& projections() const { return projections_; }
  const AttentionKind& kind() const { return *kind_; }

 private:
  Projections projections_;
  std::unique_ptr<const AttentionKind> kind_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_ATTENTION_H_
