// TransformerDecoder::Verify(): several steps of a state in one pass.
#include <algorithm>
#include <vector>

#include "model/engine/decoder.h"

namespace leapstream {
namespace {

// The steps of one state's part, all of which are run.
int StepsOf(const GivenRows& rows) {
  return static_cast<int>(rows.tokens.size()) + (rows.decides ? 1 : 0);
}

// Whether a token may turn out to be another one than the given one.
bool MayDiffer(const GivenRows& rows) {
  return rows.forced < static_cast<int>(rows.tokens.size());
}

}  // namespace

// A past that can be cut takes all rows and is cut when the decisions are known. Another one takes
// them in a copy, and if they were too many, those that stay are run once more.
absl::Status TransformerDecoder::Verify(absl::Span<const GivenRows> rows, Scratch& scratch,
                                        BetweenLayers between_layers) const {
  const auto state_of = [&](size_t b) { return static_cast<TransformerState*>(rows[b].state); };
  RunFirstRows(rows.size(), state_of, scratch, between_layers);
  TargetBatch& target = scratch.target;
  for (size_t b = 0; b < rows.size(); ++b) {
    const bool differs = MayDiffer(rows[b]);
    if (differs && !can_keep()) state_of(b)->CopySelf();
    AddGiven(rows[b], StepsOf(rows[b]), rows[b].decides, differs && can_keep(), target);
  }
  if (target.owners.empty()) return absl::OkStatus();
  const Workspace::Scope scope(scratch.floats);
  const Rows x = RunLayers(StepPast::kSettled, scratch, {}, between_layers);
  between_layers();
  if (absl::Status status = DecideGiven(rows, x, scratch); !status.ok()) return status;

  target.Clear();
  for (size_t b = 0; b < rows.size(); ++b) {
    if (!MayDiffer(rows[b])) continue;
    const int agreed = scratch.agreed[b];
    if (can_keep()) {
      for (const auto& self : state_of(b)->self_) self->Keep(agreed);
    } else if (agreed + 1 < StepsOf(rows[b])) {
      state_of(b)->UndoSelf();
      AddGiven(rows[b], agreed + 1, /*open=*/true, /*all=*/false, target);
    }
  }
  if (!target.owners.empty()) RunLayers(StepPast::kSettled, scratch, {}, between_layers);
  for (size_t b = 0; b < rows.size(); ++b) {
    const auto agreed = static_cast<size_t>(scratch.agreed[b]);
    const bool open = rows[b].decides || agreed < rows[b].tokens.size();
    state_of(b)->TakeGiven(rows[b].tokens.first(agreed), open);
  }
  return absl::OkStatus();
}

void TransformerDecoder::AddGiven(const GivenRows& rows, int count, bool open, bool all,
                                  TargetBatch& target) const {
  auto* const state = static_cast<TransformerState*>(rows.state);
  for (int i = 0; i < count; ++i) {
    target.owners.push_back(state);
    target.tokens.push_back(i == 0 ? state->Fed() : rows.tokens[static_cast<size_t>(i - 1)]);
    target.positions.push_back(state->FedPosition() + i);
    target.reads_nothing.push_back(ReadsNothing(*state, state->progress_.source_read, i));
    target.provisional.push_back(all || (open && i + 1 == count));
  }
}

absl::Status TransformerDecoder::DecideGiven(absl::Span<const GivenRows> rows, Rows x,
                                             Scratch& scratch) const {
  TargetBatch& target = scratch.target;
  // The rows of forced tokens are taken out: their logits would be of no use.
  int64_t kept = 0;
  int64_t row = 0;
  target.places.clear();
  for (const GivenRows& given : rows) {
    for (int i = 0; i < StepsOf(given); ++i, ++row) {
      if (i < given.forced) continue;
      std::copy_n(x.x + row * x.width, x.width, x.x + kept * x.width);
      if (!target.attended.empty()) target.attended[kept] = target.attended[row];
      target.places.push_back(static_cast<size_t>(kept++));
    }
  }
  x.count = kept;
  scratch.decided.resize(static_cast<size_t>(kept));
  if (kept > 0) {
    absl::Status status =
        DecideTokens(target, x, scratch.floats, absl::MakeSpan(scratch.decided));
    if (!status.ok()) return status;
  }
  scratch.agreed.clear();
  auto next = scratch.decided.begin();
  for (const GivenRows& given : rows) {
    int agreed = given.forced;
    bool agrees = true;
    for (int i = given.forced; i < StepsOf(given); ++i) {
      const Decision& decision = given.decisions[static_cast<size_t>(i)] = *next++;
      if (static_cast<size_t>(i) == given.tokens.size()) continue;
      agrees = agrees && decision.best.id == given.tokens[static_cast<size_t>(i)];
      if (agrees) ++agreed;
    }
    scratch.agreed.push_back(agreed);
  }
  return absl::OkStatus();
}

}  // namespace leapstream
