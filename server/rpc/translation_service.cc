#include "server/rpc/translation_service.h"

#include <utility>

#include <grpcpp/impl/codegen/server_callback_handlers.h>

#include "server/rpc/stream_translate_call.h"
#include "server/rpc/unary_calls.h"

namespace leapstream {

TranslationService::TranslationService(Serving* serving) {
  Add("/leapstream.v1.SimultaneousTranslationService/StreamTranslate",
      [serving](auto* context) { return StreamTranslateCall::Start(serving, context); });
  Add("/leapstream.v1.SimultaneousTranslationService/Translate",
      [serving](auto* context) { return StartTranslate(serving, context); });
  Add("/leapstream.v1.SimultaneousTranslationService/ListModels",
      [serving](auto* context) { return StartListModels(serving, context); });
}

void TranslationService::Add(const char* name, Start start) {
  AddMethod(new grpc::internal::RpcServiceMethod(name, grpc::internal::RpcMethod::BIDI_STREAMING,
                                                 nullptr));
  MarkMethodRawCallback(
      methods_++, new grpc::internal::CallbackBidiHandler<grpc::ByteBuffer, grpc::ByteBuffer>(
                      std::move(start)));
}

}  // namespace leapstream
