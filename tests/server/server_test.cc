// A real client and server on loopback, with a fake model.
#include "server/server.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "tests/server/raw_stream.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

using ::testing::AnyOf;
using ::testing::Eq;
using ::testing::HasSubstr;

constexpr char kText[] =
    "the rain in spain stays mainly on the plain and thereafter it rains again";

struct Result {
  grpc::Status status;
  std::vector<Response> responses;
  std::map<int64_t, std::string> deltas;  // Concatenated, by segment.
  std::vector<std::string> segments;
};

class ServerTest : public testing::Test {
 protected:
  void SetUp() override { Start({FakeModel()}); }

  void Start(std::vector<std::shared_ptr<const Model>> models, ServerOptions options = {}) {
    spdlog::set_level(spdlog::level::off);
    server_.reset();
    options.listen = "127.0.0.1:0";
    auto server = Server::Start(options, std::move(models));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = ConnectWithSmallWindow(server_->port());
    stub_ = v1::SimultaneousTranslationService::NewStub(channel_);
  }

  Result Run(const std::vector<Request>& requests) {
    grpc::ClientContext context;
    SetDeadline(&context);
    auto stream = stub_->StreamTranslate(&context);
    for (const Request& request : requests) {
      if (!stream->Write(request)) break;
    }
    stream->WritesDone();
    Result result;
    for (Response response; stream->Read(&response);) {
      if (response.has_target()) {
        result.deltas[response.target().segment()] += response.target().text();
      } else if (response.has_segment_completed()) {
        const auto& completed = response.segment_completed();
        EXPECT_EQ(completed.segment(), static_cast<int64_t>(result.segments.size()) + 1);
        EXPECT_EQ(completed.text(), result.deltas[completed.segment()]);
        result.segments.push_back(completed.text());
      }
      result.responses.push_back(response);
    }
    result.status = stream->Finish();
    return result;
  }

  void ExpectError(const std::vector<Request>& requests, grpc::StatusCode code,
                   const std::string& reason, const std::string& message = "") {
    const Result result = Run(requests);
    EXPECT_EQ(result.status.error_code(), code) << result.status.error_message();
    EXPECT_EQ(Reason(result.status), reason) << result.status.error_message();
    EXPECT_THAT(result.status.error_message(), HasSubstr(message));
  }

  // Expects the server to translate as before.
  void ExpectAnswers() {
    const Result result = Run({Config(), Text("hello there")});
    ASSERT_TRUE(result.status.ok()) << result.status.error_message();
    ASSERT_EQ(result.segments.size(), 1u);
  }

  grpc::Status CallRaw(const char* method, const std::string& request, std::string* response) {
    grpc::ClientContext context;
    SetDeadline(&context);
    return leapstream::CallRaw(channel_.get(), &context, method, request, response);
  }

  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::SimultaneousTranslationService::Stub> stub_;
};

// Memory for a state takes milliseconds to get, and many sessions may open at once.
TEST_F(ServerTest, WhoOpensSessionsHoldsUpNobodyWhoHasOne) {
  Mutex mutex;
  CondVar changed;
  bool held = false;
  int waiting = 0;
  FakeModelOptions options;
  options.on_new_state = [&] {
    MutexLock lock(&mutex);
    ++waiting;
    changed.NotifyAll();
    while (held) changed.Wait(&mutex);
  };
  Start({FakeModel(options)});
  OpenStream live(*stub_, {Config()});
  ASSERT_TRUE(live.ReadUntil(IsStarted));
  {
    MutexLock lock(&mutex);
    held = true;
    waiting = 0;
  }
  std::vector<std::unique_ptr<OpenStream>> others;
  for (int i = 0; i < 40; ++i) {
    others.push_back(std::make_unique<OpenStream>(*stub_, std::vector<Request>{Config()}));
  }
  {
    MutexLock lock(&mutex);
    while (waiting == 0) changed.Wait(&mutex);
  }
  live.stream->Write(Text("hello there general "));
  EXPECT_TRUE(live.ReadUntil(IsTarget)) << "it waits for those that are being opened";
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::ListModelsResponse models;
  EXPECT_TRUE(stub_->ListModels(&context, {}, &models).ok());
  others.pop_back();  // It is cancelled before its turn.
  {
    MutexLock lock(&mutex);
    held = false;
    changed.NotifyAll();
  }
  for (const auto& other : others) EXPECT_TRUE(other->ReadUntil(IsStarted));
}

