#ifndef LEAPSTREAM_CLIENT_SESSION_H_
#define LEAPSTREAM_CLIENT_SESSION_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "client/client.h"
#include "client/servers.h"
#include "client/source_log.h"
#include "client/wire.h"
#include "grpcpp/alarm.h"

namespace leapstream::client {

// The inside of a Stream: one session, and one call at a time that carries it. Keeps what a server
// must be told to go on with the session. Owned by the Stream, and by its call while there is one.
// Thread-safe.
class Stream::Session final : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Servers> servers, const StreamOptions& options);
  ~Session();

  void Start();  // Called once, first.

  // These do what they do in Stream.
  absl::Status Append(std::string text);  // UTF-8, or samples; no longer than a chunk.
  absl::Status EndSegment();
  absl::Status KeepAlive();
  absl::Status CloseSource();
  void Cancel();
  std::optional<Event> Next();
  std::optional<Event> TryNext();
  bool finished() const;
  absl::Status Wait();
  int64_t unsent_bytes() const;
  int ready_fd() const { return ready_fd_; }

  size_t sample_bytes() const {  // 0: the session is of text.
    if (options_.audio == AudioFormat::kNone) return 0;
    return options_.audio == AudioFormat::kPcmS16Le ? 2 : 4;
  }

 private:
  class Call;  // One gRPC call.

  // This session's experience with a server.
  struct Record {
    int failures = 0;  // Failed calls in a row.
    SteadyTime not_before = SteadyTime::InfinitePast();
  };

  // The Call calls these.
  void OnWriteDone(bool ok);
  bool OnResponse(const pb::StreamTranslateResponse& response);  // Returns whether to read on.
  void OnReadOver();
  void OnCallDone(const grpc::Status& status);

  void OnAlarm(int64_t number);
  absl::Status Sendable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartCall() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Take(Event event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeStarted(Started started) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeDelta(Delta delta) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeCompleted(SegmentCompleted completed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool by_pauses() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return FromProto(config_.pause_detection().min_duration()) > absl::ZeroDuration();
  }
  void TakeResumePoint(const pb::ResumePoint& point) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Emit(Event event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Event> Pop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayGoOn(const absl::Status& status) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CallAgain(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The server that may be called first.
  std::shared_ptr<Server> BestServer(SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WaitUntil(SteadyTime time) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Discard() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReadOn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Signal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<Servers> servers_;
  const StreamOptions options_;
  const SteadyTime deadline_;
  const int ready_fd_;

  mutable Mutex mutex_;
  CondVar changed_;  // An event was added, or done_ was set.

  // The session.
  pb::SessionConfig config_ ABSL_GUARDED_BY(mutex_);  // Once started: as the server applied it.
  SourceLog source_ ABSL_GUARDED_BY(mutex_);
  std::string id_ ABSL_GUARDED_BY(mutex_);  // "": not started yet.
  SteadyTime started_ ABSL_GUARDED_BY(mutex_);
  int64_t deltas_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string resume_token_ ABSL_GUARDED_BY(mutex_);       // The open segment's; "": none yet.
  std::string next_resume_token_ ABSL_GUARDED_BY(mutex_);  // The next segment's; "": none yet.
  int64_t next_consumed_ ABSL_GUARDED_BY(mutex_) = 0;      // Sequence beside next_resume_token_.
  int64_t segment_ ABSL_GUARDED_BY(mutex_) = 1;            // The open segment.
  std::string text_ ABSL_GUARDED_BY(mutex_);               // The open segment's text so far.
  pb::ResumeRequest committed_ ABSL_GUARDED_BY(mutex_);    // The tokens of text_.
  // A delta without tokens is text that only the end of the segment makes complete. It is no part
  // of committed_, so it would come again after a break. It is held here until the segment is known
  // to be complete.
  std::optional<Delta> rest_ ABSL_GUARDED_BY(mutex_);
  bool keep_alive_due_ ABSL_GUARDED_BY(mutex_) = false;
  bool source_closed_ ABSL_GUARDED_BY(mutex_) = false;

  // The call.
  std::shared_ptr<Call> call_ ABSL_GUARDED_BY(mutex_);  // Null: waiting for the alarm, or done.
  // The server of call_, or the next one to be called.
  std::shared_ptr<Server> server_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;  // No read is in flight: too many events wait.
  bool read_over_ ABSL_GUARDED_BY(mutex_) = false;
  // The time of the server's `started`.
  SteadyTime call_started_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfiniteFuture();
  bool progressed_ ABSL_GUARDED_BY(mutex_) = false;  // The call brought something of a segment.
  bool going_away_ ABSL_GUARDED_BY(mutex_) = false;  // The server announced its end.
  bool summarised_ ABSL_GUARDED_BY(mutex_) = false;  // The server sent the Summary.
  SteadyTime answer_by_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfiniteFuture();
  bool unanswered_ ABSL_GUARDED_BY(mutex_) = false;  // The call was cancelled: no answer came.
  // The call was cancelled because of this.
  std::optional<absl::Status> fault_ ABSL_GUARDED_BY(mutex_);

  // The time between calls.
  std::map<std::string, Record> records_ ABSL_GUARDED_BY(mutex_);  // Keyed by address.
  // The time since which no call is live.
  SteadyTime lost_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfiniteFuture();
  bool told_ ABSL_GUARDED_BY(mutex_) = false;  // Interrupted was emitted for it.
  // In a row: calls that broke, or that a server sent away, before they were of use…
  int futile_calls_ ABSL_GUARDED_BY(mutex_) = 0;
  int futile_moves_ ABSL_GUARDED_BY(mutex_) = 0;
  int answered_calls_ ABSL_GUARDED_BY(mutex_) = 0;  // …and those that no server of ours answered.
  bool maybe_held_ ABSL_GUARDED_BY(mutex_) = false;  // By a server whose connection broke.
  absl::Status last_error_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
  SteadyTime alarm_time_ ABSL_GUARDED_BY(mutex_);
  int64_t alarms_ ABSL_GUARDED_BY(mutex_) = 0;  // The number of the last alarm.
  absl::BitGen random_ ABSL_GUARDED_BY(mutex_);

  // The user's side.
  std::deque<Event> events_ ABSL_GUARDED_BY(mutex_);
  bool discard_ ABSL_GUARDED_BY(mutex_) = false;  // Nobody will take events any more.
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_SESSION_H_
