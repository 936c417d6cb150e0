#include "client/session.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "client/deadline.h"
#include "client/wire.h"

namespace leapstream::client {
namespace {

constexpr absl::Duration kAnswerTimeout = absl::Seconds(10);  // Time from a call to its `started`.
// Interval of the looks at names, which may have got other addresses meanwhile.
constexpr absl::Duration kLookInterval = absl::Milliseconds(500);

std::vector<std::string> AddressesOf(const std::vector<std::shared_ptr<Server>>& servers) {
  std::vector<std::string> addresses;
  for (const auto& server : servers) addresses.push_back(server->address);
  return addresses;
}

}  // namespace

Session::Session(std::shared_ptr<Servers> servers, const StreamOptions& options)
    : servers_(std::move(servers)),
      options_(options),
      deadline_(SteadyNow() + options.deadline),
      log_(options),
      retry_(options.resume_timeout, deadline_) {}

void Session::Start() {
  // Next() may wait for a name: not under the lock.
  std::shared_ptr<Server> first = servers_->Next();
  MutexLock lock(&mutex_);
  server_ = std::move(first);
  StartCall();
}

absl::Status Session::Sendable() const {
  if (!source_closed_) return absl::OkStatus();
  return absl::FailedPreconditionError("the source was closed; open a new stream");
}

absl::Status Session::Append(std::string text) {
  MutexLock lock(&mutex_);
  if (absl::Status status = Sendable(); !status.ok()) return status;
  if (phase_ == Phase::kDone) return absl::OkStatus();
  log_.source().Append(std::move(text));
  WriteNext();
  return absl::OkStatus();
}

absl::Status Session::EndSegment() {
  MutexLock lock(&mutex_);
  if (absl::Status status = Sendable(); !status.ok()) return status;
  if (phase_ == Phase::kDone) return absl::OkStatus();
  log_.source().EndSegment();
  WriteNext();
  return absl::OkStatus();
}

absl::Status Session::KeepAlive() {
  MutexLock lock(&mutex_);
  if (absl::Status status = Sendable(); !status.ok()) return status;
  keep_alive_due_ = true;
  WriteNext();
  return absl::OkStatus();
}

absl::Status Session::CloseSource() {
  MutexLock lock(&mutex_);
  if (absl::Status status = Sendable(); !status.ok()) return status;
  source_closed_ = true;
  log_.source().Close();
  WriteNext();
  return absl::OkStatus();
}

void Session::Cancel() {
  MutexLock lock(&mutex_);
  if (phase_ == Phase::kDone) return;
  if (stop_ != Stop::kFault) stop_ = Stop::kUser;
  Discard();
  if (flight_.call != nullptr) return flight_.call->Cancel();
  End(absl::CancelledError("cancelled"));
}

std::optional<Event> Session::Next() {
  MutexLock lock(&mutex_);
  while (queue_.empty() && phase_ != Phase::kDone) changed_.Wait(&mutex_);
  return Pop();
}

std::optional<Event> Session::TryNext() {
  MutexLock lock(&mutex_);
  return Pop();
}

bool Session::finished() const {
  MutexLock lock(&mutex_);
  return phase_ == Phase::kDone && queue_.empty();
}

absl::Status Session::Wait() {
  MutexLock lock(&mutex_);
  Discard();
  while (phase_ != Phase::kDone) changed_.Wait(&mutex_);
  return status_;
}

int64_t Session::unsent_bytes() const {
  MutexLock lock(&mutex_);
  return phase_ == Phase::kDone ? 0 : log_.source().unsent_bytes();
}

void Session::StartCall() {
  phase_ = Phase::kCalling;
  stop_ = Stop::kNone;
  flight_ = Flight();
  v1::StreamTranslateRequest request;
  *request.mutable_config() = log_.BeginCall();
  flight_.call =
      StreamCall::Start(*server_->stub, deadline_, shared_from_this(), std::move(request));
  if (options_.resume_timeout <= absl::ZeroDuration()) return;
  const SteadyTime now = SteadyNow();
  flight_.answer_by = now + kAnswerTimeout;
  WaitUntil(now + kLookInterval);
}

void Session::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  flight_.writing = false;
  if (ok) WriteNext();  // Else the call is over; its status tells why.
  Signal();
}

