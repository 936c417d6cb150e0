#ifndef LEAPSTREAM_MODEL_TORCH_ROW_GRID_H_
#define LEAPSTREAM_MODEL_TORCH_ROW_GRID_H_

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include "absl/types/span.h"
#include "model/torch/torch_context.h"

namespace leapstream {

// The places of a call's rows. Layers without a past take rows [R, ...], those of one session after
// the other. Attention takes them as a grid [B, T, ...] of B sessions, with zeros behind the rows
// of sessions that have fewer than T.
class RowGrid {
 public:
  // counts: the rows of each session, one at least.
  RowGrid(std::vector<int64_t> counts, const TorchContext& context);

  const std::vector<int64_t>& counts() const { return counts_; }
  int64_t sessions() const { return static_cast<int64_t>(counts_.size()); }
  int64_t most() const { return most_; }  // T
  int64_t rows() const { return rows_; }  // R

  at::Tensor Spread(const at::Tensor& rows) const;   // [R, ...] -> [B, T, ...]
  at::Tensor Collect(const at::Tensor& grid) const;  // [B, T, ...] -> [R, ...]
  // Whether each place has a row: [B, T] bool. Undefined if all have one.
  const at::Tensor& there() const { return there_; }

 private:
  const std::vector<int64_t> counts_;
  int64_t most_ = 0;
  int64_t rows_ = 0;
  at::Tensor places_;  // [R]: b T + t. Undefined if each place has a row.
  at::Tensor there_;
};

// Some of the rows of a batch: those of several sessions that go through a network together.
struct RowPass {
  struct Part {
    size_t session = 0;
    int64_t begin = 0;  // The rows [begin, end) of the batch.
    int64_t end = 0;
  };
  std::vector<Part> parts;

  std::vector<int64_t> counts() const;
  std::vector<int64_t> rows() const;  // The rows' indices in the batch.
};

// Divides the rows of sessions, counts[b] each, so that no grid is large. `most`: of one session so
// many rows are in one pass, and later ones in later passes. kWhole: they stay together.
constexpr int64_t kCausalRows = 128;  // Each attends to all before it in the pass.
constexpr int64_t kWhole = 0;
std::vector<RowPass> DivideRows(absl::Span<const int64_t> counts, int64_t most);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_ROW_GRID_H_
