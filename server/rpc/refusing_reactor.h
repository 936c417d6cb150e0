#ifndef LEAPSTREAM_SERVER_RPC_REFUSING_REACTOR_H_
#define LEAPSTREAM_SERVER_RPC_REFUSING_REACTOR_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "server/status_mapping.h"

namespace leapstream {

// Ends a call that may not come in. It sends no initial metadata, so that the answer is trailers
// only, and proxies and clients know that nothing was done. It reads no message, so that gRPC holds
// no more of them than the stream's first window.
class RefusingReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit RefusingReactor(const absl::Status& status) { Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_REFUSING_REACTOR_H_
