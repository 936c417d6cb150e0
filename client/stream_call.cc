#include "client/stream_call.h"

#include <utility>

#include "client/deadline.h"

namespace leapstream::client {

StreamCall::StreamCall(std::shared_ptr<StreamCallListener> listener)
    : listener_(std::move(listener)) {}

std::shared_ptr<StreamCall> StreamCall::Start(v1::SimultaneousTranslationService::Stub& stub,
                                              SteadyTime deadline,
                                              std::shared_ptr<StreamCallListener> listener,
                                              v1::StreamTranslateRequest first) {
  std::shared_ptr<StreamCall> call(new StreamCall(std::move(listener)));
  if (deadline < SteadyTime::InfiniteFuture()) {
    call->context_.set_deadline(GrpcDeadline(deadline));
  }
  call->self_ = call;
  stub.async()->StreamTranslate(&call->context_, call.get());
  call->AddHold();  // Held until reading is over, as calls from outside start reads and writes.
  call->Write(std::move(first));
  call->Read();
  call->StartCall();
  return call;
}

void StreamCall::Write(v1::StreamTranslateRequest request) {
  request_ = std::move(request);
  StartWrite(&request_);
}

void StreamCall::OnReadDone(bool ok) {
  if (!ok) {
    listener_->OnReadOver();
    RemoveHold();
  } else if (listener_->OnResponse(response_)) {
    Read();
  }
}

void StreamCall::OnDone(const grpc::Status& status) {
  const std::shared_ptr<StreamCall> self = std::move(self_);  // Freed last.
  listener_->OnCallDone(status);
}

}  // namespace leapstream::client
