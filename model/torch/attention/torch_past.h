#ifndef LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_PAST_H_
#define LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_PAST_H_

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/engine/attention/attention.h"
#include "model/engine/attention/attention_entry.h"
#include "model/torch/row_grid.h"
#include "model/torch/torch_context.h"

namespace leapstream {

// The features of queries and keys [R, H, F], and values [R, H, V], of a call's rows in one layer.
// Where the past is sums, a one is behind each value [R, H, V + 1], so that a product with sums has
// both numerators and the denominator.
struct TorchHeads {
  at::Tensor query, key, value;
};

// The sizes of the attention blocks of one kind, in all layers of a side.
struct TorchShape {
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t F = 0;  // The width of a head's queries and keys.
  int64_t V = 0;  // The width of a head's values.
  Normaliser normaliser = Normaliser::kSum;
  double floor = 0;  // The least divisor of kSum, of queries as they are.
};

// The places of the source among which one is looked for.
struct TorchLook {
  at::Tensor heads;       // The heads whose weights count.
  at::Tensor first, end;  // Each row's places [first, end): [R].
};

// The past of the sessions of one call, for all layers of a side. The functions throw c10::Error
// and std::bad_alloc.
class TorchPastCall {
 public:
  virtual ~TorchPastCall() = default;
  // Self-attention of the rows of a grid: each attends to its session's past, and to the rows
  // before it and itself. Returns [R, H, V].
  virtual at::Tensor Step(int64_t layer, const TorchHeads& heads) = 0;
  // Adds the rows to the past of their sessions. `query` is not used.
  virtual void Append(int64_t layer, const TorchHeads& heads) = 0;
  // Rows with these queries attend to the past alone. Returns [R, H, V].
  virtual at::Tensor Attend(int64_t layer, const at::Tensor& query) = 0;
  // The position to which each of them attends most: [R]. Only soft-max attention has weights.
  virtual at::Tensor MostAttended(int64_t layer, const at::Tensor& query,
                                  const TorchLook& look) = 0;
  // Ends a call that writes: the first settled[b] rows of session b become part of
  // its past, and with open[b] the row after them is provisional. Later rows leave no trace if
  // their numbers are finite: some sums have them with weight 0. A session that is `given_up` keeps
  // no row, and its rows leave no trace, whatever their numbers are.
  struct Kept {
    std::vector<int64_t> settled;
    std::vector<bool> open;
    std::vector<int64_t> given_up = {};  // Sessions, which have 0 and false above.
  };
  virtual void Close(const Kept& kept) = 0;
};

// The past of the attention blocks of one side, of all sessions. Thread-safe, but for Open(), which
// needs the context's mutex, as the call does.
class TorchPast {
 public:
  virtual ~TorchPast() = default;
  // Makes the past of a session: one object for all layers. Throws std::bad_alloc.
  virtual std::unique_ptr<AttentionState> NewState() const = 0;
  // RESOURCE_EXHAUSTED: the device has no memory for so many.
  virtual absl::Status Reserve(int64_t states) const = 0;
  // Opens a call for rows of sessions with these states, which are NewState()'s. The grid must
  // outlive the call. kReads: it has Attend() only, and is not closed. kSteps: it has Step().
  // kSettles: it has Step() or Append(), and all rows will be settled.
  enum class Use { kReads, kSteps, kSettles };
  virtual std::unique_ptr<TorchPastCall> Open(absl::Span<AttentionState* const> states,
                                              const RowGrid& grid, Use use) const = 0;
};

std::unique_ptr<const TorchPast> MakeTorchPast(const TorchShape& shape,
                                               std::shared_ptr<TorchContext> context);

// Attention among the rows of a grid, which are whole segments: each attends to all of its session.
// There is no past; only Step() may be called. The grid must outlive the call.
std::unique_ptr<TorchPastCall> AttendToWhole(const TorchShape& shape, const RowGrid& grid);
// Soft-max attention of this kind. bias: what is added to the energies [B, H, T, T], or undefined.
at::Tensor SoftmaxOfWhole(const TorchHeads& heads, const RowGrid& grid, const at::Tensor& bias);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_ATTENTION_TORCH_PAST_H_
