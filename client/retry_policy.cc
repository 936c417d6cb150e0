#include "client/retry_policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/wire.h"

namespace leapstream::client {
namespace {

constexpr absl::Duration kFirstDelay = absl::Milliseconds(25);
constexpr absl::Duration kMaxDelay = absl::Seconds(2);
// A call that breaks sooner than this, and brought nothing, was of no use. After some such calls
// the session itself is taken for the cause: it must not bring down one server after another.
constexpr absl::Duration kShortCall = absl::Seconds(10);
constexpr int kMaxFutileCalls = 5;
// The most useless calls in a row that servers ended because they go away. In a rolling restart
// several servers do.
constexpr int kMaxFutileMoves = 8;
// If this many resumes in a row get an answer that is neither a server's `started` nor a server's
// refusal, whoever answers does not want the session.
constexpr int kMaxAnsweredCalls = 10;
constexpr absl::Duration kClockError = absl::Milliseconds(100);  // Difference of two timers.

// Whether a quota is used up that is there again at a time which the server names.
bool IsPause(const absl::Status& status) {
  return ErrorReason(status) == "QUOTA_EXCEEDED" && RetryDelay(status) > absl::ZeroDuration();
}

// Whether another call may do better. A status that no leapstream server sent comes from gRPC, a
// proxy or a gateway, whatever its code: the session is still there.
bool MayPass(const absl::Status& status) {
  return !IsFromServer(status) || absl::IsUnavailable(status) ||
         ErrorReason(status) == "RESUME_MODEL_MISMATCH" || IsPause(status);
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

RetryPolicy::Regained RetryPolicy::OnStarted(SteadyTime now) {
  const Regained regained = {told_, now - lost_};
  told_ = false;
  lost_ = SteadyTime::InfiniteFuture();
  maybe_held_ = false;  // If it was, this call has taken its place.
  return regained;
}

absl::StatusOr<NextCall> RetryPolicy::AfterCall(const EndedCall& call,
                                                const std::vector<std::string>& addresses,
                                                SteadyTime now) {
  if (!MayGoOn(call, now)) return call.status;
  const bool answered = Count(call, now);
  if (!IsFromServer(call.status)) maybe_held_ = true;
  lost_ = std::min(lost_, now);
  Postpone(call, addresses.size(), now);
  // No server is asked twice if the stream would not be resumed, or if the answer will be the same.
  if (AllFailed(addresses) && (patience_ <= absl::ZeroDuration() ||
                               (!call.begun && answered && IsLasting(call.status)))) {
    return call.status;
  }
  NextCall next = Best(addresses, call.address, now);
  const SteadyTime due = std::max(now, next.at - records_[addresses[next.server]].after_quota);
  if (IsPause(call.status) && due >= lost_ + patience_) return call.status;
  const std::string why = WhyGiveUp(call.begun, due);
  if (!why.empty()) {
    return WithMessage(call.status, absl::StrCat(why, ": ", call.status.message()));
  }
  // A move that was announced, or trying the next server before anything began, is no interruption.
  const bool moves_on = (call.going_away || !call.begun) && futile_calls_ == 0 && next.at <= now;
  next.is_interruption = !told_ && !moves_on;
  if (next.is_interruption) told_ = true;
  return next;
}

bool RetryPolicy::MayGoOn(const EndedCall& call, SteadyTime now) const {
  // The deadline is ours, and not a proxy's; the server, which knows it too, may be a little early.
  if (absl::IsDeadlineExceeded(call.status) && now + kClockError >= deadline_) return false;
  // A server that does not know yet that it lost us still counts our session; it finds out.
  const bool held = maybe_held_ && ErrorReason(call.status) == "QUOTA_EXCEEDED";
  if (!held && !MayPass(call.status)) return false;
  // A stream that is not to be resumed looks for a server that takes it all the same.
  if (patience_ <= absl::ZeroDuration()) return !call.begun && !call.progressed;
  return call.resumable;
}

bool RetryPolicy::Count(const EndedCall& call, SteadyTime now) {
  const bool was_live = call.started < SteadyTime::InfiniteFuture();
  const bool was_of_use = call.progressed || (was_live && now - call.started >= kShortCall);
  if (was_of_use) {
    futile_calls_ = futile_moves_ = answered_calls_ = 0;
    records_[call.address].failures = 0;
  }
  if (was_live && !was_of_use) ++(call.going_away ? futile_moves_ : futile_calls_);
  const bool answered = !was_live && !call.unanswered && IsAnAnswer(call.status);
  if (answered) ++answered_calls_;
  return answered;
}

void RetryPolicy::Postpone(const EndedCall& call, size_t servers, SteadyTime now) {
  Record& record = records_[call.address];
  ++record.failures;
  absl::Duration delay = std::min(kMaxDelay, kFirstDelay * (1 << std::min(record.failures, 10)));
  const double scatter = absl::Uniform(random_, 1.0, 2.0);
  const absl::Duration asked = RetryDelay(call.status);
  // A full server tells many clients to come back. A quota is of one, and is there at that time.
  const bool pause = IsPause(call.status);
  record.after_quota = pause ? delay * scatter : absl::ZeroDuration();
  record.not_before = now + (pause ? asked + record.after_quota : std::max(delay, asked) * scatter);
  // A server that announced its end was not overloaded. Behind the only address there may be
  // others; the one that takes the stream next may be the same one, or end as well.
  if (call.going_away && servers == 1 && futile_moves_ <= 1) record.not_before = now;
}

bool RetryPolicy::AllFailed(const std::vector<std::string>& addresses) const {
  return std::all_of(addresses.begin(), addresses.end(), [&](const std::string& address) {
    const auto known = records_.find(address);
    return known != records_.end() && known->second.failures > 0;
  });
}

std::string RetryPolicy::WhyGiveUp(bool begun, SteadyTime next) const {
  const int max_answered_calls = begun ? kMaxAnsweredCalls : kMaxFutileCalls;
  if (futile_calls_ >= kMaxFutileCalls) {
    return absl::StrCat(futile_calls_, " calls in a row broke at once");
  }
  if (futile_moves_ >= kMaxFutileMoves) {
    return absl::StrCat(futile_moves_,
                        " calls in a row were ended at once by servers that go away");
  }
  if (answered_calls_ >= max_answered_calls) {
    return absl::StrCat(answered_calls_,
                        " calls in a row were not answered by a leapstream server");
  }
  if (patience_ > absl::ZeroDuration() && next >= lost_ + patience_) {
    return absl::StrCat("no server took the stream within ", absl::FormatDuration(patience_));
  }
  return "";
}

NextCall RetryPolicy::Best(const std::vector<std::string>& addresses, const std::string& last,
                           SteadyTime now) {
  const auto free = [&](const std::string& address) {
    const auto record = records_.find(address);
    return record == records_.end() ? now : std::max(record->second.not_before, now);
  };
  // Many streams may be looking for a server, so any of those that may be called now is picked.
  const size_t offset = absl::Uniform<size_t>(random_, 0, addresses.size());
  NextCall best = {offset, free(addresses[offset])};
  for (size_t i = 1; i < addresses.size(); ++i) {
    const size_t index = (offset + i) % addresses.size();
    const SteadyTime at = free(addresses[index]);
    if (at < best.at || (addresses[best.server] == last && at == best.at)) best = {index, at};
  }
  return best;
}

}  // namespace leapstream::client
