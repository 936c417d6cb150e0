#ifndef LEAPSTREAM_CLIENT_STREAM_CALL_H_
#define LEAPSTREAM_CLIENT_STREAM_CALL_H_

#include <memory>

#include "base/clock.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/client_callback.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"

namespace leapstream::client {

// Hears of what happens to a call, on gRPC's threads.
class StreamCallListener {
 public:
  virtual ~StreamCallListener() = default;

  virtual void OnWriteDone(bool ok) = 0;  // false: the call is over, and OnCallDone() says why.
  virtual bool OnResponse(const v1::StreamTranslateResponse& response) = 0;  // Whether to read on.
  virtual void OnReadOver() = 0;                            // No more responses come.
  virtual void OnCallDone(const grpc::Status& status) = 0;  // Comes last.
};

// One gRPC call: moves messages and decides nothing. Keeps itself and its listener alive until
// OnCallDone() has returned. Thread-safe, but for what is said at the methods.
class StreamCall final
    : public grpc::ClientBidiReactor<v1::StreamTranslateRequest, v1::StreamTranslateResponse> {
 public:
  // Begins a call with its first message, whose writing is in flight then, and reads. `stub` must
  // outlive the call.
  static std::shared_ptr<StreamCall> Start(v1::SimultaneousTranslationService::Stub& stub,
                                           SteadyTime deadline,
                                           std::shared_ptr<StreamCallListener> listener,
                                           v1::StreamTranslateRequest first);

  void Write(v1::StreamTranslateRequest request);  // No other write is in flight.
  void Read() { StartRead(&response_); }           // No other read is in flight, nor over.
  void HalfClose() { StartWritesDone(); }          // Called once.
  void Cancel() { context_.TryCancel(); }

 private:
  explicit StreamCall(std::shared_ptr<StreamCallListener> listener);

  void OnWriteDone(bool ok) override { listener_->OnWriteDone(ok); }
  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  const std::shared_ptr<StreamCallListener> listener_;
  std::shared_ptr<StreamCall> self_;
  grpc::ClientContext context_;
  v1::StreamTranslateRequest request_;  // The one being written.
  v1::StreamTranslateResponse response_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_STREAM_CALL_H_
