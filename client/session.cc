#include "client/session.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "client/deadline.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/client_callback.h"

namespace leapstream::client {
namespace {

constexpr size_t kMaxQueuedEvents = 1024;  // With so many, the server is slowed down.
constexpr absl::Duration kAnswerTimeout = absl::Seconds(10);  // Time from a call to its `started`.
constexpr absl::Duration kFirstDelay = absl::Milliseconds(25);
constexpr absl::Duration kMaxDelay = absl::Seconds(2);
// A call that breaks sooner than this, and brought nothing, was of no use. After some such calls
// the session itself is taken for the cause: it must not bring down one server after another.
constexpr absl::Duration kShortCall = absl::Seconds(10);
constexpr int kMaxFutileCalls = 5;
// The same of calls that a server ended because it goes away: in a rolling restart several may.
constexpr int kMaxFutileMoves = 8;

// If this many resumes in a row get an answer that is neither a server's `started` nor a server's
// refusal, whoever answers does not want the session.
constexpr int kMaxAnsweredCalls = 10;
constexpr absl::Duration kClockError = absl::Milliseconds(100);  // Difference of two timers.
// Interval of the looks at names, which may have got other addresses meanwhile.
constexpr absl::Duration kLookInterval = absl::Milliseconds(500);

// Whether another call may do better. A status that no leapstream server sent comes from gRPC, a
// proxy or a gateway, whatever its code: the session is still there.
bool MayPass(const absl::Status& status) {
  return !IsFromServer(status) || absl::IsUnavailable(status) ||
         ErrorReason(status) == "RESUME_MODEL_MISMATCH";
}

// Whether somebody on the way, who is no server of ours, may have answered. The codes left out are
// those that gRPC makes of broken connections, and of proxies that have no server at the moment.
bool IsAnAnswer(const absl::Status& status) {
  return !IsFromServer(status) && !absl::IsUnavailable(status) && !absl::IsCancelled(status) &&
         !absl::IsInternal(status) && !absl::IsUnknown(status);
}

// Whether the next call would get the same answer, if no session has begun: there is another
// service at this address, or a gateway does not let us in.
bool IsLasting(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kAlreadyExists:
      return !IsFromServer(status);
    default:
      return false;
  }
}

}  // namespace

// The reactions only move messages. The call keeps itself and the session alive until OnDone().
class Stream::Session::Call final
    : public grpc::ClientBidiReactor<pb::StreamTranslateRequest, pb::StreamTranslateResponse> {
 public:
  explicit Call(std::shared_ptr<Session> session) : session_(std::move(session)) {}

  grpc::ClientContext& context() { return context_; }
  void Start(pb::SimultaneousTranslationService::Stub& stub, SteadyTime deadline,
             std::shared_ptr<Call> self, pb::StreamTranslateRequest first) {
    if (deadline < SteadyTime::InfiniteFuture()) context_.set_deadline(GrpcDeadline(deadline));
    self_ = std::move(self);
    stub.async()->StreamTranslate(&context_, this);
    AddHold();  // Held until reading is over, as calls from outside start reads and writes.
    Write(std::move(first));
    Read();
    StartCall();
  }
  void Write(pb::StreamTranslateRequest request) {
    request_ = std::move(request);
    StartWrite(&request_);
  }
  void Read() { StartRead(&response_); }
  void HalfClose() { StartWritesDone(); }
  void Cancel() { context_.TryCancel(); }

  void OnWriteDone(bool ok) override { session_->OnWriteDone(ok); }
  void OnReadDone(bool ok) override {
    if (!ok) {
      session_->OnReadOver();
      RemoveHold();
    } else if (session_->OnResponse(response_)) {
      Read();
    }
  }
  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<Call> self = std::move(self_);  // Freed last.
    session_->OnCallDone(status);
  }

 private:
  const std::shared_ptr<Session> session_;
  std::shared_ptr<Call> self_;
  grpc::ClientContext context_;
  pb::StreamTranslateRequest request_;  // The one being written.
  pb::StreamTranslateResponse response_;
};

Stream::Session::Session(std::shared_ptr<Servers> servers, const StreamOptions& options)
    : servers_(std::move(servers)),
      options_(options),
      deadline_(SteadyNow() + options.deadline),
      ready_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      config_(ToProto(options)) {
  // A resume begins with the tokens.
  if (options.resume_timeout > absl::ZeroDuration()) {
    config_.mutable_output()->set_token_details(true);
  }
}

