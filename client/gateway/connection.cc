#include "client/gateway/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cerrno>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/gateway/tls_context.h"

namespace leapstream::gateway {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kHeadTime{budget::kGatewayHeadMilliseconds};
constexpr milliseconds kBodyTime{budget::kGatewayBodyMilliseconds};
constexpr milliseconds kHandshakeTime{budget::kHandshakeMilliseconds};
constexpr milliseconds kLeaveTime{2000};
constexpr milliseconds kForever = std::chrono::hours(24 * 365);
constexpr size_t kReadBytes = 16 << 10;

std::string PeerOf(const AnyStream::Socket& socket) {
  error_code error;
  const asio::ip::tcp::endpoint end = socket.remote_endpoint(error);
  if (error) return "unknown";
  const bool is_v6 = end.address().is_v6() && !end.address().to_v6().is_v4_mapped();
  const std::string address =
      end.address().is_v6() && !is_v6
          ? asio::ip::make_address_v4(asio::ip::v4_mapped, end.address().to_v6()).to_string()
          : end.address().to_string();
  return is_v6 ? absl::StrCat("ipv6:[", address, "]:", end.port())
               : absl::StrCat("ipv4:", address, ":", end.port());
}

}  // namespace

Connection::Connection(AnyStream::Socket socket, std::shared_ptr<asio::ssl::context> tls,
                       Connections* connections)
    : connections_(connections),
      stream_(std::move(socket)),
      tls_(std::move(tls)),
      timer_(stream_.get_executor()),
      peer_(PeerOf(stream_.socket())),
      message_timer_(stream_.get_executor()) {
  ++connections_->open;
}

Connection::~Connection() {
  Letgo();
  --connections_->open;
}

void Connection::Start() {
  if (tls_ == nullptr) return ReadHead();
  Within(kHandshakeTime);
  stream_.StartTls(*tls_).async_handshake(
      asio::ssl::stream_base::server, [self = shared_from_this()](error_code error) {
        if (self->state_ == State::kGone) return;
        if (error) return self->Abort();
        self->principal_ = PeerName(self->stream_.tls()->native_handle());
        self->ReadHead();
      });
}

void Connection::Abort() {
  if (state_ == State::kGone) return;
  state_ = State::kGone;
  error_code error;
  timer_.cancel(error);
  message_timer_.cancel(error);
  stream_.socket().close(error);
  Letgo();
  unsent_ = 0;
  EndExchange();
}

void Connection::Drain() {
  if (state_ == State::kBegins || (state_ == State::kHead && !has_begun_)) Abort();
}

void Connection::EndExchange() {
  const std::shared_ptr<HttpExchange> over = std::move(exchange_);
  exchange_ = nullptr;
  if (over != nullptr) over->OnGone();
}

// Closes the connection unless another time is set meanwhile.
void Connection::Within(milliseconds time) {
  const uint64_t turn = ++timer_turn_;
  timer_.expires_after(time);
  timer_.async_wait([self = shared_from_this(), turn](error_code error) {
    if (!error && turn == self->timer_turn_) self->Abort();
  });
}

void Connection::ReadHead() {
  state_ = State::kHead;
  has_begun_ = closing_ = false;
  headers_.clear();
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(budget::kGatewayHeadBytes));
  parser_->body_limit(connections_->options.max_message_bytes);
  Within(kHeadTime);
  ReadMore();
}

void Connection::ReadMore() {
  http::async_read_some(stream_, buffer_, *parser_,
                        [self = shared_from_this()](error_code error, size_t /*bytes*/) {
                          self->OnRead(error);
                        });
}

