#ifndef LEAPSTREAM_STREAMING_SEGMENT_SEARCH_H_
#define LEAPSTREAM_STREAMING_SEGMENT_SEARCH_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/api/translator.h"
#include "streaming/beam_search.h"

namespace leapstream {

// The beam search of one segment: a BeamSearch, with a state of the model for each of its rows. The
// states are copies of the segment's state, which share the source's encoding; a row that goes on
// alone keeps its state, and only further rows of one parent get a copy. Used by the step thread
// only; not thread-safe.
class SegmentSearch {
 public:
  // `state`: the segment's, whose whole source has been read; it is not changed, and not needed
  // later. RESOURCE_EXHAUSTED: there is no memory for a copy.
  static absl::StatusOr<std::unique_ptr<SegmentSearch>> Begin(const SessionState& state,
                                                              const BeamOptions& options,
                                                              BeamTask task);

  bool done() const { return search_.done(); }
  // The rows to be scored for the next step. Valid until Advance().
  absl::Span<const ScoreRow> rows() const { return rows_; }
  // Takes the scores of rows()[row]: see BeamSearch::Take().
  bool Take(size_t row, const TokenScores& scores) { return search_.Take(row, scores); }
  // Makes a step, once all rows have been taken. RESOURCE_EXHAUSTED: there is no memory for a copy
  // of a state.
  absl::Status Advance();

  const BeamSearch& search() const { return search_; }
  int64_t bytes() const;  // The memory of the states.
  StateCost TakeCost();   // The cost of the states: see SessionState::TakeCost().

 private:
  SegmentSearch(const BeamOptions& options, BeamTask task)
      : temperature_(static_cast<float>(options.temperature)),
        search_(options, std::move(task)) {}
  // Points rows_ to the states of the live rows.
  void ListRows();

  const float temperature_;
  BeamSearch search_;
  std::vector<std::unique_ptr<SessionState>> states_;
  std::vector<size_t> places_;     // The place in states_ of each row.
  std::vector<size_t> new_places_, free_places_;
  std::vector<bool> goes_on_;      // Whether a parent's state has been given to a row.
  std::vector<ScoreRow> rows_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SEGMENT_SEARCH_H_
