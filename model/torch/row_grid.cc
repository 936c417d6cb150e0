#include "model/torch/row_grid.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

namespace leapstream {
namespace {

// The most places of a grid, unless one session alone has more.
constexpr int64_t kPlacesTogether = 4096;

}  // namespace

RowGrid::RowGrid(std::vector<int64_t> counts, const TorchContext& context)
    : counts_(std::move(counts)) {
  for (const int64_t count : counts_) {
    most_ = std::max(most_, count);
    rows_ += count;
  }
  if (rows_ == most_ * sessions()) return;
  std::vector<int64_t> places;
  for (int64_t b = 0; b < sessions(); ++b) {
    for (int64_t t = 0; t < counts_[b]; ++t) places.push_back(b * most_ + t);
  }
  places_ = context.Upload(places);
  there_ = at::zeros({sessions() * most_}, places_.options().dtype(at::kBool))
               .index_fill_(0, places_, true)
               .view({sessions(), most_});
}

at::Tensor RowGrid::Spread(const at::Tensor& rows) const {
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = most_;
  shape.insert(shape.begin(), sessions());
  if (!places_.defined()) return rows.reshape(shape);
  std::vector<int64_t> flat = rows.sizes().vec();
  flat[0] = sessions() * most_;
  return at::zeros(flat, rows.options()).index_copy_(0, places_, rows).view(shape);
}

at::Tensor RowGrid::Collect(const at::Tensor& grid) const {
  std::vector<int64_t> shape = grid.sizes().vec();
  shape.erase(shape.begin());
  shape[0] = sessions() * most_;
  const at::Tensor flat = grid.reshape(shape);
  return places_.defined() ? flat.index_select(0, places_) : flat;
}

std::vector<int64_t> RowPass::counts() const {
  std::vector<int64_t> counts;
  for (const Part& part : parts) counts.push_back(part.end - part.begin);
  return counts;
}

std::vector<int64_t> RowPass::rows() const {
  std::vector<int64_t> rows;
  for (const Part& part : parts) {
    for (int64_t row = part.begin; row < part.end; ++row) rows.push_back(row);
  }
  return rows;
}

std::vector<RowPass> DivideRows(absl::Span<const int64_t> counts, int64_t most) {
  std::vector<RowPass::Part> left;  // The rows that are in no pass yet.
  int64_t begin = 0;
  for (size_t b = 0; b < counts.size(); ++b) {
    if (counts[b] > 0) left.push_back({b, begin, begin + counts[b]});
    begin += counts[b];
  }
  std::vector<RowPass> passes;
  if (most != kWhole) {
    while (!left.empty()) {
      const auto sessions = static_cast<int64_t>(left.size());
      const int64_t together = std::clamp<int64_t>(kPlacesTogether / sessions, 1, most);
      RowPass& pass = passes.emplace_back();
      std::vector<RowPass::Part> later;
      for (const RowPass::Part& part : left) {
        const int64_t end = std::min(part.end, part.begin + together);
        pass.parts.push_back({part.session, part.begin, end});
        if (end < part.end) later.push_back({part.session, end, part.end});
      }
      left = std::move(later);
    }
    return passes;
  }
  // Sessions of about one length are together, so that few places have no row.
  std::stable_sort(left.begin(), left.end(), [](const auto& one, const auto& other) {
    return one.end - one.begin > other.end - other.begin;
  });
  for (const RowPass::Part& part : left) {
    const auto fits = [&](const RowPass& pass) {
      const int64_t longest = pass.parts[0].end - pass.parts[0].begin;  // The first one.
      return longest * (static_cast<int64_t>(pass.parts.size()) + 1) <= kPlacesTogether;
    };
    if (passes.empty() || !fits(passes.back())) passes.emplace_back();
    passes.back().parts.push_back(part);
  }
  for (RowPass& pass : passes) {  // In the order of the batch.
    std::sort(pass.parts.begin(), pass.parts.end(),
              [](const auto& one, const auto& other) { return one.session < other.session; });
  }
  return passes;
}

}  // namespace leapstream
