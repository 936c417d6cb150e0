// The terms of a session: its glossary, and the mark-up that it keeps.
#include <utility>

#include "absl/strings/match.h"
#include "streaming/live_session.h"

namespace leapstream {

void LiveSession::PlanTerms(const Progress& progress) {
  terms_->Add(source_->TakeTerms());
  if (!terms_->WantsProbe(progress.source_read)) return;
  turn_.decides = false;
  // The reads come first, in a turn of their own.
  if (source_->due_reads() > 0) return;
  terms_->BeginProbe();
  turn_.probes = true;
}

TokenId LiveSession::ChooseTerm(TokenId token) {
  SegmentTerms::Step step;
  step.best = token;
  step.ends = token == frame_.end;
  step.begins_word = !step.ends && units_.Begins(segment_.last, token);
  step.source_finished = source_->finished();
  step.source_read = state_->source_read();
  step.target_words = segment_.words;
  return terms_->Choose(step);
}

std::string LiveSession::TextOfToken(TokenId id, TokenId previous, int source_read) {
  SegmentTerms::Shown shown;
  if (terms_ != nullptr) {
    shown = terms_->Write(id, units_.Begins(previous, id), source_read);
  }
  if (shown.symbol == nullptr && IsSilent(id)) return "";
  std::string text =
      text_sink_.Append(shown.symbol != nullptr ? absl::string_view(*shown.symbol)
                                                : model_.target_vocabulary.Symbol(id));
  if (terms_ == nullptr) return text;
  // A space that stood neither before nor behind the mark-up is the tokenizer's alone.
  const FoundTerm* const begins = shown.begins;
  const bool glued =
      segment_.glued || (begins != nullptr && begins->glued_before &&
                         (begins->is_tag ? absl::StartsWith(begins->text, "</")
                                         : absl::EndsWith(segment_.text, begins->before)));
  if (glued && absl::StartsWith(text, " ")) text.erase(0, 1);
  if (!text.empty()) segment_.glued = false;
  if (shown.ends != nullptr && shown.ends->glued_behind) segment_.glued = true;
  return text;
}

}  // namespace leapstream