TEST_F(ServerTest, Translates) {
  const Result result = Run({Config(2), Text(kText), EndSegment(), KeepAlive(), Text("once more")});
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  ASSERT_EQ(result.segments.size(), 2u);
  EXPECT_FALSE(result.segments[0].empty());
  ASSERT_TRUE(result.responses.front().has_started());
  const v1::SessionStarted& started = result.responses.front().started();
  EXPECT_EQ(started.session_id().size(), 32u);
  EXPECT_EQ(started.model(), "fake-en-de");
  EXPECT_EQ(started.model_checksum(), "fa4e");
  EXPECT_EQ(started.effective_config().policy().wait_k().k(), 2);
  EXPECT_EQ(started.effective_config().policy().wait_k().write_stride(), 1);
  EXPECT_EQ(started.effective_config().policy().early_end(), v1::EARLY_END_READ_ON);
  EXPECT_EQ(started.effective_config().input_format(), v1::INPUT_FORMAT_TEXT);
  EXPECT_GT(started.limits().max_chunk_bytes(), 0);
  ASSERT_TRUE(result.responses.back().has_summary());
  EXPECT_EQ(result.responses.back().summary().segments(), 2);
  EXPECT_FALSE(result.responses.back().summary().has_totals());
  int64_t sequence = 0;
  for (const Response& response : result.responses) {
    EXPECT_FALSE(response.segment_completed().has_stats());
    if (!response.has_target()) continue;
    EXPECT_EQ(response.target().sequence(), ++sequence);
    EXPECT_FALSE(response.target().text().empty());
    EXPECT_EQ(response.target().tokens_size(), 0);
  }
}

TEST_F(ServerTest, DetailsOnlyWhenAskedFor) {
  Request config = Config();
  config.mutable_config()->mutable_output()->set_token_details(true);
  config.mutable_config()->mutable_output()->set_log_probs(true);
  config.mutable_config()->mutable_output()->set_segment_stats(true);
  const Result result = Run({config, Text(kText)});
  ASSERT_TRUE(result.status.ok());
  EXPECT_EQ(result.responses[0].started().effective_config().policy().wait_k().k(), 3);
  int tokens = 0;
  for (const Response& response : result.responses) {
    for (const auto& token : response.target().tokens()) {
      ++tokens;
      EXPECT_FALSE(token.piece().empty());
      EXPECT_LT(token.log_prob(), 0);
      EXPECT_EQ(token.source_tokens_read(), response.target().source_tokens_read());
    }
  }
  EXPECT_GT(tokens, 0);
  const Response& completed = result.responses[result.responses.size() - 2];
  EXPECT_EQ(completed.segment_completed().stats().target_tokens(), tokens);
  EXPECT_EQ(result.responses.back().summary().totals().target_tokens(), tokens);
}

TEST_F(ServerTest, AnyChunkingGivesTheSame) {
  for (const int k : {1, 3, 7}) {
    const Result whole = Run({Config(k), Text(kText)});
    ASSERT_EQ(whole.segments.size(), 1u);
    for (int seed = 0; seed < 20; ++seed) {
      std::mt19937 random(seed);
      std::vector<Request> requests = {Config(k)};
      const std::string text = kText;
      for (size_t begin = 0; begin < text.size();) {
        const size_t size = 1 + random() % 9;
        requests.push_back(Text(text.substr(begin, size), requests.size()));
        begin += size;
      }
      const Result result = Run(requests);
      ASSERT_TRUE(result.status.ok()) << result.status.error_message();
      EXPECT_EQ(result.segments, whole.segments) << "seed=" << seed;
    }
  }
}

TEST_F(ServerTest, PiecesAndTokenIds) {
  Request config = Config();
  config.mutable_config()->set_input_format(v1::INPUT_FORMAT_TOKEN_IDS);
  Request ids;
  for (int id = 4; id < 20; ++id) ids.mutable_source()->mutable_token_ids()->add_ids(id);
  const Result by_id = Run({config, ids});
  ASSERT_TRUE(by_id.status.ok()) << by_id.status.error_message();
  config.mutable_config()->set_input_format(v1::INPUT_FORMAT_PIECES);
  Request pieces;
  for (char c = 'a'; c < 'a' + 16; ++c) {
    pieces.mutable_source()->mutable_pieces()->add_pieces(
        absl::StrCat("\xe2\x96\x81", std::string(1, c)));
  }
  EXPECT_EQ(Run({config, pieces}).segments, by_id.segments);
  ExpectError({config, Text("a")}, grpc::StatusCode::INVALID_ARGUMENT, "INPUT_FORMAT_MISMATCH");
  config.mutable_config()->set_input_format(v1::INPUT_FORMAT_TOKEN_IDS);
  ids.mutable_source()->mutable_token_ids()->add_ids(1 << 30);
  ExpectError({config, ids}, grpc::StatusCode::INVALID_ARGUMENT, "INVALID_SOURCE");
}

