#include "server/http_endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/budget.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kMostConnections = 8;

// A client that sends any bytes.
class RawClient {
 public:
  explicit RawClient(int port) : descriptor_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    const int small = 4096;  // With a small buffer, an unread answer is soon in the server's way.
    setsockopt(descriptor_, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    EXPECT_EQ(connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~RawClient() { close(descriptor_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // False: the server has closed the connection.
  bool Send(absl::string_view bytes) {
    return send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  // Receives up to the end.
  std::string Receive() {
    std::string all;
    char buffer[65536];
    pollfd waiting = {descriptor_, POLLIN, 0};
    while (poll(&waiting, 1, /*timeout=*/60000) == 1) {
      const ssize_t size = recv(descriptor_, buffer, sizeof(buffer), 0);
      if (size <= 0) return all;
      all.append(buffer, static_cast<size_t>(size));
    }
    return "no end";
  }
  void EndSending() { shutdown(descriptor_, SHUT_WR); }

 private:
  const int descriptor_;
};

class HttpEndpointTest : public testing::Test {
 protected:
  void SetUp() override {
    auto endpoint = HttpEndpoint::Start(
        {"127.0.0.1", 0},
        {{"/readyz", "text/plain", [] { return absl::StatusOr<std::string>("ok\n"); }},
         {"/healthz", "text/plain",
          []() -> absl::StatusOr<std::string> { return absl::InternalError("it hangs"); }},
         {"/metrics", "text/plain; version=0.0.4",
          [this] { return absl::StatusOr<std::string>(page_); }}},
        kMostConnections);
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    endpoint_ = *std::move(endpoint);
  }
  std::string Ask(absl::string_view request) {
    RawClient client(endpoint_->port());
    client.Send(request);
    return client.Receive();
  }
  void ExpectProbesAreAnswered() {
    httplib::Client probe("127.0.0.1", endpoint_->port());
    for (int i = 0; i < 3; ++i) {
      const auto answer = probe.Get("/readyz");
      ASSERT_TRUE(answer) << "probe " << i << ": " << httplib::to_string(answer.error());
      EXPECT_EQ(answer->body, "ok\n");
    }
  }

  const std::string page_ = std::string(8 << 20, 'x');  // More than a socket takes.
  std::unique_ptr<HttpEndpoint> endpoint_;
};

TEST_F(HttpEndpointTest, AnswersWhatItIsAskedFor) {
  EXPECT_EQ(Ask("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
            "Connection: close\r\n\r\nok\n");
  EXPECT_THAT(Ask("GET /readyz?verbose HTTP/1.0\n\n"), HasSubstr("\r\n\r\nok\n"));
  EXPECT_THAT(Ask("GET /healthz HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(Ask("GET /healthz HTTP/1.1\r\n\r\n"), HasSubstr("it hangs\n"));
  EXPECT_THAT(Ask("GET /metrics HTTP/1.1\r\n\r\n"), HasSubstr(page_));
  const std::string head = Ask("HEAD /metrics HTTP/1.1\r\n\r\n");
  EXPECT_THAT(head, HasSubstr(absl::StrCat("Content-Length: ", page_.size(), "\r\n")));
  EXPECT_LT(head.size(), 1000U);
  EXPECT_THAT(Ask("POST /readyz HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"),
              StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(Ask("GET /nothing HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Ask("\x16\x03\x01 hello\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Ask(absl::StrCat("GET /readyz HTTP/1.1\r\nX: ",
                               std::string(budget::kHttpHeadBytes, 'x'), "\r\n\r\n")),
              StartsWith("HTTP/1.1 431 "));
  RawClient half_closed(endpoint_->port());
  half_closed.Send("GET /readyz HTTP/1.1\r\n\r\n");
  half_closed.EndSending();
  EXPECT_THAT(half_closed.Receive(), HasSubstr("ok\n"));
}

TEST_F(HttpEndpointTest, ARequestMayComeInPieces) {
  RawClient client(endpoint_->port());
  for (const char byte : absl::string_view("GET /readyz HTTP/1.1\r\n\r\n")) {
    client.Send(absl::string_view(&byte, 1));
  }
  EXPECT_THAT(client.Receive(), HasSubstr("ok\n"));
}

TEST_F(HttpEndpointTest, SlowClientsHoldNobodyUp) {
  const struct {
    const char* what;
    const char* sent;
  } kSlow[] = {{"say nothing", ""},
               {"send half a request", "GET /rea"},
               {"never read the answer", "GET /metrics HTTP/1.1\r\n\r\n"},
               {"never end a body", "POST /readyz HTTP/1.1\r\nContent-Length: 1000\r\n\r\nx"}};
  for (const int count : {kMostConnections - 1, 20, 60}) {
    for (const auto& slow : kSlow) {
      SCOPED_TRACE(absl::StrCat(count, " clients ", slow.what));
      std::vector<std::unique_ptr<RawClient>> clients;
      for (int i = 0; i < count; ++i) {
        clients.push_back(std::make_unique<RawClient>(endpoint_->port()));
        clients.back()->Send(slow.sent);
      }
      ExpectProbesAreAnswered();
      for (auto& client : clients) client->Send("x");  // Each client sends another byte.
      ExpectProbesAreAnswered();
    }
  }
}

TEST_F(HttpEndpointTest, ARequestHasItsTimeAndEachByteHasNot) {
  RawClient slow(endpoint_->port());
  int bytes = 0;
  pollfd waiting{};  // Only the time is waited for.
  while (slow.Send("x") && bytes < 1000) {
    ++bytes;
    poll(&waiting, 0, budget::kHttpMilliseconds / 10);
  }
  EXPECT_LT(bytes, 1000) << "it was never cut off";
}

}  // namespace
}  // namespace leapstream
