// The gateway of `leapstream web` in front of a fake server, with requests that a browser makes and
// requests that it must not make.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/web/gateway.h"
#include "nlohmann/json.hpp"
#include "tests/client/fake_service.h"
#include "tests/client/raw_request.h"

namespace leapstream {
namespace {

using client::Client;
using client::Gateway;
using Json = nlohmann::json;
using testing::HasSubstr;

class WebTest : public testing::Test {
 protected:
  void SetUp() override {
    client::ClientOptions connection;
    connection.address = service_.address();
    auto client = Client::Connect(connection);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    StartGateway({});
  }
  void StartGateway(const std::vector<std::string>& public_urls) {
    client::GatewayOptions options;
    options.port = 0;
    options.max_sessions = 2;
    options.max_viewers = 3;
    options.public_urls = public_urls;
    auto gateway = Gateway::Start(client_.get(), options);
    ASSERT_TRUE(gateway.ok()) << gateway.status();
    gateway_ = *std::move(gateway);
  }

  httplib::Result Post(const std::string& path, const std::string& body,
                       httplib::Headers headers = {},
                       const std::string& type = "application/json") {
    httplib::Client http("127.0.0.1", gateway_->port());
    return http.Post(path, headers, body, type);
  }
  httplib::Result Get(const std::string& path, const httplib::Headers& headers = {}) {
    httplib::Client http("127.0.0.1", gateway_->port());
    return http.Get(path, headers);
  }
  int PostStatus(const std::string& path, const std::string& body, httplib::Headers headers = {},
                 const std::string& type = "application/json") {
    const auto result = Post(path, body, std::move(headers), type);
    return result ? result->status : 0;
  }
  Json Start(const std::string& body = "{}") {
    const auto result = Post("/api/sessions", body);
    EXPECT_TRUE(result && result->status == 200);
    return result ? Json::parse(result->body) : Json();
  }
  static std::string Path(const Json& session, const std::string& what) {
    return absl::StrCat("/api/sessions/", session.at("id").get<std::string>(), "/", what);
  }
  static httplib::Headers Key(const Json& session) {
    return {{"X-Leapstream-Key", session.at("key").get<std::string>()}};
  }

