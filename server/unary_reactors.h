#ifndef LEAPSTREAM_SERVER_UNARY_REACTORS_H_
#define LEAPSTREAM_SERVER_UNARY_REACTORS_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/serving.h"

namespace leapstream {

// Calls of one message each way. To gRPC they are streams: it would read the message of a unary
// call before we hear of the call, and so before its token is looked at. Each owns itself until the
// call is done; `serving` and `context` must outlive that.

// Translate: the lines of the text as segments of one offline session.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartTranslate(
    Serving* serving, grpc::CallbackServerContext* context);

// ListModels: by name; a page token is the name after which the page starts.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartListModels(
    Serving* serving, grpc::CallbackServerContext* context);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_UNARY_REACTORS_H_