TEST_F(ServerTest, EveryError) {
  const auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  ExpectError({}, kInvalid, "CONFIG_MISSING");
  ExpectError({Text("a")}, kInvalid, "CONFIG_MISSING");
  ExpectError({EndSegment()}, kInvalid, "CONFIG_MISSING");
  ExpectError({Request()}, kInvalid, "CONFIG_MISSING");
  ExpectError({Config(), Config()}, kInvalid, "CONFIG_REPEATED");
  ExpectError({Config(), Request()}, kInvalid, "EVENT_MISSING");
  ExpectError({Config(), Text("a", 2)}, kInvalid, "SEQUENCE_MISMATCH",
              "expected source chunk 1, got 2");
  ExpectError({Config(), Text("a", 1), Text("b", 1)}, kInvalid, "SEQUENCE_MISMATCH");
  ExpectError({Config(), Text("a", -1)}, kInvalid, "SEQUENCE_MISMATCH");
  for (const int more : {1, 2000}) {
    ExpectError({Config(), Text(std::string((64 << 10) + more, 'a'))}, kInvalid, "CHUNK_TOO_LARGE");
  }
  Request source;
  source.mutable_source();
  ExpectError({Config(), source}, kInvalid, "CONTENT_MISSING");
  ExpectError({Config(1000000)}, kInvalid, "INVALID_POLICY", "1000000");
  Request config = Config();
  config.mutable_config()->mutable_policy()->mutable_wait_k();
  ExpectError({config}, kInvalid, "INVALID_POLICY");
  config = Config();
  config.mutable_config()->mutable_policy()->set_max_length_a(-1);
  ExpectError({config}, kInvalid, "INVALID_POLICY");
  config = Config();
  config.mutable_config()->mutable_policy()->set_early_end(static_cast<v1::EarlyEnd>(77));
  ExpectError({config}, kInvalid, "UNKNOWN_ENUM_VALUE");
  config = Config();
  config.mutable_config()->set_input_format(static_cast<v1::InputFormat>(77));
  ExpectError({config}, kInvalid, "UNKNOWN_ENUM_VALUE");
  config = Config();
  config.mutable_config()->mutable_resume();
  ExpectError({config}, kInvalid, "RESUME_TOKEN_INVALID");
  config = Config();
  config.mutable_config()->set_model("nope");
  ExpectError({config}, grpc::StatusCode::NOT_FOUND, "MODEL_NOT_FOUND", "fake-en-de");
  config.mutable_config()->set_model("fake-en-de");
  config.mutable_config()->set_target_language_code("fr");
  ExpectError({config}, kInvalid, "LANGUAGE_MISMATCH");
  config.mutable_config()->clear_model();
  ExpectError({config}, grpc::StatusCode::NOT_FOUND, "MODEL_NOT_FOUND");
  ExpectAnswers();
}

TEST_F(ServerTest, AFailingModelIsInternalAndToldWithoutDetails) {
  FakeModelOptions options;
  options.fails = true;
  Start({FakeModel(options)});
  const Result result = Run({Config(), Text(kText)});
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(Reason(result.status), "INTERNAL");
  EXPECT_THAT(result.status.error_message(), testing::Not(HasSubstr("fake")));
  EXPECT_THAT(result.status.error_message(), HasSubstr(result.responses[0].started().session_id()));
}

