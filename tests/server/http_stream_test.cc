// Streams over WebSockets, and their captions. What comes back is what gRPC gives.
#include <random>
#include <thread>

#include "tests/server/http_fixture.h"

namespace leapstream {
namespace {

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
  // A viewer can tell which source is of which segment.
  EXPECT_THAT(all, HasSubstr(R"("event":{"config":{)"));
  EXPECT_THAT(all, HasSubstr(R"("segmentBegins":{"segment":"2","afterSequence":"1"})"));
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
  // The captions that this viewer has seen are gone, with the server that had them.
  events.clear();
  http.Get("/v1/captions/" + id, {{"Last-Event-ID", "1000"}}, [&](const char* data, size_t size) {
    events.append(data, size);
    return events.find("summary") == std::string::npos;
  });
  EXPECT_THAT(events, StartsWith("id: 0\ndata: {"));
  EXPECT_EQ(Run({}, "/v1/stream?captions=short").reason(), "CAPTIONS_INVALID");
  const auto nobody = Open("/v1/captions/0123");
  EXPECT_EQ(ReadAll(nobody.get()).close_code, 4005);
}

}  // namespace
}  // namespace leapstream
