#include "server/rpc/one_message_call.h"

#include <grpcpp/server_context.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/refusing_reactor.h"

namespace leapstream {

void OneMessageCall::ReadRequest() {
  grpc_reference_ = shared_from_this();
  const absl::Duration limit = serving_->options.limits.config_timeout;
  Unless(&OneMessageCall::requested_, EndOf(SteadyNow(), limit), [limit](OneMessageCall* call) {
    call->Stop(WithReason(absl::AbortedError(absl::StrCat("no message came within ",
                                                          absl::FormatDuration(limit))),
                          "CONFIG_TIMEOUT"));
  });
  StartRead(&request_);
}

void OneMessageCall::OnReadDone(bool ok) {
  requested_.Done();
  if (!ok) {  // The client has half-closed, or the call is over.
    return Reply(InvalidRequest("MALFORMED_MESSAGE",
                                "the call must have one message, got the end of the stream"));
  }
  call_metrics_.Received();
  if (request_.Length() > most_request_bytes()) {
    return Reply(absl::ResourceExhaustedError(
        absl::StrCat("the message may have ", most_request_bytes(), " bytes (max_message_bytes), got ",
                     request_.Length())));
  }
  OnRequest(&request_);
}

void OneMessageCall::OnWriteDone(bool ok) {
  written_.Done();
  if (sends_) {
    sends_ = false;
    if (!ok) Stop(absl::CancelledError("cancelled by the client"));
    return OnSent();
  }
  FinishWith(ok ? absl::OkStatus() : absl::CancelledError("cancelled by the client"));
}

void OneMessageCall::OnDone() {
  {
    MutexLock lock(&context_mutex_);
    context_ = nullptr;
  }
  const auto last = std::move(grpc_reference_);  // Its destructor may destroy this object.
}

void OneMessageCall::Reply(absl::Status status, const google::protobuf::Message* message) {
  {
    MutexLock lock(&reply_mutex_);
    if (std::exchange(replied_, true)) return;
  }
  bool own = false;
  if (status.ok() && message != nullptr) {
    const grpc::Status serialized =
        grpc::SerializationTraits<google::protobuf::Message>::Serialize(*message, &response_,
                                                                        &own);
    if (!serialized.ok()) status = absl::InternalError(serialized.error_message());
  }
  if (!status.ok() || message == nullptr) return FinishWith(status);
  Write();
}

void OneMessageCall::Send(const google::protobuf::Message& message) {
  bool own = false;
  response_.Clear();
  // Serialising fails only for messages of 2 GB.
  static_cast<void>(grpc::SerializationTraits<google::protobuf::Message>::Serialize(
      message, &response_, &own));
  sends_ = true;
  written_.done = false;
  Write();
}

void OneMessageCall::Write() {
  call_metrics_.Sent();
  Unless(&OneMessageCall::written_,
         EndOf(SteadyNow(), serving_->options.limits.stuck_reader_timeout),
         [](OneMessageCall* call) {
           MutexLock lock(&call->context_mutex_);
           if (call->context_ != nullptr) call->context_->TryCancel();
         });
  StartWrite(&response_);
}

void OneMessageCall::Unless(Awaited OneMessageCall::*thing, SteadyTime deadline,
                            std::function<void(OneMessageCall*)> then, LastLook look) {
  At(&(this->*thing).timer, std::max(deadline, look.next()),
     [thing, deadline, then = std::move(then), look](OneMessageCall* call) {
       if ((call->*thing).done) return;
       LastLook again = look;
       if (again.Missed(deadline, SteadyNow(), call->serving_->timers.patience())) {
         return then(call);
       }
       call->Unless(thing, deadline, then, again);
     });
}

void OneMessageCall::At(Timer* timer, SteadyTime time, std::function<void(OneMessageCall*)> then) {
  timer->Set(time, [weak = weak_from_this(), then = std::move(then)] {
    if (const auto self = weak.lock()) then(self.get());
  });
}

void OneMessageCall::FinishWith(const absl::Status& status) {
  call_metrics_.Handled(status.code());
  OnReplied(status);
  Finish(ToGrpcStatus(status));
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Refuse(Serving* serving,
                                                                    CallMetrics metrics,
                                                                    const absl::Status& why) {
  metrics.Handled(why.code());
  serving->metrics->SessionRejected(ReasonOf(why));
  return new RefusingReactor(why);
}

}  // namespace leapstream