void Connection::OnRead(error_code error) {
  if (state_ != State::kHead && state_ != State::kBody) return;
  if (error) return OnReadError(error);
  if (!has_begun_ && parser_->is_header_done()) OnHead();
  if (state_ != State::kHead && state_ != State::kBody) return;
  if (!parser_->is_header_done()) return ReadMore();
  if (!Hold(parser_->get().body().size())) {
    return Refuse(503, "too many requests are being read at once; try again later");
  }
  if (!parser_->is_done()) return ReadMore();
  state_ = State::kAnswers;
  std::string body = std::move(parser_->get().body());
  if (!writes_) Within(kForever);  // The call has limits of its own.
  WatchForEnd();
  if (exchange_ != nullptr) exchange_->OnBody(std::move(body));
  Letgo();
}

void Connection::OnReadError(error_code error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return Refuse(431, absl::StrCat("the head of a request has at most ",
                                    budget::kGatewayHeadBytes, " bytes"));
  }
  if (error == http::error::body_limit) {
    return Refuse(413, absl::StrCat("a body has at most ", connections_->options.max_message_bytes,
                                    " bytes; send less at once, or stream it"));
  }
  const bool malformed = error.category() == make_error_code(http::error::end_of_stream).category();
  if (!malformed || error == http::error::end_of_stream || error == http::error::partial_message) {
    return Abort();  // The client has gone.
  }
  Refuse(400, absl::StrCat("this is no request of HTTP/1.1 (", error.message(), ")"));
}

void Connection::Refuse(int status, absl::string_view message) {
  Letgo();
  parser_->get().body() = std::string();  // Its memory is free for others.
  keeps_open_ = false;
  Respond(connections_->options.refuse(status, message));
}

bool Connection::Hold(size_t bytes) {
  if (bytes <= std::max(held_, budget::kGatewayFreeBytes)) return true;
  if (connections_->held_bytes + bytes - held_ > budget::kGatewayHeldBytes) return false;
  connections_->held_bytes += bytes - held_;
  held_ = bytes;
  return true;
}

void Connection::Letgo() {
  connections_->held_bytes -= held_;
  held_ = 0;
}

void Connection::OnHead() {
  has_begun_ = true;
  state_ = State::kBody;
  Within(kBodyTime);
  const auto& message = parser_->get();
  HttpRequest request;
  request.method = std::string(message.method_string());
  const std::string target(message.target());
  const size_t end = std::min(target.find('?'), target.size());
  request.path = target.substr(0, end);
  if (end < target.size()) request.query = target.substr(end + 1);
  for (const auto& field : message) {
    request.headers.emplace_back(absl::AsciiStrToLower(std::string(field.name_string())),
                                 std::string(field.value()));
  }
  request.upgrades = websocket::is_upgrade(message);
  request.secure = tls_ != nullptr;
  request.peer = peer_;
  request.principal = principal_;
  is_head_ = message.method() == http::verb::head;
  // A body of another coding has no end that is known, so what follows must not be a request.
  const bool body_ends = message.count(http::field::transfer_encoding) == 0 || message.chunked();
  keeps_open_ =
      message.keep_alive() && body_ends && !connections_->draining && !request.upgrades;
  exchange_ = connections_->options.start(request, shared_from_this());
  if (state_ != State::kBody || closing_ || parser_->is_done()) return;
  if (absl::EqualsIgnoreCase(request.header("expect"), "100-continue")) {
    Queue("HTTP/1.1 100 Continue\r\n\r\n");
  }
}

// Notices that the client closes the connection while its answer is being made.
void Connection::WatchForEnd() {
  stream_.socket().async_wait(
      AnyStream::Socket::wait_read, [self = shared_from_this()](error_code error) {
        if (error || self->tls_ != nullptr || self->state_ != State::kAnswers) return;
        char byte = 0;
        const ssize_t size = recv(self->stream_.socket().native_handle(), &byte, 1,
                                  MSG_PEEK | MSG_DONTWAIT);
        if (size == 0 || (size < 0 && errno != EAGAIN)) self->Abort();
      });
}

