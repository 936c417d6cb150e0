// TransformerDecoder::Verify(): several steps of a state in one pass.
#include <algorithm>
#include <vector>

#include "model/engine/decoder.h"

namespace leapstream {

// A past that can be cut takes all rows and is cut when the decisions are known. Another one takes
// them in a copy, and if they were too many, those that stay are run once more.
void TransformerDecoder::Verify(absl::Span<const GivenRows> rows, Scratch& scratch,
                                BetweenLayers between_layers) const {
  const auto state_of = [&](size_t b) { return static_cast<TransformerState*>(rows[b].state); };
  RunFirstRows(rows.size(), state_of, scratch, between_layers);
  TargetBatch& target = scratch.target;
  for (size_t b = 0; b < rows.size(); ++b) {
    const bool differs = MayDiffer(rows[b]);
    if (differs && !can_keep()) state_of(b)->CopySelf();
    steps_.AddGiven(rows[b], StepsOf(rows[b]), rows[b].decides, differs && can_keep(), &target);
  }
  if (target.owners.empty()) return;
  const Workspace::Scope scope(scratch.floats);
  const Rows x = RunLayers(StepPast::kSettled, scratch, {}, between_layers);
  between_layers();
  DecideGiven(rows, x, scratch);

  target.Clear();
  for (size_t b = 0; b < rows.size(); ++b) {
    if (!MayDiffer(rows[b])) continue;
    const int agreed = scratch.agreed[b];
    if (can_keep()) {
      for (const auto& self : state_of(b)->self_) self->Keep(agreed);
    } else if (agreed + 1 < StepsOf(rows[b])) {
      state_of(b)->UndoSelf();
      steps_.AddGiven(rows[b], agreed + 1, /*open=*/true, /*all=*/false, &target);
    }
  }
  if (!target.owners.empty()) RunLayers(StepPast::kSettled, scratch, {}, between_layers);
  CommitGiven(rows, scratch.agreed);
}

void TransformerDecoder::DecideGiven(absl::Span<const GivenRows> rows, Rows x,
                                     Scratch& scratch) const {
  TargetBatch& target = scratch.target;
  int64_t kept = 0;
  target.places.clear();
  ForEachDecided(rows, [&](int64_t row) {
    std::copy_n(x.x + row * x.width, x.width, x.x + kept * x.width);
    if (!target.attended.empty()) target.attended[kept] = target.attended[row];
    target.places.push_back(static_cast<size_t>(kept++));
  });
  x.count = kept;
  scratch.decided.resize(static_cast<size_t>(kept));
  if (kept > 0) DecideTokens(target, x, scratch.floats, absl::MakeSpan(scratch.decided));
  TakeDecisions(rows, scratch.decided, &scratch.agreed);
}

}  // namespace leapstream
