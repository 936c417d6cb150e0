#ifndef LEAPSTREAM_TESTS_TESTING_HAPROXY_H_
#define LEAPSTREAM_TESTS_TESTING_HAPROXY_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace leapstream {

// Fails if there was nothing to replace: the configuration has changed, and the test must follow.
inline void ReplaceOrFail(const std::string& pattern, const std::string& by, std::string* text) {
  const std::regex regex(pattern);
  ASSERT_TRUE(std::regex_search(*text, regex)) << pattern;
  *text = std::regex_replace(*text, regex, by);
}

// A port of loopback that nobody has now.
inline int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  close(fd);
  return ntohs(address.sin_port);
}

struct HaproxyServer {
  int port = 0;
  int metrics_port = 0;
};

// docker/haproxy/haproxy.cfg, listening on `port` of loopback, for these servers there.
inline std::string ShippedHaproxyConfig(int port, const std::vector<HaproxyServer>& servers) {
  std::ifstream file(LEAPSTREAM_SOURCE_DIR "/docker/haproxy/haproxy.cfg");
  EXPECT_TRUE(file);
  std::stringstream text;
  text << file.rdbuf();
  std::string config = text.str(), lines;
  for (const HaproxyServer& server : servers) {
    absl::StrAppend(&lines, lines.empty() ? "" : "\n    ", "server s", server.port,
                    " 127.0.0.1:", server.port, " port ", server.metrics_port);
  }
  ReplaceOrFail("bind :50051", absl::StrCat("bind 127.0.0.1:", port), &config);
  ReplaceOrFail(" port 9464", "", &config);
  ReplaceOrFail(" resolvers docker init-addr none", "", &config);
  ReplaceOrFail("server-template leapstream 3 leapstream:50051", lines, &config);
  return config;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_HAPROXY_H_
