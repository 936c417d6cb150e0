#ifndef LEAPSTREAM_TESTS_TESTING_WEB_SOCKET_H_
#define LEAPSTREAM_TESTS_TESTING_WEB_SOCKET_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace leapstream {

struct WebSocketOptions {
  int port = 0;
  std::string path = "/v1/stream";
  std::vector<std::pair<std::string, std::string>> headers;
  bool tls = false;  // The server's certificate is not looked at.
  std::string certificate_file, key_file;  // The client's own, in PEM; empty: it has none.
  int receive_buffer = 0;  // Bytes of the socket's buffer; 0: the system's.
};

// A client of a WebSocket on this machine. Each function blocks, for 20 seconds at most. Not
// thread-safe.
class WebSocket {
 public:
  // Connects. If that is refused, open() is false and refusal() has the answer.
  static std::unique_ptr<WebSocket> Open(const WebSocketOptions& options);
  virtual ~WebSocket() = default;  // Cuts the connection.

  virtual bool open() const = 0;
  virtual int http_status() const = 0;
  virtual const std::string& refusal() const = 0;      // The body.
  virtual const std::string& subprotocol() const = 0;  // That which the server chose.

  virtual bool Send(const std::string& message, bool is_text = true) = 0;
  // Sends bytes as they are, without a frame.
  virtual bool SendRaw(const std::string& bytes) = 0;
  // The next message; nullopt: the connection is over, and close_code() says why.
  virtual std::optional<std::string> Read() = 0;
  virtual int close_code() const = 0;  // 0: the server said nothing.
  virtual const std::string& close_reason() const = 0;
  virtual void Close() = 0;  // With a close frame.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_WEB_SOCKET_H_
