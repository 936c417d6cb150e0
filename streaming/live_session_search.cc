// The beam searches of a session.
#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/types/span.h"
#include "streaming/live_session.h"

namespace leapstream {

void LiveSession::PlanSearch(absl::Span<const TokenId> forced) {
  if (search_ == nullptr) {
    const std::vector<TokenId>& lead = frame_.source_lead;
    const std::vector<TokenId>& tail = frame_.source_tail;
    BeamTask task;
    // The source's end counts as one token read, its lead as none.
    task.source_length = state_->source_read() - 1 + static_cast<int>(lead.size() + tail.size());
    task.source_words = task.source_length -
                        static_cast<int>(absl::c_count(lead, frame_.end) +
                                         absl::c_count(tail, frame_.end));
    task.vocabulary_size = model_.target_vocabulary.size();
    // The limits of sessions do not count the frame's forced tokens; a search does.
    const int cap = SearchCap(options_, model_.info);
    task.max_target_tokens = cap > 0 ? cap + static_cast<int>(frame_.forced.size()) : 0;
    task.start = frame_.start;
    task.end = frame_.end;
    // The frame's forced tokens are found, and scored, with the first token.
    if (segment_.ids.empty()) task.forced = frame_.forced;
    if (!segment_.ids.empty()) task.written = frame_.forced;
    task.written.insert(task.written.end(), segment_.ids.begin(), segment_.ids.end());
    task.forced.insert(task.forced.end(), forced.begin(), forced.end());
    auto search = SegmentSearch::Begin(*state_, *options_.beam, std::move(task));
    if (!search.ok()) return Finish(search.status());
    search_ = *std::move(search);
  }
  turn_.searches = true;
}

void LiveSession::ApplyScores() {
  if (turn_.probes) return;  // SegmentTerms has what it wants.
  unencoded_ = false;
  if (absl::Status status = search_->Advance(); !status.ok()) return Finish(std::move(status));
  if (!search_->done()) return;
  std::unique_ptr<SegmentSearch> search = std::move(search_);
  const std::vector<BeamHypothesis> found = search->search().Result();
  // A resumed session finds the committed tokens again. If this machine's rounding finds others,
  // they are forced.
  const absl::Span<const TokenId> rest = committed_.rest();
  const absl::Span<const TokenId> best =
      found.empty() ? absl::Span<const TokenId>() : Written(found[0]);
  const bool agrees =
      best.size() >= rest.size() && std::equal(rest.begin(), rest.end(), best.begin());
  if (!agrees && !rest.empty() && !segment_.forces) {
    segment_.forces = true;
    return;
  }
  const int max_length = search->search().max_length();
  search.reset();  // What its states share is the session's alone again, and is counted so.
  WriteFound(found, max_length);
}

void LiveSession::WriteFound(const std::vector<BeamHypothesis>& found, int max_length) {
  for (const BeamHypothesis& hypothesis : found) {
    hypotheses_.push_back({TextOf(hypothesis), hypothesis.score});
  }
  const absl::Span<const TokenId> ids =
      found.empty() ? absl::Span<const TokenId>() : Written(found[0]);
  const size_t skipped = found.empty() ? 0 : found[0].ids.size() - 1 - ids.size();
  for (size_t i = 0; i < ids.size(); ++i) {
    meter_.RecordToken(Delay());
    Write({ids[i], found[0].log_probs[skipped + i]}, committed_.pending());
    if (ids[i] == agent_.end_symbol && ids[i] != kUnknown) {
      return CompleteSegment(FinishReason::kEndOfSentence);
    }
  }
  meter_.RecordToken(Delay());
  const int tokens = state_->target_written() + static_cast<int>(frame_.forced.size());
  CompleteSegment(found.empty() || tokens >= max_length
                      ? FinishReason::kMaxLength
                      : FinishReason::kEndOfSentence);
}

std::string LiveSession::TextOf(const BeamHypothesis& hypothesis) const {
  TextSink sink(model_.target_tokenizer.get());
  std::string text;
  for (const absl::Span<const TokenId> ids :
       {absl::MakeConstSpan(segment_.ids), Written(hypothesis)}) {
    for (const TokenId id : ids) {
      if (!IsSilent(id)) text += sink.Append(model_.target_vocabulary.Symbol(id));
    }
  }
  return text + sink.Finish();
}

absl::Span<const TokenId> LiveSession::Written(const BeamHypothesis& hypothesis) const {
  const size_t skipped = segment_.ids.empty() ? frame_.forced.size() : 0;
  const absl::Span<const TokenId> ids = hypothesis.ids;
  return skipped + 1 < ids.size() ? ids.subspan(skipped, ids.size() - 1 - skipped)
                                  : absl::Span<const TokenId>();
}

}  // namespace leapstream
