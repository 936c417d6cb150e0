#ifndef LEAPSTREAM_SERVER_RPC_UNARY_CALLS_H_
#define LEAPSTREAM_SERVER_RPC_UNARY_CALLS_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/serving.h"

namespace leapstream {

// Calls of one message each way; see OneMessageCall. Each owns itself until it is done. `serving`
// and `context` must outlive it.

// Starts a Translate: the lines of the text become segments of one offline session.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartTranslate(
    Serving* serving, grpc::CallbackServerContext* context);

// Starts a ListModels. Models are in the order of their names, and a page token is the name after
// which a page starts.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartListModels(
    Serving* serving, grpc::CallbackServerContext* context);

// Starts a Generate, a Score or a Tokenize of LanguageModelService.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartGenerate(
    Serving* serving, grpc::CallbackServerContext* context);
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartScore(
    Serving* serving, grpc::CallbackServerContext* context);
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartTokenize(
    Serving* serving, grpc::CallbackServerContext* context);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_UNARY_CALLS_H_