TEST_F(ServerTest, RandomBytes) {
  for (int seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    grpc::ClientContext context;
    SetDeadline(&context);
    auto stream = OpenRaw(channel_.get(), &context, kStreamMethod);
    if (seed % 2 == 1) stream->Write(Bytes(Config().SerializeAsString()));
    std::string bytes(1 + random() % 40, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    bytes += '\x07';  // No valid message ends like this.
    stream->Write(Bytes(bytes));
    stream->WritesDone();
    for (grpc::ByteBuffer response; stream->Read(&response);) {
    }
    const grpc::Status status = stream->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << "seed=" << seed;
  }
  // Text that is not UTF-8: field 2 (source) with field 2 (text) of one byte.
  grpc::ClientContext context;
  SetDeadline(&context);
  auto stream = OpenRaw(channel_.get(), &context, kStreamMethod);
  stream->Write(Bytes(Config().SerializeAsString()));
  stream->Write(Bytes("\x12\x03\x12\x01\xff"));
  for (grpc::ByteBuffer response; stream->Read(&response);) {
  }
  EXPECT_EQ(Reason(stream->Finish()), "MALFORMED_MESSAGE");
  ExpectAnswers();
}

TEST_F(ServerTest, HalfCloseAtEveryPoint) {
  const std::vector<Request> all = {Config(),     Text("one two"), Text(" three"), EndSegment(),
                                    EndSegment(), KeepAlive(),     Text("four"),   EndSegment()};
  const size_t segments[] = {0, 0, 1, 1, 1, 2, 2, 3, 3};
  for (size_t count = 1; count <= all.size(); ++count) {
    const Result result = Run({all.begin(), all.begin() + count});
    EXPECT_TRUE(result.status.ok()) << count << ": " << result.status.error_message();
    EXPECT_EQ(result.segments.size(), segments[count]) << count;
    EXPECT_TRUE(result.responses.back().has_summary());
  }
}

TEST_F(ServerTest, CancelAtEveryPoint) {
  FakeModelOptions options;
  options.step_delay = absl::Milliseconds(2);
  Start({FakeModel(options)});
  const std::vector<Request> all = {Config(), Text(kText), EndSegment(), Text(kText)};
  for (size_t writes = 0; writes <= all.size(); ++writes) {
    for (size_t reads = 0; reads < 4; ++reads) {
      grpc::ClientContext context;
      SetDeadline(&context);
      auto stream = stub_->StreamTranslate(&context);
      for (size_t i = 0; i < writes; ++i) stream->Write(all[i]);
      Response response;
      for (size_t i = 0; i < reads && writes > 1; ++i) EXPECT_TRUE(stream->Read(&response));
      context.TryCancel();
      while (stream->Read(&response)) {
      }
      EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
    }
  }
  ExpectAnswers();
}

TEST_F(ServerTest, ManySessionsAtOnceGiveWhatOneGives) {
  const Result alone = Run({Config(), Text(kText)});
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 5; ++j) EXPECT_EQ(Run({Config(), Text(kText)}).segments, alone.segments);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ServerTest, ChoosesTheModel) {
  FakeModelOptions french;
  french.name = "fake-en-fr";
  french.target_language = "fr";
  FakeModelOptions other = french;
  other.name = "other-en-fr";
  Start({FakeModel(french), FakeModel(), FakeModel(other)});
  ExpectError({Config()}, grpc::StatusCode::INVALID_ARGUMENT, "MODEL_AMBIGUOUS");
  Request config = Config();
  config.mutable_config()->set_source_language_code("EN-GB");
  config.mutable_config()->set_target_language_code("de");
  EXPECT_EQ(Run({config}).responses.at(0).started().model(), "fake-en-de");
  config.mutable_config()->set_target_language_code("fr");
  ExpectError({config}, grpc::StatusCode::INVALID_ARGUMENT, "MODEL_AMBIGUOUS", "other-en-fr");
  config.mutable_config()->set_model("other-en-fr");
  EXPECT_EQ(Run({config}).responses.at(0).started().model(), "other-en-fr");

  std::vector<std::string> names;
  v1::ListModelsRequest request;
  request.set_page_size(2);
  for (int page = 0; page < 2; ++page) {
    grpc::ClientContext context;
    v1::ListModelsResponse response;
    ASSERT_TRUE(stub_->ListModels(&context, request, &response).ok());
    for (const auto& model : response.models()) names.push_back(model.name());
    EXPECT_EQ(response.next_page_token().empty(), page == 1);
    request.set_page_token(response.next_page_token());
  }
  EXPECT_THAT(names, testing::ElementsAre("fake-en-de", "fake-en-fr", "other-en-fr"));
  request.set_page_size(-1);
  grpc::ClientContext context;
  v1::ListModelsResponse response;
  EXPECT_EQ(Reason(stub_->ListModels(&context, request, &response)), "INVALID_PAGE_SIZE");
}

TEST_F(ServerTest, TranslateGivesWhatAnOfflineStreamGives) {
  Request config = Config();
  config.mutable_config()->mutable_policy()->mutable_offline();
  const Result stream = Run({config, Text(kText), EndSegment(), EndSegment(), Text("and on")});
  ASSERT_EQ(stream.segments.size(), 3u);
  v1::TranslateRequest request;
  request.set_text(absl::StrCat(kText, "\n\nand on"));
  v1::TranslateResponse response;
  grpc::ClientContext context;
  const grpc::Status status = stub_->Translate(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.text(), absl::StrCat(stream.segments[0], "\n\n", stream.segments[2]));
  EXPECT_GT(response.stats().target_tokens(), 0);

  request.set_model("nope");
  grpc::ClientContext unknown;
  EXPECT_EQ(Reason(stub_->Translate(&unknown, request, &response)), "MODEL_NOT_FOUND");
  std::string bytes;
  EXPECT_EQ(
      Reason(CallRaw("/leapstream.v1.SimultaneousTranslationService/Translate", "\xff", &bytes)),
      "MALFORMED_MESSAGE");
}

