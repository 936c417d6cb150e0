#ifndef LEAPSTREAM_SERVER_RPC_STREAM_TRANSLATE_CALL_H_
#define LEAPSTREAM_SERVER_RPC_STREAM_TRANSLATE_CALL_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "server/caller.h"
#include "server/metrics.h"
#include "server/rpc/call_deadlines.h"
#include "server/rpc/outbox.h"
#include "server/rpc/resume_points.h"
#include "server/rpc/session_report.h"
#include "server/rpc/source_receiver.h"
#include "server/serving.h"
#include "server/wire/open_request.h"
#include "streaming/session.h"

namespace leapstream {

// One StreamTranslate call. Moves messages between gRPC and a Session; its times, resume points and
// messages are other classes' knowledge. Takes raw messages: gRPC itself would take one that cannot
// be parsed for the end of the stream. No reaction blocks or throws.
//
// Input is bounded: it reads on only while the session has room. Output is bounded: the session is
// held while the client leaves too much unread.
//
// Three sides use it, and each may be the last: gRPC until OnDone(), the step thread until
// OnFinished() has returned, and a timer. Each holds a reference. Finish() is called once, when the
// session (if one was opened) is over and all that it said is written.
class StreamTranslateCall final
    : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
      public SessionSink,
      public LiveCall,
      public std::enable_shared_from_this<StreamTranslateCall> {
 public:
  // The reactor, owned by itself until the call is done; one that refuses the call if it may not
  // come in or there is no permit for it. Without a permit it may still begin, if its first message
  // can be that of a resume which takes the place of an open call. `serving` and `context` must
  // outlive the call.
  static grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Start(
      Serving* serving, grpc::CallbackServerContext* context);
  ~StreamTranslateCall() override;

  // gRPC's side.
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // The session's side.
  void OnEvent(SessionEvent event) override;
  void OnRoom() override;
  void OnFinished(absl::Status status) override;

  // The server's side.
  CallDescription Describe() const override;
  const std::string& token_entry() const override { return caller_.token_entry; }
  void Drain(SteadyTime deadline) override;
  void End(absl::Status why) override { Fail(std::move(why)); }

 private:
  enum class Phase {
    kAwaitsConfig,
    kQueued,     // The config has come, and the opener will take it.
    kOpening,    // The opener's thread opens the session; Fail() leaves the end to that thread.
    kOpened,     // There is a session.
    kAnnounced,  // `started` was sent.
    kOver,       // final_status_ is set; messages may wait to be written.
    kEnded,      // Finish() was or is about to be called.
  };

  StreamTranslateCall(Serving* serving, grpc::CallbackServerContext* context, Caller caller,
                      CallMetrics metrics);

  // --- Reading: gRPC's reactions, which do not overlap. ---
  absl::Status Parse(bool first, v1::StreamTranslateRequest* request);
  // Reads on, or lets OnRoom() do so.
  void ReadOn();

  // --- Opening: on the opener's thread. ---
  void OpenInTurn(const v1::SessionConfig& config);
  absl::Status Open(const v1::SessionConfig& config);
  absl::Status OpenSession();
  // Makes this the session's call, in the place of one that had it, and tells the client.
  absl::Status Announce();

  // --- Writing. ---
  void Send(v1::StreamTranslateResponse response);
  void Enqueue(v1::StreamTranslateResponse response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendDelta(v1::TargetDelta delta);
  void SendResumePoint(const ResumePoint& point);
  void SendCompleted(const SegmentCompleted& completed);
  void SendSummary(const SessionSummary& summary);
  void HoldIfFull() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Starts what is due: the next write, or the end of the call. `this` may be gone after it if the
  // caller holds no reference.
  void Pump();
  void StartNextWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // --- The end. ---
  bool over() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return phase_ >= Phase::kOver; }
  void SetOver(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends the call with `status`: through the session if there is one, else at once.
  void Fail(absl::Status status);
  void GoAway(const Departure& departure);
  // Tells client and session of the departure.
  void Depart();
  // Reports the call to the log and in the metrics. `gone`: the client is.
  void ReportEnd(absl::Status status, bool refused, bool gone);

  // --- Time. ---
  CallActivity Activity() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Calls OnTime() then, if it is not called before.
  void WakeAt(SteadyTime time) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Does what is due, and wakes again when something may be.
  void OnTime(SteadyTime planned);

  const ServedModels::OpenCall open_call_;
  Serving* const serving_;
  const absl::Time started_date_ = absl::Now();
  const SteadyTime started_;
  const Caller caller_;
  CallMetrics call_metrics_;
  std::shared_ptr<StreamTranslateCall> grpc_reference_;
  std::shared_ptr<StreamTranslateCall> sink_reference_;

  // Used by the reading reactions; the opener sets the last one before it reads on.
  grpc::ByteBuffer read_buffer_;
  TakenBytes config_bytes_;  // To the end: the session has the tokens of a resume until then.
  std::optional<SourceReceiver> source_;

  // Set by the opener before the session can say anything, then constant.
  OpenRequest request_;
  v1::OutputOptions output_;
  SessionReport report_;

  ResumePoints points_;
  grpc::ByteBuffer write_buffer_;  // Of the write in flight.

  mutable Mutex mutex_;
  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kAwaitsConfig;
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(mutex_);
  // The reason to refuse the call, unless it takes another call's permit; OK: it has one.
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> failed_ ABSL_GUARDED_BY(mutex_);  // Before there was a session.
  absl::Status final_status_ ABSL_GUARDED_BY(mutex_);           // Once it is over.

  Outbox outbox_ ABSL_GUARDED_BY(mutex_);
  bool held_ ABSL_GUARDED_BY(mutex_) = false;  // The session is, since held_since_.
  bool waits_for_room_ ABSL_GUARDED_BY(mutex_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mutex_) = false;

  CallDeadlines deadlines_ ABSL_GUARDED_BY(mutex_);
  SteadyTime last_received_ ABSL_GUARDED_BY(mutex_);
  SteadyTime held_since_ ABSL_GUARDED_BY(mutex_);
  SteadyTime waits_since_ ABSL_GUARDED_BY(mutex_);
  SteadyTime wakes_at_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfiniteFuture();
  Timer timer_;  // For wakes_at_.

  Mutex context_mutex_;                                                   // Taken last.
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(context_mutex_);  // Null when done.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_STREAM_TRANSLATE_CALL_H_
