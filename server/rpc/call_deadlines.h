#ifndef LEAPSTREAM_SERVER_RPC_CALL_DEADLINES_H_
#define LEAPSTREAM_SERVER_RPC_CALL_DEADLINES_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "server/options.h"

namespace leapstream {

// The end of a stream that GoingAway announces.
struct Departure {
  v1::GoingAwayReason reason = v1::GOING_AWAY_REASON_UNSPECIFIED;
  SteadyTime deadline;
};

// The status of a stream that ends by a departure: UNAVAILABLE with DRAINING or MAX_DURATION.
absl::Status DepartureStatus(v1::GoingAwayReason reason);

// The state of a stream, as far as its deadlines depend on it.
struct CallActivity {
  bool awaits_config = true;     // The first message has not come.
  bool open = false;             // The session was announced, and is not over.
  bool waits_for_room = false;   // Nothing is read because the session has enough.
  bool half_closed = false;      // The client has ended its source.
  bool writing = false;          // A message has not been taken yet.
  bool has_output = false;       // Messages wait to be written.
  SteadyTime last_received;
  SteadyTime last_sent;
  SteadyTime write_started;      // The start of the last write.
};

// The actions that a stream has to take at a moment. Several may be due at once.
struct DueActions {
  std::optional<absl::Status> end;     // End the session with this status.
  bool drop_output = false;            // Nobody reads: drop the messages that wait to be written.
  std::optional<Departure> departure;  // Announce it.
  bool send_heartbeat = false;
  bool refresh_resume_point = false;   // Send the last point again: its token gets old.
  bool cancel_call = false;            // The client has not even taken the end.
  SteadyTime next = SteadyTime::InfiniteFuture();  // The time to ask again.
};

// Decides from times alone what a stream must do: whether its client is too slow, silent or stuck,
// and when the stream has lasted long enough. Has no clock of its own; not thread-safe.
class CallDeadlines {
 public:
  // `limits` must outlive this. `resume_lifetime` is that of a resume token.
  CallDeadlines(const SessionLimits& limits, absl::Duration resume_lifetime, SteadyTime started)
      : limits_(limits), resume_lifetime_(resume_lifetime), started_(started) {}

  // The actions that are due at `now`, on the date `today`. `patience` is Lateness::patience().
  DueActions At(SteadyTime now, absl::Time today, SteadyTime patience,
                const CallActivity& activity);

  // True: the call has no permit, and so less time for its first message.
  void set_undecided(bool undecided) { undecided_ = undecided; }
  // Sets the session's own limit.
  void set_idle_timeout(absl::Duration timeout) { idle_timeout_ = timeout; }
  // To be called when a resume point is sent, at `now`, on the date `today`.
  void ResumePointSent(SteadyTime now, absl::Time today);

  // Sets the departure. False: one was set before, and stays.
  bool SetDeparture(const Departure& departure);
  const std::optional<Departure>& departure() const { return departure_; }

  // The times for the first calls of At(): before the session is announced, after that, and once a
  // write has begun.
  SteadyTime config_deadline() const;
  SteadyTime first_deadline(const CallActivity& activity) const;
  SteadyTime write_deadline(SteadyTime write_started) const;

 private:
  void CheckReader(SteadyTime now, SteadyTime patience, const CallActivity& activity,
                   DueActions* due);
  void CheckSession(SteadyTime now, SteadyTime patience, const CallActivity& activity,
                    DueActions* due);
  void CheckDeparture(SteadyTime now, SteadyTime patience, DueActions* due);
  absl::Duration ConfigTimeout() const;

  const SessionLimits& limits_;
  const absl::Duration resume_lifetime_;
  const SteadyTime started_;
  bool undecided_ = false;
  absl::Duration idle_timeout_;
  std::optional<SteadyTime> stuck_since_;
  std::optional<Departure> departure_;
  bool departure_over_ = false;     // Its deadline has passed.
  bool departure_delayed_ = false;  // Its deadline was seen late, and moved once.
  SteadyTime resume_refresh_ = SteadyTime::InfiniteFuture();
  absl::Time resume_refresh_date_ = absl::InfiniteFuture();
  LastLook config_look_, idle_look_, stuck_look_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_CALL_DEADLINES_H_