TEST_F(ServerTest, HealthAndReflection) {
  std::string response;
  ASSERT_TRUE(CallRaw("/grpc.health.v1.Health/Check", "", &response).ok());
  EXPECT_EQ(response, "\x08\x01");  // SERVING
  grpc::ClientContext context;
  SetDeadline(&context);
  auto stream = OpenRaw(channel_.get(), &context,
                        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  stream->Write(Bytes("\x3a\x01*"));  // list_services
  grpc::ByteBuffer reply;
  ASSERT_TRUE(stream->Read(&reply));
  EXPECT_THAT(ToString(reply), HasSubstr("leapstream.v1.SimultaneousTranslationService"));
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(ServerTest, ShutdownEndsOpenSessions) {
  grpc::ClientContext context;
  SetDeadline(&context);
  auto stream = stub_->StreamTranslate(&context);
  stream->Write(Config());
  Response response;
  ASSERT_TRUE(stream->Read(&response));
  const SteadyTime start = SteadyNow();
  server_->Shutdown(start + absl::Milliseconds(200));
  server_.reset();
  EXPECT_LT(SteadyNow() - start, absl::Seconds(10));
  while (stream->Read(&response)) {
  }
  EXPECT_TRUE(response.has_going_away());
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Reason(status), "DRAINING");
}

TEST_F(ServerTest, AFullServerRefusesAtOnceAndServesOn) {
  ServerOptions options;
  options.max_sessions = 3;
  Start({FakeModel()}, options);
  EXPECT_EQ(server_->max_sessions(), 3);
  std::vector<std::unique_ptr<OpenStream>> open;
  for (int i = 0; i < 3; ++i) {
    open.push_back(std::make_unique<OpenStream>(*stub_, std::vector<Request>{Config()}));
    ASSERT_TRUE(open.back()->ReadUntil(IsStarted));
  }
  for (int i = 0; i < 20; ++i) {
    const absl::Time start = absl::Now();
    OpenStream refused(*stub_, {Config()});
    const grpc::Status status = refused.Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(Reason(status), "SERVER_FULL");
    EXPECT_EQ(RetryDelay(status), absl::Seconds(1));
    EXPECT_LT(absl::Now() - start, absl::Milliseconds(500));
  }
  v1::TranslateRequest request;
  v1::TranslateResponse response;
  grpc::ClientContext context;
  EXPECT_EQ(Reason(stub_->Translate(&context, request, &response)), "SERVER_FULL");
  std::string health;
  ASSERT_TRUE(CallRaw("/grpc.health.v1.Health/Check", "", &health).ok());
  EXPECT_EQ(health, "\x08\x01") << "full is not unready";
  // A session that is cancelled gives its place back.
  open.back()->context.TryCancel();
  EXPECT_EQ(open.back()->Finish().error_code(), grpc::StatusCode::CANCELLED);
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  bool served = false;
  while (!served && absl::Now() < deadline) served = Run({Config(), Text(kText)}).status.ok();
  EXPECT_TRUE(served);
  for (auto& stream : open) stream->stream->WritesDone();
  EXPECT_TRUE(open[0]->Finish().ok());
}

TEST_F(ServerTest, TimeLimits) {
  ServerOptions options;
  options.limits.config_timeout = absl::Milliseconds(100);
  options.limits.idle_timeout = absl::Milliseconds(600);
  options.limits.heartbeat_interval = absl::Milliseconds(50);
  Start({FakeModel()}, options);
  OpenStream silent(*stub_, {});
  grpc::Status status = silent.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Reason(status), "CONFIG_TIMEOUT");

  OpenStream idle(*stub_, {Config()});
  ASSERT_TRUE(idle.ReadUntil(IsStarted));
  EXPECT_EQ(idle.started.limits().idle_timeout().nanos(), 600000000);
  EXPECT_EQ(idle.started.effective_config().idle_timeout().nanos(), 600000000);
  EXPECT_TRUE(idle.ReadUntil([](const Response& response) { return response.has_heartbeat(); }));
  status = idle.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Reason(status), "IDLE_TIMEOUT");

  Request config = Config();
  config.mutable_config()->mutable_idle_timeout()->set_seconds(3600);
  OpenStream clamped(*stub_, {config});
  ASSERT_TRUE(clamped.ReadUntil(IsStarted));
  EXPECT_EQ(clamped.started.limits().idle_timeout().nanos(), 600000000);
  config.mutable_config()->mutable_idle_timeout()->set_seconds(0);
  config.mutable_config()->mutable_idle_timeout()->set_nanos(50000000);
  OpenStream shorter(*stub_, {config});
  const absl::Time start = absl::Now();
  EXPECT_EQ(Reason(shorter.Finish()), "IDLE_TIMEOUT");
  // This is less than the server's own limit, with the second look that both have.
  EXPECT_LT(absl::Now() - start, absl::Milliseconds(600) + LastLook::kGrace);

  // keep_alive is activity: heartbeats say when to send the next one.
  OpenStream kept(*stub_, {Config()});
  const absl::Time begin = absl::Now();
  while (absl::Now() - begin < absl::Milliseconds(1500)) {
    ASSERT_TRUE(kept.ReadUntil([](const Response& response) { return response.has_heartbeat(); }));
    kept.stream->Write(KeepAlive());
  }
  kept.stream->WritesDone();
  EXPECT_TRUE(kept.Finish().ok());
}

TEST_F(ServerTest, MaximumDurationIsAnnouncedAndTheSegmentEnds) {
  ServerOptions options;
  options.limits.max_session_duration = absl::Milliseconds(800);
  Start({FakeModel()}, options);
  const auto going_away = [](const Response& response) { return response.has_going_away(); };
  OpenStream closing(*stub_, {Config(), Text(kText)}), staying(*stub_, {Config(), Text(kText)});
  ASSERT_TRUE(closing.ReadUntil(going_away));
  EXPECT_EQ(closing.last.going_away().reason(), v1::GOING_AWAY_REASON_MAX_DURATION);
  EXPECT_GT(closing.last.going_away().remaining_duration().nanos(), 0);
  closing.stream->Write(EndSegment());
  const grpc::Status status = closing.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Reason(status), "MAX_DURATION");
  EXPECT_EQ(closing.completed, Run({Config(), Text(kText)}).segments);
  EXPECT_EQ(closing.started.limits().max_session_duration().nanos(), 800000000);
  EXPECT_EQ(Reason(staying.Finish()), "MAX_DURATION");
  EXPECT_TRUE(staying.completed.empty());
}