// gRPC allows one write in flight.
void Session::WriteNext() {
  if (flight_.call == nullptr || flight_.writing || flight_.read_over) return;
  std::optional<v1::StreamTranslateRequest> request = NextRequest();
  if (request.has_value()) {
    flight_.writing = true;
    flight_.call->Write(*std::move(request));
  } else if (log_.source().all_sent() && !std::exchange(flight_.half_closed, true)) {
    flight_.call->HalfClose();
  }
}

std::optional<v1::StreamTranslateRequest> Session::NextRequest() {
  v1::StreamTranslateRequest request;
  if (std::exchange(keep_alive_due_, false)) {
    request.mutable_keep_alive();
    return request;
  }
  std::optional<SourceMessage> message = log_.source().Next();
  if (!message.has_value()) return std::nullopt;
  if (message->sequence == 0) {
    request.mutable_end_segment();
    return request;
  }
  request.mutable_source()->set_sequence(message->sequence);
  if (sample_bytes() > 0) {
    request.mutable_source()->set_audio(std::move(message->text));
  } else {
    request.mutable_source()->set_text(std::move(message->text));
  }
  return request;
}

bool Session::OnResponse(const v1::StreamTranslateResponse& response) {
  MutexLock lock(&mutex_);
  if (response.has_resume_point()) {
    log_.Take(response.resume_point());
  } else if (std::optional<Event> event = FromProto(response)) {
    if (stop_ != Stop::kFault) Take(*std::move(event), response);
  }
  flight_.read_paused = queue_.full();
  return !flight_.read_paused;
}

void Session::OnReadOver() {
  MutexLock lock(&mutex_);
  flight_.read_over = true;
}

void Session::Take(Event event, const v1::StreamTranslateResponse& response) {
  if (auto* started = std::get_if<Started>(&event)) {
    return TakeStarted(std::move(*started), response.started());
  }
  if (auto* delta = std::get_if<Delta>(&event)) {
    flight_.progressed = true;
    std::optional<Delta> shown = log_.Take(std::move(*delta));
    if (shown.has_value()) Emit(*std::move(shown));
    return;
  }
  if (auto* completed = std::get_if<SegmentCompleted>(&event)) {
    return TakeCompleted(std::move(*completed));
  }
  if (std::holds_alternative<GoingAway>(event)) flight_.going_away = true;
  if (std::holds_alternative<Summary>(event)) phase_ = Phase::kSummarised;
  Emit(std::move(event));
}

void Session::TakeStarted(Started started, const v1::SessionStarted& message) {
  const SteadyTime now = SteadyNow();
  if (alarm_ != nullptr) alarm_->Cancel();
  phase_ = Phase::kLive;
  flight_.started = now;
  const RetryPolicy::Regained regained = retry_.OnStarted(now);
  if (regained.was_told || log_.begun()) Emit(Resumed{server_->address, regained.gap});
  std::optional<Started> first = log_.Take(message, std::move(started), now);
  if (first.has_value()) Emit(*std::move(first));
}

void Session::TakeCompleted(SegmentCompleted completed) {
  flight_.progressed = true;
  if (std::optional<Delta> rest = log_.TakeRest()) Emit(*std::move(rest));
  if (const absl::Status fault = log_.Complete(completed); !fault.ok()) {
    stop_ = Stop::kFault;
    status_ = WithMessage(fault, absl::StrCat(server_->address, " ", fault.message()));
    return flight_.call->Cancel();
  }
  Emit(std::move(completed));
}

void Session::Emit(Event event) {
  queue_.Push(std::move(event));
  changed_.NotifyAll();
}

void Session::OnCallDone(const grpc::Status& grpc_status) {
  MutexLock lock(&mutex_);
  if (alarm_ != nullptr) alarm_->Cancel();
  log_.EndCall();
  const Flight ended = std::exchange(flight_, Flight());
  if (stop_ == Stop::kFault) return End(status_);
  const absl::Status status = StatusOf(grpc_status);
  if (status.ok() || stop_ == Stop::kUser) return End(status);
  CallAgain(status, ended);
}

