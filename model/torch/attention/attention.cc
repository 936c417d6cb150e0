#include "model/torch/attention/attention.h"

#include <ATen/ops/empty.h>
#include "model/torch/layers.h"

namespace leapstream {

at::Tensor Attention::Step(const at::Tensor& x, absl::Span<const AttentionRow> rows,
                           Past past) const {
  const at::Tensor q = Apply(projections_.query, x);
  const at::Tensor k = Apply(projections_.key, x);
  const at::Tensor v = Apply(projections_.value, x);
  at::Tensor attended = at::empty({x.size(0), projections_.output.in()}, x.options());
  kind_->Step(q.data_ptr<float>(), k.data_ptr<float>(), v.data_ptr<float>(), rows, past,
              attended.data_ptr<float>());
  return Apply(projections_.output, attended);
}

void Attention::Append(const at::Tensor& x, absl::Span<const AttentionRow> rows) const {
  const at::Tensor k = Apply(projections_.key, x);
  const at::Tensor v = Apply(projections_.value, x);
  kind_->Append(k.data_ptr<float>(), v.data_ptr<float>(), rows);
}

at::Tensor Attention::Attend(const at::Tensor& x, absl::Span<const AttentionRow> rows) const {
  const at::Tensor q = Apply(projections_.query, x);
  at::Tensor attended = at::empty({x.size(0), projections_.output.in()}, x.options());
  kind_->Attend(q.data_ptr<float>(), rows, attended.data_ptr<float>());
  return Apply(projections_.output, attended);
}

}  // namespace leapstream
