#ifndef LEAPSTREAM_CLIENT_GATEWAY_CONNECTION_H_
#define LEAPSTREAM_CLIENT_GATEWAY_CONNECTION_H_

// For connection.cc and http_server.cc alone, which are compiled together: Boost takes long.

#include <atomic>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/budget.h"
#include "client/gateway/any_stream.h"
#include "client/gateway/http_server.h"

namespace leapstream::gateway {

namespace http = boost::beast::http;
namespace websocket = boost::beast::websocket;

// The objects that all connections of one server share. Used on its thread.
struct Connections {
  HttpServerOptions options;
  std::atomic<int> open{0};
  size_t held_bytes = 0;  // Of bodies and messages that are not complete.
  bool draining = false;
};

// One connection of an HttpServer. Lives as long as an operation of its socket, or its exchange,
// needs it.
class Connection final : public HttpPeer, public std::enable_shared_from_this<Connection> {
 public:
  Connection(AnyStream::Socket socket, std::shared_ptr<asio::ssl::context> tls,
             Connections* connections);
  ~Connection() override;

  void Start();
  // Closes the socket at once.
  void Abort();
  // Closes the connection if it waits for a request.
  void Drain();

  void AddHeaders(HttpHeaders headers) override { headers_ = std::move(headers); }
  void Respond(HttpResponse response) override;
  void StartBody(HttpResponse head) override;
  void AcceptWebSocket(std::string subprotocol) override;
  void Send(std::string data) override;
  void Close(int code, std::string reason) override;
  void ReadMessage() override;
  size_t unsent_bytes() const override { return unsent_; }

 private:
  using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                           asio::wait_traits<std::chrono::steady_clock>,
                                           AnyStream::executor_type>;
  using WebSocket = websocket::stream<AnyStream&, false>;
  enum class State {
    kBegins,   // TLS.
    kHead,     // Waits for a head, or reads one.
    kBody,     // The exchange has begun; its body is being read.
    kAnswers,  // All of the request is read.
    kUpgrades,
    kWebSocket,
    kLeaves,  // All is sent, and what the client still sends is dropped.
    kGone,
  };

  void ReadHead();
  void ReadMore();
  void OnRead(error_code error);
  void OnHead();
  void OnReadError(error_code error);
  void Refuse(int status, absl::string_view message);
  // Counts bytes that wait to be complete. False: there are too many.
  bool Hold(size_t bytes);
  void Letgo();
  void WatchForEnd();

  std::string Head(const HttpResponse& response, bool has_length);
  void Queue(std::string data);
  void WriteMore();
  void OnWritten(error_code error, size_t bytes);
  void OnAllWritten();
  void Leave();
  void DropMore();

  void ReadFrame();
  void OnFrame(error_code error);
  void LimitMessage();

  void Within(std::chrono::milliseconds time);
  void EndExchange();

  Connections* const connections_;
  AnyStream stream_;
  const std::shared_ptr<asio::ssl::context> tls_;
  Timer timer_;
  uint64_t timer_turn_ = 0;
  State state_ = State::kBegins;
  std::string peer_, principal_;
  boost::beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  bool has_begun_ = false;   // The exchange of the present request was made, or refused.
  bool keeps_open_ = false;  // Another request may come after this one.
  bool is_head_ = false;     // The method is HEAD.
  HttpHeaders headers_;      // See AddHeaders().
  std::shared_ptr<HttpExchange> exchange_;
  std::optional<WebSocket> websocket_;
  boost::beast::flat_buffer message_;
  bool in_message_ = false;  // A part of the next message has come.
  Timer message_timer_;
  bool reads_frame_ = false;
  bool wants_message_ = false;
  std::deque<std::string> out_;
  size_t out_begins_ = 0;  // The bytes of out_.front() that are written.
  size_t unsent_ = 0;
  bool writes_ = false;
  bool closing_ = false;   // Close() or Respond() was called.
  websocket::close_reason close_reason_;
  size_t held_ = 0;
  char dropped_[1024];
};

}  // namespace leapstream::gateway

#endif  // LEAPSTREAM_CLIENT_GATEWAY_CONNECTION_H_
