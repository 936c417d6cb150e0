// The drafts of a session.
#include <algorithm>
#include <utility>

#include "streaming/live_session.h"

namespace leapstream {

void LiveSession::PlanDraft(const Progress& progress) {
  turn_.decides = false;
  // A look begins with what the reads leave.
  if (source_->due_reads() > 0) return;
  if (!draft_->open() && progress.source_finished) {
    // The rest of the last draft ends within a segment's limits, and is no symbol of the agent's.
    const bool verifies = !committed_.pending() && agent_.end_symbol == kUnknown;
    if (!verifies || !draft_->BeginTail(state_.get(), Room())) {
      turn_.decides = true;
      return;
    }
  } else if (!draft_->open()) {
    SegmentDraft::Look look;
    look.source_read = progress.source_read;
    look.source_length = progress.source_length;
    look.words_ahead = progress.source_words - segment_.words;
    look.room = Room();
    look.committed = committed_.rest();
    look.due = committed_.has_places() ? committed_.CountDue(state_->source_read())
                                       : SegmentDraft::Look::kAsDrafted;
    if (absl::Status status = draft_->Begin(*state_, look); !status.ok()) {
      return Finish(std::move(status));
    }
    if (!draft_->open()) {  // Nothing may be written.
      turn_.cut_short = true;
      return;
    }
  }
  turn_.drafts = true;
  turn_.decides = draft_->deciding() != nullptr;
}

void LiveSession::ApplyGiven() {
  unencoded_ = false;
  ApplyDraft(nullptr);
}

void LiveSession::ApplyDraft(const Decision* decision) {
  const bool in_tail = draft_->in_tail();
  if (absl::Status status = draft_->Advance(decision, &state_); !status.ok()) {
    return Finish(std::move(status));
  }
  for (const ScoredToken& token : draft_->written()) {
    meter_.RecordToken(Delay());
    PutOut(token, committed_.pending());
  }
  if (in_tail) Apply(draft_->tail_decision());
}

int LiveSession::Room() const {
  int room = target_limit() - state_->target_written();
  if (options_.max_target_tokens_after_source > 0) {
    room = std::min(room, options_.max_target_tokens_after_source - segment_.after_source);
  }
  return std::max(room, 0);
}

}  // namespace leapstream
