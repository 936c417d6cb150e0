#include "model/torch/attention/torch_past.h"

#include <limits>
#include <utility>

#include <ATen/ATen.h>
#include <c10/util/Exception.h>
#include "model/torch/attention/torch_cache.h"
#include "model/torch/attention/torch_sums.h"

namespace leapstream {
namespace {

class WholeCall : public TorchPastCall {
 public:
  WholeCall(const TorchShape& shape, const RowGrid& grid) : shape_(shape), grid_(grid) {}

  at::Tensor Step(int64_t, const TorchHeads& heads) override {
    if (shape_.normaliser == Normaliser::kSoftmax) return SoftmaxOfWhole(heads, grid_, {});
    const at::Tensor key = grid_.Spread(heads.key).permute({0, 2, 3, 1});  // [B, H, F, T]
    const at::Tensor value = grid_.Spread(heads.value).transpose(1, 2);    // [B, H, T, V + 1]
    const at::Tensor query = grid_.Spread(heads.query).transpose(1, 2);
    return Quotient(grid_.Collect(query.matmul(key.matmul(value)).transpose(1, 2)), shape_.floor);
  }
  void Append(int64_t, const TorchHeads&) override { ThereIsNone(); }
  at::Tensor Attend(int64_t, const at::Tensor&) override { ThereIsNone(); }
  at::Tensor MostAttended(int64_t, const at::Tensor&, const TorchLook&) override { ThereIsNone(); }
  void Close(const Kept&) override {}

 private:
  [[noreturn]] static void ThereIsNone() { TORCH_CHECK(false, "a whole segment has no past"); }

  const TorchShape& shape_;
  const RowGrid& grid_;
};

}  // namespace

std::unique_ptr<const TorchPast> MakeTorchPast(const TorchShape& shape,
                                               std::shared_ptr<TorchContext> context) {
  if (shape.normaliser == Normaliser::kSoftmax) {
    return std::make_unique<TorchCache>(shape, std::move(context));
  }
  return std::make_unique<TorchSums>(shape, std::move(context));
}

std::unique_ptr<TorchPastCall> AttendToWhole(const TorchShape& shape, const RowGrid& grid) {
  return std::make_unique<WholeCall>(shape, grid);
}

at::Tensor SoftmaxOfWhole(const TorchHeads& heads, const RowGrid& grid, const at::Tensor& bias) {
  const at::Tensor query = grid.Spread(heads.query).transpose(1, 2);    // [B, H, T, F]
  const at::Tensor key = grid.Spread(heads.key).permute({0, 2, 3, 1});  // [B, H, F, T]
  const at::Tensor value = grid.Spread(heads.value).transpose(1, 2);    // [B, H, T, V]
  at::Tensor energies = query.matmul(key).to(at::kFloat);
  if (bias.defined()) energies += bias;
  if (grid.there().defined()) {
    energies.masked_fill_(grid.there().logical_not().unsqueeze(1).unsqueeze(1),
                          -std::numeric_limits<float>::infinity());
  }
  const at::Tensor out = energies.softmax(-1).to(value.scalar_type()).matmul(value);
  return grid.Collect(out.transpose(1, 2));
}

}  // namespace leapstream
