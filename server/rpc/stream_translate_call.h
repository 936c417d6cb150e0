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
#include "server/accounts.h"
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

// One StreamTranslate call. It moves messages between gRPC and a Session. Deadlines, resume points
// and the meaning of messages are in other classes. It takes raw messages: gRPC itself would take a
// message that cannot be parsed for the end of the stream. No reaction blocks or throws.
//
// Input is bounded: the call reads on only while the session has room. Output is bounded: the
// session is held while the client leaves too much unread.
//
// Several threads use the call, and each of them may be the last: those of gRPC until OnDone(), the
// opener's, the step thread until OnFinished() has returned, that of the timers, and those that
// drain or end the call. Each holds a reference meanwhile. Finish() is called once, when the
// session, if one was opened, is over and all of its messages are written.
class StreamTranslateCall final
    : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
      public SessionSink,
      public LiveCall,
      public std::enable_shared_from_this<StreamTranslateCall> {
 public:
  // Returns a reactor, which owns itself until the call is done. The reactor refuses the call if
  // its caller is not accepted or there is no permit for it. A call without a permit may still
  // begin if Admission::Await() says so: its first message may ask for a resume that takes the
  // place of an open call. `serving` and `context` must outlive the call.
  static grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Start(
      Serving* serving, grpc::CallbackServerContext* context);
  ~StreamTranslateCall() override;

  // The following are called by gRPC.
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // The following are called by the session.
  void OnEvent(SessionEvent event) override;
  void OnRoom() override;
  void OnFinished(absl::Status status) override;

  // The following are called by Admission and the admin service.
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
    kAnnounced,  // SessionStarted was sent.
    kOver,       // final_status_ is set; messages may wait to be written.
    kEnded,      // Finish() was called, or is about to be.
  };

  StreamTranslateCall(Serving* serving, grpc::CallbackServerContext* context, Caller caller,
                      CallMetrics metrics);

  // --- Reading, in gRPC's reactions, which do not overlap. ---
  absl::Status Parse(bool first, v1::StreamTranslateRequest* request);
  // Starts the next read now, or lets OnRoom() start it when the session has room.
  void ReadOn();
  // Reads nothing more: the session ends with `why` when what it has is translated.
  void StopReading(Session& session, absl::Status why);

  // --- Opening, on the opener's thread: stream_translate_opening.cc. ---
  void OpenInTurn(const v1::SessionConfig& config);
  absl::Status Open(const v1::SessionConfig& config);
  absl::Status OpenSession();
  // Makes this the session's call, in the place of another call that had the session, and tells the
  // client.
  absl::Status Announce();

  // --- Writing: stream_translate_output.cc. ---
  void Send(v1::StreamTranslateResponse response);
  void Enqueue(v1::StreamTranslateResponse response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendDelta(v1::TargetDelta delta);
  void SendResumePoint(const ResumePoint& point);
  void SendCompleted(const SegmentCompleted& completed);
  void SendSummary(const SessionSummary& summary);
  void HoldIfFull() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Starts the next write, or ends the call, if it is time to. A caller that holds no reference
  // must not use this object after that.
  void Pump();
  void StartNextWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // --- The end. ---
  bool over() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return phase_ >= Phase::kOver; }
  void SetOver(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends the call with `status`. It lets the session end if there is one, and else ends at once.
  void Fail(absl::Status status);
  void GoAway(const Departure& departure);
  // Tells client and session of the departure.
  void Depart();
  // Reports the call to the log and in the metrics. `gone`: the client has gone away.
  void ReportEnd(absl::Status status, bool refused, bool gone);

  // --- Time. ---
  CallActivity Activity() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Plans a call of OnTime() at `time`, unless an earlier one is planned.
  void WakeAt(SteadyTime time) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes the actions that are due, and plans the next call.
  void OnTime(SteadyTime planned);

  const ServedModels::OpenCall open_call_;
  Serving* const serving_;
  const absl::Time started_date_ = absl::Now();
  const SteadyTime started_;
  const Caller caller_;
  CallMetrics call_metrics_;
  CallUsage usage_;
  std::shared_ptr<StreamTranslateCall> grpc_reference_;
  std::shared_ptr<StreamTranslateCall> sink_reference_;

  // The next three are used by the reading reactions. The opener sets `source_` before it reads on.
  grpc::ByteBuffer read_buffer_;
  TakenBytes config_bytes_;  // Kept to the end: so long the session has the tokens of a resume.
  std::optional<SourceReceiver> source_;

  // The next three are set by the opener before the session has any event, and are then constant.
  OpenRequest request_;
  v1::OutputOptions output_;
  SessionReport report_;

  ResumePoints points_;
  grpc::ByteBuffer write_buffer_;  // The message that is being written.

  mutable Mutex mutex_;
  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kAwaitsConfig;
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(mutex_);
  // The reason to refuse the call unless it takes another call's permit. OK: the call has a permit,
  // and something is left of its quotas unless it resumes.
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  // The status of an end that came before there was a session.
  std::optional<absl::Status> failed_ ABSL_GUARDED_BY(mutex_);
  absl::Status final_status_ ABSL_GUARDED_BY(mutex_);  // Set when `phase_` becomes kOver.

  Outbox outbox_ ABSL_GUARDED_BY(mutex_);
  bool held_ ABSL_GUARDED_BY(mutex_) = false;  // True: the session is held, since held_since_.
  bool waits_for_room_ ABSL_GUARDED_BY(mutex_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mutex_) = false;

  CallDeadlines deadlines_ ABSL_GUARDED_BY(mutex_);
  SteadyTime last_received_ ABSL_GUARDED_BY(mutex_);
  SteadyTime held_since_ ABSL_GUARDED_BY(mutex_);
  SteadyTime waits_since_ ABSL_GUARDED_BY(mutex_);
  SteadyTime wakes_at_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfiniteFuture();
  Timer timer_;  // Calls OnTime() at wakes_at_.

  Mutex context_mutex_;  // Locked after any other mutex.
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(context_mutex_);  // Null after OnDone().
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_STREAM_TRANSLATE_CALL_H_
