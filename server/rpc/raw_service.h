#ifndef LEAPSTREAM_SERVER_RPC_RAW_SERVICE_H_
#define LEAPSTREAM_SERVER_RPC_RAW_SERVICE_H_

#include <grpcpp/impl/codegen/rpc_service_method.h>
#include <grpcpp/impl/codegen/server_callback_handlers.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <initializer_list>
#include <utility>

namespace leapstream {

// One service of the wire. Serves all of its methods as streams of raw messages, whatever the proto
// says: then gRPC reads no message of a call until it is told to, after the call was let in.
class RawService final : public grpc::Service {
 public:
  using Start = std::function<grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*(
      grpc::CallbackServerContext* context)>;
  // The names, /SERVICE/METHOD, must outlive this, and have one service: gRPC's reflection takes
  // the service's name from one of them.
  RawService(std::initializer_list<std::pair<const char*, Start>> methods) {
    int number = 0;
    for (const auto& [name, start] : methods) {
      AddMethod(new grpc::internal::RpcServiceMethod(
          name, grpc::internal::RpcMethod::BIDI_STREAMING, nullptr));
      MarkMethodRawCallback(
          number++,
          new grpc::internal::CallbackBidiHandler<grpc::ByteBuffer, grpc::ByteBuffer>(start));
    }
  }
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_RAW_SERVICE_H_