Stream::Session::~Session() {
  if (ready_fd_ >= 0) close(ready_fd_);
}

void Stream::Session::Start() {
  // Next() may wait for a name: not under the lock.
  std::shared_ptr<Server> first = servers_->Next();
  MutexLock lock(&mutex_);
  server_ = std::move(first);
  StartCall();
}

absl::Status Stream::Session::Sendable() const {
  if (!source_closed_) return absl::OkStatus();
  return absl::FailedPreconditionError("the source was closed; open a new stream");
}

absl::Status Stream::Session::Append(std::string text) {
  MutexLock lock(&mutex_);
  if (absl::Status status = Sendable(); !status.ok()) return status;
  if (done_) return absl::OkStatus();
  source_.Append(std::move(text));
  WriteNext();
  return absl::OkStatus();
}

absl::Status Stream::Session::EndSegment() {
  MutexLock lock(&mutex_);
  if (absl::Status status = Sendable(); !status.ok()) return status;
  if (done_) return absl::OkStatus();
  source_.EndSegment();
  WriteNext();
  return absl::OkStatus();
}

absl::Status Stream::Session::KeepAlive() {
  MutexLock lock(&mutex_);
  if (absl::Status status = Sendable(); !status.ok()) return status;
  keep_alive_due_ = true;
  WriteNext();
  return absl::OkStatus();
}

absl::Status Stream::Session::CloseSource() {
  MutexLock lock(&mutex_);
  if (absl::Status status = Sendable(); !status.ok()) return status;
  source_closed_ = true;
  source_.Close();
  WriteNext();
  return absl::OkStatus();
}

void Stream::Session::Cancel() {
  MutexLock lock(&mutex_);
  if (done_) return;
  cancelled_ = true;
  Discard();
  if (call_ != nullptr) return call_->Cancel();
  End(absl::CancelledError("cancelled"));
}

std::optional<Event> Stream::Session::Next() {
  MutexLock lock(&mutex_);
  while (events_.empty() && !done_) changed_.Wait(&mutex_);
  return Pop();
}

std::optional<Event> Stream::Session::TryNext() {
  MutexLock lock(&mutex_);
  return Pop();
}

bool Stream::Session::finished() const {
  MutexLock lock(&mutex_);
  return done_ && events_.empty();
}

absl::Status Stream::Session::Wait() {
  MutexLock lock(&mutex_);
  Discard();
  while (!done_) changed_.Wait(&mutex_);
  return status_;
}

int64_t Stream::Session::unsent_bytes() const {
  MutexLock lock(&mutex_);
  return done_ ? 0 : source_.unsent_bytes();
}

void Stream::Session::StartCall() {
  writing_ = true;
  half_closed_ = paused_ = read_over_ = progressed_ = going_away_ = false;
  unanswered_ = summarised_ = false;
  call_started_ = SteadyTime::InfiniteFuture();
  pb::StreamTranslateRequest request;
  *request.mutable_config() = config_;
  const int64_t first = source_.Rewind();
  if (!resume_token_.empty()) {
    pb::ResumeRequest& resume = *request.mutable_config()->mutable_resume();
    resume = committed_;
    resume.set_session_id(id_);
    resume.set_resume_token(resume_token_);
    resume.set_next_source_sequence(first);
  }
  call_ = std::make_shared<Call>(shared_from_this());
  call_->Start(*server_->stub, deadline_, call_, std::move(request));
  if (options_.resume_timeout <= absl::ZeroDuration()) return;
  const SteadyTime now = SteadyNow();
  answer_by_ = now + kAnswerTimeout;
  WaitUntil(now + kLookInterval);
}

void Stream::Session::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  writing_ = false;
  if (ok) WriteNext();  // Else the call is over; its status tells why.
  Signal();
}

// gRPC allows one write in flight.
void Stream::Session::WriteNext() {
  if (call_ == nullptr || writing_ || read_over_) return;
  pb::StreamTranslateRequest request;
  if (std::exchange(keep_alive_due_, false)) {
    request.mutable_keep_alive();
  } else if (std::optional<SourceMessage> message = source_.Next()) {
    if (message->sequence == 0) {
      request.mutable_end_segment();
    } else {
      request.mutable_source()->set_sequence(message->sequence);
      if (sample_bytes() > 0) {
        request.mutable_source()->set_audio(std::move(message->text));
      } else {
        request.mutable_source()->set_text(std::move(message->text));
      }
    }
  } else {
    if (source_.all_sent() && !std::exchange(half_closed_, true)) call_->HalfClose();
    return;
  }
  writing_ = true;
  call_->Write(std::move(request));
}

