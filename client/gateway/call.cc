#include "client/gateway/call.h"

#include <utility>

namespace leapstream::gateway {

std::shared_ptr<Call> Call::Start(CallEnvironment* environment,
                                  const std::shared_ptr<grpc::Channel>& channel,
                                  const std::string& method,
                                  const std::map<std::string, std::string>& metadata,
                                  std::shared_ptr<CallListener> listener) {
  std::shared_ptr<Call> call(new Call(environment, channel, std::move(listener)));
  call->self_ = call;
  ++environment->open;
  for (const auto& [name, value] : metadata) call->context_.AddMetadata(name, value);
  call->stub_.PrepareBidiStreamingCall(&call->context_, method, grpc::StubOptions(), call.get());
  // The hold lets this thread begin operations while no other one is on its way. It is given back
  // when no response can come any more.
  call->AddHold();
  call->StartRead(&call->response_);
  call->StartCall();
  return call;
}

void Call::Write(grpc::ByteBuffer bytes, bool is_last) {
  if (over_) return;
  request_ = std::move(bytes);
  if (is_last) {
    StartWriteLast(&request_, grpc::WriteOptions());
  } else {
    StartWrite(&request_);
  }
}

void Call::HalfClose() {
  if (!over_) StartWritesDone();
}

void Call::Read() {
  if (over_ || reads_) return;
  reads_ = true;
  StartRead(&response_);
}

void Call::Cancel() {
  if (over_) return;
  cancelled_ = true;
  context_.TryCancel();
  Read();  // Its end says that the call is over.
}

void Call::OnReadDone(bool ok) {
  environment_->server->Post([call = shared_from_this(), ok] {
    call->reads_ = false;
    if (!ok) return call->ReadEnded();
    if (call->cancelled_) return call->Read();
    call->listener_->OnResponse(std::move(call->response_));
  });
}

void Call::ReadEnded() {
  over_ = true;
  RemoveHold();
}

void Call::OnWriteDone(bool ok) {
  if (!ok) return;  // The call is over, and a read will say so.
  environment_->server->Post([call = shared_from_this()] {
    if (!call->over_ && !call->cancelled_ && call->listener_ != nullptr) {
      call->listener_->OnWritten();
    }
  });
}

void Call::OnDone(const grpc::Status& status) {
  environment_->server->Post([call = shared_from_this(), status] {
    // The listener may hold the call.
    std::exchange(call->listener_, nullptr)->OnDone(status);
    call->self_ = nullptr;
    --call->environment_->open;
  });
}

}  // namespace leapstream::gateway
