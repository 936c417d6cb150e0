// HTTP and WebSockets: a real server with a fake model, and clients without gRPC. What comes back
// is what gRPC gives.
#include <random>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "base/budget.h"
#include "nlohmann/json.hpp"
#include "tests/client/raw_request.h"
#include "tests/server/operations_fixture.h"
#include "tests/testing/web_socket.h"

namespace leapstream {
namespace {

using Json = nlohmann::json;
using ::testing::StartsWith;

constexpr char kConfig[] =
    R"({"config":{"policy":{"waitK":{"k":2}},"output":{"tokenDetails":true,"segmentStats":true}}})";

std::string TextMessage(const std::string& text) {
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
Heard ReadAll(WebSocket* socket, const std::string& member = "", Heard heard = {}) {
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

TEST_F(HttpApiTest, TranslatesAWholeText) {
  v1::TranslateRequest request;
  request.set_text("the rain in spain\nstays mainly on the plain");
  v1::TranslateResponse expected;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->Translate(&context, request, &expected).ok());
  for (const char* name : {"text_segmentation", "textSegmentation"}) {
    const auto result = Post("/v1/translate", Json{{"text", request.text()},
                                                   {name, "TEXT_SEGMENTATION_UNSPECIFIED"}}
                                                  .dump());
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, 200) << result->body;
    EXPECT_THAT(result->get_header_value("Content-Type"), "application/json");
    EXPECT_EQ(Json::parse(result->body)["text"], expected.text());
  }
  // They are calls as others are.
  EXPECT_EQ(Metric("grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Translate\","
                   "grpc_service=\"leapstream.v1.SimultaneousTranslationService\","
                   "grpc_type=\"unary\"}"),
            3);
}

TEST_F(HttpApiTest, AConnectionIsForManyRequests) {
  httplib::Client http("127.0.0.1", port());
  http.set_keep_alive(true);
  for (int i = 0; i < 3; ++i) {
    const auto result = http.Post("/v1/translate", R"({"text": "good day"})", "application/json");
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, 200);
  }
  // In chunks, after a request to wait, and two at once.
  const std::string head = "POST /v1/translate HTTP/1.1\r\nHost: localhost\r\n"
                           "Content-Type: application/json\r\n";
  const std::string chunked =
      head + "Transfer-Encoding: chunked\r\n\r\n9\r\n{\"text\":\"\r\n6\r\nday\" }\r\n0\r\n\r\n";
  const std::string get = "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  const std::string both = RawRequest(port(), chunked + get);
  EXPECT_THAT(both, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(both, HasSubstr("fake-en-de"));
  EXPECT_THAT(RawRequest(port(), head + "Expect: 100-continue\r\nContent-Length: 15\r\n"
                                        "Connection: close\r\n\r\n{\"text\": \"day\"}"),
              HasSubstr("HTTP/1.1 200 OK"));
  EXPECT_THAT(RawRequest(port(), "HEAD /v1/models HTTP/1.0\r\n\r\n"), Not(HasSubstr("fake")));
}

TEST_F(HttpApiTest, ListsModels) {
  FakeModelOptions other;
  other.name = "other";
  StartHttp({}, {FakeModel(), FakeModel(other)});
  const auto all = GetHttp("/v1/models");
  ASSERT_TRUE(all);
  const Json models = Json::parse(all->body)["models"];
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0]["name"], "fake-en-de");
  EXPECT_EQ(models[0]["targetLanguageCodes"][0], "de");
  const Json first = Json::parse(GetHttp("/v1/models?pageSize=1")->body);
  EXPECT_EQ(first["models"].size(), 1u);
  const Json next = Json::parse(
      GetHttp("/v1/models?pageSize=1&pageToken=" + first["nextPageToken"].get<std::string>())->body);
  EXPECT_EQ(next["models"][0]["name"], "other");
  ExpectError(GetHttp("/v1/models?pageSize=-1"), 400, "INVALID_ARGUMENT", "INVALID_PAGE_SIZE");
  ExpectError(GetHttp("/v1/models?pageSize=x"), 400, "INVALID_ARGUMENT", "INVALID_PAGE_SIZE");
}

