#ifndef LEAPSTREAM_MODEL_ENGINE_ENSEMBLE_H_
#define LEAPSTREAM_MODEL_ENGINE_ENSEMBLE_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/api/translator.h"

namespace leapstream {

// Several networks of one kind that decide together, as fairseq's EnsembleModel: a token's
// probability is the mean of its probabilities, each network with a state of its own. The scores
// are computed as log-probabilities, ln sum exp(lp) - ln M. Const and thread-safe.
class Ensemble : public Translator {
 public:
  // `members`: one at least, of equal configurations but for their weights, without a learned
  // policy. vocabulary_size: N, of the target.
  Ensemble(std::vector<std::unique_ptr<const Translator>> members, int64_t vocabulary_size)
      : members_(std::move(members)), vocabulary_size_(vocabulary_size) {}

  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override;
  absl::Status Reserve(int states) const override;
  bool encodes_anew() const override { return members_.front()->encodes_anew(); }
  bool can_replay() const override { return members_.front()->can_replay(); }
  using Translator::Decide;
  using Translator::Read;
  using Translator::Score;
  absl::Status Read(absl::Span<const SourceRows> rows, BetweenLayers between_layers) const override;
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override;
  absl::Status Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                     BetweenLayers between_layers) const override;
  absl::Status Replay(absl::Span<const ReplayRows> rows,
                      BetweenLayers between_layers) const override;

 private:
  class State;
  // Score() of a few rows, whose sums of probabilities lie in scratch memory together.
  absl::Status ScorePart(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                         BetweenLayers between_layers) const;

  const std::vector<std::unique_ptr<const Translator>> members_;
  const int64_t vocabulary_size_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ENSEMBLE_H_
