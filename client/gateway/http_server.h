#ifndef LEAPSTREAM_CLIENT_GATEWAY_HTTP_SERVER_H_
#define LEAPSTREAM_CLIENT_GATEWAY_HTTP_SERVER_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace leapstream::gateway {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// The head of a request.
struct HttpRequest {
  std::string method;
  std::string path;   // Without the query; nothing in it is decoded.
  std::string query;  // What follows the question mark.
  HttpHeaders headers;     // Names in lower case.
  bool upgrades = false;   // It asks for a WebSocket.
  bool secure = false;     // It came over TLS.
  std::string peer;        // Such as "ipv4:127.0.0.1:4711".
  std::string principal;   // The name of the client's certificate; empty: there is none.

  // The value of a header that came once; empty: it is missing, or came several times.
  absl::string_view header(absl::string_view name) const;
  // The decoded value of a parameter of the query; empty: it is missing.
  std::string parameter(absl::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  HttpHeaders headers;
};

// The way back to the client of one request. Once the exchange has heard OnGone(), nothing happens.
// All of this is for the server's thread.
class HttpPeer {
 public:
  virtual ~HttpPeer() = default;
  // Headers for the answer, whatever it will be.
  virtual void AddHeaders(HttpHeaders headers) = 0;
  // Answers the request, which is over then.
  virtual void Respond(HttpResponse response) = 0;
  // Begins an answer whose body Send() sends, and Close() ends.
  virtual void StartBody(HttpResponse head) = 0;
  // Answers a request that upgrades with a WebSocket of this subprotocol; empty: of none.
  virtual void AcceptWebSocket(std::string subprotocol) = 0;
  // Sends a part of the body, or a text message of the WebSocket.
  virtual void Send(std::string data) = 0;
  // Ends the body or the WebSocket behind all that was sent. For a WebSocket, `code` and `reason`
  // are those of the close frame.
  virtual void Close(int code, std::string reason) = 0;
  // Asks for the next message of the WebSocket.
  virtual void ReadMessage() = 0;
  // The bytes that were sent and are not with the system yet.
  virtual size_t unsent_bytes() const = 0;
};

// One request of a client, from its head to the end of its answer. Called on the server's thread.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual void OnBody(std::string /*body*/) {}                          // The whole body.
  virtual void OnMessage(std::string /*message*/, bool /*is_text*/) {}  // After ReadMessage().
  virtual void OnSent() {}                                              // Nothing is unsent.
  // The last call: the client has gone, or the answer is complete.
  virtual void OnGone() {}
};

// Makes the exchange of a request whose head has come. Returns null if it has called Respond().
using StartExchange = std::function<std::shared_ptr<HttpExchange>(
    const HttpRequest& request, const std::shared_ptr<HttpPeer>& peer)>;

// The answer to a request that is refused before there is an exchange: it is malformed, or too
// large. `status` is an HTTP status.
using RefuseRequest = std::function<HttpResponse(int status, absl::string_view message)>;

struct HttpServerOptions {
  StartExchange start;
  RefuseRequest refuse;
  size_t max_message_bytes = 1 << 20;  // Of a body, and of a message of a WebSocket.
  // The time in which a client must take some of what was sent.
  absl::Duration stuck_reader_timeout = absl::Seconds(30);
};

// An HTTP/1.1 server with WebSockets and TLS. One thread serves all connections and waits for none.
// Its bounds are in base/budget.h. Thread-safe.
class HttpServer {
 public:
  static std::unique_ptr<HttpServer> Start(HttpServerOptions options);
  // Closes all connections. Nothing is called after that.
  virtual ~HttpServer() = default;

  // Becomes the owner of a connected socket, which is not blocking.
  virtual void Adopt(int socket) = 0;
  // Accepts connections to the address, too: as many as half of the descriptors that the process
  // may have; further ones wait in the system. INVALID_ARGUMENT: it cannot be listened on.
  virtual absl::Status Listen(const std::string& host, int port) = 0;
  virtual int port() const = 0;  // Of Listen().
  // From now on connections begin with TLS, with these PEM files. With a `client_ca` clients must
  // have a certificate that it signed. INVALID_ARGUMENT: they cannot be used, and nothing changes.
  virtual absl::Status UseTls(const std::string& certificate, const std::string& key,
                              const std::string& client_ca) = 0;
  // Runs `what` on the server's thread, in the order of the calls.
  virtual void Post(std::function<void()> what) = 0;
  // Runs `what` on the server's thread after a time, unless the server ends before.
  virtual void After(absl::Duration time, std::function<void()> what) = 0;
  // No connection waits for another request from now on. Returns when none is open, or after
  // `patience`.
  virtual void Drain(absl::Duration patience) = 0;
  // Closes all connections, and takes no more.
  virtual void AbortAll() = 0;
  virtual int connections() const = 0;
};

}  // namespace leapstream::gateway

#endif  // LEAPSTREAM_CLIENT_GATEWAY_HTTP_SERVER_H_
