#include "streaming/segment_search.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "base/status.h"

namespace leapstream {
namespace {

constexpr size_t kNoPlace = static_cast<size_t>(-1);

}  // namespace

absl::StatusOr<std::unique_ptr<SegmentSearch>> SegmentSearch::Begin(const SessionState& state,
                                                                    const BeamOptions& options,
                                                                    BeamTask task) {
  std::unique_ptr<SegmentSearch> search(new SegmentSearch(options, std::move(task)));
  search->states_.emplace_back();
  LEAPSTREAM_ASSIGN_OR_RETURN(search->states_.back(), state.Clone());
  search->states_.back()->LeaveForced();
  search->places_.push_back(0);
  search->ListRows();
  return search;
}

absl::Status SegmentSearch::Advance() {
  search_.Advance();
  const absl::Span<const BeamSearch::Row> rows = search_.rows();
  goes_on_.assign(places_.size(), false);
  new_places_.assign(rows.size(), kNoPlace);
  for (size_t r = 0; r < rows.size(); ++r) {
    if (goes_on_[rows[r].parent]) continue;
    goes_on_[rows[r].parent] = true;
    new_places_[r] = places_[rows[r].parent];
  }
  free_places_.clear();
  for (size_t place = states_.size(); place-- > 0;) {
    if (!absl::c_linear_search(new_places_, place)) free_places_.push_back(place);
  }
  // All copies are made before any state goes on.
  for (size_t r = 0; r < rows.size(); ++r) {
    if (new_places_[r] != kNoPlace) continue;
    const SessionState& parent = *states_[places_[rows[r].parent]];
    if (!free_places_.empty()) {
      new_places_[r] = free_places_.back();
      free_places_.pop_back();
      LEAPSTREAM_RETURN_IF_ERROR(states_[new_places_[r]]->CopyFrom(parent));
      continue;
    }
    std::unique_ptr<SessionState> copy;
    LEAPSTREAM_ASSIGN_OR_RETURN(copy, parent.Clone());
    new_places_[r] = states_.size();
    states_.push_back(std::move(copy));
  }
  places_.swap(new_places_);
  for (size_t r = 0; r < rows.size(); ++r) states_[places_[r]]->Commit(rows[r].token);
  ListRows();
  return absl::OkStatus();
}

int64_t SegmentSearch::bytes() const {
  int64_t bytes = 0;
  for (const auto& state : states_) bytes += state->bytes();
  return bytes;
}

StateCost SegmentSearch::TakeCost() {
  StateCost cost;
  for (const auto& state : states_) cost += state->TakeCost();
  return cost;
}

void SegmentSearch::ListRows() {
  rows_.clear();
  const WantedScores wanted = search_.wanted();
  for (const size_t place : places_) rows_.push_back({states_[place].get(), temperature_, wanted});
}

}  // namespace leapstream
