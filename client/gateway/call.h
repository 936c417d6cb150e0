#ifndef LEAPSTREAM_CLIENT_GATEWAY_CALL_H_
#define LEAPSTREAM_CLIENT_GATEWAY_CALL_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "client/gateway/http_server.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/client_callback.h"

namespace leapstream::gateway {

// Hears of what happens to a call, on the HTTP server's thread.
class CallListener {
 public:
  virtual ~CallListener() = default;
  virtual void OnWritten() {}
  virtual void OnResponse(grpc::ByteBuffer bytes) = 0;
  virtual void OnDone(const grpc::Status& status) = 0;  // Comes last.
};

// The things that all calls of a gateway share. They outlive the calls.
struct CallEnvironment {
  HttpServer* server = nullptr;
  std::atomic<int> open{0};  // Calls that are not done.
};

// One call of any method of leapstream.v1. Moves messages and decides nothing. All functions are
// for the HTTP server's thread. Keeps itself and its listener alive until OnDone() has returned.
class Call final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                   public std::enable_shared_from_this<Call> {
 public:
  // Begins a call, and reads its first response.
  static std::shared_ptr<Call> Start(CallEnvironment* environment,
                                     const std::shared_ptr<grpc::Channel>& channel,
                                     const std::string& method,
                                     const std::map<std::string, std::string>& metadata,
                                     std::shared_ptr<CallListener> listener);

  // Sends a message, as the last one if `is_last`. No other one may be on its way.
  void Write(grpc::ByteBuffer bytes, bool is_last);
  void HalfClose();    // No message may be on its way.
  void Read();         // Asks for the next response, after OnResponse().
  void Cancel();       // OnDone() follows soon.

 private:
  Call(CallEnvironment* environment, const std::shared_ptr<grpc::Channel>& channel,
       std::shared_ptr<CallListener> listener)
      : environment_(environment), stub_(channel), listener_(std::move(listener)) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void ReadEnded();

  CallEnvironment* const environment_;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub_;
  std::shared_ptr<CallListener> listener_;  // Null once the call is done.
  std::shared_ptr<Call> self_;  // Until gRPC is done with it.
  grpc::ClientContext context_;
  grpc::ByteBuffer request_, response_;
  bool reads_ = true;      // A read is on its way.
  bool over_ = false;      // No response comes any more.
  bool cancelled_ = false;
};

}  // namespace leapstream::gateway

#endif  // LEAPSTREAM_CLIENT_GATEWAY_CALL_H_
