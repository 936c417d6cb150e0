// HTTP without gRPC. What comes back is what gRPC gives.
#include <random>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "base/budget.h"
#include "tests/client/raw_request.h"
#include "tests/server/http_fixture.h"

namespace leapstream {
namespace {

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

// A request that is not complete holds memory, and so has its time.
TEST_F(HttpApiTest, ARequestThatStopsInTheMiddleIsEnded) {
  std::thread body([&] {
    EXPECT_THAT(RawRequest(port(),
                           "POST /v1/translate HTTP/1.1\r\nContent-Type: application/json\r\n"
                           "Content-Length: 1000\r\n\r\n{"),
                HasSubstr("no message came within"));
  });
  const auto socket = Open();
  socket->Send(kConfig);
  EXPECT_THAT(socket->Read().value_or(""), HasSubstr("started"));
  ASSERT_TRUE(socket->SendRaw("\x81\xe4\1\2\3\4 the beginning of a frame of 100 bytes"));
  std::string last;
  while (const auto message = socket->Read()) last = *message;
  EXPECT_THAT(last, HasSubstr("a message must be complete after 30 s"));
  EXPECT_EQ(socket->close_code(), 1008);
  body.join();
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
        for (uint64_t changes = state() % 4; changes > 0 && !bytes.empty(); --changes) {
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
