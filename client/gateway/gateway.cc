#include "client/gateway/gateway.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"
#include "client/gateway/documents.h"
#include "client/gateway/exchanges.h"
#include "client/gateway/json_mapping.h"
#include "client/gateway/origin.h"

namespace leapstream::gateway {
namespace {

constexpr char kCaptionsPath[] = "/v1/captions/";
constexpr char kThereIs[] =
    "there are POST /v1/translate, GET /v1/models, GET /v1/stream (a WebSocket), "
    "GET /v1/captions/ID, GET /v1/openapi.json and GET /v1/asyncapi.json";

// The error of a request that HttpServer refuses.
GatewayError RefusalOf(int status, absl::string_view message) {
  switch (status) {
    case 413:
      return ErrorOf(absl::StatusCode::kInvalidArgument, "MESSAGE_TOO_LARGE", message, 413);
    case 431:
      return ErrorOf(absl::StatusCode::kInvalidArgument, "HEADERS_TOO_LARGE", message, 431);
    case 503:
      return ErrorOf(absl::StatusCode::kUnavailable, "SERVER_FULL", message);
    default:
      return ErrorOf(absl::StatusCode::kInvalidArgument, "MALFORMED_REQUEST", message, status);
  }
}

// gRPC takes no other bytes as the value of a header.
bool IsPrintable(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

class HttpGateway final : public Gateway {
 public:
  explicit HttpGateway(GatewayOptions options) : state_(std::move(options)) {
    HttpServerOptions server;
    server.start = [this](const HttpRequest& request, const std::shared_ptr<HttpPeer>& peer) {
      return Begin(request, peer);
    };
    server.refuse = [](int status, absl::string_view message) {
      return RefusalOf(status, message).response();
    };
    server.max_message_bytes = state_.options.max_message_bytes;
    server.stuck_reader_timeout = state_.options.stuck_reader_timeout;
    server_ = HttpServer::Start(std::move(server));
    state_.server = state_.calls.server = server_.get();
  }
  ~HttpGateway() override {
    server_->AbortAll();  // It cancels their calls, which end soon.
    do {  // At first until the abortion has been done: a call may just be beginning.
      std::promise<void> turn;
      server_->After(absl::Milliseconds(1), [&turn] { turn.set_value(); });
      turn.get_future().wait();
    } while (state_.calls.open > 0);
  }

  void Adopt(int socket) override { server_->Adopt(socket); }
  absl::Status Listen(const std::string& host, int port) override {
    return server_->Listen(host, port);
  }
  int port() const override { return server_->port(); }
  absl::Status UseTls(const std::string& certificate, const std::string& key,
                      const std::string& client_ca) override {
    return server_->UseTls(certificate, key, client_ca);
  }
  void Drain(absl::Duration patience) override { server_->Drain(patience); }
  int connections() const override { return server_->connections(); }

 private:
  using Peer = std::shared_ptr<HttpPeer>;
  using Exchange = std::shared_ptr<HttpExchange>;

  std::shared_ptr<HttpExchange> Begin(const HttpRequest& request, const Peer& peer) {
    HttpHeaders headers = {{"X-Content-Type-Options", "nosniff"}, {"Cache-Control", "no-store"}};
    const absl::Status comes_from = CheckOrigin(request, &headers);
    peer->AddHeaders(std::move(headers));
    if (!comes_from.ok()) {
      return Refuse(peer, comes_from.code(), "ORIGIN_NOT_ALLOWED", comes_from.message());
    }
    // A small body could become a large one.
    if (!request.header("content-encoding").empty()) {
      return Refuse(peer, absl::StatusCode::kInvalidArgument, "COMPRESSED",
                    "compressed requests are not taken; send it without Content-Encoding", 415);
    }
    if (request.method == "OPTIONS") {
      HttpResponse response;
      response.status = 204;
      response.content_type.clear();
      peer->Respond(std::move(response));
      return nullptr;
    }
    if (!state_.options.base_path.empty() && request.path == state_.options.base_path) {
      HttpResponse response;  // A page names its files relative to its own path.
      response.status = 308;
      response.headers.emplace_back("Location", state_.options.base_path + "/");
      peer->Respond(std::move(response));
      return nullptr;
    }
    return Route(request, PathOf(request), peer);
  }

  Exchange Route(const HttpRequest& request, const std::string& path, const Peer& peer) {
    if (path == "/v1/translate") {
      if (!Takes(request, "POST", peer)) return nullptr;
      // No form of another site can send this type.
      const absl::string_view type = request.header("content-type");
      if (!absl::StartsWithIgnoreCase(type, "application/json")) {
        return Refuse(peer, absl::StatusCode::kInvalidArgument, "NOT_JSON",
                      absl::StrCat("want the header \"Content-Type: application/json\", got ",
                                   Quoted(type)),
                      415);
      }
      return StartTranslate(&state_, request, peer);
    }
    const bool is_captions = absl::StartsWith(path, kCaptionsPath);
    const auto file = state_.options.files.find(path);
    const bool is_file = file != state_.options.files.end();
    const bool known = path == "/v1/models" || path == "/v1/stream" || is_captions || is_file ||
                       path == "/v1/openapi.json" || path == "/v1/asyncapi.json";
    if (!known) {
      return Refuse(peer, absl::StatusCode::kNotFound, "PATH_NOT_FOUND",
                    absl::StrCat("there is no ", Quoted(request.path), "; ", kThereIs));
    }
    if (!Takes(request, "GET", peer)) return nullptr;
    if (path == "/v1/models") return StartListModels(&state_, request, peer);
    if (is_captions) return StartCaptions(&state_, request, peer);
    if (path == "/v1/stream") return Stream(request, peer);
    HttpResponse response;
    if (is_file) {
      response.content_type = file->second.content_type;
      response.body = file->second.content;
      response.headers = state_.options.file_headers;
    } else {
      response.body = path == "/v1/openapi.json" ? OpenApiDocument() : AsyncApiDocument();
    }
    peer->Respond(std::move(response));
    return nullptr;
  }

  Exchange Stream(const HttpRequest& request, const Peer& peer) {
    if (request.upgrades) return StartStream(&state_, request, peer);
    HttpResponse response =
        ErrorOf(absl::StatusCode::kInvalidArgument, "NO_WEBSOCKET",
                "/v1/stream is a WebSocket: open it with ws:// or wss://", 426)
            .response();
    response.headers.emplace_back("Upgrade", "websocket");
    peer->Respond(std::move(response));
    return nullptr;
  }

  // Whether the request has this method, or HEAD in place of GET. Otherwise it is refused.
  static bool Takes(const HttpRequest& request, const std::string& method, const Peer& peer) {
    if (request.method == method || (method == "GET" && request.method == "HEAD")) return true;
    HttpResponse response =
        ErrorOf(absl::StatusCode::kUnimplemented, "METHOD_NOT_ALLOWED",
                absl::StrCat(request.path, " takes ", method, ", got ", Quoted(request.method)), 405)
            .response();
    response.headers.emplace_back("Allow", method == "GET" ? "GET, HEAD, OPTIONS"
                                                           : absl::StrCat(method, ", OPTIONS"));
    peer->Respond(std::move(response));
    return false;
  }

  static Exchange Refuse(const Peer& peer, absl::StatusCode code, absl::string_view reason,
                         absl::string_view message, int http = 0) {
    peer->Respond(ErrorOf(code, reason, message, http).response());
    return nullptr;
  }

  // The path without the base path before it, which some proxies take away.
  std::string PathOf(const HttpRequest& request) const {
    absl::string_view path = request.path;
    const std::string& base = state_.options.base_path;
    if (!base.empty() && absl::StartsWith(path, base + "/")) path.remove_prefix(base.size());
    return std::string(path);
  }

  // PERMISSION_DENIED: a page asks that may not, or the gateway has another name.
  absl::Status CheckOrigin(const HttpRequest& request, HttpHeaders* headers) const {
    const GatewayOptions& options = state_.options;
    const std::string host(request.header("host"));
    const std::string name = HostName(host);
    if (options.checks_host && !IsOurName(name, options.host_names)) {
      return absl::PermissionDeniedError(
          absl::StrCat("the host name ", Quoted(name), " is not one of ours", options.host_remedy));
    }
    const std::string origin = absl::AsciiStrToLower(request.header("origin"));
    const bool has_origin = std::any_of(request.headers.begin(), request.headers.end(),
                                        [](const auto& header) { return header.first == "origin"; });
    const absl::string_view site = request.header("sec-fetch-site");
    const bool writes = request.method != "GET" && request.method != "HEAD";
    const bool foreign = !site.empty() && site != "same-origin" && site != "none" && writes;
    if (has_origin ? !MayUse(origin, host, options.allowed_origins, options.host_names) : foreign) {
      return absl::PermissionDeniedError(absl::StrCat(
          "a page of ", Quoted(origin), " may not use this server", options.origin_remedy));
    }
    if (!has_origin) return absl::OkStatus();
    headers->insert(headers->end(),
                    {{"Access-Control-Allow-Origin", std::string(request.header("origin"))},
                     {"Access-Control-Allow-Methods", "GET, POST, OPTIONS"},
                     {"Access-Control-Allow-Headers",
                      "authorization, content-type, last-event-id, traceparent"},
                     {"Access-Control-Expose-Headers", "retry-after"},
                     {"Access-Control-Max-Age", "600"},
                     {"Vary", "Origin"}});
    return absl::OkStatus();
  }

  GatewayState state_;  // Outlives the server, whose exchanges use it.
  std::unique_ptr<HttpServer> server_;
};

}  // namespace

std::map<std::string, std::string> MetadataOf(const GatewayOptions& options,
                                              const HttpRequest& request) {
  std::map<std::string, std::string> metadata;
  if (const absl::string_view trace = request.header("traceparent");
      !trace.empty() && IsPrintable(trace)) {
    metadata["traceparent"] = std::string(trace);
  }
  if (options.caller_secret.empty()) return metadata;
  metadata[kSecretKey] = options.caller_secret;
  metadata[kPeerKey] = request.peer;
  if (!request.principal.empty()) metadata[kPrincipalKey] = request.principal;
  std::string authorization(request.header("authorization"));
  for (absl::string_view offered :
       absl::StrSplit(request.header("sec-websocket-protocol"), ',')) {
    std::string token;
    offered = absl::StripAsciiWhitespace(offered);
    if (authorization.empty() && absl::ConsumePrefix(&offered, kBearerProtocol) &&
        absl::WebSafeBase64Unescape(offered, &token)) {
      authorization = absl::StrCat("Bearer ", token);
    }
  }
  if (!authorization.empty() && IsPrintable(authorization)) {
    metadata["authorization"] = authorization;
  }
  return metadata;
}

std::string SubprotocolOf(const HttpRequest& request) {
  for (const absl::string_view offered :
       absl::StrSplit(request.header("sec-websocket-protocol"), ',')) {
    if (absl::StripAsciiWhitespace(offered) == kSubprotocol) return kSubprotocol;
  }
  return "";
}

std::unique_ptr<Gateway> Gateway::Start(GatewayOptions options) {
  return std::make_unique<HttpGateway>(std::move(options));
}

}  // namespace leapstream::gateway
