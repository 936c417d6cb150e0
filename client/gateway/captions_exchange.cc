#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/budget.h"
#include "client/gateway/exchanges.h"
#include "client/gateway/json_mapping.h"

namespace leapstream::gateway {
namespace {

constexpr absl::Duration kStillHere = absl::Seconds(15);

// One viewer of captions, who takes them as fast as he likes.
class CaptionsExchange final : public HttpExchange,
                               public CaptionViewer,
                               public std::enable_shared_from_this<CaptionsExchange> {
 public:
  CaptionsExchange(GatewayState* state, std::shared_ptr<Captions> captions, bool is_websocket,
                   std::shared_ptr<HttpPeer> peer)
      : state_(state),
        captions_(std::move(captions)),
        is_websocket_(is_websocket),
        peer_(std::move(peer)) {
    ++state_->viewers;
    captions_->AddViewer(this);
  }
  ~CaptionsExchange() override {
    captions_->RemoveViewer(this);
    --state_->viewers;
  }

  void Start(const HttpRequest& request) {
    const absl::string_view last = request.header("last-event-id");
    uint64_t after = 0;
    if (absl::SimpleAtoi(last.empty() ? request.parameter("after") : std::string(last), &after)) {
      // A number that was never given is of captions that are gone: these are read from the
      // beginning.
      next_ = after < captions_->end() ? after + 1 : 0;
    }
    if (is_websocket_) {
      peer_->AcceptWebSocket(SubprotocolOf(request));
      peer_->ReadMessage();
    } else {
      HttpResponse head;
      head.content_type = "text/event-stream";
      head.headers = {{"Cache-Control", "no-store"},
                      {"X-Accel-Buffering", "no"}};  // Otherwise nginx holds events back.
      peer_->StartBody(std::move(head));
    }
    StillHere();
    OnCaptions();
  }

  void OnCaptions() override {
    while (peer_ != nullptr && peer_->unsent_bytes() <= budget::kGatewayUnsentBytes) {
      const std::string* const event = captions_->At(&next_);
      if (event == nullptr) {
        if (captions_->over()) std::exchange(peer_, nullptr)->Close(kNormalClosure, "");
        return;
      }
      peer_->Send(is_websocket_
                      ? absl::StrCat(R"({"number":)", next_, R"(,"event":)", *event, "}")
                      : absl::StrCat("id: ", next_, "\ndata: ", *event, "\n\n"));
      ++next_;
    }
  }
  void OnSent() override { OnCaptions(); }
  void OnMessage(std::string /*message*/, bool /*is_text*/) override {
    if (peer_ != nullptr) peer_->ReadMessage();  // A viewer has nothing to say, but may close.
  }
  void OnGone() override {
    peer_ = nullptr;
    captions_->RemoveViewer(this);
  }

 private:
  // Keeps proxies from closing a stream that has nothing to say.
  void StillHere() {
    state_->server->After(kStillHere, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self == nullptr || self->peer_ == nullptr) return;
      if (self->peer_->unsent_bytes() == 0) {
        self->peer_->Send(self->is_websocket_ ? R"({"heartbeat":{}})" : ": still here\n\n");
      }
      self->StillHere();
    });
  }

  GatewayState* const state_;
  const std::shared_ptr<Captions> captions_;
  const bool is_websocket_;
  std::shared_ptr<HttpPeer> peer_;
  uint64_t next_ = 0;  // The number of the next event to send.
};

// A page hears nothing of how an attempt to open a WebSocket was refused.
void Refuse(const GatewayError& error, const HttpRequest& request, HttpPeer* peer) {
  if (!request.upgrades) return peer->Respond(error.response());
  peer->AcceptWebSocket(SubprotocolOf(request));
  peer->Send(error.json());
  peer->Close(kFirstCloseCode + error.grpc_code, error.reason);
}

}  // namespace

std::shared_ptr<HttpExchange> StartCaptions(GatewayState* state, const HttpRequest& request,
                                            const std::shared_ptr<HttpPeer>& peer) {
  const size_t slash = request.path.rfind('/');
  const std::shared_ptr<Captions> captions =
      state->captions.Find(request.path.substr(slash + 1));
  if (captions == nullptr) {
    Refuse(ErrorOf(absl::StatusCode::kNotFound, "CAPTIONS_NOT_FOUND",
                   "there is no session with these captions, or it ended long ago"),
           request, peer.get());
    return nullptr;
  }
  if (state->viewers >= state->options.max_viewers) {
    Refuse(ErrorOf(absl::StatusCode::kUnavailable, "SERVER_FULL",
                   "too many viewers; try again later"),
           request, peer.get());
    return nullptr;
  }
  auto exchange =
      std::make_shared<CaptionsExchange>(state, captions, request.upgrades, peer);
  exchange->Start(request);
  return exchange;
}

}  // namespace leapstream::gateway
