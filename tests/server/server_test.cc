// Translations, errors and ends of a stream.
#include "server/server.h"

#include <functional>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "tests/server/server_fixture.h"

namespace leapstream {
namespace {

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

// A model names the policies that it takes; a session may ask for these, and for no others.
TEST_F(ServerTest, PoliciesOfAModelAreThoseOfItsSessions) {
  Start({FakeModel()});
  grpc::ClientContext context;
  v1::ListModelsResponse listed;
  ASSERT_TRUE(stub_->ListModels(&context, {}, &listed).ok());
  const std::set<std::string> taken(listed.models(0).policies().begin(),
                                    listed.models(0).policies().end());
  EXPECT_THAT(taken, testing::Contains("local_agreement"));
  EXPECT_THAT(taken, testing::Not(testing::Contains("learned")));
  const auto* const kinds = v1::DecodingPolicy::descriptor()->FindOneofByName("policy");
  for (int i = 0; i < kinds->field_count(); ++i) {
    SCOPED_TRACE(kinds->field(i)->name());
    Request config = Config();
    v1::DecodingPolicy& policy = *config.mutable_config()->mutable_policy();
    policy.GetReflection()->MutableMessage(&policy, kinds->field(i));
    if (policy.has_wait_k()) policy.mutable_wait_k()->set_k(2);
    if (taken.count(kinds->field(i)->name()) == 0) {
      ExpectError({config}, grpc::StatusCode::INVALID_ARGUMENT, "INVALID_POLICY");
      continue;
    }
    const Result result = Run({config, Text(kText), EndSegment()});
    ASSERT_TRUE(result.status.ok()) << result.status.error_message();
    const v1::DecodingPolicy& applied =
        result.responses.front().started().effective_config().policy();
    EXPECT_EQ(applied.policy_case(), policy.policy_case());
    EXPECT_EQ(result.segments.size(), 1u);
  }
  const auto refused = [](const std::function<void(v1::DecodingPolicy&)>& set) {
    Request config = Config();
    set(*config.mutable_config()->mutable_policy());
    return config;
  };
  const auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  ExpectError({refused([](auto& p) { p.mutable_local_agreement()->set_n(1); })}, kInvalid,
              "INVALID_POLICY", "must be in [2, 16], got 1");
  ExpectError({refused([](auto& p) { p.mutable_hold_n()->set_max_lag(-2); })}, kInvalid,
              "INVALID_POLICY", "got -2");
  ExpectError({refused([](auto& p) { p.mutable_adaptive_wait_k()->set_min_k_threshold(1.5); })},
              kInvalid, "INVALID_POLICY", "probability, got 1.5");
  ExpectError({refused([](auto& p) { p.set_read_words(-1); })}, kInvalid, "INVALID_POLICY", "-1");
  ExpectError({refused([](auto& p) { p.set_past(v1::PAST_REFRESHED); })}, kInvalid,
              "INVALID_POLICY", "bidirectional");
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
  request.mutable_policy()->mutable_offline();
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
