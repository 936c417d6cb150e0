#include "server/http_endpoint.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <list>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/budget.h"
#include "server/listener.h"

namespace leapstream {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kConnectionsAtOnce = 64;
// The time in which nothing is accepted, after descriptors were lacking.
constexpr std::chrono::milliseconds kPause{50};
constexpr std::chrono::milliseconds kTime{budget::kHttpMilliseconds};

struct Answer {
  int status = 200;
  const char* reason = "OK";
  std::string content_type = "text/plain";
  std::string body;
  bool with_body = true;  // False for HEAD.
};

std::string ToBytes(const Answer& answer) {
  return absl::StrCat("HTTP/1.1 ", answer.status, " ", answer.reason,
                      "\r\nContent-Type: ", answer.content_type,
                      "\r\nContent-Length: ", answer.body.size(),
                      answer.status == 405 ? "\r\nAllow: GET, HEAD" : "",
                      "\r\nConnection: close\r\n\r\n", answer.with_body ? answer.body : "");
}

// The place where the head of a request ends; npos: its end has not come yet.
size_t EndOfHead(absl::string_view received) {
  const size_t with_returns = received.find("\r\n\r\n");
  const size_t without = received.find("\n\n");
  return std::min(with_returns, without);
}

struct Connection {
  // A connection asks first, then its answer is written. In kLeaves it has the whole answer, and
  // the client is still to close.
  enum class State { kAsks, kIsAnswered, kLeaves };

  Connection(int descriptor, Clock::time_point deadline)
      : descriptor(descriptor), deadline(deadline) {}
  ~Connection() { close(descriptor); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const int descriptor;
  const Clock::time_point deadline;
  State state = State::kAsks;
  std::string received;
  std::string answer;
  size_t sent = 0;
};

class PollingEndpoint final : public HttpEndpoint {
 public:
  PollingEndpoint(ListeningSockets sockets, const std::vector<HttpPage>& pages,
                  int most_connections)
      : sockets_(std::move(sockets)),
        pages_(pages),
        most_connections_(static_cast<size_t>(std::max(most_connections, 1))),
        wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
        thread_([this] { Run(); }) {}
  ~PollingEndpoint() override {
    stopped_ = true;
    const uint64_t one = 1;
    if (write(wake_, &one, sizeof(one)) < 0) {
      // The thread is woken already.
    }
    thread_.join();
    close(wake_);
  }
  int port() const override { return sockets_.port(); }

 private:
  using Connections = std::list<Connection>;  // The oldest first.

  void Run() {
    std::vector<pollfd> waiting;
    Clock::time_point paused_until;
    while (true) {
      const bool paused = Clock::now() < paused_until;
      waiting.clear();
      waiting.push_back({wake_, POLLIN, 0});
      for (const int listening : sockets_.descriptors()) {
        waiting.push_back({listening, static_cast<short>(paused ? 0 : POLLIN), 0});
      }
      const size_t first = waiting.size();
      Clock::time_point until = paused ? paused_until : Clock::time_point::max();
      for (const Connection& connection : connections_) {
        const bool writes = connection.state == Connection::State::kIsAnswered;
        const short events = writes ? POLLOUT : POLLIN;
        waiting.push_back({connection.descriptor, events, 0});
        until = std::min(until, connection.deadline);
      }
      Poll(&waiting, until);
      if (stopped_) return;
      size_t i = first;
      for (auto connection = connections_.begin(); connection != connections_.end(); ++i) {
        const auto next = std::next(connection);
        if ((waiting[i].revents != 0 && !Serve(*connection)) ||
            Clock::now() >= connection->deadline) {
          connections_.erase(connection);
        }
        connection = next;
      }
      for (i = 1; i < first; ++i) {
        if (waiting[i].revents != 0 && !Accept(waiting[i].fd)) paused_until = Clock::now() + kPause;
      }
    }
  }

  static void Poll(std::vector<pollfd>* waiting, Clock::time_point until) {
    int timeout = -1;
    if (until != Clock::time_point::max()) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
      timeout = static_cast<int>(std::max<int64_t>(left + 1, 0));
    }
    poll(waiting->data(), waiting->size(), timeout);
  }

  // Takes the connections that wait on one socket. False: there is no descriptor for them.
  bool Accept(int listening) {
    for (int i = 0; i < kConnectionsAtOnce; ++i) {
      const int descriptor = accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (descriptor < 0) {
        if (errno == EAGAIN) return true;
        const bool lacking = errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                             errno == ENOMEM || errno == EINVAL || errno == EBADF;
        if (!lacking) continue;  // The connection is gone already.
        if (!MakeRoom()) return false;
        continue;
      }
      if (connections_.size() >= most_connections_) MakeRoom();
      connections_.emplace_back(descriptor, Clock::now() + kTime);
      // A request that has come already is answered now, before MakeRoom() could close its
      // connection.
      if (!Serve(connections_.back())) connections_.pop_back();
    }
    return true;
  }

