#include "client/resume_log.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/wire.h"

namespace leapstream::client {

ResumeLog::ResumeLog(const StreamOptions& options)
    : token_details_(options.token_details), config_(ToProto(options)) {
  // A resume begins with the tokens.
  if (options.resume_timeout > absl::ZeroDuration()) {
    config_.mutable_output()->set_token_details(true);
  }
}

bool ResumeLog::by_pauses() const {
  return FromProto(config_.pause_detection().min_duration()) > absl::ZeroDuration();
}

bool ResumeLog::resumable() const {
  const bool nothing_shown = segment_ == 1 && !committed_.has_committed_target() && text_.empty();
  return nothing_shown || !resume_token_.empty();
}

v1::SessionConfig ResumeLog::BeginCall() {
  v1::SessionConfig config = config_;
  const int64_t first = source_.Rewind();
  if (resume_token_.empty()) return config;
  v1::ResumeRequest& resume = *config.mutable_resume();
  resume = committed_;
  resume.set_session_id(id_);
  resume.set_resume_token(resume_token_);
  resume.set_next_source_sequence(first);
  return config;
}

void ResumeLog::EndCall() {
  rest_.reset();
  next_resume_token_.clear();
}

std::optional<Started> ResumeLog::Take(const v1::SessionStarted& started, Started event,
                                       SteadyTime now) {
  const bool first = !begun();
  if (first) {
    // Another server's defaults may differ.
    v1::SessionConfig applied = started.effective_config();
    *applied.mutable_output() = config_.output();
    config_ = std::move(applied);
    started_ = now;
  }
  call_offset_ = now - started_;
  id_ = event.session_id;
  if (!first) return std::nullopt;
  event.applied.token_details = token_details_;
  return event;
}

std::optional<Delta> ResumeLog::Take(Delta delta) {
  if (delta.tokens.empty() && !resume_token_.empty() && config_.output().token_details()) {
    rest_ = std::move(delta);
    return std::nullopt;
  }
  text_ += delta.text;
  for (Token& token : delta.tokens) {
    committed_.mutable_committed_target()->add_ids(token.id);
    committed_.add_committed_source_tokens_read(token.source_tokens_read);
    token.emit_offset += call_offset_;
  }
  if (!token_details_) delta.tokens.clear();
  if (delta.text.empty() && delta.tokens.empty()) return std::nullopt;
  delta.sequence = ++deltas_;
  return delta;
}

std::optional<Delta> ResumeLog::TakeRest() {
  if (!rest_.has_value()) return std::nullopt;
  text_ += rest_->text;
  rest_->sequence = ++deltas_;
  return std::exchange(rest_, std::nullopt);
}

absl::Status ResumeLog::Complete(const SegmentCompleted& completed) {
  if (completed.segment != segment_ || completed.text != text_) {
    return absl::InternalError(
        absl::StrCat("ended segment ", completed.segment,
                     " with another text than that of its deltas; segment ", segment_,
                     " was open; report this to who runs the server"));
  }
  if (by_pauses()) {
    if (!next_resume_token_.empty()) source_.Consume(next_consumed_);
  } else if (completed.continues) {
    source_.ConsumeOpen(next_consumed_);
  } else {
    source_.Complete();
  }
  ++segment_;
  resume_token_ = std::exchange(next_resume_token_, "");
  text_.clear();
  committed_.Clear();
  return absl::OkStatus();
}

void ResumeLog::Take(const v1::ResumePoint& point) {
  // The point of the next segment comes before the end of the open one is known; that must not be
  // lost.
  if (point.segment() == segment_) {
    resume_token_ = point.resume_token();
    if (by_pauses()) source_.Consume(point.consumed_source_sequence());
  }
  if (point.segment() == segment_ + 1) {
    next_resume_token_ = point.resume_token();
    next_consumed_ = point.consumed_source_sequence();
  }
}

}  // namespace leapstream::client
