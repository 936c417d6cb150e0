#ifndef LEAPSTREAM_TESTS_END_TO_END_PLAIN_CONNECTIONS_H_
#define LEAPSTREAM_TESTS_END_TO_END_PLAIN_CONNECTIONS_H_

#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace leapstream {

// Connections to a port of this machine that send the given bytes, and no more.
class PlainConnections {
 public:
  explicit PlainConnections(int port) : port_(port) {}
  ~PlainConnections() { Close(); }
  PlainConnections(const PlainConnections&) = delete;
  PlainConnections& operator=(const PlainConnections&) = delete;

  void Open(int count, absl::string_view sent = "") {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port_));
    for (int i = 0; i < count; ++i) {
      connections_.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      ASSERT_GE(connections_.back(), 0);
      const auto* const any = reinterpret_cast<const sockaddr*>(&address);
      ASSERT_EQ(connect(connections_.back(), any, sizeof(address)), 0);
      send(connections_.back(), sent.data(), sent.size(), MSG_NOSIGNAL);
    }
  }
  // Waits until the other side has closed the newest connection.
  bool LastIsClosed() {
    pollfd waiting = {connections_.back(), POLLIN, 0};
    char buffer[4096];
    while (poll(&waiting, 1, /*timeout=*/60000) == 1) {
      if (recv(connections_.back(), buffer, sizeof(buffer), 0) <= 0) return true;
    }
    return false;
  }
  // Receives `size` bytes from the newest connection; fewer if it is closed.
  std::string ReceiveFromLast(size_t size) {
    std::string bytes(size, 0);
    const ssize_t got = recv(connections_.back(), bytes.data(), size, MSG_WAITALL);
    bytes.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
    return bytes;
  }
  void Close() {
    for (const int connection : connections_) close(connection);
    connections_.clear();
  }

  // Raises the limit, so that this process can have `count` connections. False: it may not.
  static bool MakeRoom(rlim_t count) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < count + 100) return false;
    limit.rlim_cur = std::max(limit.rlim_cur, count + 100);
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
  }

 private:
  const int port_;
  std::vector<int> connections_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_END_TO_END_PLAIN_CONNECTIONS_H_
