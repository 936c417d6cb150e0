// `leapstream web` in front of a fake server: its page, the names and origins that it answers to,
// and that its WebSockets are calls to the server. http_api_test has the rest of that interface.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/resource.h>

#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/web/page_server.h"
#include "nlohmann/json.hpp"
#include "tests/client/fake_service.h"
#include "tests/end_to_end/processes.h"
#include "tests/testing/proxies.h"
#include "tests/testing/web_socket.h"

namespace leapstream {
namespace {

using client::PageOptions;
using client::PageServer;
using Json = nlohmann::json;
using testing::HasSubstr;

class WebTest : public testing::Test {
 protected:
  void SetUp() override { StartPage({}); }
  void StartPage(const std::vector<std::string>& public_urls) {
    client::ClientOptions connection;
    connection.address = service_.address();
    PageOptions options;
    options.port = 0;
    options.max_sessions = 2;
    options.max_viewers = 2;
    options.public_urls = public_urls;
    auto page = PageServer::Start(connection, options);
    ASSERT_TRUE(page.ok()) << page.status();
    page_ = *std::move(page);
  }

  httplib::Result Get(const std::string& path, const httplib::Headers& headers = {}) {
    httplib::Client http("127.0.0.1", page_->port());
    return http.Get(path, headers);
  }
  int PostStatus(const httplib::Headers& headers, const std::string& path = "/v1/translate") {
    httplib::Client http("127.0.0.1", page_->port());
    const auto result = http.Post(path, headers, "{}", "application/json");
    return result ? result->status : 0;
  }
  std::unique_ptr<WebSocket> Open(
      const std::string& path = "/v1/stream",
      const std::vector<std::pair<std::string, std::string>>& headers = {}) {
    WebSocketOptions options;
    options.port = page_->port();
    options.path = path;
    options.headers = headers;
    return WebSocket::Open(options);
  }
  static std::string ReadAll(WebSocket* socket) {
    std::string all;
    while (const std::optional<std::string> message = socket->Read()) all += *message + "\n";
    return all;
  }