bool Stream::Session::OnResponse(const pb::StreamTranslateResponse& response) {
  MutexLock lock(&mutex_);
  if (response.has_started() && id_.empty()) {
    // Another server's defaults may differ.
    pb::SessionConfig applied = response.started().effective_config();
    *applied.mutable_output() = config_.output();
    config_ = std::move(applied);
  }
  if (response.has_resume_point()) {
    TakeResumePoint(response.resume_point());
  } else if (std::optional<Event> event = FromProto(response)) {
    Take(*std::move(event));
  }
  paused_ = events_.size() >= kMaxQueuedEvents;
  return !paused_;
}

void Stream::Session::OnReadOver() {
  MutexLock lock(&mutex_);
  read_over_ = true;
}

void Stream::Session::Take(Event event) {
  if (fault_.has_value()) return;
  if (auto* started = std::get_if<Started>(&event)) return TakeStarted(std::move(*started));
  if (auto* delta = std::get_if<Delta>(&event)) return TakeDelta(std::move(*delta));
  if (auto* completed = std::get_if<SegmentCompleted>(&event)) {
    return TakeCompleted(std::move(*completed));
  }
  if (std::holds_alternative<GoingAway>(event)) going_away_ = true;
  if (std::holds_alternative<Summary>(event)) summarised_ = true;
  Emit(std::move(event));
}

void Stream::Session::TakeStarted(Started started) {
  const SteadyTime now = SteadyNow();
  if (alarm_ != nullptr) alarm_->Cancel();
  call_started_ = now;
  const bool first = id_.empty();
  if (std::exchange(told_, false) || !first) {
    Emit(Resumed{server_->address, now - lost_});
  }
  lost_ = SteadyTime::InfiniteFuture();
  maybe_held_ = false;  // If it was, this call has taken its place.
  id_ = started.session_id;
  if (!first) return;
  started_ = now;
  started.applied.token_details = options_.token_details;
  Emit(std::move(started));
}

void Stream::Session::TakeDelta(Delta delta) {
  progressed_ = true;
  if (delta.tokens.empty() && !resume_token_.empty() && config_.output().token_details()) {
    rest_ = std::move(delta);
    return;
  }
  text_ += delta.text;
  for (Token& token : delta.tokens) {
    committed_.mutable_committed_target()->add_ids(token.id);
    committed_.add_committed_source_tokens_read(token.source_tokens_read);
    token.emit_offset += call_started_ - started_;
  }
  if (!options_.token_details) delta.tokens.clear();
  if (delta.text.empty() && delta.tokens.empty()) return;
  delta.sequence = ++deltas_;
  Emit(std::move(delta));
}

void Stream::Session::TakeCompleted(SegmentCompleted completed) {
  progressed_ = true;
  if (rest_.has_value()) {
    text_ += rest_->text;
    rest_->sequence = ++deltas_;
    Emit(*std::exchange(rest_, std::nullopt));
  }
  if (completed.segment != segment_ || completed.text != text_) {
    fault_ = absl::InternalError(
        absl::StrCat(server_->address, " ended segment ", completed.segment,
                     " with another text than that of its deltas; segment ", segment_,
                     " was open; report this to who runs the server"));
    return call_->Cancel();
  }
  if (completed.continues) {
    source_.ConsumeOpen(next_consumed_);
  } else if (!by_pauses()) {
    source_.Complete();
  } else if (!next_resume_token_.empty()) {
    source_.Consume(next_consumed_);
  }
  ++segment_;
  resume_token_ = std::exchange(next_resume_token_, "");
  text_.clear();
  committed_.Clear();
  Emit(std::move(completed));
}