TEST_F(ServerTest, LengthLimitsCloseTheSegmentAndTheStreamGoesOn) {
  ServerOptions options;
  options.limits.max_source_tokens = 5;
  options.limits.max_target_tokens = 4;
  Start({FakeModel()}, options);
  Request config = Config(1);
  config.mutable_config()->mutable_policy()->set_early_end(v1::EARLY_END_SUPPRESS);
  OpenStream stream(*stub_, {config, Text(kText), EndSegment(), Text("a"), EndSegment()});
  std::vector<v1::FinishReason> reasons;
  const auto collect = [&](const Response& response) {
    if (response.has_segment_completed()) {
      reasons.push_back(response.segment_completed().finish_reason());
    }
    return reasons.size() == 2;
  };
  ASSERT_TRUE(stream.ReadUntil(collect));
  EXPECT_THAT(reasons[0],
              AnyOf(Eq(v1::FINISH_REASON_MAX_LENGTH), Eq(v1::FINISH_REASON_SOURCE_LIMIT)));
  EXPECT_EQ(stream.started.limits().max_source_tokens_per_segment(), 5);
  EXPECT_EQ(stream.started.limits().max_target_tokens_per_segment(), 4);
  stream.stream->WritesDone();
  EXPECT_TRUE(stream.Finish().ok());
}

// A reader that takes nothing is ended, and nothing is translated for it meanwhile.
TEST_F(ServerTest, AStuckReaderIsEnded) {
  ServerOptions options;
  options.max_sessions = 1;
  options.limits.stuck_reader_timeout = absl::Milliseconds(300);
  Start({FakeModel()}, options);
  Request config = Config(1);
  config.mutable_config()->mutable_output()->set_token_details(true);
  OpenStream stuck(*stub_, {config});
  ASSERT_TRUE(stuck.ReadUntil(IsStarted));
  std::thread writer([&] {
    while (stuck.stream->Write(Text("some words and more words ")) &&
           stuck.stream->Write(EndSegment())) {
    }
  });
  // The stream's place is free at once, long before the client reads on.
  const absl::Time start = absl::Now();
  bool served = false;
  while (!served && absl::Now() - start < absl::Seconds(20)) {
    served = Run({Config(), Text(kText)}).status.ok();
  }
  EXPECT_TRUE(served);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(250));
  const grpc::Status status = stuck.Finish();
  writer.join();
  EXPECT_THAT(status.error_code(),
              AnyOf(Eq(grpc::StatusCode::ABORTED), Eq(grpc::StatusCode::CANCELLED)));
  if (status.error_code() == grpc::StatusCode::ABORTED) {
    EXPECT_EQ(Reason(status), "READER_STUCK");
  }
}

// A client gets everything in the end, whatever it leaves unread for a while.
TEST_F(ServerTest, ASlowReaderLosesNothing) {
  Request config = Config(1);
  config.mutable_config()->mutable_output()->set_token_details(true);
  OpenStream stream(*stub_, {config});
  ASSERT_TRUE(stream.ReadUntil(IsStarted));
  constexpr int kSegments = 400;
  std::thread writer([&] {
    for (int i = 0; i < kSegments; ++i) {
      stream.stream->Write(Text(kText));
      stream.stream->Write(EndSegment());
    }
    stream.stream->WritesDone();
  });
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_TRUE(stream.Finish().ok());
  writer.join();
  ASSERT_EQ(stream.completed.size(), static_cast<size_t>(kSegments));
  const std::string alone = Run({Config(1), Text(kText)}).segments[0];
  for (const std::string& text : stream.completed) ASSERT_EQ(text, alone);
}

TEST_F(ServerTest, DrainLetsOpenSegmentsEnd) {
  OpenStream open(*stub_, {Config(1), Text("one two three four ")});
  ASSERT_TRUE(open.ReadUntil(IsTarget));
  OpenStream idle(*stub_, {Config()});
  ASSERT_TRUE(idle.ReadUntil(IsStarted));
  std::thread shutdown([&] { server_->Shutdown(SteadyNow() + absl::Seconds(20)); });
  ASSERT_TRUE(open.ReadUntil([](const Response& response) { return response.has_going_away(); }));
  EXPECT_EQ(open.last.going_away().reason(), v1::GOING_AWAY_REASON_DRAINING);
  EXPECT_EQ(Reason(idle.Finish()), "DRAINING");
  std::string health;
  ASSERT_TRUE(CallRaw("/grpc.health.v1.Health/Check", "", &health).ok());
  EXPECT_EQ(health, "\x08\x02");  // NOT_SERVING
  OpenStream late(*stub_, {});
  const grpc::Status refused = late.Finish();
  EXPECT_EQ(Reason(refused), "DRAINING");
  EXPECT_GT(RetryDelay(refused), absl::ZeroDuration());
  open.stream->Write(Text("five six seven"));
  open.stream->Write(EndSegment());
  const grpc::Status status = open.Finish();
  shutdown.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Reason(status), "DRAINING");
  EXPECT_EQ(open.completed.size(), 1u);
  EXPECT_EQ(open.completed[0], open.text);
}

