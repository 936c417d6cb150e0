#include "model/torch/torch_text_network.h"

#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include "model/torch/torch_call.h"

namespace leapstream {

at::Tensor TorchTextNetwork::Encode(const SourceBatch& batch) const {
  at::Tensor all;
  const auto count = static_cast<int64_t>(batch.owners.size());
  layers_.Encode(batch, [&](const TorchEncoder::Encoded& encoded) {
    if (encoded.grid.rows() == count) {
      all = encoded.x;
      return;
    }
    if (!all.defined()) all = at::empty({count, encoded.x.size(1)}, encoded.x.options());
    all.index_copy_(0, context_->Upload(encoded.pass.rows()), encoded.x);
  });
  return all;
}

absl::Status TorchTextNetwork::Score(const SourceBatch& batch, absl::Span<const Scored> scored,
                                     Visitor visit, Scratch& /*scratch*/,
                                     BetweenLayers /*between_layers*/) const {
  MutexLock lock(&context_->mutex);
  return TorchCall("scoring tokens", context_->threads, [&] {
    const at::Tensor x = Encode(batch);
    if (scored.empty()) return absl::OkStatus();
    std::vector<int64_t> rows;
    for (const Scored& row : scored) rows.push_back(row.row);
    ShowRows(
        *context_, output_,
        rows.size() == batch.owners.size() ? x : x.index_select(0, context_->Upload(rows)),
        [&](size_t i) {
          return AskedScores{scored[i].temperature, scored[i].wanted};
        },
        visit);
    return absl::OkStatus();
  });
}

absl::Status TorchTextNetwork::Decide(const SourceBatch& batch, absl::Span<Decision> result,
                                      Scratch& /*scratch*/,
                                      BetweenLayers /*between_layers*/) const {
  if (batch.owners.empty()) return absl::OkStatus();
  MutexLock lock(&context_->mutex);
  return TorchCall("deciding tokens", context_->threads, [&] {
    DecideRows(output_, Encode(batch), TorchNotes(), result);
    return absl::OkStatus();
  });
}

}  // namespace leapstream
