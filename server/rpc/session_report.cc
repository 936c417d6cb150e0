#include "server/rpc/session_report.h"

#include <utility>

#include "server/logging.h"
#include "server/status_mapping.h"

namespace leapstream {

void SessionReport::SetModel(std::string model, const SessionOptions& options) {
  model_ = std::move(model);
  languages_ = options.languages;
  policy_ = ToString(options.policy);
  lagging_metrics_ = metrics_->ForLagging(model_, options.policy);
}

void SessionReport::Started(bool resumed) {
  metrics_->SessionStarted(model_, resumed);
  metrics_->LanguagesChosen(model_, languages_);
}

void SessionReport::Completed(const SegmentCompleted& completed) {
  const bool continues = completed.continues_at.has_value();
  const char* cut = nullptr;
  if (completed.reason == FinishReason::kMaxLength) cut = "max_length";
  if (completed.reason == FinishReason::kSourceLimit && !continues) cut = "source_limit";
  if (completed.reason == FinishReason::kEndOfSentence && completed.source_dropped) {
    cut = "early_end";
  }
  metrics_->SegmentCompleted(model_, cut, completed.untranslated_source_tokens);
  CountDropped(completed.so_far.dropped_source_bytes);
  lagging_metrics_.Observe(completed.stats);
  MutexLock lock(&mutex_);
  ++summary_.segments;
  summary_.source_tokens += completed.stats.source_tokens;
  summary_.target_tokens += completed.stats.target_tokens;
}

void SessionReport::Summarized(const SessionSummary& summary) {
  CountDropped(summary.dropped_source_bytes);
  MutexLock lock(&mutex_);
  summary_ = summary;
}

void SessionReport::CountDropped(int64_t bytes) {
  if (bytes <= dropped_bytes_) return;
  metrics_->SourceDropped(model_, bytes - dropped_bytes_);
  dropped_bytes_ = bytes;
}

SessionSummary SessionReport::summary() const {
  MutexLock lock(&mutex_);
  return summary_;
}

void SessionReport::Ended(const absl::Status& status, const Caller& caller,
                          const CallUsage& usage, absl::Duration age, bool with_text) const {
  metrics_->SessionFinished(model_, status);
  const SessionSummary so_far = summary();
  LogEvent("session", {{"session", id_},
                       {"trace_id", caller.trace_id},
                       {"principal", caller.principal},
                       {"peer", caller.peer},
                       {"model", model_},
                       {"source_language", languages_.source},
                       {"target_language", languages_.target},
                       {"policy", policy_},
                       {"segments", so_far.segments},
                       {"source_tokens", so_far.source_tokens},
                       {"target_tokens", so_far.target_tokens},
                       {"source_characters", usage.source_characters()},
                       {"audio_seconds", absl::ToDoubleSeconds(usage.source_audio())},
                       {"seconds", absl::ToDoubleSeconds(age)},
                       {"status", absl::StatusCodeToString(status.code())},
                       {"reason", ReasonOf(status)},
                       {"error", with_text ? std::string(status.message()) : ""}});
}

}  // namespace leapstream
