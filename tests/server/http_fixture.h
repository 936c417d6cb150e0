#ifndef LEAPSTREAM_TESTS_SERVER_HTTP_FIXTURE_H_
#define LEAPSTREAM_TESTS_SERVER_HTTP_FIXTURE_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/server/operations_fixture.h"
#include "tests/testing/web_socket.h"

// A real server with a fake model and a port for HTTP, and clients without gRPC.
namespace leapstream {

using Json = nlohmann::json;
using ::testing::StartsWith;

inline constexpr char kConfig[] =
    R"({"config":{"policy":{"waitK":{"k":2}},"output":{"tokenDetails":true,"segmentStats":true}}})";

inline std::string TextMessage(const std::string& text) {
  return Json{{"source", {{"text", text}}}}.dump();
}

// The messages of one WebSocket.
struct Heard {
  std::vector<Json> events;
  std::map<int, std::string> deltas;
  std::vector<std::string> segments;
  Json error;
  int close_code = 0;
  std::string reason() const { return error.is_object() ? error.value("reason", "") : ""; }
  std::string text() const {
    std::string all;
    for (const std::string& segment : segments) all += segment + "\n";
    return all;
  }
};

// Reads up to the first message with this member, or to the end.
inline Heard ReadAll(WebSocket* socket, const std::string& member = "", Heard heard = {}) {
  while (const std::optional<std::string> message = socket->Read()) {
    const Json event = Json::parse(*message);
    heard.events.push_back(event);
    if (event.contains("target")) {
      heard.deltas[std::stoi(event["target"]["segment"].get<std::string>())] +=
          event["target"].value("text", "");
    } else if (event.contains("segmentCompleted")) {
      heard.segments.push_back(event["segmentCompleted"].value("text", ""));
      EXPECT_EQ(heard.segments.back(), heard.deltas[static_cast<int>(heard.segments.size())]);
    } else if (event.contains("error")) {
      heard.error = event["error"];
    }
    if (!member.empty() && event.contains(member)) return heard;
  }
  heard.close_code = socket->close_code();
  return heard;
}

class HttpApiTest : public TokenTest {
 protected:
  void SetUp() override {
    TokenTest::SetUp();
    StartHttp();
  }
  void StartHttp(ServerOptions options = {},
                 std::vector<std::shared_ptr<const Model>> models = {FakeModel()}) {
    options.http_listen = "127.0.0.1:0";
    ASSERT_NO_FATAL_FAILURE(Start(options, {}, std::move(models)));
  }
  int port() const { return server_->http_port(); }

  httplib::Result Post(const std::string& path, const std::string& body,
                       const httplib::Headers& headers = {},
                       const std::string& type = "application/json") {
    httplib::Client http("127.0.0.1", port());
    return http.Post(path, headers, body, type);
  }
  httplib::Result GetHttp(const std::string& path, const httplib::Headers& headers = {}) {
    httplib::Client http("127.0.0.1", port());
    return http.Get(path, headers);
  }
  void ExpectError(const httplib::Result& result, int status, const std::string& name,
                   const std::string& reason, const std::string& message = "") {
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, status) << result->body;
    const Json body = Json::parse(result->body, nullptr, false);
    ASSERT_TRUE(body.is_object() && body.contains("error")) << result->body;
    EXPECT_EQ(body["error"]["code"], status);
    EXPECT_EQ(body["error"]["status"], name) << result->body;
    EXPECT_EQ(body["error"].value("reason", ""), reason) << result->body;
    EXPECT_THAT(body["error"]["message"].get<std::string>(), HasSubstr(message));
  }

  std::unique_ptr<WebSocket> Open(const std::string& path = "/v1/stream",
                                  std::vector<std::pair<std::string, std::string>> headers = {}) {
    WebSocketOptions options;
    options.port = port();
    options.path = path;
    options.headers = std::move(headers);
    return WebSocket::Open(options);
  }
  Heard Run(const std::vector<std::string>& messages, const std::string& path = "/v1/stream") {
    const auto socket = Open(path);
    EXPECT_TRUE(socket->open()) << socket->refusal();
    for (const std::string& message : messages) socket->Send(message);
    return ReadAll(socket.get());
  }
  // The segments that gRPC gives for these texts, each a segment.
  std::string OverGrpc(const std::vector<std::string>& texts) {
    grpc::ClientContext context;
    auto stream = OperationsTest::Open(&context);
    for (const std::string& text : texts) {
      Request request;
      request.mutable_source()->set_text(text);
      stream->Write(request);
      request.mutable_end_segment();
      stream->Write(request);
    }
    stream->WritesDone();
    std::string all;
    for (Response response; stream->Read(&response);) {
      if (response.has_segment_completed()) all += response.segment_completed().text() + "\n";
    }
    EXPECT_TRUE(stream->Finish().ok());
    return all;
  }
  void ExpectAnswers() {
    const auto result = Post("/v1/translate", R"({"text": "good day"})");
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, 200) << result->body;
  }
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_SERVER_HTTP_FIXTURE_H_
