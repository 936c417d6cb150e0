#ifndef LEAPSTREAM_CLIENT_RETRY_POLICY_H_
#define LEAPSTREAM_CLIENT_RETRY_POLICY_H_

#include <map>
#include <string>
#include <vector>

#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace leapstream::client {

// A call that has ended with an error, and what is known of its session.
struct EndedCall {
  std::string address;  // The server's.
  absl::Status status;  // Not OK.
  // When the server's `started` came; InfiniteFuture(): it did not.
  SteadyTime started = SteadyTime::InfiniteFuture();
  bool progressed = false;  // The call brought something of a segment.
  bool going_away = false;  // The server announced its end.
  bool unanswered = false;  // The call was cancelled here, since no answer came.
  bool begun = false;       // Some server, in this call or in an earlier one, began the session.
  bool resumable = false;   // Another server could go on where this one ended.
};

// The next call of a session.
struct NextCall {
  size_t server = 0;  // Index of its address.
  SteadyTime at;      // Not in the past.
  bool is_interruption = false;  // The user is to be told that no server has the stream.
};

// Decides for one session when another call is made, to which server, and when the session is given
// up. Knows nothing of connections, and has no clock: the caller says what time it is. Not
// thread-safe.
class RetryPolicy {
 public:
  // `patience`: how long a server is looked for; 0: the stream is not resumed. `deadline`: that of
  // the whole stream.
  RetryPolicy(absl::Duration patience, SteadyTime deadline)
      : patience_(patience), deadline_(deadline) {}

  struct Regained {
    bool was_told = false;  // An interruption had been reported.
    absl::Duration gap;     // Time without a server; meaningless for the first call of a session.
  };
  // A server has taken the session.
  Regained OnStarted(SteadyTime now);

  // Decides what follows a call, if these are the addresses of the servers now (at least one). The
  // error is the one that the stream ends with.
  absl::StatusOr<NextCall> AfterCall(const EndedCall& call,
                                     const std::vector<std::string>& addresses, SteadyTime now);

  // The server that may be called first. `last`: the address that was chosen before; it is chosen
  // again only if no other may be called as soon.
  NextCall Best(const std::vector<std::string>& addresses, const std::string& last, SteadyTime now);

 private:
  // This session's experience with a server.
  struct Record {
    int failures = 0;  // Failed calls in a row.
    SteadyTime not_before = SteadyTime::InfinitePast();
    // The end of not_before that is added to a quota's own time, and takes no patience.
    absl::Duration after_quota;
  };

  bool MayGoOn(const EndedCall& call, SteadyTime now) const;
  // Counts the call among those of its kind. Returns whether somebody on the way answered it.
  bool Count(const EndedCall& call, SteadyTime now);
  void Postpone(const EndedCall& call, size_t servers, SteadyTime now);
  bool AllFailed(const std::vector<std::string>& addresses) const;
  std::string WhyGiveUp(bool begun, SteadyTime next) const;  // "": go on.

  const absl::Duration patience_;
  const SteadyTime deadline_;
  std::map<std::string, Record> records_;  // Keyed by address.
  SteadyTime lost_ = SteadyTime::InfiniteFuture();  // Since when no call is live.
  bool told_ = false;                               // The interruption has been reported.
  // Calls in a row that broke, or that a server sent away, before they were of use…
  int futile_calls_ = 0;
  int futile_moves_ = 0;
  int answered_calls_ = 0;   // …and those that no server of ours answered.
  bool maybe_held_ = false;  // A server whose connection broke may still have the session.
  absl::BitGen random_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_RETRY_POLICY_H_
