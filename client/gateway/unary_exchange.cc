#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "client/gateway/exchanges.h"
#include "client/gateway/json_mapping.h"
#include "leapstream/v1/simultaneous_translation.pb.h"

namespace leapstream::gateway {
namespace {

// One call with one message each way. The call begins with the head of the request, so that who may
// not call need not send the body.
class UnaryExchange : public HttpExchange,
                      public CallListener,
                      public std::enable_shared_from_this<UnaryExchange> {
 public:
  UnaryExchange(std::unique_ptr<google::protobuf::Message> response,
                std::shared_ptr<HttpPeer> peer)
      : peer_(std::move(peer)), response_(std::move(response)) {}

  void Start(GatewayState* state, const HttpRequest& request, const std::string& method) {
    call_ = Call::Start(&state->calls, state->options.channel(), kServicePath + method,
                        MetadataOf(state->options, request), shared_from_this());
  }
  void Send(const google::protobuf::Message& message) { call_->Write(ToBytes(message), true); }

  void OnResponse(grpc::ByteBuffer bytes) override {
    complete_ = FromBytes(&bytes, response_.get());
    call_->Read();
  }
  void OnDone(const grpc::Status& status) override {
    if (!status.ok()) return Fail(ErrorOf(status));
    if (!complete_) {
      return Fail(ErrorOf(absl::StatusCode::kInternal, "INTERNAL",
                          "the server has sent no answer; try again"));
    }
    if (peer_ == nullptr) return;
    HttpResponse response;
    response.body = ToJson(*response_) + "\n";
    response_->Clear();
    Respond(std::move(response));
  }
  void OnGone() override {
    peer_ = nullptr;
    call_->Cancel();
  }

 protected:
  bool is_answered() const { return peer_ == nullptr; }
  void Fail(const GatewayError& error) {
    if (peer_ != nullptr) Respond(error.response());
  }

 private:
  void Respond(HttpResponse response) {
    const std::shared_ptr<HttpPeer> peer = std::move(peer_);
    peer_ = nullptr;
    peer->Respond(std::move(response));
  }

  std::shared_ptr<HttpPeer> peer_;  // Null: the request is answered, or its client has gone.
  const std::unique_ptr<google::protobuf::Message> response_;
  std::shared_ptr<Call> call_;
  bool complete_ = false;
};

class TranslateExchange final : public UnaryExchange {
 public:
  explicit TranslateExchange(const std::shared_ptr<HttpPeer>& peer)
      : UnaryExchange(std::make_unique<v1::TranslateResponse>(), peer) {}
  void OnBody(std::string body) override {
    if (is_answered()) return;  // It was refused by its head, and need not be understood.
    v1::TranslateRequest request;
    const absl::Status status = FromJson(body, &request);
    if (!status.ok()) {
      return Fail(ErrorOf(status.code(), "MALFORMED_MESSAGE", status.message()));
    }
    Send(request);
  }
};

class ListModelsExchange final : public UnaryExchange {
 public:
  ListModelsExchange(v1::ListModelsRequest request, const std::shared_ptr<HttpPeer>& peer)
      : UnaryExchange(std::make_unique<v1::ListModelsResponse>(), peer),
        request_(std::move(request)) {}
  void OnBody(std::string /*body*/) override { Send(request_); }

 private:
  const v1::ListModelsRequest request_;
};

}  // namespace

std::shared_ptr<HttpExchange> StartTranslate(GatewayState* state, const HttpRequest& request,
                                             const std::shared_ptr<HttpPeer>& peer) {
  auto exchange = std::make_shared<TranslateExchange>(peer);
  exchange->Start(state, request, "Translate");
  return exchange;
}

std::shared_ptr<HttpExchange> StartListModels(GatewayState* state, const HttpRequest& request,
                                              const std::shared_ptr<HttpPeer>& peer) {
  v1::ListModelsRequest models;
  const std::string size = request.parameter("pageSize");
  int page_size = 0;
  if (!size.empty() && !absl::SimpleAtoi(size, &page_size)) {
    peer->Respond(ErrorOf(absl::StatusCode::kInvalidArgument, "INVALID_PAGE_SIZE",
                          absl::StrCat("pageSize must be a number, got ", Quoted(size)))
                      .response());
    return nullptr;
  }
  models.set_page_size(page_size);
  models.set_page_token(request.parameter("pageToken"));
  auto exchange = std::make_shared<ListModelsExchange>(std::move(models), peer);
  exchange->Start(state, request, "ListModels");
  return exchange;
}

}  // namespace leapstream::gateway