void Stream::Session::TakeResumePoint(const pb::ResumePoint& point) {
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

void Stream::Session::Emit(Event event) {
  if (discard_) return;
  events_.push_back(std::move(event));
  Signal();
}

void Stream::Session::OnCallDone(const grpc::Status& grpc_status) {
  MutexLock lock(&mutex_);
  call_.reset();
  if (alarm_ != nullptr) alarm_->Cancel();
  rest_.reset();
  next_resume_token_.clear();
  absl::Status status = WithNote(ToStatus(grpc_status), server_->note);
  if (status.ok() && !summarised_) {  // No server of ours does that.
    status = absl::UnavailableError(
        absl::StrCat(server_->address, " ended the stream without a summary", server_->note));
  }
  if (unanswered_) {
    status = absl::UnavailableError(absl::StrCat(server_->address, " did not answer within ",
                                                 absl::FormatDuration(kAnswerTimeout),
                                                 server_->note));
  }
  if (fault_.has_value()) return End(*std::move(fault_));
  if (MayGoOn(status)) return CallAgain(status);
  End(std::move(status));
}

bool Stream::Session::MayGoOn(const absl::Status& status) const {
  if (status.ok() || cancelled_) return false;
  // The deadline is ours, and not a proxy's; the server, which knows it too, may be a little early.
  if (absl::IsDeadlineExceeded(status) && SteadyNow() + kClockError >= deadline_) return false;
  // A server that does not know yet that it lost us still counts our session; it finds out.
  const bool held = maybe_held_ && ErrorReason(status) == "QUOTA_EXCEEDED";
  if (!held && !MayPass(status)) return false;
  // A stream that is not to be resumed looks for a server that takes it all the same.
  if (options_.resume_timeout <= absl::ZeroDuration()) return id_.empty() && !progressed_;
  const bool nothing_shown = segment_ == 1 && !committed_.has_committed_target() && text_.empty();
  return nothing_shown || !resume_token_.empty();
}

std::shared_ptr<Server> Stream::Session::BestServer(SteadyTime now) {
  const std::vector<std::shared_ptr<Server>> servers = servers_->All();
  const auto free = [&](const std::shared_ptr<Server>& server) {
    const auto record = records_.find(server->address);
    return record == records_.end() ? now : std::max(record->second.not_before, now);
  };
  // Picks any of the servers that may be called now, since many streams may be looking for one. The
  // last one is picked only if no other may be called.
  std::shared_ptr<Server> best;
  const size_t offset = absl::Uniform<size_t>(random_, 0, servers.size());
  for (size_t i = 0; i < servers.size(); ++i) {
    const auto& server = servers[(offset + i) % servers.size()];
    if (best == nullptr || free(server) < free(best) ||
        (best == server_ && free(server) == free(best))) {
      best = server;
    }
  }
  return best;
}

void Stream::Session::CallAgain(const absl::Status& status) {
  const SteadyTime now = SteadyNow();
  const bool was_live = call_started_ < SteadyTime::InfiniteFuture();
  const bool was_of_use = progressed_ || (was_live && now - call_started_ >= kShortCall);
  if (was_of_use) futile_calls_ = futile_moves_ = answered_calls_ = 0;
  if (was_live && !was_of_use) ++(going_away_ ? futile_moves_ : futile_calls_);
  const bool answered = !was_live && !unanswered_ && IsAnAnswer(status);
  if (answered) ++answered_calls_;
  if (!IsFromServer(status)) maybe_held_ = true;
  lost_ = std::min(lost_, now);
  last_error_ = status;

  Record& record = records_[server_->address];
  if (was_of_use) record.failures = 0;
  ++record.failures;
  const double jitter = absl::Uniform(random_, 1.0, 2.0);
  absl::Duration delay = std::min(kMaxDelay, kFirstDelay * (1 << std::min(record.failures, 10)));
  delay = std::max(delay, RetryDelay(status));
  record.not_before = now + delay * jitter;
  const std::vector<std::shared_ptr<Server>> servers = servers_->All();
  // A server that announced its end was not overloaded. Behind the only address there may be
  // others; the one that takes the stream next may be the same one, or end as well.
  if (going_away_ && servers.size() == 1 && futile_moves_ <= 1) record.not_before = now;

  const bool all_asked = std::all_of(servers.begin(), servers.end(), [&](const auto& server) {
    const auto known = records_.find(server->address);
    return known != records_.end() && known->second.failures > 0;
  });
  const bool begun = !id_.empty();
  // No server is asked twice if the stream would not be resumed, or if the answer will be the same.
  if (all_asked && (options_.resume_timeout <= absl::ZeroDuration() ||
                    (!begun && answered && IsLasting(status)))) {
    return End(status);
  }
  server_ = BestServer(now);
  const SteadyTime next = std::max(records_[server_->address].not_before, now);
  const int max_answered_calls = begun ? kMaxAnsweredCalls : kMaxFutileCalls;
  std::string why;
  if (futile_calls_ >= kMaxFutileCalls) {
    why = absl::StrCat(futile_calls_, " calls in a row broke at once");
  } else if (futile_moves_ >= kMaxFutileMoves) {
    why = absl::StrCat(futile_moves_,
                       " calls in a row were ended at once by servers that go away");
  } else if (answered_calls_ >= max_answered_calls) {
    why = absl::StrCat(answered_calls_, " calls in a row were not answered by a leapstream server");
  } else if (options_.resume_timeout > absl::ZeroDuration() &&
             next >= lost_ + options_.resume_timeout) {
    why = absl::StrCat("no server took the stream within ",
                       absl::FormatDuration(options_.resume_timeout));
  }
  if (!why.empty()) {
    return End(WithMessage(status, absl::StrCat(why, ": ", status.message())));
  }
  // A move that was announced, or trying the next server before anything began, is no interruption.
  const bool moves_on = (going_away_ || !begun) && futile_calls_ == 0 && next <= now;
  if (!told_ && !moves_on) {
    told_ = true;
    Emit(Interrupted{status});
  }
  WaitUntil(std::min(next, now + kLookInterval));
}

void Stream::Session::WaitUntil(SteadyTime time) {
  alarm_time_ = std::min(time, deadline_);
  alarm_ = std::make_unique<grpc::Alarm>();
  alarm_->Set(GrpcDeadline(alarm_time_),
              [weak = weak_from_this(), number = ++alarms_](bool ok) {
                const std::shared_ptr<Session> self = ok ? weak.lock() : nullptr;
                if (self != nullptr) self->OnAlarm(number);
              });
}

void Stream::Session::OnAlarm(int64_t number) {
  MutexLock lock(&mutex_);
  if (done_ || number != alarms_) return;  // This alarm had fired when it was replaced.
  const SteadyTime now = SteadyNow();
  if (call_ != nullptr) {
    // The call itself has the deadline, too.
    if (call_started_ < SteadyTime::InfiniteFuture() || now >= deadline_) return;
    // This process may have been stopped, and the answer may be there.
    if (now - alarm_time_ >= LastLook::kGrace) {
      answer_by_ = std::max(answer_by_, now + LastLook::kGrace);
    }
    // A server that is gone need not be waited for if its name has got another address.
    const std::vector<std::shared_ptr<Server>> servers = servers_->All();
    const bool is_known = std::find(servers.begin(), servers.end(), server_) != servers.end();
    if (now < answer_by_ &&
        (is_known || server_->channel->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY)) {
      return WaitUntil(std::min(answer_by_, now + kLookInterval));
    }
    unanswered_ = true;
    return call_->Cancel();
  }
  if (now >= deadline_) {
    return End(absl::DeadlineExceededError(absl::StrCat(
        "the deadline passed while no server had the stream: ", last_error_.message())));
  }
  server_ = BestServer(now);
  const SteadyTime next = records_[server_->address].not_before;
  if (next > now) return WaitUntil(std::min(next, now + kLookInterval));
  StartCall();
}

void Stream::Session::End(absl::Status status) {
  status_ = std::move(status);
  done_ = true;
  if (alarm_ != nullptr) alarm_->Cancel();
  Signal();
}

std::optional<Event> Stream::Session::Pop() {
  if (events_.empty()) {
    uint64_t count;
    if (ready_fd_ >= 0 && read(ready_fd_, &count, sizeof(count)) < 0) return std::nullopt;
    return std::nullopt;
  }
  std::optional<Event> event = std::move(events_.front());
  events_.pop_front();
  if (events_.size() < kMaxQueuedEvents / 2) ReadOn();
  return event;
}

void Stream::Session::Discard() {
  discard_ = true;
  events_.clear();
  ReadOn();
  Signal();
}

void Stream::Session::ReadOn() {
  if (!paused_) return;
  paused_ = false;
  call_->Read();
}

void Stream::Session::Signal() {
  changed_.NotifyAll();
  const uint64_t one = 1;
  // Fails only if the counter is full, and then it is readable already.
  if (ready_fd_ >= 0 && write(ready_fd_, &one, sizeof(one)) < 0) return;
}

}  // namespace leapstream::client
