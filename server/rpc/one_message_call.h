#ifndef LEAPSTREAM_SERVER_RPC_ONE_MESSAGE_CALL_H_
#define LEAPSTREAM_SERVER_RPC_ONE_MESSAGE_CALL_H_

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "server/metrics.h"
#include "server/serving.h"
#include "server/status_mapping.h"

namespace leapstream {

// Reads `message` from the bytes. INVALID_ARGUMENT, MALFORMED_MESSAGE: they are no such message.
template <typename Message>
absl::Status Parse(grpc::ByteBuffer* bytes, Message* message) {
  if (grpc::SerializationTraits<Message>::Deserialize(bytes, message).ok()) return absl::OkStatus();
  return InvalidRequest("MALFORMED_MESSAGE",
                        absl::StrCat("the message is not a ", Message::descriptor()->name(),
                                     "; is all its text UTF-8?"));
}

// A call that takes one message and answers with one, or with an error, or with several by Send().
// For gRPC the call is a stream: gRPC reads the message of a unary call before it tells the server
// of the call, and so before the call's token is looked at. Used by gRPC until OnDone(), by a
// timer, and by the answering side; each of them holds a reference meanwhile.
class OneMessageCall : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                       public std::enable_shared_from_this<OneMessageCall> {
 public:
  OneMessageCall(Serving* serving, grpc::CallbackServerContext* context, CallMetrics metrics)
      : open_(serving->models.get()),
        serving_(serving),
        call_metrics_(metrics),
        requested_(&serving->timers),
        written_(&serving->timers),
        context_(context) {}

  // Reads the message. The client has as much time for it as for the first message of a stream.
  void ReadRequest();

  void OnReadDone(bool ok) final;
  void OnWriteDone(bool ok) final;
  void OnCancel() final { Stop(absl::CancelledError("cancelled by the client")); }
  void OnDone() final;

 protected:
  // A larger message is refused.
  virtual size_t most_request_bytes() const {
    return static_cast<size_t>(serving_->options.max_message_bytes);
  }
  // Whether the call was answered, or is over.
  bool replied() const {
    MutexLock lock(&reply_mutex_);
    return replied_;
  }
  // Gets the message, and may empty the bytes. Called at most once.
  virtual void OnRequest(grpc::ByteBuffer* bytes) = 0;
  // Ends the call with an error, whatever its state is.
  virtual void Stop(absl::Status why) { Reply(std::move(why)); }
  // Called when the call is over but for its status, which is sent after that.
  virtual void OnReplied(const absl::Status& status) = 0;

  // Writes a message of an answer that has several. `OnSent` follows. There must be no other write
  // in flight, and Reply() must not have been called.
  void Send(const google::protobuf::Message& message);
  // The message was taken. Reply() may be called now, or Send().
  virtual void OnSent() {}

  // Answers with the message if `status` is OK, or else with `status`; with OK and null, the answer
  // is what was sent. Later calls do nothing. A write must not be in flight.
  void Reply(absl::Status status, const google::protobuf::Message* message = nullptr);

  // An event that should come before a deadline.
  class Awaited {
   public:
    explicit Awaited(Timers* timers) : timer(timers) {}
    void Done() {
      done = true;
      timer.Cancel();
    }

    std::atomic<bool> done{false};
    Timer timer;
  };

  // Calls `then` if the event has not come by the deadline, nor at a second look; see LastLook.
  void Unless(Awaited OneMessageCall::*thing, SteadyTime deadline,
              std::function<void(OneMessageCall*)> then, LastLook look = {});
  void At(Timer* timer, SteadyTime time, std::function<void(OneMessageCall*)> then);

 private:
  const ServedModels::OpenCall open_;

 protected:
  Serving* const serving_;
  CallMetrics call_metrics_;

 private:
  void FinishWith(const absl::Status& status);
  // Writes response_. The call is cancelled if nobody takes it.
  void Write();

  std::shared_ptr<OneMessageCall> grpc_reference_;
  grpc::ByteBuffer request_, response_;
  Awaited requested_, written_;
  mutable Mutex reply_mutex_;
  bool replied_ ABSL_GUARDED_BY(reply_mutex_) = false;
  bool sends_ = false;  // The write in flight is one of Send().
  Mutex context_mutex_;
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(context_mutex_);  // Null after OnDone().
};

// Returns a reactor that ends the call with `why`. Counts the refusal.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Refuse(Serving* serving,
                                                                    CallMetrics metrics,
                                                                    const absl::Status& why);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_ONE_MESSAGE_CALL_H_
