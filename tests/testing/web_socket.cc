#include "tests/testing/web_socket.h"

#include <sys/socket.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <chrono>

#include "client/gateway/any_stream.h"

namespace leapstream {
namespace {

using gateway::AnyStream;
using gateway::error_code;
namespace asio = boost::asio;
namespace websocket = boost::beast::websocket;

class BeastWebSocket final : public WebSocket {
 public:
  explicit BeastWebSocket(const WebSocketOptions& options)
      : tls_(asio::ssl::context::tls_client), stream_(AnyStream::Socket(context_)) {
    error_code error;
    const asio::ip::tcp::endpoint end(asio::ip::address_v4::loopback(),
                                      static_cast<unsigned short>(options.port));
    stream_.socket().open(asio::ip::tcp::v4(), error);
    if (options.receive_buffer > 0) {
      setsockopt(stream_.socket().native_handle(), SOL_SOCKET, SO_RCVBUF, &options.receive_buffer,
                 sizeof(options.receive_buffer));
    }
    stream_.socket().connect(end, error);
    if (error) return;
    if (!options.certificate_file.empty()) {
      tls_.use_certificate_chain_file(options.certificate_file, error);
      tls_.use_private_key_file(options.key_file, asio::ssl::context::pem, error);
      if (error) return;
    }
    if (options.tls && !Run([&](auto done) {
          stream_.StartTls(tls_).async_handshake(asio::ssl::stream_base::client, done);
        })) {
      return;
    }
    websocket_.emplace(stream_);
    websocket_->set_option(websocket::stream_base::decorator(
        [&options](websocket::request_type& request) {
          for (const auto& [name, value] : options.headers) request.set(name, value);
        }));
    websocket::response_type response;
    open_ = Run([&](auto done) {
      websocket_->async_handshake(response, "127.0.0.1:" + std::to_string(options.port),
                                  options.path, done);
    });
    http_status_ = response.result_int();
    refusal_ = response.body();
    subprotocol_ = std::string(response["Sec-WebSocket-Protocol"]);
    websocket_->read_message_max(64 << 20);
    websocket_->auto_fragment(false);
  }

  bool open() const override { return open_; }
  int http_status() const override { return http_status_; }
  const std::string& refusal() const override { return refusal_; }
  const std::string& subprotocol() const override { return subprotocol_; }

  bool Send(const std::string& message, bool is_text) override {
    if (!open_) return false;
    websocket_->text(is_text);
    return Transfer([&](auto done) { websocket_->async_write(asio::buffer(message), done); });
  }
  bool SendRaw(const std::string& bytes) override {
    return Transfer([&](auto done) { stream_.async_write_some(asio::buffer(bytes), done); });
  }
  std::optional<std::string> Read() override {
    boost::beast::flat_buffer buffer;
    if (!open_ || !Transfer([&](auto done) { websocket_->async_read(buffer, done); })) {
      if (websocket_.has_value()) {
        close_code_ = websocket_->reason().code;
        close_reason_ = std::string(websocket_->reason().reason.c_str());
      }
      return std::nullopt;
    }
    return boost::beast::buffers_to_string(buffer.data());
  }
  int close_code() const override { return close_code_; }
  const std::string& close_reason() const override { return close_reason_; }
  void Close() override {
    if (open_) Run([&](auto done) { websocket_->async_close(websocket::close_code::normal, done); });
  }

 private:
  // Runs an operation to its end. False: it failed, or took too long.
  template <typename Begin>
  bool Run(Begin begin) {
    bool done = false, ok = false;
    begin([&](error_code error) {
      done = true;
      ok = !error;
    });
    return Finish(&done) && ok;
  }
  template <typename Begin>
  bool Transfer(Begin begin) {
    bool done = false, ok = false;
    begin([&](error_code error, size_t) {
      done = true;
      ok = !error;
    });
    return Finish(&done) && ok;
  }
  bool Finish(const bool* done) {
    context_.restart();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!*done && context_.run_one_until(deadline) > 0) {
    }
    if (*done) return true;
    error_code ignored;
    stream_.socket().close(ignored);
    context_.restart();
    while (!*done && context_.run_one() > 0) {  // Its end refers to what is the caller's.
    }
    return false;
  }

  asio::io_context context_;
  asio::ssl::context tls_;
  AnyStream stream_;
  std::optional<websocket::stream<AnyStream&, false>> websocket_;
  bool open_ = false;
  int http_status_ = 0;
  std::string refusal_, subprotocol_;
  int close_code_ = 0;
  std::string close_reason_;
};

}  // namespace

std::unique_ptr<WebSocket> WebSocket::Open(const WebSocketOptions& options) {
  return std::make_unique<BeastWebSocket>(options);
}

}  // namespace leapstream
