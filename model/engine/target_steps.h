#ifndef LEAPSTREAM_MODEL_ENGINE_TARGET_STEPS_H_
#define LEAPSTREAM_MODEL_ENGINE_TARGET_STEPS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/batch.h"
#include "model/engine/session_state.h"

namespace leapstream {

// The rows that the steps of a decoder are made of, and what becomes of their states: all of a
// decoder that does not compute, so that engines share it. Const and thread-safe; only states
// change.
class TargetSteps {
 public:
  // `config` must outlive the object.
  explicit TargetSteps(const ModelConfig& config) : config_(config) {}

  using StateOf = absl::FunctionRef<TransformerState*(size_t)>;
  // Opens a step of each state, and replaces the rows of `target` by those that must be part of the
  // past before: start and forced tokens of states that begin, or a past that is refreshed. There
  // may be none.
  void Open(size_t count, StateOf state_of, TargetBatch* target) const;
  // Adds the row that each state's step feeds.
  void AddFed(size_t count, StateOf state_of, TargetBatch* target) const;
  // Adds a state's first rows: see Open(). They see `source_read` source tokens.
  void AddFirstRows(TransformerState* state, int source_read, TargetBatch* target) const;
  // Adds the rows of the first `count` steps of a Verify(). `open`: the last of them is
  // provisional; `all`: all are.
  void AddGiven(const GivenRows& rows, int count, bool open, bool all, TargetBatch* target) const;
  // Adds the target rows of a replay and counts them as written. seen_from: what is added to the
  // encoder's rows that a target row may read to get TargetBatch::seen.
  void AddReplay(const ReplayRows& rows, int64_t seen_from, TargetBatch* target) const;

  // Whether the target row that follows the state's next one by `ahead` rows reads nothing of the
  // source. `source_read`: the source rows that it could read.
  bool ReadsNothing(const TransformerState& state, int source_read, int ahead) const;

  // The encoder's rows [first, end) that count for Decision::attended: none of the frame's, and not
  // that of the newest token. Empty: the state does not ask for it, or has read too little.
  struct Looked {
    int64_t first = 0;
    int64_t end = 0;
  };
  static Looked LooksAt(const TransformerState& state);
  // Whether a step of a learned policy that wants more source gets none of it decided. Notes it in
  // the state.
  static bool WaitsForSource(TransformerState* state);
  static bool SourceIsFinished(const TransformerState& state) {
    return state.progress_.source_finished;
  }
  static bool AsksWhereItLooks(const TransformerState& state) { return state.shows_attention_; }
  // Counts the rows in their states: see SessionState::TakeCost().
  static void CountRows(const TargetBatch& target) {
    for (TransformerState* owner : target.owners) ++owner->cost_.decoder_rows;
  }

 private:
  const ModelConfig& config_;
};

// The steps of one state's part of a Verify(), all of which are run.
inline int StepsOf(const GivenRows& rows) {
  return static_cast<int>(rows.tokens.size()) + (rows.decides ? 1 : 0);
}

// Whether a token may turn out to be another one than the given one.
inline bool MayDiffer(const GivenRows& rows) {
  return rows.forced < static_cast<int>(rows.tokens.size());
}

// Calls f(row) for the rows of a Verify() that are decided, in order. Those of forced tokens are
// not: their logits would be of no use.
template <typename F>
void ForEachDecided(absl::Span<const GivenRows> rows, const F& f) {
  int64_t row = 0;
  for (const GivenRows& given : rows) {
    for (int i = 0; i < StepsOf(given); ++i, ++row) {
      if (i >= given.forced) f(row);
    }
  }
}

// Gives the decisions of these rows to those who called Verify(), and replaces *agreed by the
// number of tokens that each state commits.
void TakeDecisions(absl::Span<const GivenRows> rows, absl::Span<const Decision> decided,
                   std::vector<int>* agreed);
// Commits these tokens, once the attention's past has them.
void CommitGiven(absl::Span<const GivenRows> rows, absl::Span<const int> agreed);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_TARGET_STEPS_H_
