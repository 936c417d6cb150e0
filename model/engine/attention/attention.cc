#include "model/engine/attention/attention.h"

namespace leapstream {
namespace {

float* Project(const PackedLinear& linear, const float* x, int64_t rows, Workspace& scratch) {
  float* y = scratch.Floats(rows * linear.out());
  linear.Apply(x, rows, y, scratch);
  return y;
}

}  // namespace

void Attention::Step(const float* x, absl::Span<const AttentionRow> rows, Past past, float* y,
                     Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const auto count = static_cast<int64_t>(rows.size());
  AttentionKind::Projected projected;
  projected.queries = Project(projections_.query, x, count, scratch);
  projected.keys = Project(projections_.key, x, count, scratch);
  projected.values = Project(projections_.value, x, count, scratch);
  float* attended = scratch.Floats(count * projections_.output.in());
  kind_->Step(projected, rows, past, attended, scratch);
  projections_.output.Apply(attended, count, y, scratch, Epilogue::kAdd);
}

void Attention::Append(const float* x, absl::Span<const AttentionRow> rows,
                       Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const auto count = static_cast<int64_t>(rows.size());
  const float* keys = Project(projections_.key, x, count, scratch);
  const float* values = Project(projections_.value, x, count, scratch);
  kind_->Append(keys, values, rows, scratch);
}

void Attention::Attend(const float* x, absl::Span<const AttentionRow> rows, float* y,
                       Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const auto count = static_cast<int64_t>(rows.size());
  const float* queries = Project(projections_.query, x, count, scratch);
  float* attended = scratch.Floats(count * projections_.output.in());
  kind_->Attend(queries, rows, attended, scratch);
  projections_.output.Apply(attended, count, y, scratch, Epilogue::kAdd);
}

}  // namespace leapstream