  FakeService service_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Gateway> gateway_;
};

TEST_F(WebTest, ThePageAsksNobodyElse) {
  for (const char* path :
       {"/", "/style.css", "/page.js", "/microphone.js", "/icon.svg", "/talk.txt"}) {
    const auto result = Get(path);
    ASSERT_TRUE(result) << path;
    EXPECT_EQ(result->status, 200) << path;
    EXPECT_FALSE(result->body.empty()) << path;
    EXPECT_THAT(result->get_header_value("Content-Security-Policy"),
                HasSubstr("default-src 'none'"));
    // Two files name the namespace of SVG.
    if (std::string(path) != "/page.js" && std::string(path) != "/icon.svg") {
      EXPECT_THAT(result->body, testing::Not(HasSubstr("://"))) << path;
    }
  }
  EXPECT_EQ(Get("/nothing")->status, 404);
}

TEST_F(WebTest, AllViewersSeeTheSame) {
  const Json session = Start();
  std::string seen[3];
  std::vector<std::thread> viewers;
  for (std::string& events : seen) {
    viewers.emplace_back([&] { events = Get(Path(session, "events"))->body; });
  }
  EXPECT_EQ(PostStatus(Path(session, "source"), R"({"text": "guten ", "ends_segment": false})",
                       Key(session)),
            200);
  EXPECT_EQ(
      PostStatus(Path(session, "source"), R"({"text": "tag", "ends_segment": true})", Key(session)),
      200);
  EXPECT_EQ(PostStatus(Path(session, "close"), "{}", Key(session)), 200);
  for (std::thread& viewer : viewers) viewer.join();
  EXPECT_THAT(seen[0], HasSubstr("guten "));
  EXPECT_THAT(seen[0], HasSubstr("TAG"));
  EXPECT_THAT(seen[0], HasSubstr(R"("event":"ended","code":"OK")"));
  EXPECT_EQ(seen[1], seen[0]);
  EXPECT_EQ(seen[2], seen[0]);
  // A late viewer sees the session from the start, or goes on where the viewer was.
  EXPECT_EQ(Get(Path(session, "events"))->body, seen[0]);
  EXPECT_THAT(Get(Path(session, "events"), {{"Last-Event-ID", "0"}})->body,
              testing::StartsWith("id: 1\n"));
  EXPECT_EQ(Get(Path(session, "events"), {{"Last-Event-ID", "1000"}})->status, 204);
  EXPECT_EQ(PostStatus(Path(session, "source"), R"({"text": "more"})", Key(session)), 409);
}

// As with `leapstream translate`.
TEST_F(WebTest, TextGoesOnInANextSegment) {
  for (const bool audio : {false, true}) {
    const Json session = Start(audio ? R"({"audio": true})" : "{}");
    EXPECT_EQ(PostStatus(Path(session, "close"), "{}", Key(session)), 200);
    EXPECT_THAT(Get(Path(session, "events"))->body, HasSubstr("ended"));
    EXPECT_EQ(service_.config().policy().continue_in_next_segment(), !audio);
    EXPECT_EQ(service_.config().text_segmentation(), audio
                                                         ? v1::TEXT_SEGMENTATION_UNSPECIFIED
                                                         : v1::TEXT_SEGMENTATION_SENTENCES);
  }
}

TEST_F(WebTest, ThePolicyIsATextOrAK) {
  const std::pair<const char*, const char*> sessions[] = {
      {R"({"policy": "la:2+read-words=3"})", "local_agreement"},
      {R"({"k": 3})", "wait_k"},
      {"{}", "no policy"}};
  for (const auto& [body, text] : sessions) {
    const Json session = Start(body);
    EXPECT_EQ(PostStatus(Path(session, "close"), "{}", Key(session)), 200);
    EXPECT_THAT(Get(Path(session, "events"))->body, HasSubstr("ended"));
    const v1::DecodingPolicy policy = service_.config().policy();
    const auto* const field = policy.GetReflection()->GetOneofFieldDescriptor(
        policy, policy.GetDescriptor()->FindOneofByName("policy"));
    EXPECT_EQ(field == nullptr ? "no policy" : field->name(), text);
    EXPECT_EQ(policy.read_words(), std::string(text) == "local_agreement" ? 3 : 0);
  }
  EXPECT_THAT(Post("/api/sessions", R"({"policy": "la=2"})")->body, HasSubstr("want wait-k:K"));
}

TEST_F(WebTest, AnErrorOfTheServerIsShown) {
  const Json session = Start(R"({"model": "missing"})");
  EXPECT_THAT(Get(Path(session, "events"))->body, HasSubstr(R"("code":"NOT_FOUND")"));
}

TEST_F(WebTest, OtherSitesMayNotWrite) {
  const std::string host = absl::StrCat("127.0.0.1:", gateway_->port());
  EXPECT_EQ(PostStatus("/api/sessions", "{}", {{"Origin", "http://" + host}}), 200);
  EXPECT_EQ(PostStatus("/api/sessions", "{}", {{"Origin", "http://evil.example"}}), 403);
  EXPECT_EQ(PostStatus("/api/sessions", "{}", {{"Origin", "null"}}), 403);
  EXPECT_EQ(PostStatus("/api/sessions", "{}", {{"Sec-Fetch-Site", "cross-site"}}), 403);
  EXPECT_EQ(PostStatus("/api/sessions", "{}", {}, "text/plain"), 400);
  // Somebody else's DNS may give this name to our address.
  EXPECT_EQ(PostStatus("/api/sessions", "{}", {{"Host", "evil.example"}}), 403);
  EXPECT_EQ(Get("/", {{"Host", "evil.example"}})->status, 403);
  EXPECT_EQ(Get("/", {{"Host", "localhost:8080"}})->status, 200);
}

// Nothing is inflated: 60 KB may be 60 MB.
TEST_F(WebTest, CompressedRequestsAreNotTaken) {
  for (const char* encoding : {"gzip", "deflate", "br", "identity"}) {
    EXPECT_EQ(PostStatus("/api/sessions", "{}", {{"Content-Encoding", encoding}}), 415) << encoding;
  }
  EXPECT_EQ(PostStatus("/api/sessions", "{}"), 200);
}

TEST_F(WebTest, OnlyTheKeyWrites) {
  const Json session = Start();
  EXPECT_EQ(PostStatus(Path(session, "source"), R"({"text": "a"})"), 403);
  EXPECT_EQ(PostStatus(Path(session, "close"), "{}", {{"X-Leapstream-Key", "guess"}}), 403);
  EXPECT_EQ(PostStatus("/api/sessions/0123456789abcdef0123456789abcdef/source", "{}"), 404);
}

TEST_F(WebTest, BadInputIsRefused) {
  const Json session = Start();
  for (const char* body : {"", "x", "[]", R"({"text": 1})", R"({"ends_segment": "x"})"}) {
    EXPECT_EQ(PostStatus(Path(session, "source"), body, Key(session)), 400) << body;
  }
  EXPECT_EQ(PostStatus(Path(session, "source"), std::string(100 << 10, ' '), Key(session)), 413);
  for (const char* body : {R"({"k": 0})", R"({"k": "3"})", R"({"k": 1e9})", R"({"model": []})",
                           R"({"source_language_code": 1})", R"({"policy": 3})",
                           R"({"policy": "x"})", R"({"policy": "la:2", "k": 3})"}) {
    EXPECT_EQ(PostStatus("/api/sessions", body), 400) << body;
  }
}

TEST_F(WebTest, ASessionOfAudioTakesSamplesAndNothingElseDoes) {
  const Json session = Start(R"({"audio": true})");
  const std::string type = "application/octet-stream";
  const std::string path = Path(session, "audio");
  EXPECT_EQ(PostStatus(path, std::string(6400, '\1'), Key(session), type), 200);
  const Json file = Start(R"({"audio": true})");
  const auto header =
      Post(Path(file, "audio"), "RIFF\xFF\xFF\xFF\xFFWAVEfmt " + std::string(6400, 'x'),
           Key(file), type);
  EXPECT_EQ(header->status, 400);
  EXPECT_THAT(header->body, HasSubstr("got the header of an audio file"));
  EXPECT_EQ(PostStatus(Path(file, "close"), "{}", Key(file)), 200);
  EXPECT_THAT(Get(Path(file, "events"))->body, HasSubstr("ended"));
  EXPECT_EQ(PostStatus(path, "odd", Key(session), type), 400);
  EXPECT_EQ(PostStatus(path, "{}", Key(session)), 400) << "not samples";
  EXPECT_EQ(PostStatus(path, "xx", {}, type), 403);
  EXPECT_EQ(PostStatus(Path(session, "close"), "{}", Key(session)), 200);
  EXPECT_THAT(Get(Path(session, "events"))->body, HasSubstr(R"("audio_ms":200.0)"));
  EXPECT_EQ(service_.config().input_format(), v1::INPUT_FORMAT_PCM_S16LE);
  EXPECT_EQ(service_.config().sample_rate_hertz(), 16000);

  const Json text = Start();
  EXPECT_EQ(PostStatus(Path(text, "audio"), "xx", Key(text), type), 409);
  EXPECT_EQ(PostStatus(Path(text, "source"), "{}", Key(text), type), 400);
  EXPECT_EQ(PostStatus("/api/sessions", R"({"audio": 1})"), 400);
}

// However it is cut, and however often it is tried.
TEST_F(WebTest, TheHeaderOfAFileIsNoSample) {
  const std::string type = "application/octet-stream";
  const std::string file = std::string("RIFF\x24\x10\0\0WAVEfmt \x10\0\0\0", 20) +
                           std::string("\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0", 16);
  const auto refused = [&](const Json& session, const std::string& bytes) {
    const auto result = Post(Path(session, "audio"), bytes, Key(session), type);
    return result->status == 400 &&
           result->body.find("got the header of an audio file") != std::string::npos;
  };
  const Json whole = Start(R"({"audio": true})");
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(refused(whole, file)) << i;
  EXPECT_EQ(PostStatus(Path(whole, "audio"), std::string(6400, '\1'), Key(whole), type), 200);

  const Json cut = Start(R"({"audio": true})");
  for (const std::string& part : {file.substr(0, 0), file.substr(0, 2), file.substr(2, 4)}) {
    EXPECT_EQ(PostStatus(Path(cut, "audio"), part, Key(cut), type), 200) << part;
  }
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(refused(cut, file.substr(6))) << i;
}

// As `curl -X POST` sends it.
TEST_F(WebTest, ARequestWithoutALengthHasNoBody) {
  const Json session = Start();
  const std::string key = session["key"];
  const std::string head = 
      "Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
  EXPECT_THAT(RawRequest(gateway_->port(), absl::StrCat("POST ", Path(session, "close"),
                                                        " HTTP/1.1\r\n", head, "X-Leapstream-Key: ",
                                                        key, "\r\n\r\n")),
              testing::StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(RawRequest(gateway_->port(),
                         absl::StrCat("POST /api/sessions HTTP/1.1\r\n", head, "\r\n")),
              HasSubstr("expected a JSON object"));
}

TEST_F(WebTest, AudioHasTheRateOfTheDevice) {
  const Json session = Start(R"({"audio": true, "sample_rate": 44100})");
  EXPECT_EQ(PostStatus(Path(session, "audio"), std::string(8820, '\1'), Key(session),
                       "application/octet-stream"),
            200);
  EXPECT_EQ(PostStatus(Path(session, "close"), "{}", Key(session)), 200);
  EXPECT_THAT(Get(Path(session, "events"))->body, HasSubstr(R"("audio_ms":100.0)"));
  EXPECT_EQ(service_.config().sample_rate_hertz(), 44100);
  for (const char* body :
       {R"({"audio": true, "sample_rate": 7999})", R"({"audio": true, "sample_rate": 192001})",
        R"({"audio": true, "sample_rate": "44100"})", R"({"sample_rate": 44100})"}) {
    const auto refused = Post("/api/sessions", body);
    EXPECT_EQ(refused->status, 400) << body;
    EXPECT_THAT(refused->body, HasSubstr("from 8000 to 192000")) << body;
  }
}

// nginx with a configuration of one line sends its upstream's address or name as Host, and the path
// with or without the part before ours.
TEST_F(WebTest, ServesThePageOfAPublicUrl) {
  const httplib::Headers proxied = {{"Origin", "https://talks.example.org"},
                                    {"Sec-Fetch-Site", "same-origin"}};
  const auto refused = Post("/api/sessions", "{}", proxied);
  EXPECT_EQ(refused->status, 403);
  EXPECT_THAT(refused->body, HasSubstr("--public-url"));

  ASSERT_NO_FATAL_FAILURE(
      StartGateway({"https://Talks.Example.org/live/", "http://talks.lan:8080/live"}));
  EXPECT_EQ(PostStatus("/api/sessions", "{}", proxied), 200);
  EXPECT_EQ(PostStatus("/live/api/sessions", "{}", {{"Origin", "http://talks.lan:8080"},
                                                    {"Host", "talks.lan:8080"}}),
            200);
  for (const char* path : {"/", "/live/", "/live/page.js", "/style.css", "/live/api/models"}) {
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
    EXPECT_EQ(PostStatus("/api/sessions", "{}", {{"Origin", origin}}), 403) << origin;
  }
  EXPECT_EQ(PostStatus("/api/sessions", "{}", {{"Origin", "https://talks.example.org"},
                                               {"Sec-Fetch-Site", "cross-site"}}),
            403);
  EXPECT_EQ(Get("/", {{"Host", "evil.example"}})->status, 403);
}

TEST_F(WebTest, APublicUrlIsOne) {
  for (const std::vector<std::string>& urls : std::vector<std::vector<std::string>>{
           {"talks.example.org"}, {"ftp://talks.example.org/"}, {"https://"}, {"https:///live"},
           {"https://a b/"}, {"https://a/live?x"}, {"https://a/(live)"},
           {"https://a/live", "https://b/"}}) {
    client::GatewayOptions options;
    options.port = 0;
    options.public_urls = urls;
    const absl::Status status = Gateway::Start(client_.get(), options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << urls[0];
    EXPECT_THAT(std::string(status.message()), HasSubstr("--public-url")) << urls[0];
  }
}

TEST_F(WebTest, SessionsAreBounded) {
  const Json first = Start(), second = Start();
  EXPECT_EQ(PostStatus("/api/sessions", "{}"), 503);
  EXPECT_EQ(PostStatus(Path(first, "close"), "{}", Key(first)), 200);
  EXPECT_THAT(Get(Path(first, "events"))->body, HasSubstr("ended"));
  EXPECT_EQ(PostStatus("/api/sessions", "{}"), 200);
}

}  // namespace
}  // namespace leapstream
