#ifndef LEAPSTREAM_TESTS_CLIENT_RAW_REQUEST_H_
#define LEAPSTREAM_TESTS_CLIENT_RAW_REQUEST_H_

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace leapstream {

// Sends these bytes to a port of this machine and returns all that comes until the other side
// closes the connection. With "Connection: close" in the bytes it does so after an answer.
inline std::string RawRequest(int port, absl::string_view bytes) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
      send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size())) {
    char buffer[4096];
    for (ssize_t size; (size = recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
      answer.append(buffer, static_cast<size_t>(size));
    }
  }
  close(fd);
  return answer;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_CLIENT_RAW_REQUEST_H_
