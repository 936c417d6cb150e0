#ifndef LEAPSTREAM_SERVER_UNARY_REACTORS_H_
#define LEAPSTREAM_SERVER_UNARY_REACTORS_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/serving.h"

namespace leapstream {

// Translate: the lines of the text as segments of one offline session. Owns itself until the call
// is done; `serving` must outlive that. `request` and `response` are the call's.
grpc::ServerUnaryReactor* StartTranslate(Serving* serving, grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response);

// ListModels: by name; a page token is the name after which the page starts.
grpc::Status ListModels(const Serving& serving, const grpc::CallbackServerContext& context,
                        const grpc::ByteBuffer* request, grpc::ByteBuffer* response);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_UNARY_REACTORS_H_
