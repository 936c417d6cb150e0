// The part of StreamTranslateCall that writes: the session's events become messages, and the outbox
// has them until gRPC takes them.

#include <grpcpp/impl/codegen/proto_utils.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "absl/time/clock.h"
#include "server/resume_token.h"
#include "server/rpc/stream_translate_call.h"
#include "server/status_mapping.h"
#include "server/wire/to_proto.h"

namespace leapstream {

// --- The session's events. ---

void StreamTranslateCall::OnEvent(SessionEvent event) {
  if (auto* delta = std::get_if<TargetDelta>(&event)) {
    usage_.WroteTargetToken();
    if (delta->text.empty() && !output_.token_details()) return;
    SendDelta(ToProto(*std::move(delta), output_));
  } else if (const auto* completed = std::get_if<SegmentCompleted>(&event)) {
    SendCompleted(*completed);
  } else {
    SendSummary(std::get<SessionSummary>(event));
  }
}

void StreamTranslateCall::SendCompleted(const SegmentCompleted& completed) {
  if (!completed.unsent.empty()) {
    MutexLock lock(&mutex_);
    outbox_.AddSeparateDelta(UnsentToProto(completed));
  }
  if (serving_->options.log_text) {
    spdlog::info("session {} segment {}: {}", report_.id(), completed.segment, completed.text);
  }
  // The resume point goes first: a client that has the event can then resume after this segment.
  const ResumePoint point = points_.AfterSegment(completed);
  SendResumePoint(point);
  report_.Completed(completed);
  v1::StreamTranslateResponse response;
  *response.mutable_segment_completed() = ToProto(completed, output_);
  response.mutable_segment_completed()->set_continues(point.continues);
  Send(std::move(response));
}

void StreamTranslateCall::SendSummary(const SessionSummary& summary) {
  report_.Summarized(summary);
  v1::StreamTranslateResponse response;
  *response.mutable_summary() = ToProto(summary, output_);
  *response.mutable_summary()->mutable_usage() = ToProto(usage_);
  Send(std::move(response));
}

// --- Writing. ---

void StreamTranslateCall::SendResumePoint(const ResumePoint& point) {
  ResumeToken token;
  token.session_id = report_.id();
  token.owner = OwnerOf(caller_.principal);
  token.model_checksum = request_.scheduler->model()->info.checksum;
  token.config_digest = request_.config_digest;
  token.segment = point.segment;
  token.source = point.source;
  token.drops = point.skipped;
  token.begin = point.begin;
  token.in_text = point.in_text;
  token.before = point.before;
  const absl::Time today = absl::Now();
  token.expires = today + serving_->options.resume_lifetime;
  v1::StreamTranslateResponse response;
  v1::ResumePoint& proto = *response.mutable_resume_point();
  proto.set_resume_token(serving_->signer.Sign(token));
  proto.set_consumed_source_sequence(point.source.chunks);
  proto.set_segment(point.segment);
  {
    MutexLock lock(&mutex_);
    if (!points_.Record(point)) return;  // The lock keeps points in order.
    const SteadyTime now = SteadyNow();
    deadlines_.ResumePointSent(now, today);
    WakeAt(now + serving_->options.resume_lifetime / 2);
    Enqueue(std::move(response));
  }
  Pump();
}

void StreamTranslateCall::SendDelta(v1::TargetDelta delta) {
  {
    MutexLock lock(&mutex_);
    outbox_.AddDelta(std::move(delta));
    HoldIfFull();
  }
  Pump();
}

void StreamTranslateCall::Send(v1::StreamTranslateResponse response) {
  {
    MutexLock lock(&mutex_);
    Enqueue(std::move(response));
  }
  Pump();
}

void StreamTranslateCall::Enqueue(v1::StreamTranslateResponse response) {
  outbox_.Add(std::move(response));
  HoldIfFull();
}

void StreamTranslateCall::HoldIfFull() {
  if (!outbox_.full() || held_ || session_ == nullptr) return;
  held_ = true;
  held_since_ = SteadyNow();
  session_->Hold();  // The lock is held, so that Release() comes later.
}

void StreamTranslateCall::OnWriteDone(bool ok) {
  std::shared_ptr<Session> session;
  {
    MutexLock lock(&mutex_);
    outbox_.WriteDone(SteadyNow());
    if (!ok) {
      outbox_.Break();
      session = session_;
    }
  }
  if (!ok && session != nullptr) session->Cancel(absl::CancelledError("the stream is gone"));
  Pump();
}

void StreamTranslateCall::Pump() {
  absl::Status status;
  bool write = false, gone = false, refused = false;
  {
    MutexLock lock(&mutex_);
    if (outbox_.writing() || phase_ == Phase::kEnded) return;
    if (!outbox_.empty()) {
      StartNextWrite();
      write = true;
    } else if (phase_ == Phase::kOver) {
      phase_ = Phase::kEnded;
      gone = outbox_.broken();
      outbox_.Break();  // Drops whatever others may still add.
      refused = !refusal_.ok();
      status = final_status_;
    } else {
      return;
    }
  }
  if (write) {
    call_metrics_.Sent();
    return StartWrite(&write_buffer_);
  }
  serving_->admission.Release(this);
  ReportEnd(status, refused, gone);
  Finish(ToGrpcStatus(status));
}

void StreamTranslateCall::StartNextWrite() {
  const SteadyTime now = SteadyNow();
  const v1::StreamTranslateResponse response = outbox_.StartWrite(now);
  bool own = false;
  write_buffer_.Clear();
  using Traits = grpc::SerializationTraits<v1::StreamTranslateResponse>;
  const grpc::Status serialized = Traits::Serialize(response, &write_buffer_, &own);
  if (!serialized.ok()) {
    spdlog::error("session {}: {}", report_.id(), serialized.error_message());
  }
  WakeAt(deadlines_.write_deadline(now));
  if (held_ && outbox_.has_room()) {
    held_ = false;
    serving_->metrics->OutputHeld(now - held_since_);
    session_->Release();
  }
}

}  // namespace leapstream