  FakeService service_;
  std::unique_ptr<PageServer> page_;
};

// The fake server has no method Translate: a request that comes so far gets this.
constexpr int kAllowed = 501;

TEST_F(WebTest, ThePageAsksNobodyElse) {
  for (const char* path :
       {"/", "/style.css", "/page.js", "/conversation.js", "/leapstream.js", "/transcript.js",
        "/captions.js", "/microphone.js", "/icon.svg", "/talk.txt"}) {
    const auto result = Get(path);
    ASSERT_TRUE(result) << path;
    EXPECT_EQ(result->status, 200) << path;
    EXPECT_FALSE(result->body.empty()) << path;
    EXPECT_THAT(result->get_header_value("Content-Security-Policy"),
                HasSubstr("default-src 'none'"));
    // Two files name the namespace of SVG, and the comments of the client have examples.
    const std::set<std::string> names_others = {"/page.js", "/icon.svg", "/leapstream.js"};
    if (names_others.count(path) == 0) {
      EXPECT_THAT(result->body, testing::Not(HasSubstr("://"))) << path;
    }
  }
  EXPECT_EQ(Get("/nothing")->status, 404);
}

TEST_F(WebTest, AllViewersSeeTheSame) {
  const auto writer = Open("/v1/stream?captions=0123456789abcdef");
  const std::string id =
      Json::parse(writer->Read().value_or("{}"))["captions"]["id"].get<std::string>();
  const auto early = Open("/v1/captions/" + id);
  for (const char* message :
       {R"({"config": {}})", R"({"source": {"text": "guten "}})", R"({"source": {"text": "tag"}})",
        R"({"endSegment": {}})", R"({"endSession": {}})"}) {
    ASSERT_TRUE(writer->Send(message));
  }
  EXPECT_THAT(ReadAll(writer.get()), HasSubstr("TAG"));
  const auto late = Open("/v1/captions/" + id);
  std::string seen[2];
  for (int i = 0; i < 2; ++i) {
    while (seen[i].find("summary") == std::string::npos) {
      const std::optional<std::string> message = (i == 0 ? early : late)->Read();
      ASSERT_TRUE(message.has_value()) << seen[i];
      seen[i] += *message + "\n";
    }
  }
  EXPECT_THAT(seen[0], HasSubstr("guten "));
  EXPECT_THAT(seen[0], HasSubstr("TAG"));
  EXPECT_EQ(seen[0], seen[1]);
  EXPECT_EQ(service_.source(), "guten tag|");
  // There are as many viewers as may be.
  const auto third = Open("/v1/captions/" + id);
  EXPECT_THAT(ReadAll(third.get()), HasSubstr("too many viewers"));
}

TEST_F(WebTest, AnErrorOfTheServerIsShown) {
  const auto socket = Open();
  socket->Send(R"({"config": {"model": "missing"}})");
  EXPECT_THAT(ReadAll(socket.get()), HasSubstr(R"("reason":"MODEL_NOT_FOUND")"));
  EXPECT_EQ(socket->close_code(), 4005);
}

TEST_F(WebTest, OtherSitesMayNotWrite) {
  const std::string host = absl::StrCat("127.0.0.1:", page_->port());
  EXPECT_EQ(PostStatus({{"Origin", "http://" + host}}), kAllowed);
  EXPECT_EQ(PostStatus({{"Origin", "http://evil.example"}}), 403);
  EXPECT_EQ(PostStatus({{"Origin", "null"}}), 403);
  EXPECT_EQ(PostStatus({{"Sec-Fetch-Site", "cross-site"}}), 403);
  EXPECT_FALSE(Open("/v1/stream", {{"Origin", "http://evil.example"}})->open());
  EXPECT_TRUE(Open("/v1/stream", {{"Origin", "http://" + host}})->open());
  // Somebody else's DNS may give this name to our address.
  EXPECT_EQ(PostStatus({{"Host", "evil.example"}}), 403);
  EXPECT_EQ(Get("/", {{"Host", "evil.example"}})->status, 403);
  EXPECT_EQ(Get("/", {{"Host", "localhost:8080"}})->status, 200);
}

// nginx with a configuration of one line sends its upstream's address or name as Host, and the path
// with or without the part before ours.
TEST_F(WebTest, ServesThePageOfAPublicUrl) {
  const httplib::Headers proxied = {{"Origin", "https://talks.example.org"},
                                    {"Sec-Fetch-Site", "same-origin"}};
  EXPECT_EQ(PostStatus(proxied), 403);
  ASSERT_NO_FATAL_FAILURE(
      StartPage({"https://Talks.Example.org/live/", "http://talks.lan:8080/live"}));
  EXPECT_EQ(PostStatus(proxied), kAllowed);
  EXPECT_EQ(PostStatus({{"Origin", "http://talks.lan:8080"}, {"Host", "talks.lan:8080"}},
                       "/live/v1/translate"),
            kAllowed);
  EXPECT_TRUE(Open("/live/v1/stream", {{"Origin", "https://talks.example.org"}})->open());
  for (const char* path : {"/", "/live/", "/live/page.js", "/style.css", "/live/v1/models"}) {
    const auto page = Get(path, {{"Host", "talks.example.org"}});
    ASSERT_TRUE(page) << path;
    EXPECT_EQ(page->status, 200) << path;
    // The page names none of its files from the root.
    EXPECT_THAT(page->body, testing::Not(HasSubstr("\"/"))) << path;
    EXPECT_THAT(page->body, testing::Not(HasSubstr("'/"))) << path;
    EXPECT_THAT(page->body, testing::Not(HasSubstr("`/"))) << path;
  }
  const auto moved = Get("/live");
  EXPECT_EQ(moved->status, 308);
  EXPECT_EQ(moved->get_header_value("Location"), "/live/");
  EXPECT_EQ(Get("/liveX/")->status, 404);
  EXPECT_EQ(Get("/live/live/")->status, 404);
  // Others are others still.
  for (const char* origin :
       {"https://evil.example", "http://talks.example.org", "null",
        "https://talks.example.org:8443", "https://talks.example.org.evil.example"}) {
    EXPECT_EQ(PostStatus({{"Origin", origin}}), 403) << origin;
  }
  EXPECT_EQ(Get("/", {{"Host", "evil.example"}})->status, 403);
}

// With the lines of docs/running.md.
TEST_F(WebTest, WorksBehindNginx) {
  const int port = FreePort();
  ASSERT_NO_FATAL_FAILURE(StartPage({absl::StrCat("http://127.0.0.1:", port, "/live/")}));
  const std::string manual = ReadFile(LEAPSTREAM_SOURCE_DIR "/docs/running.md");
  const size_t begins = manual.find("location /live/ {");
  ASSERT_NE(begins, std::string::npos);
  std::string location = manual.substr(begins, manual.find("\n}", begins) + 2 - begins);
  ReplaceOrFail("127.0.0.1:8080", absl::StrCat("127.0.0.1:", page_->port()), &location);
  const TestFolder folder;
  const std::string file = folder / "nginx.conf";
  std::string temporary;
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    absl::StrAppend(&temporary, kind, "_temp_path ", folder / kind, ";\n");
  }
  std::ofstream(file) << "pid " << (folder / "pid") << ";\nerror_log " << (folder / "log")
                      << ";\nevents {}\nhttp {\naccess_log off;\n" << temporary
                      << "server {\nlisten 127.0.0.1:" << port << ";\n" << location << "\n}\n}\n";
  const std::string program = FindProgram("nginx");
  ASSERT_NE(program, "") << "./dev setup installs nginx";
  Process nginx;
  nginx.Start(ProxyCommand(program, file), folder / "output");
  httplib::Client http("127.0.0.1", port);
  bool serves = false;
  for (int i = 0; i < 1000 && !serves; ++i) {
    absl::SleepFor(absl::Milliseconds(10));
    const auto page = http.Get("/live/page.js");
    serves = page && page->status == 200;
  }
  ASSERT_TRUE(serves) << ReadFile(folder / "log");
  WebSocketOptions options;
  options.port = port;
  options.path = "/live/v1/stream";
  options.headers = {{"Origin", absl::StrCat("http://127.0.0.1:", port)}};
  const auto socket = WebSocket::Open(options);
  ASSERT_TRUE(socket->open()) << socket->http_status() << socket->refusal();
  for (const char* message : {R"({"config": {}})", R"({"source": {"text": "guten tag"}})",
                              R"({"endSession": {}})"}) {
    socket->Send(message);
  }
  EXPECT_THAT(ReadAll(socket.get()), HasSubstr("TAG"));
  EXPECT_EQ(socket->close_code(), 1000);
}

TEST_F(WebTest, APublicUrlIsOne) {
  for (const std::vector<std::string>& urls : std::vector<std::vector<std::string>>{
           {"talks.example.org"}, {"ftp://talks.example.org/"}, {"https://"}, {"https:///live"},
           {"https://a b/"}, {"https://a/live?x"}, {"https://a/(live)"},
           {"https://a/live", "https://b/"}}) {
    client::ClientOptions connection;
    connection.address = service_.address();
    PageOptions options;
    options.port = 0;
    options.public_urls = urls;
    const absl::Status status = PageServer::Start(connection, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << urls[0];
    EXPECT_THAT(std::string(status.message()), HasSubstr("--public-url")) << urls[0];
  }
}

// The descriptors that are left are for the calls of those that are connected.
TEST_F(WebTest, ConnectionsAreBounded) {
  rlimit usual = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
  rlimit few = usual;
  few.rlim_cur = 160;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  StartPage({});  // It takes 80 connections.
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
  httplib::Client one_more("127.0.0.1", page_->port());
  one_more.set_read_timeout(1);
  std::vector<std::unique_ptr<httplib::Client>> idle;
  for (int i = 0; i < 80; ++i) {
    idle.push_back(std::make_unique<httplib::Client>("127.0.0.1", page_->port()));
    idle.back()->set_keep_alive(true);
    ASSERT_TRUE(idle.back()->Get("/")) << i;
  }
  EXPECT_FALSE(one_more.Get("/"));
  idle.pop_back();
  one_more.set_read_timeout(20);
  EXPECT_TRUE(one_more.Get("/"));
}

TEST_F(WebTest, SessionsAreBounded) {
  const auto first = Open(), second = Open();
  first->Send(R"({"config": {}})");
  second->Send(R"({"config": {}})");
  EXPECT_THAT(first->Read().value_or(""), HasSubstr("started"));
  EXPECT_THAT(second->Read().value_or(""), HasSubstr("started"));
  const auto third = Open();
  EXPECT_THAT(ReadAll(third.get()), HasSubstr("SERVER_FULL"));
  first->Send(R"({"endSession": {}})");
  EXPECT_THAT(ReadAll(first.get()), HasSubstr("summary"));
  const auto fourth = Open();
  fourth->Send(R"({"config": {}})");
  EXPECT_THAT(fourth->Read().value_or(""), HasSubstr("started"));
}

}  // namespace
}  // namespace leapstream