absl::Status Session::StatusOf(const grpc::Status& grpc_status) const {
  if (stop_ == Stop::kNoAnswer) {
    return absl::UnavailableError(absl::StrCat(server_->address, " did not answer within ",
                                               absl::FormatDuration(kAnswerTimeout),
                                               server_->note));
  }
  absl::Status status = WithNote(ToStatus(grpc_status), server_->note);
  if (!status.ok() || phase_ == Phase::kSummarised) return status;
  return absl::UnavailableError(  // No server of ours does that.
      absl::StrCat(server_->address, " ended the stream without a summary", server_->note));
}

void Session::CallAgain(const absl::Status& status, const Flight& ended) {
  EndedCall call;
  call.address = server_->address;
  call.status = status;
  call.started = ended.started;
  call.progressed = ended.progressed;
  call.going_away = ended.going_away;
  call.unanswered = stop_ == Stop::kNoAnswer;
  call.begun = log_.begun();
  call.resumable = log_.resumable();
  const SteadyTime now = SteadyNow();
  const std::vector<std::shared_ptr<Server>> servers = servers_->All();
  const absl::StatusOr<NextCall> next = retry_.AfterCall(call, AddressesOf(servers), now);
  if (!next.ok()) return End(next.status());
  phase_ = Phase::kWaiting;
  stop_ = Stop::kNone;
  status_ = status;
  server_ = servers[next->server];
  if (next->is_interruption) Emit(Interrupted{status});
  WaitUntil(std::min(next->at, now + kLookInterval));
}

void Session::WaitUntil(SteadyTime time) {
  alarm_time_ = std::min(time, deadline_);
  alarm_ = std::make_unique<grpc::Alarm>();
  alarm_->Set(GrpcDeadline(alarm_time_), [weak = weak_from_this(), number = ++alarms_](bool ok) {
    const std::shared_ptr<Session> self = ok ? weak.lock() : nullptr;
    if (self != nullptr) self->OnAlarm(number);
  });
}

void Session::OnAlarm(int64_t number) {
  MutexLock lock(&mutex_);
  if (number != alarms_) return;  // This alarm had fired when it was replaced.
  const SteadyTime now = SteadyNow();
  if (phase_ == Phase::kCalling) return LookAtCall(now);
  if (phase_ != Phase::kWaiting) return;
  if (now >= deadline_) {
    return End(absl::DeadlineExceededError(absl::StrCat(
        "the deadline passed while no server had the stream: ", status_.message())));
  }
  const std::vector<std::shared_ptr<Server>> servers = servers_->All();
  const NextCall next = retry_.Best(AddressesOf(servers), server_->address, now);
  server_ = servers[next.server];
  if (next.at > now) return WaitUntil(std::min(next.at, now + kLookInterval));
  StartCall();
}

// Cancels a call that no server answers, or whose server is gone.
void Session::LookAtCall(SteadyTime now) {
  if (now >= deadline_) return;  // The call itself has the deadline, too.
  // This process may have been stopped, and the answer may be there.
  if (now - alarm_time_ >= LastLook::kGrace) {
    flight_.answer_by = std::max(flight_.answer_by, now + LastLook::kGrace);
  }
  // A server that is gone need not be waited for if its name has got another address.
  const std::vector<std::shared_ptr<Server>> servers = servers_->All();
  const bool is_known = std::find(servers.begin(), servers.end(), server_) != servers.end();
  if (now < flight_.answer_by &&
      (is_known || server_->channel->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY)) {
    return WaitUntil(std::min(flight_.answer_by, now + kLookInterval));
  }
  if (stop_ == Stop::kNone) stop_ = Stop::kNoAnswer;
  flight_.call->Cancel();
}

void Session::End(absl::Status status) {
  status_ = std::move(status);
  phase_ = Phase::kDone;
  if (alarm_ != nullptr) alarm_->Cancel();
  Signal();
}

std::optional<Event> Session::Pop() {
  std::optional<Event> event = queue_.Pop();
  if (event.has_value() && queue_.has_room()) ReadOn();
  return event;
}

void Session::Discard() {
  queue_.Discard();
  ReadOn();
  changed_.NotifyAll();
}

void Session::ReadOn() {
  if (std::exchange(flight_.read_paused, false)) flight_.call->Read();
}

void Session::Signal() {
  changed_.NotifyAll();
  queue_.Signal();
}

}  // namespace leapstream::client
