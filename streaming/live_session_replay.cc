// The tokens of a resumed session that the model takes at once.
#include "absl/types/span.h"
#include "streaming/live_session.h"

namespace leapstream {

void LiveSession::PlanReplay(int max_rows) {
  while (source_->due_reads() + committed_.due() < max_rows) {
    const Progress progress = CurrentProgress();
    if (Searches(progress)) return;  // The search finds these tokens again.
    const CommittedTarget::Step step = committed_.NextStep(progress, options_, model_.info);
    if (step == CommittedTarget::Step::kNone) return;
    if (step == CommittedTarget::Step::kReplay) {
      committed_.PlanReplay();
      continue;
    }
    if (step != CommittedTarget::Step::kImpossible) {
      if (NextRead()) {
        if (step == CommittedTarget::Step::kReadOn) ++segment_.lag;
        continue;
      }
      if (finished()) return;
      // The source that the token needs may still come.
      if (turn_.cut_short || (!source_->closed() && !source_->cut())) return;
    }
    return Finish(committed_.Impossible(options_.policy, progress.source_read));
  }
}

void LiveSession::ApplyReplay() {
  const absl::Span<const TokenId> tokens = committed_.due_tokens();
  const absl::Span<const int> source_read = committed_.due_source_read();
  const bool first = state_->target_written() == committed_.due();
  segment_.ends_in_a_row = 0;
  source_->GoesOn();
  if (terms_ != nullptr) terms_->Add(source_->TakeTerms());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const double delay = source_->Delay(source_read[i]);
    meter_.RecordToken(delay);
    AppendToken(tokens[i], delay, source_read[i]);
  }
  if (first && !tokens.empty()) meter_.RecordFirstToken(SteadyNow());
  committed_.ApplyReplay();
}

}  // namespace leapstream