std::string Connection::Head(const HttpResponse& response, bool has_length) {
  http::response<http::string_body> message(static_cast<http::status>(response.status), 11);
  for (const auto& [name, value] : headers_) message.set(name, value);
  for (const auto& [name, value] : response.headers) message.set(name, value);
  if (!response.content_type.empty()) message.set(http::field::content_type, response.content_type);
  // Only a request that was read to its end may be followed by another one.
  if (!parser_->is_done() || !has_length) keeps_open_ = false;
  message.keep_alive(keeps_open_);
  if (has_length) message.content_length(response.body.size());
  std::ostringstream text;
  text << message.base();
  return text.str();
}

void Connection::Respond(HttpResponse response) {
  if (state_ == State::kGone || closing_) return;
  std::string bytes = Head(response, /*has_length=*/true);
  if (!is_head_) bytes += response.body;
  closing_ = true;
  if (state_ == State::kHead || state_ == State::kBody) state_ = State::kAnswers;
  Queue(std::move(bytes));
}

void Connection::StartBody(HttpResponse head) {
  if (is_head_) return Respond(std::move(head));
  if (state_ == State::kGone || closing_) return;
  Queue(Head(head, /*has_length=*/false));
}

void Connection::AcceptWebSocket(std::string subprotocol) {
  state_ = State::kUpgrades;
  if (buffer_.size() > 0) {
    const auto rest = buffer_.data();
    stream_.Unread(std::string(static_cast<const char*>(rest.data()), rest.size()));
    buffer_.clear();
  }
  websocket_.emplace(stream_);
  websocket_->set_option(websocket::stream_base::timeout{
      std::chrono::seconds(10), websocket::stream_base::none(), false});
  websocket_->read_message_max(2 * connections_->options.max_message_bytes);
  websocket_->auto_fragment(false);
  websocket_->set_option(websocket::stream_base::decorator(
      [subprotocol = std::move(subprotocol)](websocket::response_type& response) {
        response.set(http::field::cache_control, "no-store");
        if (!subprotocol.empty()) {
          response.set(http::field::sec_websocket_protocol, subprotocol);
        }
      }));
  Within(kHandshakeTime);
  websocket_->async_accept(parser_->get(), [self = shared_from_this()](error_code error) {
    if (self->state_ == State::kGone) return;
    if (error) return self->Abort();
    self->state_ = State::kWebSocket;
    self->Within(kForever);
    self->WriteMore();
    if (self->wants_message_) self->ReadFrame();
  });
}

void Connection::Send(std::string data) {
  if (state_ == State::kGone || closing_ || data.empty()) return;
  Queue(std::move(data));
}

void Connection::Close(int code, std::string reason) {
  if (state_ == State::kGone || closing_) return;
  closing_ = true;
  keeps_open_ = false;
  // The bytes that a close frame may have.
  if (reason.size() > 120) reason.resize(120);
  close_reason_ = websocket::close_reason(static_cast<websocket::close_code>(code), reason);
  if (out_.empty() && !writes_) WriteMore();
}

void Connection::Queue(std::string data) {
  unsent_ += data.size();
  out_.push_back(std::move(data));
  if (!writes_) WriteMore();
}

void Connection::WriteMore() {
  if (state_ == State::kGone || state_ == State::kUpgrades || writes_) return;
  if (out_.empty()) return OnAllWritten();
  writes_ = true;
  Within(milliseconds(
      absl::ToInt64Milliseconds(connections_->options.stuck_reader_timeout)));
  const auto done = [self = shared_from_this()](error_code error, size_t bytes) {
    self->OnWritten(error, bytes);
  };
  const asio::const_buffer bytes(out_.front().data() + out_begins_,
                                 out_.front().size() - out_begins_);
  if (websocket_.has_value()) {
    websocket_->text(true);
    websocket_->async_write(bytes, done);
  } else {
    stream_.async_write_some(bytes, done);
  }
}

