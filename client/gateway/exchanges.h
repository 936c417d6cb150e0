#ifndef LEAPSTREAM_CLIENT_GATEWAY_EXCHANGES_H_
#define LEAPSTREAM_CLIENT_GATEWAY_EXCHANGES_H_

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "client/gateway/call.h"
#include "client/gateway/captions.h"
#include "client/gateway/gateway.h"
#include "client/gateway/http_server.h"

namespace leapstream::gateway {

inline constexpr char kServicePath[] = "/leapstream.v1.SimultaneousTranslationService/";
// The subprotocol of our WebSockets, and the beginning of one that is no subprotocol but a token in
// base64url: a page can give a WebSocket no other header.
inline constexpr char kSubprotocol[] = "leapstream.v1";
inline constexpr char kBearerProtocol[] = "leapstream.bearer.";

// The codes of close frames: the end of what went well, and of an error, to which the code of gRPC
// is added.
inline constexpr int kNormalClosure = 1000;
inline constexpr int kFirstCloseCode = 4000;

// The things that all exchanges of a gateway share. For the gateway's thread.
struct GatewayState {
  explicit GatewayState(GatewayOptions options) : options(std::move(options)) {}

  const GatewayOptions options;
  HttpServer* server = nullptr;
  CallEnvironment calls;
  CaptionStore captions;
  int streams = 0;
  int viewers = 0;
};

// The metadata of the request's call.
std::map<std::string, std::string> MetadataOf(const GatewayOptions& options,
                                              const HttpRequest& request);
// The subprotocol to answer a WebSocket with.
std::string SubprotocolOf(const HttpRequest& request);

// Each begins the exchange of a request, or answers and returns null.
std::shared_ptr<HttpExchange> StartTranslate(GatewayState* state, const HttpRequest& request,
                                             const std::shared_ptr<HttpPeer>& peer);
std::shared_ptr<HttpExchange> StartListModels(GatewayState* state, const HttpRequest& request,
                                              const std::shared_ptr<HttpPeer>& peer);
std::shared_ptr<HttpExchange> StartStream(GatewayState* state, const HttpRequest& request,
                                          const std::shared_ptr<HttpPeer>& peer);
std::shared_ptr<HttpExchange> StartCaptions(GatewayState* state, const HttpRequest& request,
                                            const std::shared_ptr<HttpPeer>& peer);

}  // namespace leapstream::gateway

#endif  // LEAPSTREAM_CLIENT_GATEWAY_EXCHANGES_H_
