#ifndef LEAPSTREAM_TESTS_TESTING_PROXIES_H_
#define LEAPSTREAM_TESTS_TESTING_PROXIES_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

// The proxies of docker/, with the shipped configurations except for addresses.
namespace leapstream {

// The first program of this name in $PATH or /usr/sbin; empty: there is none.
inline std::string FindProgram(const std::string& name) {
  const char* const path = std::getenv("PATH");
  for (const absl::string_view folder :
       absl::StrSplit(absl::StrCat(path == nullptr ? "" : path, ":/usr/sbin"), ':')) {
    const std::string file = absl::StrCat(folder, "/", name);
    if (access(file.c_str(), X_OK) == 0) return file;
  }
  return "";
}

// Fails if there was nothing to replace: the configuration has changed, and the test must follow.
inline void ReplaceOrFail(const std::string& pattern, const std::string& by, std::string* text) {
  const std::regex regex(pattern);
  ASSERT_TRUE(std::regex_search(*text, regex)) << pattern;
  *text = std::regex_replace(*text, regex, by);
}

// Returns a port of loopback that nobody has now.
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

// A server of ours behind a proxy.
struct ProxiedServer {
  int port = 0;
  int metrics_port = 0;
};

// A file of docker/.
inline std::string ShippedFile(const std::string& name) {
  std::ifstream file(absl::StrCat(LEAPSTREAM_SOURCE_DIR "/docker/", name));
  EXPECT_TRUE(file) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The `drain_delay` that docker/compose.yaml gives the servers behind HAProxy.
inline std::string ShippedDrainDelay() {
  const std::string compose = ShippedFile("compose.yaml");
  std::smatch found;
  EXPECT_TRUE(std::regex_search(compose, found, std::regex("\"--drain-delay\", \"(\\w+)\"")));
  return found[1];
}

// docker/haproxy/haproxy.cfg, changed to listen on `port` of loopback, for these servers there.
inline std::string ShippedHaproxyConfig(int port, const std::vector<ProxiedServer>& servers) {
  std::string config = ShippedFile("haproxy/haproxy.cfg"), lines;
  for (const ProxiedServer& server : servers) {
    absl::StrAppend(&lines, lines.empty() ? "" : "\n    ", "server s", server.port,
                    " 127.0.0.1:", server.port, " port ", server.metrics_port);
  }
  ReplaceOrFail("bind :50051", absl::StrCat("bind 127.0.0.1:", port), &config);
  ReplaceOrFail(" port 9464", "", &config);
  ReplaceOrFail(" resolvers docker init-addr none", "", &config);
  ReplaceOrFail("server-template leapstream 3 leapstream:50051", lines, &config);
  return config;
}

// docker/envoy/envoy.yaml, changed in the same way.
inline std::string ShippedEnvoyConfig(int port, const std::vector<ProxiedServer>& servers) {
  std::string config = ShippedFile("envoy/envoy.yaml"), endpoints;
  for (const ProxiedServer& server : servers) {
    absl::StrAppend(&endpoints, endpoints.empty() ? "" : "\n",
                    "              - endpoint: {address: {socket_address: {address: 127.0.0.1, "
                    "port_value: ",
                    server.port, "}}}");
  }
  ReplaceOrFail("address: 0.0.0.0, port_value: 50051",
                absl::StrCat("address: 127.0.0.1, port_value: ", port), &config);
  ReplaceOrFail("port_value: 9901", "port_value: 0", &config);
  ReplaceOrFail("type: STRICT_DNS", "type: STATIC", &config);
  ReplaceOrFail(
      " +- endpoint:\n +address:\n +socket_address: \\{address: leapstream, port_value: 50051\\}",
      endpoints, &config);
  return config;
}

// docker/nginx/nginx.conf, changed in the same way, with its files in `folder`.
inline std::string ShippedNginxConfig(int port, const std::vector<ProxiedServer>& servers,
                                      const std::string& folder) {
  std::string config = ShippedFile("nginx/nginx.conf"), lines;
  for (const ProxiedServer& server : servers) {
    absl::StrAppend(&lines, lines.empty() ? "" : "\n        ", "server 127.0.0.1:", server.port,
                    " max_fails=1 fail_timeout=2s;");
  }
  ReplaceOrFail("listen 50051", absl::StrCat("listen 127.0.0.1:", port), &config);
  ReplaceOrFail("server leapstream:50051 max_fails=1 fail_timeout=2s;", lines, &config);
  ReplaceOrFail("/tmp/nginx", absl::StrCat(folder, "/nginx"), &config);
  ReplaceOrFail("worker_processes auto", "worker_processes 1", &config);
  // A test may not raise this limit.
  ReplaceOrFail("worker_rlimit_nofile 65536;", "", &config);
  ReplaceOrFail("worker_connections 20000", "worker_connections 500", &config);
  return config;
}

// The command that starts such a proxy with its configuration in `file`. `program` comes from
// FindProgram().
inline std::vector<std::string> ProxyCommand(const std::string& program, const std::string& file) {
  if (absl::EndsWith(program, "/haproxy")) return {program, "-db", "-f", file};
  if (absl::EndsWith(program, "/nginx")) return {program, "-g", "daemon off;", "-c", file};
  return {program, "-c", file, "--concurrency", "1", "--disable-hot-restart"};
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_PROXIES_H_
