#include "client/client.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_service.h"

namespace leapstream::client {
namespace {

// gRPC 1.51 ends the queue and the threads that run reactions when their last user goes, and now
// and then frees them twice if that happens test after test. A server that stays for all tests
// keeps them.
class KeepReactionThreads : public testing::Environment {
 public:
  void SetUp() override { service_.emplace(); }
  void TearDown() override { service_.reset(); }

 private:
  std::optional<FakeService> service_;
};
const auto* const keep_reaction_threads =
    testing::AddGlobalTestEnvironment(new KeepReactionThreads);

std::unique_ptr<Client> ConnectTo(const std::string& address) {
  auto client = Client::Connect({address, absl::Seconds(10)});
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

TEST(ClientTest, StreamsEventsInOrder) {
  FakeService service;
  auto client = ConnectTo(service.address());
  StreamOptions options;
  options.policy.rule = WaitK{5};
  options.early_end = EarlyEnd::kReadOn;
  auto stream = client->StartStream(options);
  ASSERT_TRUE(stream->PushText("gute ").ok());
  ASSERT_TRUE(stream->PushText("nacht").ok());
  ASSERT_TRUE(stream->EndSegment().ok());
  ASSERT_TRUE(stream->PushText("ja").ok());
  ASSERT_TRUE(stream->CloseSource().ok());
  EXPECT_EQ(stream->PushText("x").code(), absl::StatusCode::kFailedPrecondition);
  std::vector<std::string> got;
  while (auto event = stream->Next()) {
    if (auto* started = std::get_if<Started>(&*event)) {
      got.push_back(absl::StrCat("started ", ToText(started->applied.policy)));
      EXPECT_EQ(started->applied.early_end, EarlyEnd::kReadOn);
    } else if (auto* delta = std::get_if<Delta>(&*event)) {
      got.push_back(absl::StrCat(delta->segment, delta->text));
    } else if (auto* completed = std::get_if<SegmentCompleted>(&*event)) {
      got.push_back(absl::StrCat("=", completed->text));
      EXPECT_EQ(completed->stats->average_lagging, 2.5);
      EXPECT_EQ(completed->stats->first_token, absl::Milliseconds(5));
    } else if (auto* summary = std::get_if<Summary>(&*event)) {
      got.push_back(absl::StrCat("summary ", summary->segments));
    }
  }
  EXPECT_THAT(got, testing::ElementsAre("started wait-k:5", "1GUTE", "1 NACHT", "=GUTE NACHT",
                                        "2JA", "=JA", "summary 2"));
  EXPECT_TRUE(stream->finished());
  EXPECT_TRUE(stream->Wait().ok());
  EXPECT_EQ(stream->unsent_bytes(), 0);
}

TEST(ClientTest, KeepsTheServersErrorInfo) {
  FakeService service;
  StreamOptions options;
  options.model = "missing";
  // The stream outlives its client.
  auto stream = ConnectTo(service.address())->StartStream(options);
  const absl::Status status = stream->Wait();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ErrorReason(status), "MODEL_NOT_FOUND");
}

TEST(ClientTest, CancelAndDestructionEndASilentStream) {
  FakeService service;
  auto client = ConnectTo(service.address());
  StreamOptions options;
  options.model = "silent";
  auto stream = client->StartStream(options);
  ASSERT_TRUE(stream->Next().has_value());
  stream->Cancel();
  EXPECT_EQ(stream->Wait().code(), absl::StatusCode::kCancelled);
  client->StartStream(options).reset();
  service.ReleaseSilent();
}

TEST(ClientTest, DeadlineEndsTheStream) {
  FakeService service;
  StreamOptions options;
  options.model = "silent";
  options.deadline = absl::Milliseconds(200);
  EXPECT_EQ(ConnectTo(service.address())->StartStream(options)->Wait().code(),
            absl::StatusCode::kDeadlineExceeded);
  service.ReleaseSilent();
}

TEST(ClientTest, NeverSendsHalfACharacter) {
  FakeService service;
  auto stream = ConnectTo(service.address())->StartStream({});
  EXPECT_EQ(stream->PushText("gr\xC3").code(), absl::StatusCode::kInvalidArgument);
  std::string long_text = "x";
  // This is cut at odd offsets into several chunks.
  for (int i = 0; i < 20000; ++i) long_text += "ü";
  ASSERT_TRUE(stream->PushText(long_text).ok());
  ASSERT_TRUE(stream->CloseSource().ok());
  EXPECT_TRUE(stream->Wait().ok());
  EXPECT_EQ(service.source(), long_text);
}

TEST(ClientTest, KeepsAllEventsOfAFastServer) {
  FakeService service;
  auto stream = ConnectTo(service.address())->StartStream({});
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(stream->PushText("w ").ok());
  ASSERT_TRUE(stream->CloseSource().ok());
  int deltas = 0;
  while (auto event = stream->Next()) deltas += std::holds_alternative<Delta>(*event);
  EXPECT_EQ(deltas, 5000);
  EXPECT_TRUE(stream->Wait().ok());
}

TEST(ClientTest, ListsModelsOfAllPages) {
  FakeService service;
  const auto models = ConnectTo(service.address())->ListModels();
  ASSERT_TRUE(models.ok()) << models.status();
  ASSERT_EQ(models->size(), 2u);
  EXPECT_EQ((*models)[1].name, "big-de-en");
}

TEST(ClientTest, ProbesWithAndWithoutHealthService) {
  for (const bool with_health : {true, false}) {
    FakeService service(with_health);
    auto client = ConnectTo(service.address());
    EXPECT_TRUE(client->Probe(absl::Seconds(10)).ok());
    if (with_health) {
      service.server().GetHealthCheckService()->SetServingStatus(false);
      EXPECT_EQ(client->Probe(absl::Milliseconds(300)).code(), absl::StatusCode::kUnavailable);
    }
  }
}

TEST(ClientTest, SaysWhenNobodyAnswers) {
  EXPECT_EQ(Client::Connect({"127.0.0.1:1", absl::Seconds(10)}).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(IsUtf8Test, ShortestFormsOnly) {
  size_t valid = 0;
  EXPECT_TRUE(IsUtf8("a\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80", &valid));
  for (const char* bad : {"a\xC3", "a\xC0\x80", "a\xE0\x80\x80", "a\xED\xA0\x80",
                          "a\xF5\x80\x80\x80", "a\x80", "a\xE2\x82"}) {
    EXPECT_FALSE(IsUtf8(bad, &valid));
    EXPECT_EQ(valid, 1u);
  }
}

}  // namespace
}  // namespace leapstream::client
