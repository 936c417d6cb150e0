#include "model/engine/attention/attention.h"

namespace leapstream {
namespace {

float* Project(const PackedLinear& linear, const float* x, int64_t rows, Workspace& scratch) {
  float* y = scratch.Floats(rows * linear.out());
  linear.Apply(x, rows, y, scratch);
  return y;
}

}  // namespace

void Attention::Step(const float* x, absl::Span<const AttentionRow> rows, StepPast past, float* y,
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

int64_t Attention::AddWeights(const float* x, const AttentionRow& row,
                              absl::Span<const int> heads, std::vector<float>* sums,
                              Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  return kind_->AddWeights(Project(projections_.query, x, 1, scratch), row, heads, sums, scratch);
}

void Attention::AppendAndAttend(const float* sources, absl::Span<const AttentionRow> source_rows,
                                const float* x, absl::Span<const AttentionRow> rows,
                                absl::Span<const int64_t> seen, float* y,
                                Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const auto source_count = static_cast<int64_t>(source_rows.size());
  const auto count = static_cast<int64_t>(rows.size());
  const float* keys = nullptr;
  const float* values = nullptr;
  if (source_count > 0) {
    keys = Project(projections_.key, sources, source_count, scratch);
    values = Project(projections_.value, sources, source_count, scratch);
  }
  const float* queries = Project(projections_.query, x, count, scratch);
  const int64_t key = projections_.key.out();
  const int64_t value = projections_.value.out();
  const int64_t query = projections_.query.out();
  const int64_t width = projections_.output.in();
  float* attended = scratch.Floats(count * width);
  int64_t appended = 0;
  const auto append = [&](int64_t end) {
    if (end <= appended) return;
    kind_->Append(keys + appended * key, values + appended * value,
                  source_rows.subspan(appended, end - appended), scratch);
    appended = end;
  };
  for (int64_t r = 0; r < count;) {
    append(seen[r]);
    int64_t end = r + 1;
    while (end < count && seen[end] == seen[r]) ++end;
    kind_->Attend(queries + r * query, rows.subspan(r, end - r), attended + r * width, scratch);
    r = end;
  }
  append(source_count);
  projections_.output.Apply(attended, count, y, scratch, Epilogue::kAdd);
}

}  // namespace leapstream