  // Closes one connection: one that has its answer, or else one that has asked for nothing yet, or
  // else any; the oldest such one. False: there is none.
  bool MakeRoom() {
    for (const Connection::State state : {Connection::State::kLeaves, Connection::State::kAsks,
                                          Connection::State::kIsAnswered}) {
      const auto found =
          std::find_if(connections_.begin(), connections_.end(),
                       [state](const Connection& connection) { return connection.state == state; });
      if (found == connections_.end()) continue;
      connections_.erase(found);
      return true;
    }
    return false;
  }

  // Reads and writes as much as is possible without waiting. False: the connection is over.
  bool Serve(Connection& connection) {
    if (connection.state == Connection::State::kAsks && !Read(connection)) return false;
    if (connection.state == Connection::State::kIsAnswered && !Write(connection)) return false;
    return connection.state != Connection::State::kLeaves || Drain(connection);
  }

  bool Read(Connection& connection) {
    char buffer[4096];
    while (true) {
      const ssize_t size = recv(connection.descriptor, buffer, sizeof(buffer), 0);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) return errno == EAGAIN;
      if (size == 0) return false;
      connection.received.append(buffer, static_cast<size_t>(size));
      const size_t end = EndOfHead(connection.received);
      const bool too_long = std::min(end, connection.received.size()) > budget::kHttpHeadBytes;
      if (end == std::string::npos && !too_long) continue;
      connection.answer = ToBytes(
          too_long ? Answer{431, "Request Header Fields Too Large", "text/plain",
                            absl::StrCat("a request may have ", budget::kHttpHeadBytes, " bytes\n")}
                   : AnswerTo(absl::string_view(connection.received).substr(0, end)));
      connection.received.clear();
      connection.received.shrink_to_fit();
      connection.state = Connection::State::kIsAnswered;
      return true;
    }
  }

  Answer AnswerTo(absl::string_view head) const {
    const absl::string_view line = head.substr(0, head.find_first_of("\r\n"));
    const size_t space = line.find(' ');
    const size_t last = line.rfind(' ');
    if (space == absl::string_view::npos || last == space ||
        !absl::StartsWith(line.substr(last + 1), "HTTP/1.")) {
      return {400, "Bad Request", "text/plain", "this is no request of HTTP/1.1\n"};
    }
    const absl::string_view method = line.substr(0, space);
    absl::string_view path = line.substr(space + 1, last - space - 1);
    path = path.substr(0, path.find_first_of("?#"));
    for (const HttpPage& page : pages_) {
      if (path != page.path) continue;
      if (method != "GET" && method != "HEAD") {
        return {405, "Method Not Allowed", "text/plain", "there is only GET\n"};
      }
      absl::StatusOr<std::string> body = page.body();
      Answer answer;
      if (body.ok()) {
        answer.content_type = page.content_type;
        answer.body = *std::move(body);
      } else {
        answer.status = 503;
        answer.reason = "Service Unavailable";
        answer.body = absl::StrCat(body.status().message(), "\n");
      }
      answer.with_body = method != "HEAD";
      return answer;
    }
    return {404, "Not Found", "text/plain", "there is no such page\n", method != "HEAD"};
  }

  static bool Write(Connection& connection) {
    while (connection.sent < connection.answer.size()) {
      const ssize_t size =
          send(connection.descriptor, connection.answer.data() + connection.sent,
               connection.answer.size() - connection.sent, MSG_NOSIGNAL);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) return errno == EAGAIN;
      connection.sent += static_cast<size_t>(size);
    }
    // If the connection were closed now with bytes left to read, TCP would reset it, and the client
    // might lose the answer.
    shutdown(connection.descriptor, SHUT_WR);
    connection.state = Connection::State::kLeaves;
    connection.answer.clear();
    connection.answer.shrink_to_fit();
    return true;
  }

  // Reads the client's remaining bytes and drops them. False: the client has closed the connection,
  // or it failed.
  static bool Drain(Connection& connection) {
    char buffer[4096];
    for (int i = 0; i < 16; ++i) {
      const ssize_t size = recv(connection.descriptor, buffer, sizeof(buffer), 0);
      if (size < 0) return errno == EAGAIN || errno == EINTR;
      if (size == 0) return false;
    }
    return true;
  }

  const ListeningSockets sockets_;
  const std::vector<HttpPage> pages_;
  const size_t most_connections_;
  const int wake_;
  std::atomic<bool> stopped_{false};
  Connections connections_;  // Used by thread_ only.
  std::thread thread_;       // Last: it uses the members above.
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(
    const Address& address, const std::vector<HttpPage>& pages, int most_connections) {
  absl::StatusOr<ListeningSockets> sockets = ListeningSockets::Open(address);
  if (!sockets.ok()) return sockets.status();
  return std::unique_ptr<HttpEndpoint>(
      std::make_unique<PollingEndpoint>(*std::move(sockets), pages, most_connections));
}

}  // namespace leapstream
