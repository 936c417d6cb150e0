#include "server/rpc/call_deadlines.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "server/admission.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

// The longest notice before a session's time is over.
constexpr absl::Duration kMaxNotice = absl::Seconds(30);

// True if `time` has come. Otherwise notes it in `due` as a time to ask again.
bool IsDue(SteadyTime time, SteadyTime now, DueActions* due) {
  if (time > now) due->next = std::min(due->next, time);
  return time <= now;
}

// True if the client has missed `deadline`. Otherwise notes the time of the next look in `due` as a
// time to ask again.
bool IsMissed(SteadyTime deadline, SteadyTime now, SteadyTime patience, LastLook* look,
              DueActions* due) {
  if (look->Missed(deadline, now, patience)) return true;
  due->next = std::min(due->next, look->next());
  return false;
}

}  // namespace

absl::Status DepartureStatus(v1::GoingAwayReason reason) {
  if (reason == v1::GOING_AWAY_REASON_DRAINING) return Draining();
  return WithReason(absl::UnavailableError("the session has lasted as long as one may; resume it"),
                    "MAX_DURATION");
}

DueActions CallDeadlines::At(SteadyTime now, absl::Time today, SteadyTime patience,
                             const CallActivity& activity) {
  DueActions due;
  CheckReader(now, patience, activity, &due);
  if (activity.awaits_config && IsMissed(config_deadline(), now, patience, &config_look_, &due)) {
    due.end = WithReason(absl::AbortedError(absl::StrCat("no config came within ",
                                                         absl::FormatDuration(ConfigTimeout()))),
                         "CONFIG_TIMEOUT");
  }
  if (!activity.open) return due;
  CheckSession(now, patience, activity, &due);
  // The date counts, too: a token expires by its date, which may come before the duration is over.
  due.refresh_resume_point =
      IsDue(resume_refresh_, now, &due) || today > resume_refresh_date_;
  return due;
}

void CallDeadlines::CheckReader(SteadyTime now, SteadyTime patience, const CallActivity& activity,
                                DueActions* due) {
  const absl::Duration timeout = limits_.stuck_reader_timeout;
  if (!activity.writing || timeout <= absl::ZeroDuration()) return;
  if (!stuck_since_.has_value() &&
      IsMissed(activity.write_started + timeout, now, patience, &stuck_look_, due)) {
    stuck_since_ = now;
    due->drop_output = true;
    due->end = WithReason(absl::AbortedError(absl::StrCat(
                              "the client took no message for ", absl::FormatDuration(timeout),
                              "; read faster, or start a new session")),
                          "READER_STUCK");
  }
  // The status waits behind the message that is not taken, so in the end the call is reset. The
  // time until then counts from now, since a busy machine may have noticed late that the reader is
  // stuck.
  if (stuck_since_.has_value()) due->cancel_call = IsDue(*stuck_since_ + timeout, now, due);
}

void CallDeadlines::CheckSession(SteadyTime now, SteadyTime patience, const CallActivity& activity,
                                 DueActions* due) {
  if (activity.waits_for_room) {
    IsDue(EndOf(now, idle_timeout_), now, due);
  } else if (!activity.half_closed && IsMissed(EndOf(activity.last_received, idle_timeout_), now,
                                               patience, &idle_look_, due)) {
    due->end =
        WithReason(absl::AbortedError(absl::StrCat(
                       "nothing came for ", absl::FormatDuration(idle_timeout_),
                       "; send keep_alive, or resume the session when there is more")),
                   "IDLE_TIMEOUT");
  }
  CheckDeparture(now, patience, due);
  const absl::Duration interval = limits_.heartbeat_interval;
  due->send_heartbeat = !activity.writing && !activity.has_output &&
                        IsDue(EndOf(activity.last_sent, interval), now, due);
  if (due->send_heartbeat || activity.writing) IsDue(EndOf(now, interval), now, due);
}

void CallDeadlines::CheckDeparture(SteadyTime now, SteadyTime patience, DueActions* due) {
  const absl::Duration notice = std::min(kMaxNotice, limits_.max_session_duration / 4);
  const SteadyTime last = EndOf(started_, limits_.max_session_duration);
  if (!departure_.has_value() && IsDue(last - notice, now, due)) {
    // The notice counts from now, since this look may be late.
    due->departure = Departure{v1::GOING_AWAY_REASON_MAX_DURATION, now + notice};
  }
  if (!departure_.has_value() || departure_over_ || !IsDue(departure_->deadline, now, due)) return;
  if (now - departure_->deadline >= LastLook::kGrace && patience > now &&
      !std::exchange(departure_delayed_, true)) {
    departure_->deadline = patience;
    IsDue(patience, now, due);
    return;
  }
  departure_over_ = true;
  due->end = DepartureStatus(departure_->reason);
}

void CallDeadlines::ResumePointSent(SteadyTime now, absl::Time today) {
  resume_refresh_ = now + resume_lifetime_ / 2;
  resume_refresh_date_ = today + resume_lifetime_ / 2;
}

bool CallDeadlines::SetDeparture(const Departure& departure) {
  if (departure_.has_value()) return false;
  departure_ = departure;
  return true;
}

absl::Duration CallDeadlines::ConfigTimeout() const {
  const absl::Duration limit = limits_.config_timeout;
  if (!undecided_) return limit;
  return limit > absl::ZeroDuration() ? std::min(limit, budget::kUndecidedTime)
                                      : budget::kUndecidedTime;
}

SteadyTime CallDeadlines::config_deadline() const { return EndOf(started_, ConfigTimeout()); }

SteadyTime CallDeadlines::first_deadline(const CallActivity& activity) const {
  const absl::Duration duration = limits_.max_session_duration;
  return std::min({EndOf(activity.last_received, idle_timeout_),
                   EndOf(started_, duration) - std::min(kMaxNotice, duration / 4),
                   EndOf(activity.last_sent, limits_.heartbeat_interval), resume_refresh_});
}

SteadyTime CallDeadlines::write_deadline(SteadyTime write_started) const {
  return EndOf(write_started, limits_.stuck_reader_timeout);
}

}  // namespace leapstream
