#ifndef LEAPSTREAM_TESTS_END_TO_END_FORWARDER_H_
#define LEAPSTREAM_TESTS_END_TO_END_FORWARDER_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <map>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace leapstream {

// A TCP proxy on loopback in front of one port, which can make its connections half-open: after
// Freeze() nothing is taken from either side, and neither learns of it.
class Forwarder {
 public:
  explicit Forwarder(int target_port)
      : target_(LoopbackAddress(target_port)),
        listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        wake_(eventfd(0, EFD_CLOEXEC)) {
    sockaddr_in own = LoopbackAddress(0);
    socklen_t size = sizeof(own);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&own), size), 0);
    EXPECT_EQ(listen(listener_, 64), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&own), &size), 0);
    port_ = ntohs(own.sin_port);
    thread_ = std::thread([this] { Run(); });
  }
  ~Forwarder() {
    Freeze();
    thread_.join();
    for (const auto& [from, to] : peer_of_) close(from);
    close(listener_);
    close(wake_);
  }
  int port() const { return port_; }
  // The forwarder stays frozen.
  void Freeze() {
    const uint64_t one = 1;
    EXPECT_EQ(write(wake_, &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
  }

 private:
  static sockaddr_in LoopbackAddress(int port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    return address;
  }

  void Run() {
    std::vector<char> buffer(64 << 10);
    while (true) {
      std::vector<pollfd> polled = {{wake_, POLLIN, 0}, {listener_, POLLIN, 0}};
      for (const auto& [from, to] : peer_of_) polled.push_back({from, POLLIN, 0});
      poll(polled.data(), polled.size(), -1);
      if (polled[0].revents != 0) return;
      if (polled[1].revents != 0) Accept();
      for (size_t i = 2; i < polled.size(); ++i) {
        const int from = polled[i].fd;
        if (polled[i].revents == 0 || peer_of_.count(from) == 0) continue;
        const ssize_t size = recv(from, buffer.data(), buffer.size(), 0);
        if (size <= 0) {
          Close(from);
          continue;
        }
        if (!Forward(buffer.data(), size, peer_of_[from])) return;
      }
    }
  }
  // False: Freeze() came first. A side that does not read must not keep it waiting for ever.
  bool Forward(const char* bytes, ssize_t size, int to) {
    for (ssize_t sent = 0; sent < size;) {
      pollfd polled[] = {{wake_, POLLIN, 0}, {to, POLLOUT, 0}};
      poll(polled, 2, -1);
      if (polled[0].revents != 0) return false;
      const ssize_t more = send(to, bytes + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (more < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (more <= 0) break;  // The side is gone, and its own event says so.
      sent += more;
    }
    return true;
  }
  void Accept() {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(server, reinterpret_cast<const sockaddr*>(&target_), sizeof(target_)) != 0) {
      close(client);
      close(server);
      return;
    }
    peer_of_[client] = server;
    peer_of_[server] = client;
  }
  void Close(int side) {
    const int other = peer_of_[side];
    for (const int fd : {side, other}) {
      peer_of_.erase(fd);
      close(fd);
    }
  }

  const sockaddr_in target_;
  const int listener_;
  const int wake_;
  int port_ = 0;
  std::map<int, int> peer_of_;  // The thread owns it while it runs.
  std::thread thread_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_END_TO_END_FORWARDER_H_