TEST_F(ServerTest, ForceEndsADrain) {
  OpenStream open(*stub_, {Config(1), Text("one two three four ")});
  ASSERT_TRUE(open.ReadUntil(IsTarget));
  const SteadyTime start = SteadyNow();
  std::thread shutdown([&] { server_->Shutdown(start + absl::Minutes(2)); });
  ASSERT_TRUE(open.ReadUntil([](const Response& response) { return response.has_going_away(); }));
  server_->Force();
  EXPECT_EQ(Reason(open.Finish()), "DRAINING");
  shutdown.join();
  EXPECT_LT(SteadyNow() - start, absl::Seconds(20));
}

// A session can be cut at any token of any segment. It goes on, on another server with the same
// key, and no character is lost, doubled or changed.
TEST_F(ServerTest, ResumesAtAnyToken) {
  const std::string key = testing::TempDir() + "/resume_key";
  std::ofstream(key) << "0123456789abcdef0123456789abcdef\n";
  ServerOptions options;
  options.resume_key_file = key;
  Start({FakeModel()}, options);
  options.listen = "127.0.0.1:0";
  auto second = Server::Start(options, {FakeModel()});
  ASSERT_TRUE(second.ok()) << second.status();
  auto stub = v1::SimultaneousTranslationService::NewStub(grpc::CreateChannel(
      absl::StrCat("127.0.0.1:", (*second)->port()), grpc::InsecureChannelCredentials()));
  Request config = Config(2);
  config.mutable_config()->mutable_output()->set_token_details(true);
  const std::vector<std::string> segments = {"it was a dark night", kText};
  OpenStream whole(*stub_, {config, Text(segments[0], 1), EndSegment(), Text(segments[1], 2)});
  whole.stream->WritesDone();
  ASSERT_TRUE(whole.Finish().ok());
  ASSERT_EQ(whole.completed.size(), 2u);
  int64_t cuts = 0;
  const int64_t tokens = whole.last.summary().target_tokens();
  for (int64_t cut = 1; cut <= tokens; ++cut) {
    OpenStream first(*stub_, {config, Text(segments[0], 1), EndSegment(), Text(segments[1], 2)});
    first.stream->WritesDone();
    std::vector<std::string> shown(3);
    std::vector<int> ids, source_read;
    const bool says_source_read = cut % 2 == 0;
    v1::ResumePoint point;
    int64_t read = 0;
    int64_t segment = 1;
    ASSERT_TRUE(first.ReadUntil([&](const Response& response) {
      if (response.has_resume_point()) point = response.resume_point();
      if (!response.has_target()) return false;
      if (response.target().segment() != segment) {
        ids.clear();
        source_read.clear();
      }
      segment = response.target().segment();
      if (response.target().tokens_size() > 0) shown[segment] += response.target().text();
      for (const auto& token : response.target().tokens()) {
        ids.push_back(token.id());
        if (says_source_read) source_read.push_back(token.source_tokens_read());
      }
      read += response.target().tokens_size();
      return read >= cut;
    }));
    first.context.TryCancel();
    if (point.segment() != segment) continue;  // The cut is at a segment's end.
    ++cuts;
    Request resume = config;
    v1::ResumeRequest& request = *resume.mutable_config()->mutable_resume();
    request.set_session_id(first.started.session_id());
    request.set_resume_token(point.resume_token());
    request.set_next_source_sequence(point.consumed_source_sequence() + 1);
    for (const int id : ids) request.mutable_committed_target()->add_ids(id);
    for (const int n : source_read) request.add_committed_source_tokens_read(n);
    EXPECT_EQ(point.consumed_source_sequence(), segment - 1);
    std::vector<Request> requests = {resume};
    for (int64_t i = segment; i <= 2; ++i) {
      requests.push_back(Text(segments[i - 1], i));
      requests.push_back(EndSegment());
    }
    OpenStream rest(*stub, requests);
    rest.stream->WritesDone();
    std::vector<std::string> completed;
    while (rest.ReadUntil([](const Response&) { return true; })) {
      if (rest.last.has_target()) shown[rest.last.target().segment()] += rest.last.target().text();
      if (rest.last.has_segment_completed()) {
        EXPECT_EQ(rest.last.segment_completed().text(),
                  whole.completed[rest.last.segment_completed().segment() - 1]);
      }
    }
    const grpc::Status status = rest.stream->Finish();
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_TRUE(rest.started.resumed());
    EXPECT_EQ(rest.started.session_id(), first.started.session_id());
    EXPECT_EQ(rest.last.summary().segments(), 2);
    for (int64_t i = segment; i <= 2; ++i) EXPECT_EQ(shown[i], whole.completed[i - 1]) << cut;
  }
  EXPECT_GT(cuts, 5);
}

