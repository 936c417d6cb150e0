#ifndef LEAPSTREAM_SERVER_TRANSLATE_REACTOR_H_
#define LEAPSTREAM_SERVER_TRANSLATE_REACTOR_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <deque>
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
#include "server/resume_token.h"
#include "server/serving.h"
#include "streaming/pause_segmenter.h"
#include "streaming/session.h"

namespace leapstream {

// One StreamTranslate call. Moves messages between gRPC and a Session; of its own it knows only
// how long things may take. Takes raw messages: gRPC itself would take one that cannot be parsed
// for the end of the stream. No reaction blocks or throws.
//
// Input is bounded: it reads on only while the session has room. Output is bounded: the session is
// held while the client leaves too much unread.
//
// Three sides use it, and each may be the last: gRPC until OnDone(), the step thread until
// OnFinished() has returned, and a timer. Each holds a reference. Finish() is called once, when the
// session (if one was opened) is over and all that it said is written.
class TranslateReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                               public SessionSink,
                               public LiveCall,
                               public std::enable_shared_from_this<TranslateReactor> {
 public:
  // The reactor, owned by itself until the call is done; one that refuses the call if it may not
  // come in or there is no permit for it. Without a permit it may still begin, if its first message
  // can be that of a resume which takes the place of an open call. `serving` and `context` must outlive the call.
  static grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Start(
      Serving* serving, grpc::CallbackServerContext* context);
  ~TranslateReactor() override;

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
  struct Departure {  // Announced by GoingAway.
    v1::GoingAwayReason reason;
    SteadyTime deadline;
  };

  TranslateReactor(Serving* serving, grpc::CallbackServerContext* context, Caller caller,
                   CallMetrics metrics);

  absl::Status Receive(const v1::StreamTranslateRequest& request);
  absl::Status Open(const v1::SessionConfig& config);
  // The same, and what follows from it: on the opener's thread.
  void OpenInTurn(const v1::SessionConfig& config);
  // The version of `current` that a resume goes on with.
  absl::StatusOr<std::shared_ptr<Scheduler>> FindResumed(
      const v1::ResumeRequest& request, const std::shared_ptr<Scheduler>& current) const;
  // Checks a resume against `model` and what its session will do. `server_ends`: segments, where
  // their source goes on.
  absl::StatusOr<ResumeToken> CheckResume(const v1::ResumeRequest& request, const Model& model,
                                          bool server_ends) const;
  absl::Status ReceiveSource(const v1::SourceChunk& chunk);
  // Leaves out what of the chunk is before first_source_. INVALID_ARGUMENT: it has less.
  absl::Status SkipConsumed(int64_t chunks, SourceInput* source) const;
  // What segmenter_ makes of the chunk that `chunks` others came before.
  void PushSegments(Session& session, int64_t chunks, const AudioSamples& samples);
  // Ends the call with `status`: through the session if there is one, else at once.
  void Fail(absl::Status status);
  // The limit for its first message.
  absl::Duration ConfigTimeout() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void SendDelta(TargetDelta delta);
  // Where a session can go on: with `segment`, and the source that begins there. See ResumeToken.
  struct ResumeStart {
    int64_t segment = 0;
    SourcePosition source;
    int drops = 0;
  };
  void SendResumePoint(const ResumeStart& start, const SessionSummary& before);
  void Send(v1::StreamTranslateResponse response);
  void Enqueue(v1::StreamTranslateResponse response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HoldIfFull() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Counts what was not translated.
  void CountUntranslated(const SegmentCompleted& completed);
  void CountDropped(int64_t bytes);
  // Starts what is due: the next write, or the end of the call. `this` may be gone after it if the
  // caller holds no reference.
  void Pump();
  // Reads on, or lets OnRoom() do so.
  void ReadOn();
  // What is said of it once it is over: to the log and in the metrics.
  void ReportEnd(absl::Status status);

  void GoAway(Departure departure);
  // Tells client and session of departure_.
  void Depart();

  // Calls OnTime() then, if it is not called before.
  void WakeAt(SteadyTime time) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Does what is due, and wakes again when something may be.
  void OnTime(SteadyTime planned);

  const ServedModels::OpenCall open_;
  Serving* const serving_;
  const absl::Time started_date_ = absl::Now();
  const SteadyTime started_;
  const Caller caller_;
  CallMetrics call_metrics_;
  std::shared_ptr<TranslateReactor> grpc_reference_;
  std::shared_ptr<TranslateReactor> sink_reference_;

  // Of the reading reactions, which do not overlap.
  grpc::ByteBuffer read_buffer_;
  TakenBytes config_bytes_;  // To the end: the session has the tokens of a resume until then.
  v1::InputFormat input_format_ = v1::INPUT_FORMAT_TEXT;
  std::optional<PauseSegmenter> segmenter_;  // If pauses end segments.
  int64_t samples_since_point_ = 0;          // Then: since PushSegments() sent a resume point,
  int64_t samples_per_point_ = 0;            // and until it sends another one.
  SourcePosition first_source_;  // Where that of a resumed session begins: before it all is skipped.

  // Set before the session can say anything, then constant.
  std::string id_;
  v1::OutputOptions output_;
  std::string model_name_;
  std::string model_checksum_;
  std::string config_digest_;
  std::string policy_;
  bool by_pauses_ = false;  // There is a segmenter_.
  LaggingMetrics lagging_metrics_;
  std::shared_ptr<Scheduler> scheduler_;  // Keeps the weights that the session began with.
  // Of the step thread.
  int64_t deltas_ = 0;
  int64_t dropped_bytes_ = 0;  // That are in the metrics.

  grpc::ByteBuffer write_buffer_;  // Of the write in flight.

  mutable Mutex mutex_;
  SessionSummary summary_ ABSL_GUARDED_BY(mutex_);  // So far, and in the end the session's own.
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(mutex_);
  bool waits_for_opener_ ABSL_GUARDED_BY(mutex_) = false;  // The config has come.
  bool opening_ ABSL_GUARDED_BY(mutex_) = false;
  // The reason to refuse it, unless it takes another call's permit; OK: it has one.
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  bool announced_ ABSL_GUARDED_BY(mutex_) = false;              // `started` was sent.
  std::optional<absl::Status> failed_ ABSL_GUARDED_BY(mutex_);  // Before or while it was opened.
  std::deque<v1::StreamTranslateResponse> outbox_ ABSL_GUARDED_BY(mutex_);
  int64_t outbox_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;  // The session is.
  bool write_in_flight_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // Nothing more can, or is to be, sent.
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;   // Finish() was or is about to be called.
  std::optional<absl::Status> final_status_ ABSL_GUARDED_BY(mutex_);

  // The number of the last source chunk, and where each segment that has ended since
  // `first_boundary_` did.
  int64_t last_sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t first_boundary_ ABSL_GUARDED_BY(mutex_) = 1;
  std::deque<SourcePosition> boundaries_ ABSL_GUARDED_BY(mutex_);

  // Time.
  absl::Duration idle_timeout_ ABSL_GUARDED_BY(mutex_);
  SteadyTime last_received_ ABSL_GUARDED_BY(mutex_);
  SteadyTime last_sent_ ABSL_GUARDED_BY(mutex_);
  SteadyTime write_started_ ABSL_GUARDED_BY(mutex_);
  SteadyTime held_since_ ABSL_GUARDED_BY(mutex_);
  bool waits_for_room_ ABSL_GUARDED_BY(mutex_) = false;
  SteadyTime waits_since_ ABSL_GUARDED_BY(mutex_);
  bool half_closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<SteadyTime> stuck_since_ ABSL_GUARDED_BY(mutex_);
  std::optional<Departure> departure_ ABSL_GUARDED_BY(mutex_);
  bool departure_over_ ABSL_GUARDED_BY(mutex_) = false;  // Its deadline has passed.
  ResumeStart resume_start_ ABSL_GUARDED_BY(mutex_);     // That was sent last.
  SessionSummary resume_before_ ABSL_GUARDED_BY(mutex_);
  absl::Time resume_expires_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();  // A date.
  SteadyTime resume_refresh_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfiniteFuture();
  SteadyTime wakes_at_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfiniteFuture();
  Timer timer_;  // For then.
  LastLook config_look_ ABSL_GUARDED_BY(mutex_);
  LastLook idle_look_ ABSL_GUARDED_BY(mutex_);
  LastLook stuck_look_ ABSL_GUARDED_BY(mutex_);
  bool departure_delayed_ ABSL_GUARDED_BY(mutex_) = false;  // Since its deadline was seen late.

  Mutex context_mutex_;                                                   // Taken last.
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(context_mutex_);  // Null when done.
};

// 128 random bits in hex.
std::string NewSessionId();

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_TRANSLATE_REACTOR_H_