TEST_F(HttpApiTest, WrongRequestsAreExplained) {
  const std::string path = "/v1/translate";
  const std::string invalid = "INVALID_ARGUMENT";
  ExpectError(Post(path, "{"), 400, invalid, "MALFORMED_MESSAGE", "TranslateRequest as JSON");
  ExpectError(Post(path, ""), 400, invalid, "MALFORMED_MESSAGE");
  ExpectError(Post(path, "[]"), 400, invalid, "MALFORMED_MESSAGE");
  ExpectError(Post(path, R"({"txt": "a"})"), 400, invalid, "MALFORMED_MESSAGE", "txt");
  ExpectError(Post(path, R"({"text": 1})"), 400, invalid, "MALFORMED_MESSAGE");
  ExpectError(Post(path, "{\"text\": \"\xff\"}"), 400, invalid, "MALFORMED_MESSAGE");
  ExpectError(Post(path, R"({"policy": {"waitK": {"k": 0.5}}})"), 400, invalid,
              "MALFORMED_MESSAGE");
  ExpectError(Post(path, std::string(100000, '[')), 400, invalid, "MALFORMED_MESSAGE");
  std::string deep;
  for (int i = 0; i < 20000; ++i) deep += "{\"policy\":";
  ExpectError(Post(path, deep), 400, invalid, "MALFORMED_MESSAGE");
  ExpectError(Post(path, R"({"text": "a"})", {}, "text/plain"), 415, invalid, "NOT_JSON");
  ExpectError(Post(path, R"({"text": "a"})", {{"Content-Encoding", "gzip"}}), 415, invalid,
              "COMPRESSED");
  ExpectError(Post(path, std::string((1 << 20) + 1, ' ')), 413, invalid, "MESSAGE_TOO_LARGE");
  ExpectError(Post(path, R"({"model": "none"})"), 404, "NOT_FOUND", "MODEL_NOT_FOUND");
  ExpectError(GetHttp(path), 405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED", "takes POST");
  ExpectError(Post("/v1/models", "{}"), 405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED", "takes GET");
  ExpectError(GetHttp("/v1/stream"), 426, invalid, "NO_WEBSOCKET", "ws://");
  ExpectError(GetHttp("/nothing"), 404, "NOT_FOUND", "PATH_NOT_FOUND", "POST /v1/translate");
  ExpectError(GetHttp("/v1/captions/0"), 404, "NOT_FOUND", "CAPTIONS_NOT_FOUND");
  ExpectError(GetHttp("/", {{"X", std::string(20000, 'x')}}), 431, invalid, "HEADERS_TOO_LARGE");
  EXPECT_THAT(RawRequest(port(), "nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(RawRequest(port(), "GET / HTTP/3.0\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  const auto wrong = GetHttp("/v1/translate");
  EXPECT_THAT(wrong->get_header_value("Allow"), HasSubstr("POST"));
  ExpectAnswers();
}

TEST_F(HttpApiTest, PagesOfOtherSitesNeedToBeNamed) {
  ServerOptions options;
  options.http_allowed_origins = "https://talks.example.org, http://localhost:3000";
  StartHttp(options);
  const std::string body = R"({"text": "day"})";
  const std::string own = absl::StrCat("http://127.0.0.1:", port());
  for (const std::string& origin :
       {own, std::string("https://talks.example.org"), std::string("http://localhost:3000")}) {
    const auto result = Post("/v1/translate", body, {{"Origin", origin}});
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, 200) << origin;
    EXPECT_EQ(result->get_header_value("Access-Control-Allow-Origin"), origin);
    EXPECT_TRUE(Open("/v1/stream", {{"Origin", origin}})->open()) << origin;
  }
  for (const char* origin : {"https://evil.example", "null", "http://talks.example.org",
                             "https://talks.example.org.evil.example"}) {
    ExpectError(Post("/v1/translate", body, {{"Origin", origin}}), 403, "PERMISSION_DENIED",
                "ORIGIN_NOT_ALLOWED", "http_allowed_origins");
    const auto socket = Open("/v1/stream", {{"Origin", origin}});
    EXPECT_FALSE(socket->open());
    EXPECT_EQ(socket->http_status(), 403);
  }
  // Somebody's DNS may give our address to a name of his.
  ExpectError(Post("/v1/translate", body, {{"Origin", "http://evil.example"},
                                           {"Host", "evil.example"}}),
              403, "PERMISSION_DENIED", "ORIGIN_NOT_ALLOWED");
  ExpectError(Post("/v1/translate", body, {{"Sec-Fetch-Site", "cross-site"}}), 403,
              "PERMISSION_DENIED", "ORIGIN_NOT_ALLOWED");
  httplib::Client http("127.0.0.1", port());
  const auto preflight = http.Options("/v1/translate", {{"Origin", "https://talks.example.org"}});
  ASSERT_TRUE(preflight);
  EXPECT_EQ(preflight->status, 204);
  EXPECT_THAT(preflight->get_header_value("Access-Control-Allow-Headers"),
              HasSubstr("authorization"));
  options.http_allowed_origins = "*";
  StartHttp(options);
  EXPECT_EQ(Post("/v1/translate", body, {{"Origin", "https://anybody.example"}})->status, 200);
}

TEST_F(HttpApiTest, AnyChunkingIsAsOverGrpc) {
  const std::vector<std::string> texts = {"it was a dark night", "the rain in spain stays"};
  const std::string expected = OverGrpc(texts);
  std::mt19937 random(7);
  for (int round = 0; round < 5; ++round) {
    std::vector<std::string> messages = {kConfig};
    for (const std::string& text : texts) {
      for (size_t at = 0; at < text.size();) {
        const size_t size = round == 0 ? text.size() : 1 + random() % 9;
        messages.push_back(TextMessage(text.substr(at, size)));
        at += size;
        if (random() % 4 == 0) messages.push_back(R"({"keepAlive":{}})");
      }
      messages.push_back(R"( {"end_segment" : {}} )");
    }
    messages.push_back(R"({ "endSession": {} })");
    const Heard heard = Run(messages);
    EXPECT_EQ(heard.text(), expected);
    EXPECT_EQ(heard.close_code, 1000);
    EXPECT_TRUE(heard.events.front().contains("started"));
    EXPECT_TRUE(heard.events.back().contains("summary"));
  }
}

// However the bytes of frames are cut, and with what may stand between them.
TEST_F(HttpApiTest, ResumesWhereASocketWasCut) {
  const std::vector<std::string> texts = {"it was a dark night", kText};
  const std::string expected = OverGrpc(texts);
  int cuts = 0;
  for (size_t cut = 3; cut < 40; cut += 4) {
    std::string shown[3];
    Json ids = Json::array(), reads = Json::array();
    std::string token, next_token, id;
    int segment = 1, consumed = 0, next_consumed = 0;
    {
      const auto socket = Open();
      socket->Send(kConfig);
      for (const std::string& text : texts) {
        socket->Send(TextMessage(text));
        socket->Send(R"({"endSegment":{}})");
      }
      for (size_t i = 0; i < cut; ++i) {
        const std::optional<std::string> message = socket->Read();
        if (!message.has_value()) break;
        const Json event = Json::parse(*message);
        if (event.contains("started")) id = event["started"]["sessionId"];
        if (event.contains("resumePoint")) {
          const Json& point = event["resumePoint"];
          const bool is_next = point["segment"] != std::to_string(segment);
          (is_next ? next_token : token) = point["resumeToken"];
          (is_next ? next_consumed : consumed) =
              std::stoi(point.value("consumedSourceSequence", "0"));
        }
        if (event.contains("segmentCompleted")) {
          shown[segment++] = event["segmentCompleted"]["text"];
          token = next_token;
          consumed = next_consumed;
          ids.clear();
          reads.clear();
        }
        if (!event.contains("target") || !event["target"].contains("tokens")) continue;
        shown[segment] += event["target"].value("text", "");
        for (const Json& each : event["target"]["tokens"]) {
          ids.push_back(each.value("id", 0));
          reads.push_back(each.value("sourceTokensRead", 0));
        }
      }
    }  // Cut.
    if (segment > 2) break;
    ++cuts;
    Json config = Json::parse(kConfig);
    config["config"]["resume"] = {{"sessionId", id},
                                  {"resumeToken", token},
                                  {"committedTarget", {{"ids", ids}}},
                                  {"committedSourceTokensRead", reads},
                                  {"nextSourceSequence", std::to_string(consumed + 1)}};
    std::vector<std::string> messages = {config.dump()};
    for (int i = segment; i <= 2; ++i) {
      messages.push_back(TextMessage(texts[i - 1]));
      messages.push_back(R"({"endSegment":{}})");
    }
    messages.push_back(R"({"endSession":{}})");
    const auto socket = Open();
    for (const std::string& message : messages) socket->Send(message);
    while (const std::optional<std::string> message = socket->Read()) {
      const Json event = Json::parse(*message);
      ASSERT_FALSE(event.contains("error")) << *message;
      if (event.contains("target")) {
        shown[std::stoi(event["target"]["segment"].get<std::string>())] +=
            event["target"].value("text", "");
      }
    }
    EXPECT_EQ(absl::StrCat(shown[1], "\n", shown[2], "\n"), expected) << cut;
  }
  EXPECT_GT(cuts, 4);
}

TEST_F(HttpApiTest, ErrorsOfASessionAreToldAndClose) {
  const struct {
    std::vector<std::string> messages;
    const char* reason;
    int close_code;
  } kCases[] = {
      {{"{"}, "MALFORMED_MESSAGE", 4003},
      {{R"({"config":{"pollicy":{}}})"}, "MALFORMED_MESSAGE", 4003},
      {{"{}"}, "CONFIG_MISSING", 4003},
      {{TextMessage("a")}, "CONFIG_MISSING", 4003},
      {{kConfig, kConfig}, "CONFIG_REPEATED", 4003},
      {{kConfig, "{}"}, "EVENT_MISSING", 4003},
      {{kConfig, R"({"endSession":{}})", TextMessage("a")}, "SESSION_ENDED", 4003},
      {{R"({"config":{"model":"none"}})"}, "MODEL_NOT_FOUND", 4005},
      {{R"({"config":{"policy":{"waitK":{"k":5000}}}})"}, "INVALID_POLICY", 4003},
      {{kConfig, TextMessage(std::string(70000, 'a'))}, "CHUNK_TOO_LARGE", 4003},
      {{kConfig, std::string((1 << 20) + 9, ' ')}, "MESSAGE_TOO_LARGE", 1009},
  };
  for (const auto& test : kCases) {
    const Heard heard = Run(test.messages);
    if (std::string(test.reason) == "SESSION_ENDED" && heard.error.is_null()) continue;  // Too late.
    ASSERT_FALSE(heard.error.is_null()) << test.reason;
    EXPECT_EQ(heard.reason(), test.reason) << heard.error;
    EXPECT_EQ(heard.close_code, test.close_code) << test.reason;
  }
  // Audio in a session of text, and before the config.
  for (const bool configured : {true, false}) {
    const auto socket = Open();
    if (configured) socket->Send(kConfig);
    socket->Send("abcd", /*is_text=*/false);
    EXPECT_EQ(ReadAll(socket.get()).reason(),
              configured ? "INPUT_FORMAT_MISMATCH" : "CONFIG_MISSING");
  }
  // Text that is not UTF-8 breaks the WebSocket itself.
  const auto socket = Open();
  socket->Send("{\"source\":{\"text\":\"\xff\"}}");
  EXPECT_EQ(ReadAll(socket.get()).close_code, 1007);
  ExpectAnswers();
}

TEST_F(HttpApiTest, BinaryMessagesAreAudio) {
  FakeModelOptions speech;
  speech.speech = true;
  StartHttp({}, {FakeModel(speech)});
  std::string samples;
  for (int i = 0; i < 40000; ++i) samples.append(1, static_cast<char>(i * i % 251)).append(1, '\5');
  std::string first;
  for (const size_t size : {size_t{32000}, size_t{6400}, size_t{998}}) {
    const auto socket = Open();
    socket->Send(R"({"config":{"inputFormat":"INPUT_FORMAT_PCM_S16LE"}})");
    for (size_t at = 0; at < samples.size(); at += size) {
      ASSERT_TRUE(socket->Send(samples.substr(at, size), /*is_text=*/false));
    }
    socket->Send(R"({"endSession":{}})");
    const Heard heard = ReadAll(socket.get());
    ASSERT_EQ(heard.segments.size(), 1u) << heard.error;
    if (first.empty()) first = heard.text();
    EXPECT_EQ(heard.text(), first);
  }
  EXPECT_GT(first.size(), 3u);
}

TEST_F(HttpApiTest, TokensAreThoseOfGrpc) {
  ServerOptions options;
  options.auth_tokens_file = path_;
  options.max_sessions_per_principal = 1;
  StartHttp(options);
  const std::string body = R"({"text": "day"})";
  const std::string unauthenticated = "UNAUTHENTICATED";
  ExpectError(Post("/v1/translate", body), 401, unauthenticated, "TOKEN_MISSING");
  ExpectError(Post("/v1/translate", body, {{"Authorization", "Bearer x"}}), 401, unauthenticated,
              "TOKEN_INVALID");
  ExpectError(Post("/v1/translate", body, {{"Authorization", "Bearer \xc3\xa4"}}), 401,
              unauthenticated, "TOKEN_MISSING");
  ExpectError(Post("/v1/translate", body, {{"Authorization", Of("carol").authorization}}), 401,
              unauthenticated, "TOKEN_EXPIRED");
  ExpectError(GetHttp("/v1/models"), 401, unauthenticated, "TOKEN_MISSING");
  const httplib::Headers alice = {{"Authorization", Of("alice").authorization}};
  EXPECT_EQ(Post("/v1/translate", body, alice)->status, 200);
  EXPECT_EQ(GetHttp("/v1/models", alice)->status, 200);
  // A client that is refused need not send its body.
  EXPECT_THAT(RawRequest(port(), "POST /v1/translate HTTP/1.1\r\nContent-Type: application/json\r\n"
                                 "Content-Length: 1000000\r\n\r\n"),
              StartsWith("HTTP/1.1 401 "));

  EXPECT_EQ(Run({kConfig}).reason(), "TOKEN_MISSING");
  const auto first = Open("/v1/stream", {{"Authorization", Of("alice").authorization}});
  first->Send(kConfig);
  EXPECT_THAT(first->Read().value_or(""), HasSubstr("started"));
  // A page gives its token as a subprotocol.
  const std::string bearer =
      absl::StrCat("leapstream.v1, leapstream.bearer.", absl::WebSafeBase64Escape(tokens_["alice"]));
  const auto second = Open("/v1/stream", {{"Sec-WebSocket-Protocol", bearer}});
  ASSERT_TRUE(second->open());
  EXPECT_EQ(second->subprotocol(), "leapstream.v1");
  second->Send(kConfig);
  const Heard heard = ReadAll(second.get());
  EXPECT_EQ(heard.reason(), "QUOTA_EXCEEDED");
  EXPECT_EQ(heard.close_code, 4008);
  ExpectError(Post("/v1/translate", body, alice), 429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED");
  // gRPC from outside cannot say that it is somebody else.
  grpc::ClientContext context;
  context.AddMetadata("leapstream-principal-bin", "alice");
  context.AddMetadata("leapstream-peer", "inproc");
  v1::ListModelsResponse models;
  EXPECT_EQ(stub_->ListModels(&context, {}, &models).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(HttpApiTest, AFullServerSaysWhenToComeBack) {
  ServerOptions options;
  options.max_sessions = 1;
  StartHttp(options);
  const auto first = Open();
  first->Send(kConfig);
  EXPECT_THAT(first->Read().value_or(""), HasSubstr("started"));
  const auto full = Post("/v1/translate", R"({"text": "day"})");
  ExpectError(full, 503, "UNAVAILABLE", "SERVER_FULL");
  EXPECT_NE(full->get_header_value("Retry-After"), "");
  const Heard second = Run({kConfig});
  EXPECT_EQ(second.reason(), "SERVER_FULL");
  EXPECT_EQ(second.close_code, 4014);
  first->Close();
  ASSERT_TRUE(Eventually([&] {
    return Post("/v1/translate", R"({"text": "day"})")->status == 200;
  }));
}

TEST_F(HttpApiTest, ASilentSessionEndsUnlessItIsKeptAlive) {
  ServerOptions options;
  options.limits.idle_timeout = absl::Milliseconds(600);
  options.limits.heartbeat_interval = absl::Milliseconds(100);
  StartHttp(options);
  EXPECT_EQ(Run({kConfig}).reason(), "IDLE_TIMEOUT");
  const auto kept = Open();
  kept->Send(kConfig);
  int heartbeats = 0;
  for (int i = 0; i < 8; ++i) {
    absl::SleepFor(absl::Milliseconds(200));
    ASSERT_TRUE(kept->Send(R"({"keepAlive":{}})"));
    const std::optional<std::string> message = kept->Read();
    ASSERT_TRUE(message.has_value());
    heartbeats += message->find("heartbeat") != std::string::npos;
    ASSERT_EQ(message->find("error"), std::string::npos) << *message;
  }
  EXPECT_GT(heartbeats, 2);
}

// A client that reads nothing is held, and then loses its session; meanwhile the server keeps
// little for it, and others are served.
TEST_F(HttpApiTest, ASlowReaderIsBounded) {
  ServerOptions options;
  options.limits.stuck_reader_timeout = absl::Seconds(1);
  StartHttp(options);
  WebSocketOptions slow;
  slow.port = port();
  slow.receive_buffer = 4096;
  const auto socket = WebSocket::Open(slow);
  socket->Send(kConfig);
  const std::string text = TextMessage(std::string(2000, 'a') + " b c d e f g h i j k l m n o p ");
  const absl::Time end = absl::Now() + absl::Seconds(30);
  std::thread writer([&] {
    while (absl::Now() < end && socket->Send(text)) {
    }
  });
  EXPECT_TRUE(Eventually([&] { return Metric("leapstream_slots_used") == 1; }));
  EXPECT_TRUE(Eventually([&] { return Metric("leapstream_slots_used") == 0; }));
  ExpectAnswers();
  writer.join();
  EXPECT_LT(absl::Now(), end);
}

TEST_F(HttpApiTest, ADrainEndsSessionsWithTheirSegments) {
  const auto socket = Open();
  socket->Send(kConfig);
  socket->Send(TextMessage("it was a dark night"));
  const Heard first = ReadAll(socket.get(), "target");
  std::thread drain([&] { server_->Shutdown(SteadyNow() + absl::Seconds(20)); });
  const Heard before = ReadAll(socket.get(), "goingAway", first);
  EXPECT_TRUE(before.events.back().contains("goingAway"));
  socket->Send(R"({"endSegment":{}})");
  const Heard heard = ReadAll(socket.get(), "", before);
  drain.join();
  EXPECT_EQ(heard.segments.size(), 1u);
  EXPECT_EQ(heard.reason(), "DRAINING");
  EXPECT_EQ(heard.close_code, 4014);
}

TEST_F(HttpApiTest, CaptionsAreForWhoeverHasTheirId) {
  const std::string key = "0123456789abcdef-key";
  const auto socket = Open("/v1/stream?captions=" + key);
  const Json told = Json::parse(socket->Read().value_or("null"));
  const std::string id = told["captions"]["id"];
  EXPECT_EQ(id.find(key), std::string::npos);
  const auto early = Open("/v1/captions/" + id);
  socket->Send(kConfig);
  socket->Send(TextMessage("it was a dark night"));
  socket->Send(R"({"endSession":{}})");
  const Heard heard = ReadAll(socket.get());
  ASSERT_EQ(heard.segments.size(), 1u);
  std::string seen, all;
  for (int number = 0; seen.find("summary") == std::string::npos; ++number) {
    const std::optional<std::string> message = early->Read();
    ASSERT_TRUE(message.has_value());
    seen = *message;
    all += seen;
    EXPECT_EQ(Json::parse(seen)["number"], number);
  }
  EXPECT_THAT(all, HasSubstr("it was a dark night"));
  EXPECT_THAT(all, HasSubstr(heard.segments[0]));
  for (const char* secret : {"resumePoint", "sessionId", "resumeToken"}) {
    EXPECT_THAT(all, Not(HasSubstr(secret)));
  }
  // A late viewer, by server-sent events, from where he was.
  std::string events;
  httplib::Client http("127.0.0.1", port());
  http.Get("/v1/captions/" + id, {{"Last-Event-ID", "0"}}, [&](const char* data, size_t size) {
    events.append(data, size);
    return events.find("summary") == std::string::npos;
  });
  EXPECT_THAT(events, StartsWith("id: 1\ndata: {"));
  EXPECT_THAT(events, HasSubstr(heard.segments[0]));
  EXPECT_EQ(Run({}, "/v1/stream?captions=short").reason(), "CAPTIONS_INVALID");
  const auto nobody = Open("/v1/captions/0123");
  EXPECT_EQ(ReadAll(nobody.get()).close_code, 4005);
}

// Bodies that do not end: all of them together have a bound, and a short request needs none of it.
TEST_F(HttpApiTest, BodiesThatAreNotCompleteAreBounded) {
  const std::string head =
      "POST /v1/translate HTTP/1.1\r\nContent-Type: application/json\r\n"
      "Content-Length: 1000000\r\n\r\n";
  const std::string part = head + std::string(999000, ' ');
  std::vector<int> connections;
  for (size_t i = 0; i < budget::kGatewayHeldBytes / 1000000 + 8; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    (void)send(fd, part.data(), part.size(), MSG_NOSIGNAL);
    connections.push_back(fd);
  }
  const auto refused = [&] {
    int count = 0;
    for (const int fd : connections) {
      char answer[64] = "";
      (void)recv(fd, answer, 60, MSG_PEEK | MSG_DONTWAIT);
      count += std::string(answer).rfind("HTTP/1.1 503", 0) == 0;
    }
    return count;
  };
  EXPECT_TRUE(Eventually([&] { return refused() >= 1; }));
  EXPECT_LT(refused(), 20);
  ExpectAnswers();
  for (const int fd : connections) close(fd);
}

// Bytes at random, cut heads, huge frames, and clients that leave in the middle: the server lives,
// and nothing of them stays.
TEST_F(HttpApiTest, NothingOfAMalformedClientStays) {
  const uint64_t seed = std::random_device()();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  const std::vector<std::string> seeds = {
      "POST /v1/translate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
      "Content-Length: 15\r\n\r\n{\"text\": \"day\"}",
      "GET /v1/models?pageSize=1 HTTP/1.1\r\nConnection: close\r\n\r\n",
      "POST /v1/translate HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: "
      "chunked\r\n\r\nf\r\n{\"text\": \"day\"}\r\n0\r\n\r\n",
      "GET /v1/stream HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"};
  std::vector<std::thread> clients;
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([&, state = std::mt19937_64(random())]() mutable {
      for (int i = 0; i < 60; ++i) {
        std::string bytes = seeds[state() % seeds.size()];
        for (uint64_t changes = state() % 4; changes > 0; --changes) {
          const size_t at = state() % bytes.size();
          switch (state() % 4) {
            case 0:
              bytes[at] = static_cast<char>(state());
              break;
            case 1:
              bytes.erase(at, state() % 9);
              break;
            case 2:
              bytes.insert(at, std::string(state() % 300, static_cast<char>(state())));
              break;
            default:
              bytes.resize(at + 1);
          }
        }
        // Frames of any kind behind it; the last one announces more than there will be.
        for (int frame = 0; frame < 3; ++frame) {
          bytes += static_cast<char>(state());
          bytes += static_cast<char>(state());
          for (uint64_t size = state() % 20; size > 0; --size) bytes += static_cast<char>(state());
        }
        bytes += "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff";
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<uint16_t>(port()));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
          const size_t half = bytes.size() / 2;
          (void)send(fd, bytes.data(), half, MSG_NOSIGNAL);
          if (state() % 2 == 0) absl::SleepFor(absl::Milliseconds(1));
          (void)send(fd, bytes.data() + half, bytes.size() - half, MSG_NOSIGNAL);
          char answer[512];
          if (state() % 2 == 0) (void)recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
        }
        close(fd);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  ExpectAnswers();
  EXPECT_TRUE(Eventually([&] {
    return Metric("leapstream_slots_used") == 0 && Metric("leapstream_http_connections") == 0;
  }));
}

TEST_F(HttpApiTest, TheDocumentsNameWhatThereIs) {
  const Json openapi = Json::parse(GetHttp("/v1/openapi.json")->body);
  for (const auto& [path, methods] : openapi["paths"].items()) {
    EXPECT_NE(GetHttp(path == "/v1/captions/{id}" ? "/v1/models" : path)->status, 404) << path;
    EXPECT_FALSE(methods.empty());
  }
  const Json asyncapi = Json::parse(GetHttp("/v1/asyncapi.json")->body);
  EXPECT_TRUE(asyncapi["channels"].contains("/v1/stream"));
  // Every reference of a schema leads to one.
  for (const Json& document : {openapi, asyncapi}) {
    const std::string text = document.dump();
    const Json& schemas = document["components"]["schemas"];
    int references = 0;
    for (const absl::string_view part : absl::StrSplit(text, "#/components/schemas/")) {
      if (references++ == 0) continue;
      EXPECT_TRUE(schemas.contains(std::string(part.substr(0, part.find('"')))))
          << part.substr(0, 40);
    }
    EXPECT_GT(references, 10);
  }
  EXPECT_TRUE(openapi["components"]["schemas"]["TranslateRequest"]["properties"].contains(
      "textSegmentation"));
}

}  // namespace
}  // namespace leapstream
