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
#include "absl/time/time.h"
#include "base/mutex.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "server/served_models.h"
#include "streaming/session.h"

namespace leapstream {

// One StreamTranslate call. Moves messages between gRPC and a Session and decides nothing. Takes
// raw messages: gRPC itself would take one that cannot be parsed for the end of the stream. No
// reaction blocks or throws.
//
// Two sides use it, and either may be the last: gRPC until OnDone(), the step thread until
// OnFinished() has returned. Each holds a reference. Finish() is called once, when the session (if
// one was opened) is over and all that it said is written.
class TranslateReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                               public SessionSink,
                               public std::enable_shared_from_this<TranslateReactor> {
 public:
  // The reactor, owned by itself until the call is done. `models` must outlive it.
  static TranslateReactor* Start(ServedModels* models, bool log_text);
  ~TranslateReactor() override;

  // gRPC's side.
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // The session's side.
  void OnEvent(SessionEvent event) override;
  void OnFinished(absl::Status status) override;

 private:
  TranslateReactor(ServedModels* models, bool log_text);

  absl::Status Receive(const v1::StreamTranslateRequest& request);
  absl::Status Open(const v1::SessionConfig& config);
  absl::Status ReceiveSource(const v1::SourceChunk& chunk);
  // Ends the call with `status`: through the session if there is one, else at once.
  void Fail(absl::Status status);

  void SendDelta(TargetDelta delta);
  void Send(v1::StreamTranslateResponse response);
  // Starts what is due: the next write, or the end of the call. `this` may be gone after it if the
  // caller holds no reference.
  void Pump();
  // Reads on unless the client leaves too much unread; then gRPC slows it down.
  void ReadOn();
  void LogEnd(const absl::Status& status) const;

  ServedModels* const models_;
  const bool log_text_;
  const std::string id_;
  const absl::Time started_;
  std::shared_ptr<TranslateReactor> grpc_reference_;
  std::shared_ptr<TranslateReactor> sink_reference_;

  // Of the reading reactions, which do not overlap.
  grpc::ByteBuffer read_buffer_;
  int64_t last_sequence_ = 0;
  v1::InputFormat input_format_ = v1::INPUT_FORMAT_TEXT;

  // Set before the session can say anything, then constant.
  v1::OutputOptions output_;
  std::string model_name_;
  std::string policy_;
  // Of the step thread.
  int64_t deltas_ = 0;
  SessionSummary summary_;

  grpc::ByteBuffer write_buffer_;  // Of the write in flight.

  Mutex mutex_;
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(mutex_);
  bool opening_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> failed_ ABSL_GUARDED_BY(mutex_);  // Before or while it was opened.
  std::deque<v1::StreamTranslateResponse> outbox_ ABSL_GUARDED_BY(mutex_);
  bool write_in_flight_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // A write failed: nothing can be sent.
  bool read_paused_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;  // Finish() was or is about to be called.
  std::optional<absl::Status> final_status_ ABSL_GUARDED_BY(mutex_);
};

// 128 random bits in hex.
std::string NewSessionId();

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_TRANSLATE_REACTOR_H_
