#ifndef LEAPSTREAM_CLIENT_GATEWAY_GATEWAY_H_
#define LEAPSTREAM_CLIENT_GATEWAY_GATEWAY_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/budget.h"
#include "grpcpp/channel.h"

namespace leapstream::gateway {

// The metadata that a gateway within the server adds to its calls: who the client is, and a secret,
// without which the server believes none of it.
inline constexpr char kSecretKey[] = "leapstream-gateway-bin";
inline constexpr char kPeerKey[] = "leapstream-peer";
inline constexpr char kPrincipalKey[] = "leapstream-principal-bin";

struct GatewayFile {
  std::string content_type;
  std::string content;
};

struct GatewayOptions {
  // The channel for the next call, to a server of leapstream.v1. Called on the gateway's thread.
  std::function<std::shared_ptr<grpc::Channel>()> channel;
  // The channel leads to a server that knows this secret. Calls then carry it, and their client's
  // authorization, address and certificate; empty: the channel says who calls.
  std::string caller_secret;
  // Pages of these origins ("https://talks.example.org") may use the gateway; "*" stands for all.
  // So may pages of the gateway itself, if it is called by an address, localhost, or one of
  // `host_names`. (Somebody's DNS may give our address to a name of his, and his page then is of
  // "the same origin".)
  std::vector<std::string> allowed_origins;
  std::set<std::string> host_names;
  // Requests must call the gateway by such a name, too, whether or not they come from a page.
  bool checks_host = false;
  // Follows the message for a wrong host name or origin: the remedy.
  std::string host_remedy, origin_remedy;
  std::string base_path;                     // May stand before each path: "/live".
  std::map<std::string, GatewayFile> files;  // Of a page; the keys are paths.
  std::vector<std::pair<std::string, std::string>> file_headers;  // Sent with each of them.
  int max_streams = 0;                 // WebSockets for translation at once; 0: no limit.
  int max_viewers = budget::kCaptionViewers;
  size_t max_message_bytes = 1 << 20;
  // The time in which a client must take some of what was sent.
  absl::Duration stuck_reader_timeout = absl::Seconds(30);
};

// leapstream.v1 for everybody without gRPC:
//   POST /v1/translate        Translate: JSON of TranslateRequest, of TranslateResponse
//   GET  /v1/models           ListModels; ?pageSize= and ?pageToken=
//   GET  /v1/stream           StreamTranslate, as a WebSocket: a message of text is JSON of a
//                             StreamTranslateRequest or {"endSession": {}}, a binary one is audio;
//                             answers are JSON of StreamTranslateResponse, or at the end an error
//   GET  /v1/captions/ID      what a stream that was opened with ?captions=KEY heard and said, as
//                             server-sent events or as a WebSocket
//   GET  /v1/openapi.json, /v1/asyncapi.json
// docs/http.md is its reference. Each request is one call of gRPC, so that whatever holds for calls
// holds for it: tokens, permits, quotas, limits, deadlines, logs and metrics. Thread-safe.
class Gateway {
 public:
  static std::unique_ptr<Gateway> Start(GatewayOptions options);
  // Ends all connections and calls.
  virtual ~Gateway() = default;

  // See HttpServer.
  virtual void Adopt(int socket) = 0;
  virtual absl::Status Listen(const std::string& host, int port) = 0;
  virtual int port() const = 0;
  virtual absl::Status UseTls(const std::string& certificate, const std::string& key,
                              const std::string& client_ca) = 0;
  // To be called once no call begins any more. Ends the connections that wait for requests, and
  // returns when the others have their answers, or after `patience`.
  virtual void Drain(absl::Duration patience) = 0;
  virtual int connections() const = 0;
};

}  // namespace leapstream::gateway

#endif  // LEAPSTREAM_CLIENT_GATEWAY_GATEWAY_H_
