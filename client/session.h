#ifndef LEAPSTREAM_CLIENT_SESSION_H_
#define LEAPSTREAM_CLIENT_SESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "client/event_queue.h"
#include "client/resume_log.h"
#include "client/retry_policy.h"
#include "client/servers.h"
#include "client/stream_call.h"
#include "client/types.h"
#include "grpcpp/alarm.h"

namespace leapstream::client {

// The inside of a Stream: one session, and one call at a time that carries it. Moves source and
// events between the user, the call and two parts: ResumeLog knows what a resume needs, RetryPolicy
// when to call again. Owned by the Stream, and by its call while there is one. Thread-safe.
class Session final : public StreamCallListener, public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Servers> servers, const StreamOptions& options);

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
  int ready_fd() const { return queue_.ready_fd(); }

  size_t sample_bytes() const {  // 0: the session is of text.
    if (options_.audio == AudioFormat::kNone) return 0;
    return options_.audio == AudioFormat::kPcmS16Le ? 2 : 4;
  }

 private:
  enum class Phase {
    kCalling,     // There is a call, which no server has answered.
    kLive,        // A server has the session.
    kSummarised,  // The server has sent the summary; the end of its call is to come.
    kWaiting,     // There is no call; the alarm begins the next one.
    kDone,        // The session is over, with status_.
  };

  // Why a call was cancelled here.
  enum class Stop { kNone, kUser, kNoAnswer, kFault };

  // The call in flight.
  struct Flight {
    std::shared_ptr<StreamCall> call;  // Null: there is none.
    bool writing = true;               // The first message is written at once.
    bool half_closed = false;
    bool read_paused = false;  // No read is in flight: too many events wait.
    bool read_over = false;
    SteadyTime answer_by = SteadyTime::InfiniteFuture();
    SteadyTime started = SteadyTime::InfiniteFuture();  // When the server's `started` came.
    bool progressed = false;                            // It brought something of a segment.
    bool going_away = false;                            // The server announced its end.
  };

  void OnWriteDone(bool ok) override;
  bool OnResponse(const v1::StreamTranslateResponse& response) override;
  void OnReadOver() override;
  void OnCallDone(const grpc::Status& status) override;

  void OnAlarm(int64_t number);
  absl::Status Sendable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartCall() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<v1::StreamTranslateRequest> NextRequest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Take(Event event, const v1::StreamTranslateResponse& response)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeStarted(Started started, const v1::SessionStarted& message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeCompleted(SegmentCompleted completed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Emit(Event event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Event> Pop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The status of a call that gRPC ended with `status`, as the user is to see it.
  absl::Status StatusOf(const grpc::Status& status) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CallAgain(const absl::Status& status, const Flight& last)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LookAtCall(SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WaitUntil(SteadyTime time) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Discard() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReadOn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Signal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<Servers> servers_;
  const StreamOptions options_;
  const SteadyTime deadline_;

  mutable Mutex mutex_;
  CondVar changed_;   // An event was added, or the phase is kDone.
  EventQueue queue_;  // Guarded by mutex_, but for ready_fd().

  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kCalling;
  Stop stop_ ABSL_GUARDED_BY(mutex_) = Stop::kNone;
  // The session's status once it is done; until then, the last error.
  absl::Status status_ ABSL_GUARDED_BY(mutex_);

  ResumeLog log_ ABSL_GUARDED_BY(mutex_);
  bool keep_alive_due_ ABSL_GUARDED_BY(mutex_) = false;
  bool source_closed_ ABSL_GUARDED_BY(mutex_) = false;

  Flight flight_ ABSL_GUARDED_BY(mutex_);
  // The server of the call, or the next one to be called.
  std::shared_ptr<Server> server_ ABSL_GUARDED_BY(mutex_);
  RetryPolicy retry_ ABSL_GUARDED_BY(mutex_);

  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
  SteadyTime alarm_time_ ABSL_GUARDED_BY(mutex_);
  int64_t alarms_ ABSL_GUARDED_BY(mutex_) = 0;  // The number of the last alarm.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_SESSION_H_
