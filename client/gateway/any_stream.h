#ifndef LEAPSTREAM_CLIENT_GATEWAY_ANY_STREAM_H_
#define LEAPSTREAM_CLIENT_GATEWAY_ANY_STREAM_H_

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/websocket/teardown.hpp>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace leapstream::gateway {

namespace asio = boost::asio;
using boost::system::error_code;

// A connection with or without TLS, as one type with two kinds of operations. Beast's algorithms
// are templates of their stream and of the operation that goes on, so that with a type for each way
// everything would be compiled twice. Used on the thread of its io_context only.
class AnyStream {
 public:
  using executor_type = asio::io_context::executor_type;
  using Socket = asio::basic_stream_socket<asio::ip::tcp, executor_type>;
  using Tls = asio::ssl::stream<Socket&>;

  explicit AnyStream(Socket socket) : socket_(std::move(socket)) {}

  executor_type get_executor() { return socket_.get_executor(); }
  Socket& socket() { return socket_; }
  // To be called before anything is read or written. `context` must outlive this.
  Tls& StartTls(asio::ssl::context& context) {
    tls_ = std::make_unique<Tls>(socket_, context);
    return *tls_;
  }
  Tls* tls() { return tls_.get(); }
  // The next bytes to be read, before those of the connection.
  void Unread(std::string bytes) { unread_ = std::move(bytes); }

  template <typename Buffers, typename Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    asio::mutable_buffer first;
    for (auto it = asio::buffer_sequence_begin(buffers);
         it != asio::buffer_sequence_end(buffers) && first.size() == 0; ++it) {
      first = *it;
    }
    Read(first, Operation(std::forward<Handler>(handler)));
  }
  template <typename Buffers, typename Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    FewBuffers few;
    for (auto it = asio::buffer_sequence_begin(buffers);
         it != asio::buffer_sequence_end(buffers) && few.count < few.buffers.size(); ++it) {
      const asio::const_buffer buffer = *it;
      if (buffer.size() > 0) few.buffers[few.count++] = buffer;
    }
    Write(few, Operation(std::forward<Handler>(handler)));
  }

 private:
  // The function to be called when bytes were read or written, whatever its type was.
  class Operation {
   public:
    template <typename Handler, typename = std::enable_if_t<
                                    !std::is_same_v<std::decay_t<Handler>, Operation>>>
    explicit Operation(Handler&& handler)
        : erased_(std::make_unique<Of<std::decay_t<Handler>>>(std::forward<Handler>(handler))) {}
    void operator()(error_code error, size_t bytes) {
      const std::unique_ptr<Erased> erased = std::move(erased_);
      erased->GoOn(error, bytes);
    }

   private:
    struct Erased {
      virtual ~Erased() = default;
      virtual void GoOn(error_code error, size_t bytes) = 0;
    };
    template <typename Handler>
    struct Of final : Erased {
      explicit Of(Handler given) : handler(std::move(given)) {}
      void GoOn(error_code error, size_t bytes) override { handler(error, bytes); }
      Handler handler;
    };
    std::unique_ptr<Erased> erased_;
  };

  struct FewBuffers {
    using value_type = asio::const_buffer;
    using const_iterator = const asio::const_buffer*;
    const_iterator begin() const { return buffers.data(); }
    const_iterator end() const { return buffers.data() + count; }
    std::array<asio::const_buffer, 4> buffers;
    size_t count = 0;
  };

  void Read(asio::mutable_buffer buffer, Operation operation) {
    if (!unread_.empty()) {
      const size_t bytes = std::min(buffer.size(), unread_.size());
      std::memcpy(buffer.data(), unread_.data(), bytes);
      unread_.erase(0, bytes);
      asio::post(get_executor(), [bytes, operation = std::move(operation)]() mutable {
        operation(error_code(), bytes);
      });
    } else if (tls_ != nullptr) {
      tls_->async_read_some(buffer, std::move(operation));
    } else {
      socket_.async_read_some(buffer, std::move(operation));
    }
  }
  void Write(const FewBuffers& buffers, Operation operation) {
    if (tls_ != nullptr) {
      tls_->async_write_some(buffers, std::move(operation));
    } else {
      socket_.async_write_some(buffers, std::move(operation));
    }
  }

  Socket socket_;
  std::unique_ptr<Tls> tls_;
  std::string unread_;
};

// Beast calls these at the end of a WebSocket. The connection drains the socket and closes it.
inline void teardown(boost::beast::role_type /*role*/, AnyStream& stream, error_code& error) {
  stream.socket().shutdown(asio::socket_base::shutdown_send, error);
}
inline void beast_close_socket(AnyStream& stream) {
  error_code ignored;
  stream.socket().close(ignored);
}
template <typename Handler>
void async_teardown(boost::beast::role_type /*role*/, AnyStream& stream, Handler&& handler) {
  error_code error;
  stream.socket().shutdown(asio::socket_base::shutdown_send, error);
  asio::post(stream.get_executor(),
             [handler = std::forward<Handler>(handler)]() mutable { handler(error_code()); });
}

}  // namespace leapstream::gateway

#endif  // LEAPSTREAM_CLIENT_GATEWAY_ANY_STREAM_H_