void Connection::OnWritten(error_code error, size_t bytes) {
  writes_ = false;
  if (state_ == State::kGone) return;
  if (error) return Abort();
  unsent_ -= bytes;
  out_begins_ += bytes;
  if (out_begins_ == out_.front().size()) {
    out_.pop_front();
    out_begins_ = 0;
  }
  WriteMore();
}

void Connection::OnAllWritten() {
  if (!closing_) {
    Within(state_ == State::kBody ? kBodyTime : kForever);
    if (exchange_ != nullptr) exchange_->OnSent();
    return;
  }
  EndExchange();
  if (websocket_.has_value()) {
    Within(kLeaveTime);
    return websocket_->async_close(close_reason_, [self = shared_from_this()](error_code error) {
      if (error || self->state_ == State::kGone) return self->Abort();
      self->Leave();
    });
  }
  if (keeps_open_ && !connections_->draining) return ReadHead();
  Leave();
}

// Waits for the client's end: if the socket were closed with bytes left to read, TCP would reset
// it, and the client might lose the answer.
void Connection::Leave() {
  state_ = State::kLeaves;
  Within(kLeaveTime);
  error_code error;
  stream_.socket().shutdown(asio::socket_base::shutdown_send, error);
  DropMore();
}

void Connection::DropMore() {
  stream_.socket().async_read_some(asio::buffer(dropped_),
                                   [self = shared_from_this()](error_code error, size_t) {
                                     if (error || self->state_ == State::kGone) {
                                       return self->Abort();
                                     }
                                     self->DropMore();
                                   });
}

void Connection::ReadMessage() {
  wants_message_ = true;
  if (state_ == State::kWebSocket) ReadFrame();
}

void Connection::ReadFrame() {
  if (reads_frame_) return;
  reads_frame_ = true;
  websocket_->async_read_some(message_, kReadBytes,
                              [self = shared_from_this()](error_code error, size_t /*bytes*/) {
                                self->OnFrame(error);
                              });
}

void Connection::OnFrame(error_code error) {
  reads_frame_ = false;
  if (state_ == State::kGone) return;
  if (error) {
    if (closing_) return;  // What we began goes on in async_close().
    // Beast has answered the client's close, or said what is wrong with its frames.
    EndExchange();
    return Leave();
  }
  if (closing_) {
    message_.clear();
    return;
  }
  const size_t most = connections_->options.max_message_bytes;
  if (message_.size() > most) {
    Send(connections_->options.refuse(413, absl::StrCat("a message has at most ", most, " bytes"))
             .body);
    return Close(websocket::close_code::too_big, "");
  }
  if (!Hold(message_.size())) {
    Send(connections_->options
             .refuse(503, "too many messages are being read at once; try again later")
             .body);
    return Close(websocket::close_code::try_again_later, "");
  }
  if (!websocket_->is_message_done()) {
    if (!std::exchange(in_message_, true)) LimitMessage();
    return ReadFrame();
  }
  in_message_ = wants_message_ = false;
  std::string message(static_cast<const char*>(message_.data().data()), message_.size());
  message_.clear();
  if (message_.capacity() > budget::kGatewayFreeBytes) message_.shrink_to_fit();
  if (exchange_ != nullptr) exchange_->OnMessage(std::move(message), websocket_->got_text());
  Letgo();
}

// A message that never ends would hold its part of the memory for all of them.
void Connection::LimitMessage() {
  message_timer_.expires_after(kBodyTime);
  message_timer_.async_wait([self = shared_from_this()](error_code error) {
    if (error || !self->in_message_ || self->state_ != State::kWebSocket) return;
    if (self->message_timer_.expiry() > std::chrono::steady_clock::now()) return;  // The next one.
    self->Send(self->connections_->options
                   .refuse(408, absl::StrCat("a message must be complete after ",
                                             kBodyTime.count() / 1000, " s; send smaller ones"))
                   .body);
    self->Letgo();
    self->Close(websocket::close_code::policy_error, "");
  });
}

}  // namespace leapstream::gateway
