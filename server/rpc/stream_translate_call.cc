#include "server/rpc/stream_translate_call.h"

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/server_context.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "base/budget.h"
#include "base/status.h"
#include "server/rpc/one_message_call.h"
#include "server/status_mapping.h"
#include "server/wire/to_proto.h"

namespace leapstream {
namespace {

constexpr int kMessageOverhead = 1024;  // The bytes that a message may have besides its chunk.

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StreamTranslateCall::Start(
    Serving* serving, grpc::CallbackServerContext* context) {
  const CallMetrics metrics(serving->metrics.get(), Method::kStreamTranslate);
  absl::StatusOr<Caller> caller = IdentifyCaller(*context, serving->tokens.get());
  if (!caller.ok()) return Refuse(serving, metrics, caller.status());
  std::shared_ptr<StreamTranslateCall> call(
      new StreamTranslateCall(serving, context, *std::move(caller), metrics));
  const std::string& principal = call->caller_.principal;
  const absl::Status admitted = serving->admission.Admit(call, principal, /*may_resume=*/true);
  if (!admitted.ok() && !serving->admission.Await(call, principal))
    return Refuse(serving, metrics, admitted);
  StreamTranslateCall* const raw = call.get();
  {
    MutexLock lock(&raw->mutex_);
    raw->refusal_ = admitted;
    raw->deadlines_.set_undecided(!admitted.ok());
    raw->WakeAt(raw->deadlines_.config_deadline());
  }
  raw->grpc_reference_ = std::move(call);
  raw->StartRead(&raw->read_buffer_);
  return raw;
}

StreamTranslateCall::StreamTranslateCall(Serving* serving, grpc::CallbackServerContext* context,
                                         Caller caller, CallMetrics metrics)
    : open_call_(serving->models.get()),
      serving_(serving),
      started_(SteadyNow()),
      caller_(std::move(caller)),
      call_metrics_(metrics),
      usage_(serving->accounts.Of(caller_.principal)),
      config_bytes_(&serving->texts),
      report_(serving->metrics.get(), NewSessionId()),
      outbox_(serving->options.limits.max_unread_bytes, started_),
      deadlines_(serving->options.limits, serving->options.resume_lifetime, started_),
      last_received_(started_),
      timer_(&serving->timers),
      context_(context) {}

StreamTranslateCall::~StreamTranslateCall() { serving_->admission.Remove(this); }

void StreamTranslateCall::OnDone() {
  {
    MutexLock lock(&context_mutex_);
    context_ = nullptr;
  }
  const auto last = std::move(grpc_reference_);  // Its destructor may destroy this object.
}

// --- Reading. ---

void StreamTranslateCall::OnReadDone(bool ok) {
  std::shared_ptr<Session> session;
  {
    MutexLock lock(&mutex_);
    session = session_;
    last_received_ = SteadyNow();
    if (!ok) half_closed_ = true;
  }
  if (!ok) {  // The client has half-closed, or has gone; then OnCancel() comes, too.
    if (session != nullptr) return source_->Finish(*session);
    return Fail(InvalidRequest("CONFIG_MISSING",
                               "the first message must be config, got the end of the stream"));
  }
  call_metrics_.Received();
  v1::StreamTranslateRequest request;
  absl::Status status = Parse(session == nullptr, &request);
  if (status.ok() && session == nullptr && request.has_config()) {
    {
      MutexLock lock(&mutex_);
      if (phase_ == Phase::kAwaitsConfig) phase_ = Phase::kQueued;
    }
    return serving_->opener.Do([self = shared_from_this(), request = std::move(request)] {
      self->OpenInTurn(request.config());
    });
  }
  if (status.ok() && session == nullptr) {
    status = InvalidRequest("CONFIG_MISSING", "the first message must be config");
  }
  if (!status.ok()) return Fail(std::move(status));
  const auto point = source_->Receive(request, *session);
  // Only a quota can be exhausted here. Source that was counted is translated first.
  if (absl::IsResourceExhausted(point.status())) return StopReading(*session, point.status());
  if (!point.ok()) return Fail(point.status());
  if (point->has_value()) SendResumePoint(**point);
  ReadOn();
}

absl::Status StreamTranslateCall::Parse(bool first, v1::StreamTranslateRequest* request) {
  const size_t bytes = read_buffer_.Length();
  absl::Status status;
  if (first) {  // The first message may be larger, since a resume has tokens.
    status = config_bytes_.GrowTo(static_cast<int64_t>(bytes) * budget::kBytesPerConfigByte);
  } else {
    const int most = serving_->options.limits.max_chunk_bytes;
    if (bytes > static_cast<size_t>(most) + kMessageOverhead) {
      status = CheckChunkBytes(bytes, most, "a message of ");
    }
  }
  if (!status.ok()) {
    read_buffer_.Clear();
    return status;
  }
  using Traits = grpc::SerializationTraits<v1::StreamTranslateRequest>;
  if (Traits::Deserialize(&read_buffer_, request).ok()) {
    if (first) request->DiscardUnknownFields();  // The config is kept.
    return absl::OkStatus();
  }
  return InvalidRequest("MALFORMED_MESSAGE",
                        "the message is not a StreamTranslateRequest; is all its text UTF-8, "
                        "each chunk cut between characters?");
}

void StreamTranslateCall::ReadOn() {
  std::shared_ptr<Session> session;
  {
    MutexLock lock(&mutex_);
    if (over() || outbox_.broken()) return;
    session = session_;
    waits_for_room_ = true;
    waits_since_ = SteadyNow();
  }
  if (session == nullptr || session->HasRoom()) OnRoom();
}

void StreamTranslateCall::StopReading(Session& session, absl::Status why) {
  {
    MutexLock lock(&mutex_);
    waits_for_room_ = true;  // The client is not idle.
    waits_since_ = SteadyNow();
  }
  session.StopSource(std::move(why));
}

void StreamTranslateCall::OnRoom() {
  {
    MutexLock lock(&mutex_);
    waits_for_room_ = false;
    last_received_ = SteadyNow();
    serving_->metrics->InputHeld(last_received_ - waits_since_);
    if (over() || outbox_.broken()) return;
  }
  StartRead(&read_buffer_);
}

// --- The end. ---

void StreamTranslateCall::SetOver(absl::Status status) {
  if (over()) return;
  phase_ = Phase::kOver;
  final_status_ = std::move(status);
}

void StreamTranslateCall::OnFinished(absl::Status status) {
  const auto self = std::move(sink_reference_);
  status = WithSessionReason(std::move(status), report_.id());
  bool broken = false;
  {
    MutexLock lock(&mutex_);
    SetOver(std::move(status));
    broken = outbox_.broken();
  }
  // A call without output holds nothing, so its place is free before the client hears of the end.
  // Without a time limit for its reader it could hold the place for ever.
  const bool unlimited = serving_->options.limits.stuck_reader_timeout <= absl::ZeroDuration();
  if (broken || unlimited) serving_->admission.Release(this);
  Pump();
}

void StreamTranslateCall::Fail(absl::Status status) {
  std::shared_ptr<Session> session;
  {
    MutexLock lock(&mutex_);
    // The call has no permit and took nobody's place. So it is refused, whatever its first message
    // was.
    if (!refusal_.ok() && !absl::IsCancelled(status)) status = refusal_;
    if (session_ == nullptr) {
      if (!failed_.has_value()) failed_ = status;
      if (phase_ == Phase::kOpening) return;  // OpenInTurn() goes on with it.
      SetOver(*failed_);
    }
    session = session_;
  }
  if (session != nullptr) return session->Cancel(std::move(status));
  Pump();
}

void StreamTranslateCall::OnCancel() { Fail(absl::CancelledError("cancelled by the client")); }

void StreamTranslateCall::Drain(SteadyTime deadline) {
  GoAway({v1::GOING_AWAY_REASON_DRAINING, deadline});
}

void StreamTranslateCall::GoAway(const Departure& departure) {
  Phase phase = Phase::kAwaitsConfig;
  {
    MutexLock lock(&mutex_);
    if (over() || !deadlines_.SetDeparture(departure)) return;
    phase = phase_;  // In kOpening and kOpened, Announce() will see the departure.
  }
  if (phase < Phase::kOpening) return Fail(DepartureStatus(departure.reason));
  if (phase == Phase::kAnnounced) Depart();
}

void StreamTranslateCall::Depart() {
  v1::StreamTranslateResponse response;
  std::shared_ptr<Session> session;
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    session = session_;
    const Departure& departure = *deadlines_.departure();
    v1::GoingAway& going_away = *response.mutable_going_away();
    going_away.set_reason(departure.reason);
    *going_away.mutable_remaining_duration() =
        ToProto(std::max(departure.deadline - SteadyNow(), absl::ZeroDuration()));
    status = DepartureStatus(departure.reason);
    WakeAt(departure.deadline);
  }
  Send(std::move(response));
  session->EndAfterSegment(std::move(status));
}

// --- Time. ---

CallActivity StreamTranslateCall::Activity() const {
  CallActivity activity;
  activity.awaits_config = phase_ == Phase::kAwaitsConfig;
  activity.open = phase_ == Phase::kAnnounced;
  activity.waits_for_room = waits_for_room_;
  activity.half_closed = half_closed_;
  activity.writing = outbox_.writing();
  activity.has_output = !outbox_.empty();
  activity.last_received = last_received_;
  activity.last_sent = outbox_.last_written();
  activity.write_started = outbox_.write_started();
  return activity;
}

void StreamTranslateCall::WakeAt(SteadyTime time) {
  if (time >= wakes_at_) return;
  wakes_at_ = time;
  timer_.Set(time, [weak = weak_from_this(), time] {
    if (const auto self = weak.lock()) self->OnTime(time);
  });
}

void StreamTranslateCall::OnTime(SteadyTime planned) {
  DueActions due;
  bool is_empty = false;  // It is over, and its output is dropped.
  {
    MutexLock lock(&mutex_);
    if (planned != wakes_at_ || phase_ == Phase::kEnded) return;  // Another time holds.
    wakes_at_ = SteadyTime::InfiniteFuture();
    due = deadlines_.At(SteadyNow(), absl::Now(), serving_->timers.patience(), Activity());
    if (due.drop_output) {
      const bool cut = !outbox_.empty();
      outbox_.Break();
      if (cut && over()) final_status_ = *due.end;  // The client does not know the other.
      is_empty = over();
    }
    WakeAt(due.next);
  }
  if (is_empty) serving_->admission.Release(this);
  if (due.end.has_value()) Fail(*std::move(due.end));
  if (due.departure.has_value()) GoAway(*due.departure);
  if (due.refresh_resume_point) SendResumePoint(points_.latest());
  if (due.send_heartbeat) {
    v1::StreamTranslateResponse response;
    response.mutable_heartbeat();
    Send(std::move(response));
  }
  if (due.cancel_call) {
    MutexLock lock(&context_mutex_);
    if (context_ != nullptr) context_->TryCancel();
  }
}

// --- Reports. ---

CallDescription StreamTranslateCall::Describe() const {
  CallDescription call;
  call.method = "StreamTranslate";
  call.principal = caller_.principal;
  call.peer = caller_.peer;
  call.trace_id = caller_.trace_id;
  call.started = started_date_;
  call.age = SteadyNow() - started_;
  MutexLock lock(&mutex_);
  if (phase_ >= Phase::kAnnounced && session_ != nullptr) {
    call.session_id = report_.id();
    call.model = report_.model();
    call.policy = report_.policy();
  }
  const SessionSummary summary = report_.summary();
  call.segments = summary.segments;
  call.source_tokens = summary.source_tokens;
  call.target_tokens = summary.target_tokens;
  call.input_held = waits_for_room_;
  call.output_held = held_;
  return call;
}

void StreamTranslateCall::ReportEnd(absl::Status status, bool refused, bool gone) {
  if (refused) {
    call_metrics_.Handled(status.code());
    serving_->metrics->SessionRejected(ReasonOf(status));
    return;
  }
  if (!gone) {
    MutexLock lock(&context_mutex_);
    gone = context_ == nullptr || context_->IsCancelled();
  }
  // A client that goes away also ends its source. If that comes first, the status is OK until now.
  if (gone && status.ok()) status = absl::CancelledError("cancelled by the client");
  call_metrics_.Handled(status.code());
  if (status.ok()) serving_->accounts.Forget(report_.id());
  report_.Ended(status, caller_, usage_, SteadyNow() - started_, serving_->options.log_text);
}

}  // namespace leapstream