TEST_F(ServerTest, ForgedAndForeignResumesAreRefused) {
  FakeModelOptions other;
  other.name = "other";
  other.target_language = "fr";
  other.checksum = "0ther";
  Start({FakeModel(), FakeModel(other)});
  Request config = Config(2);
  config.mutable_config()->set_model("fake-en-de");
  OpenStream first(*stub_, {config, Text("one two", 1), EndSegment()});
  ASSERT_TRUE(
      first.ReadUntil([](const Response& response) { return response.has_segment_completed(); }));
  v1::ResumeRequest& resume = *config.mutable_config()->mutable_resume();
  resume.set_session_id(first.started.session_id());
  resume.set_resume_token(first.point.resume_token());
  resume.set_next_source_sequence(2);
  const Request good = config;
  const auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  const auto kFailed = grpc::StatusCode::FAILED_PRECONDITION;
  for (size_t i = 0; i < resume.resume_token().size(); i += 7) {
    Request forged = good;
    (*forged.mutable_config()->mutable_resume()->mutable_resume_token())[i] ^= 1;
    ExpectError({forged}, kInvalid, "RESUME_TOKEN_INVALID");
  }
  resume.set_session_id(std::string(32, '0'));
  ExpectError({config}, kInvalid, "RESUME_TOKEN_INVALID");
  config = good;
  config.mutable_config()->set_model("other");
  ExpectError({config}, kFailed, "RESUME_MODEL_MISMATCH");
  config = good;
  config.mutable_config()->mutable_policy()->mutable_wait_k()->set_k(5);
  ExpectError({config}, kFailed, "RESUME_CONFIG_MISMATCH");
  config = good;
  config.mutable_config()->mutable_resume()->set_next_source_sequence(0);
  ExpectError({config}, kInvalid, "SEQUENCE_MISMATCH");
  config = good;
  config.mutable_config()->mutable_resume()->mutable_committed_target()->add_ids(1 << 30);
  ExpectError({config}, kInvalid, "RESUME_TARGET_INVALID");
  config.mutable_config()->mutable_resume()->mutable_committed_target()->set_ids(0, 5);
  ExpectError({config, Text(" ", 2)}, kInvalid, "RESUME_TARGET_INVALID");
  // This is an error since k is 2.
  config.mutable_config()->mutable_resume()->add_committed_source_tokens_read(1);
  ExpectError({config, Text("three four ", 2)}, kInvalid, "RESUME_TARGET_INVALID");
  config.mutable_config()->mutable_resume()->add_committed_source_tokens_read(2);
  ExpectError({config}, kInvalid, "RESUME_TARGET_INVALID");

  // A second stream takes the session over.
  OpenStream second(*stub_, {good, Text("three four", 2), EndSegment()});
  grpc::Status status = first.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Reason(status), "SUPERSEDED");
  ASSERT_TRUE(
      second.ReadUntil([](const Response& response) { return response.has_segment_completed(); }));
  EXPECT_EQ(second.last.segment_completed().segment(), 2);
  second.context.TryCancel();
  second.Finish();
  ExpectError({Config()}, kInvalid, "MODEL_AMBIGUOUS");
}

TEST_F(ServerTest, AStaleResumeIsRefusedAndAFreshPointIsSent) {
  ServerOptions options;
  options.resume_lifetime = absl::Seconds(1);
  Start({FakeModel()}, options);
  Request config = Config(2);
  OpenStream stream(*stub_, {config, Text("one two", 1), EndSegment()});
  ASSERT_TRUE(
      stream.ReadUntil([](const Response& response) { return response.has_segment_completed(); }));
  v1::ResumeRequest& resume = *config.mutable_config()->mutable_resume();
  resume.set_session_id(stream.started.session_id());
  resume.set_resume_token(stream.point.resume_token());
  resume.set_next_source_sequence(2);
  const absl::Time stale = absl::Now() + options.resume_lifetime;  // The token is stale by then.
  ASSERT_TRUE(
      stream.ReadUntil([](const Response& response) { return response.has_resume_point(); }));
  EXPECT_NE(stream.point.resume_token(), resume.resume_token());
  EXPECT_EQ(stream.point.segment(), 2);
  absl::SleepFor(stale - absl::Now() + absl::Milliseconds(1));
  ExpectError({config}, grpc::StatusCode::FAILED_PRECONDITION, "RESUME_TOKEN_EXPIRED");
  stream.context.TryCancel();
  stream.Finish();
}

TEST(ServerStartTest, RefusesWhatCannotBe) {
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  EXPECT_EQ(Server::Start(options, {}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Server::Start(options, {FakeModel(), FakeModel()}).status().code(),
            absl::StatusCode::kInvalidArgument);
  auto first = Server::Start(options, {FakeModel()});
  ASSERT_TRUE(first.ok());
  options.listen = absl::StrCat("127.0.0.1:", (*first)->port());
  EXPECT_EQ(Server::Start(options, {FakeModel()}).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace leapstream
