#ifndef LEAPSTREAM_SERVER_RPC_TRANSLATION_SERVICE_H_
#define LEAPSTREAM_SERVER_RPC_TRANSLATION_SERVICE_H_

#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <functional>

#include "server/serving.h"

namespace leapstream {

// leapstream.v1.SimultaneousTranslationService. It serves all methods as streams of raw messages,
// whatever the proto says: then gRPC reads no message of a call until it is told to, after the call
// was let in. `serving` must outlive it.
class TranslationService final : public grpc::Service {
 public:
  explicit TranslationService(Serving* serving);

 private:
  using Start = std::function<grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*(
      grpc::CallbackServerContext* context)>;
  // `name` must outlive this.
  void Add(const char* name, Start start);

  int methods_ = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_TRANSLATION_SERVICE_H_
