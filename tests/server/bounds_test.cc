// Bounds on the cost of one call, and the place that a resume takes: real calls on loopback, with a
// fake model.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/budget.h"
#include "base/clock.h"
#include "server/resume_token.h"
#include "server/server.h"
#include "server/token_file.h"
#include "tests/end_to_end/plain_connections.h"
#include "tests/server/raw_stream.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

constexpr char kService[] = "/leapstream.v1.SimultaneousTranslationService/";

class BoundsTest : public testing::Test {
 protected:
  void Start(ServerOptions options = {}, const FakeModelOptions& model = {}) {
    Start(std::move(options), FakeModel(model));
  }
  void Start(ServerOptions options, std::shared_ptr<const Model> model) {
    spdlog::set_level(spdlog::level::off);
    server_.reset();
    options.listen = "127.0.0.1:0";
    auto server = Server::Start(options, {std::move(model)});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = ConnectWithSmallWindow(server_->port());
    stub_ = v1::SimultaneousTranslationService::NewStub(channel_);
  }
  // Makes tokens for alice and bob. A server with the returned options wants a token for each call.
  ServerOptions WithTokens(ServerOptions options) {
    options.auth_tokens_file = testing::TempDir() + "/bounds_test_tokens";
    std::ofstream file(options.auth_tokens_file);
    for (const char* name : {"alice", "bob"}) {
      tokens_[name] = TokenFile::NewToken();
      file << *TokenFile::Entry(name, tokens_[name]) << "\n";
    }
    return options;
  }
  // Opens a stream with the token of `name`, or without a token if the name is empty.
  std::unique_ptr<OpenStream> Open(const std::string& name, const std::vector<Request>& requests) {
    return std::make_unique<OpenStream>(*stub_, requests, [&](grpc::ClientContext* context) {
      if (!name.empty()) {
        context->AddMetadata("authorization", absl::StrCat("Bearer ", tokens_[name]));
      }
    });
  }
  grpc::Status Translate(const std::string& text, std::string* translation = nullptr) {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::TranslateRequest request;
    request.set_text(text);
    v1::TranslateResponse response;
    const grpc::Status status = stub_->Translate(&context, request, &response);
    if (translation != nullptr) *translation = response.text();
    return status;
  }
  // Returns a config that resumes after the last resume point of `stream`.
  static Request Resume(const OpenStream& stream) {
    Request resume = Config(2);
    v1::ResumeRequest& request = *resume.mutable_config()->mutable_resume();
    request.set_session_id(stream.started.session_id());
    request.set_resume_token(stream.point.resume_token());
    request.set_next_source_sequence(stream.point.consumed_source_sequence() + 1);
    return resume;
  }
  // Opens a stream and completes one segment.
  std::unique_ptr<OpenStream> WithASegment(const std::string& name) {
    auto stream = Open(name, {Config(2), Text("one two", 1), EndSegment()});
    EXPECT_TRUE(stream->ReadUntil([](const Response& r) { return r.has_segment_completed(); }));
    return stream;
  }

  std::map<std::string, std::string> tokens_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::SimultaneousTranslationService::Stub> stub_;
};

TEST_F(BoundsTest, CompressedCallsAreNotTaken) {
  Start();
  for (const grpc_compression_algorithm algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    for (const std::string& method :
         {absl::StrCat(kService, "Translate"), absl::StrCat(kService, "ListModels"),
          absl::StrCat(kService, "StreamTranslate"), std::string("/grpc.health.v1.Health/Check"),
          std::string("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")}) {
      grpc::ClientContext context;
      SetDeadline(&context);
      context.set_compression_algorithm(algorithm);
      const auto stream = OpenRaw(channel_.get(), &context, method.c_str());
      stream->Write(Bytes(std::string(100000, 'a')));
      stream->WritesDone();
      const grpc::Status status = stream->Finish();
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << method;
      EXPECT_THAT(status.error_message(), HasSubstr("is disabled")) << method;
    }
  }
  // A call that is not compressed is served on the same connection.
  EXPECT_TRUE(Translate("hello there").ok());
}

// gRPC ends all calls of a connection with headers over its limit. Below that limit, only the one
// call ends.
TEST_F(BoundsTest, HeadersThatProxiesPassEndNoOtherCall) {
  Start(WithTokens({}));
  auto neighbour = Open("alice", {Config(2), Text("one two", 1)});
  ASSERT_TRUE(neighbour->ReadUntil(IsStarted));
  for (const size_t bytes : {9000, 20000, 61440, 100000}) {
    for (const size_t each : {size_t{4000}, bytes}) {
      grpc::ClientContext context;
      SetDeadline(&context);
      for (size_t left = bytes, i = 0; left > 0; ++i) {
        const size_t size = std::min(left, each);
        context.AddMetadata(absl::StrCat("h", i), std::string(size, 'x'));
        left -= size;
      }
      v1::ListModelsResponse models;
      EXPECT_EQ(Reason(stub_->ListModels(&context, {}, &models)), "TOKEN_MISSING") << bytes;
    }
  }
  neighbour->stream->WritesDone();
  EXPECT_TRUE(neighbour->Finish().ok());
}

// gRPC takes a message as a whole before it looks at the size. Only the bytes that gRPC may hold
// for all calls bound a message.
void ExpectGivenUp(int port, const char* method, size_t bytes) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto attacker = grpc::CreateCustomChannel(
      absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials(), arguments);
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = OpenRaw(attacker.get(), &context, method);
  stream->Write(Bytes(std::string(bytes, 'a')));
  const grpc::Status status = stream->Finish();
  EXPECT_FALSE(status.ok());
  // The message was not taken as a whole; otherwise this text would be there.
  EXPECT_THAT(status.error_message(), ::testing::Not(HasSubstr("larger than max"))) << method;
}

TEST_F(BoundsTest, MessagesWithoutEndAreGivenUp) {
  ServerOptions options;
  options.buffer_bytes = 8 << 20;
  Start(options);
  for (const char* method : {"/grpc.health.v1.Health/Check",
                             "/leapstream.v1.SimultaneousTranslationService/Translate"}) {
    ExpectGivenUp(server_->port(), method, 100 << 20);
  }
  EXPECT_TRUE(Translate("hello there").ok());
}

// The bound of the admin port is no setting.
TEST_F(BoundsTest, TheAdminPortGivesMessagesWithoutEndUpToo) {
  ServerOptions options;
  options.admin_listen = "127.0.0.1:0";
  Start(options);
  constexpr char kList[] = "/leapstream.admin.v1.AdminService/ListSessions";
  ExpectGivenUp(server_->admin_port(), kList, 3 * budget::kLeastBufferBytes);
  grpc::ClientContext context;
  SetDeadline(&context);
  std::string answer;
  const grpc::Status status = CallRaw(ConnectWithSmallWindow(server_->admin_port()).get(),
                                      &context, kList, "", &answer);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(BoundsTest, TranslateIsOneMessageEachWay) {
  ServerOptions options;
  options.max_sessions = 1;
  options.limits.config_timeout = absl::Milliseconds(200);
  Start(options);
  for (const char* method : {"Translate", "ListModels"}) {
    SCOPED_TRACE(method);
    const std::string name = absl::StrCat(kService, method);
    {
      grpc::ClientContext context;
      SetDeadline(&context);
      const auto silent = OpenRaw(channel_.get(), &context, name.c_str());
      const grpc::Status status = silent->Finish();
      EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
      EXPECT_EQ(Reason(status), "CONFIG_TIMEOUT");
    }
    {
      grpc::ClientContext context;
      SetDeadline(&context);
      const auto empty = OpenRaw(channel_.get(), &context, name.c_str());
      empty->WritesDone();
      EXPECT_EQ(Reason(empty->Finish()), "MALFORMED_MESSAGE");
    }
    {
      grpc::ClientContext context;
      SetDeadline(&context);
      const auto wrong = OpenRaw(channel_.get(), &context, name.c_str());
      wrong->Write(Bytes("\xff\xff"));
      EXPECT_EQ(Reason(wrong->Finish()), "MALFORMED_MESSAGE");
    }
    {
      grpc::ClientContext context;
      SetDeadline(&context);
      const auto gone = OpenRaw(channel_.get(), &context, name.c_str());
      context.TryCancel();
      EXPECT_EQ(gone->Finish().error_code(), grpc::StatusCode::CANCELLED);
    }
  }
  // No call has kept the one permit.
  grpc::Status status;
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  do {
    status = Translate("hello there");
  } while (Reason(status) == "SERVER_FULL" && absl::Now() < deadline);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(BoundsTest, TranslateTakesLinesAsThereIsRoom) {
  ServerOptions options;
  options.limits.max_queued_bytes = 1;  // The inbox holds one input.
  options.limits.max_chunk_bytes = 64;  // Lines are pushed in parts.
  Start();
  std::string text = "a first line\n\n\n";
  for (int i = 0; i < 300; ++i) text += absl::StrCat("line ", i, " of many\n");
  for (int i = 0; i < 40; ++i) text += "one long line, und ein \u00e4\u00f6\u00fc dazu, ";
  std::string expected, translation;
  ASSERT_TRUE(Translate(text, &expected).ok());
  const std::vector<std::string> lines = absl::StrSplit(expected, '\n');
  EXPECT_EQ(lines.size(), 304u);
  Start(options);
  const grpc::Status status = Translate(text, &translation);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(translation, expected);
}

TEST_F(BoundsTest, ATextHasSoManyLines) {
  Start();
  std::string translation;
  const std::string most(budget::kTranslateLines - 1, '\n');
  EXPECT_TRUE(Translate(most, &translation).ok());
  EXPECT_EQ(translation, most);
  const grpc::Status status = Translate(most + "\n");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Reason(status), "TOO_MANY_LINES");
}

// A model whose translation of each line is one piece of so many bytes.
std::shared_ptr<const Model> ModelOfLongPieces(int bytes) {
  FakeModelOptions options;
  options.ends_after = 1;
  const auto model = std::const_pointer_cast<Model>(FakeModel(options));
  std::string dictionary;
  for (int id = kUnknown + 1; id < model->target_vocabulary.size(); ++id) {
    const std::string number = absl::StrCat(id);
    absl::StrAppend(&dictionary, std::string(bytes - number.size(), 'x'), number, " 1\n");
  }
  model->target_vocabulary = *Vocabulary::Parse(dictionary, "long pieces");
  return model;
}

TEST_F(BoundsTest, ATranslationHasSoManyBytes) {
  constexpr size_t kLine = 4096;  // With its line feed.
  constexpr size_t kMostLines = budget::kTranslationBytes / kLine;
  Start({}, ModelOfLongPieces(kLine - 1));
  std::string text = "a";
  for (size_t line = 1; line < kMostLines; ++line) text += "\na";
  std::string translation;
  grpc::Status status = Translate(text, &translation);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(translation.size(), kMostLines * kLine - 1);
  status = Translate(text + "\na", &translation);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_EQ(Reason(status), "TEXT_TOO_LONG");
  EXPECT_THAT(status.error_message(), HasSubstr(absl::StrCat(budget::kTranslationBytes, " bytes")));
  EXPECT_TRUE(Translate("a", &translation).ok());
  EXPECT_EQ(translation.size(), kLine - 1);
}

TEST_F(BoundsTest, TranslateLastsNoLongerThanASession) {
  ServerOptions options;
  options.max_sessions = 1;
  options.limits.max_session_duration = absl::Milliseconds(300);
  FakeModelOptions slow;
  slow.step_delay = absl::Milliseconds(20);
  Start(options, slow);
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "some words and more words\n";
  const grpc::Status status = Translate(text);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED) << status.error_message();
  EXPECT_EQ(Reason(status), "MAX_DURATION");
  EXPECT_TRUE(Translate("").ok()) << "its permit is expected to be free before it is told";
}

TEST_F(BoundsTest, ADeadlineAndACancelEndATranslate) {
  ServerOptions options;
  options.max_sessions = 1;
  FakeModelOptions slow;
  slow.step_delay = absl::Milliseconds(20);
  Start(options, slow);
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "some words and more words\n";
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(200)));
  v1::TranslateRequest request;
  request.set_text(text);
  v1::TranslateResponse response;
  EXPECT_EQ(stub_->Translate(&context, request, &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  bool served = false;
  while (!served && absl::Now() < deadline) served = Translate("").ok();
  EXPECT_TRUE(served) << "its permit is expected to be free soon";
}

class TextBoundsTest : public BoundsTest {
 protected:
  // A call of Translate whose answer nobody waits for.
  struct Begun {
    grpc::ClientContext context;
    std::unique_ptr<RawStream> stream;
  };
  std::unique_ptr<Begun> Begin(const std::string& text) {
    auto begun = std::make_unique<Begun>();
    SetDeadline(&begun->context);
    begun->stream =
        OpenRaw(channel_.get(), &begun->context, absl::StrCat(kService, "Translate").c_str());
    v1::TranslateRequest request;
    request.set_text(text);
    begun->stream->Write(Bytes(request.SerializeAsString()));
    begun->stream->WritesDone();
    return begun;
  }
  // A text of about so many bytes. The slow model needs long for it.
  static std::string Long(size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += "some words and more words\n";
    return text;
  }
  static FakeModelOptions Slow() {
    FakeModelOptions slow;
    slow.step_delay = absl::Milliseconds(20);
    return slow;
  }
};

TEST_F(TextBoundsTest, TheTextsOfAllCallsHaveABudget) {
  ServerOptions options;
  options.text_bytes = 1 << 20;
  Start(options, Slow());
  const std::string text = Long(300 << 10);  // It counts three times.
  auto first = Begin(text);
  bool refused = false;  // Becomes true as soon as the first call is in.
  for (const absl::Time deadline = absl::Now() + absl::Seconds(20); absl::Now() < deadline;) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(500)));
    v1::TranslateRequest request;
    request.set_text(text);
    v1::TranslateResponse response;
    const grpc::Status status = stub_->Translate(&context, request, &response);
    refused = status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED;
    if (!refused) continue;
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(Reason(status), "SERVER_FULL") << status.error_message();
    EXPECT_EQ(RetryDelay(status), absl::Seconds(1));
    EXPECT_THAT(status.error_message(), HasSubstr("1048576 bytes"));
    break;
  }
  EXPECT_TRUE(refused);
  // There is room for a small text now, and for a large one when the first call has gone.
  EXPECT_TRUE(Translate("hello").ok());
  first->context.TryCancel();
  first->stream->Finish();
  grpc::StatusCode code = grpc::StatusCode::UNAVAILABLE;
  for (const absl::Time deadline = absl::Now() + absl::Seconds(20);
       code == grpc::StatusCode::UNAVAILABLE && absl::Now() < deadline;) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(500)));
    v1::TranslateRequest request;
    request.set_text(text);
    v1::TranslateResponse response;
    code = stub_->Translate(&context, request, &response).error_code();
  }
  EXPECT_EQ(code, grpc::StatusCode::DEADLINE_EXCEEDED) << "it is in";
}

// A short text may have a long translation, which counts as it grows.
TEST_F(TextBoundsTest, TranslationsCountAsTheyGrow) {
  ServerOptions options;
  options.text_bytes = 64 << 10;
  FakeModelOptions chinese;
  chinese.target_language = "zh";  // Three bytes for a letter.
  Start(options, chinese);
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "a b c d\n";
  ASSERT_LT(text.size() * budget::kBytesPerTextByte, 64U << 10);
  std::string translation;
  const grpc::Status status = Translate(text, &translation);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << translation.size();
  EXPECT_EQ(Reason(status), "SERVER_FULL");
  options.text_bytes = 1 << 20;
  Start(options, chinese);
  EXPECT_TRUE(Translate(text, &translation).ok());
  EXPECT_GT(translation.size(), 20U << 10);
  EXPECT_TRUE(Translate(text, &translation).ok()) << "what the first had is given back";
}

// A config may be large: it has the target tokens of a resume, which the session keeps until it has
// their source.
TEST_F(TextBoundsTest, AConfigIsBoundedAndCounts) {
  ServerOptions options;
  options.text_bytes = 1 << 20;
  Start(options);
  Request config = Config(2);
  v1::ResumeRequest& resume = *config.mutable_config()->mutable_resume();
  for (int i = 0; i < 200000; ++i) resume.mutable_committed_target()->add_ids(5);
  const grpc::Status status = Open("", {config})->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
  EXPECT_EQ(Reason(status), "SERVER_FULL");
  EXPECT_EQ(RetryDelay(status), absl::Seconds(1));
  auto stream = WithASegment("");
  stream->stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

// If a permit came free before the output is taken, one client could have far more streams than
// permits, each with all the output that it may leave unread.
TEST_F(BoundsTest, APermitLastsUntilTheOutputIsTaken) {
  ServerOptions options;
  options.max_sessions = 1;
  Start(options);
  std::string text;
  for (int i = 0; i < 1200; ++i) text += "word ";
  auto unread = Open("", {Config(2), Text(text), EndSegment()});
  unread->stream->WritesDone();
  const auto other = v1::SimultaneousTranslationService::NewStub(
      ConnectWithSmallWindow(server_->port()));
  for (const absl::Time end = absl::Now() + absl::Seconds(2); absl::Now() < end;) {
    OpenStream next(*other, {Config(2)});
    next.stream->WritesDone();
    EXPECT_EQ(Reason(next.Finish()), "SERVER_FULL");
    absl::SleepFor(absl::Milliseconds(50));
  }
  EXPECT_TRUE(unread->Finish().ok());
  EXPECT_GT(unread->text.size(), 1000U);
  EXPECT_TRUE(Open("", {Config(2)})->ReadUntil(IsStarted)) << "it is free before that is told";
}

TEST_F(BoundsTest, AConnectionWithoutCallsIsClosedAndOneWithACallIsNot) {
  ServerOptions options;
  options.idle_connection = absl::Seconds(1);
  Start(options);
  auto open = Open("", {Config(2)});
  ASSERT_TRUE(open->ReadUntil(IsStarted));
  PlainConnections stranger(server_->port());
  const absl::Time start = absl::Now();
  const std::string preface("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
  ASSERT_NO_FATAL_FAILURE(stranger.Open(1, preface));
  EXPECT_TRUE(stranger.LastIsClosed());
  EXPECT_LT(absl::Now() - start, absl::Seconds(30));
  absl::SleepFor(absl::Seconds(2));
  open->stream->Write(Text("one two", 1));
  open->stream->WritesDone();
  const grpc::Status status = open->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

int Threads() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (absl::StartsWith(line, "Threads:")) return std::atoi(line.c_str() + 8);
  }
  return -1;
}

// gRPC has a thread for each call of reflection, and asks nobody for a token.
TEST_F(BoundsTest, ReflectionHasSoManyThreadsAndNoMore) {
  Start(WithTokens({}));
  auto alice = WithASegment("alice");
  const int before = Threads();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<RawStream>> streams;
  for (int i = 0; i < 4 * budget::kCallThreads; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    SetDeadline(contexts.back().get());
    streams.push_back(OpenRaw(channel_.get(), contexts.back().get(),
                              "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"));
    streams.back()->Write(Bytes(std::string("\x3a\0", 2)));  // list_services
  }
  int answered = 0;
  for (const auto& stream : streams) {
    grpc::ByteBuffer answer;
    if (stream->Read(&answer)) {
      ++answered;
    } else {
      EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    }
  }
  // gRPC has pollers of its own beside these threads, and one that ends may still be counted.
  const int most = budget::kCallThreads + static_cast<int>(std::thread::hardware_concurrency()) + 8;
  EXPECT_GT(answered, budget::kCallThreads / 2);
  EXPECT_LE(answered, most);
  EXPECT_LE(Threads() - before, most);
  // Calls of others do not wait for these threads.
  EXPECT_NE(WithASegment("bob"), nullptr);
  for (const auto& context : contexts) context->TryCancel();
}

// The server believes that the old call is alive, as after a reset that only the client saw.
TEST_F(BoundsTest, AResumeTakesThePlaceOfItsSessionsCall) {
  ServerOptions options;
  options.max_sessions = 2;
  options.max_sessions_per_principal = 1;
  Start(WithTokens(options));
  auto alice = WithASegment("alice"), bob = WithASegment("bob");
  // Both limits are reached. A call that is no resume is refused, and nobody takes another's place.
  EXPECT_EQ(Reason(Open("alice", {Config(2)})->Finish()), "SERVER_FULL");
  EXPECT_EQ(Reason(Open("bob", {Resume(*alice)})->Finish()), "SERVER_FULL");
  Request forged = Resume(*alice);
  forged.mutable_config()->mutable_resume()->mutable_resume_token()->back() ^= 1;
  EXPECT_EQ(Reason(Open("alice", {forged})->Finish()), "SERVER_FULL");
  EXPECT_EQ(Reason(Open("alice", {})->Finish()), "SERVER_FULL") << "says nothing";
  // Each resume takes the place of the one before, over and over.
  for (int i = 0; i < 5; ++i) {
    auto next = Open("alice", {Resume(*alice)});
    ASSERT_TRUE(next->ReadUntil([](const Response& r) { return r.has_resume_point(); }))
        << next->Finish().error_message();
    EXPECT_TRUE(next->started.resumed());
    const grpc::Status status = alice->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
    EXPECT_EQ(Reason(status), "SUPERSEDED");
    alice = std::move(next);
  }
  // One of two resumes at once has the session in the end.
  const Request resume = Resume(*alice);
  auto one = Open("alice", {resume}), two = Open("alice", {resume});
  EXPECT_EQ(Reason(alice->Finish()), "SUPERSEDED");
  one->stream->WritesDone();
  two->stream->WritesDone();
  const grpc::Status first = one->Finish(), second = two->Finish();
  EXPECT_TRUE(first.ok() || second.ok()) << first.error_message() << second.error_message();
  bob->stream->WritesDone();
  EXPECT_TRUE(bob->Finish().ok());
  // The number of permits is unchanged.
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  for (int i = 0; i < 3; ++i) {
    bool served = false;
    while (!served && absl::Now() < deadline) {
      auto a = Open("alice", {Config()}), b = Open("bob", {Config()});
      served = a->ReadUntil(IsStarted) && b->ReadUntil(IsStarted);
      EXPECT_TRUE(!served || Reason(Open("alice", {Config()})->Finish()) == "SERVER_FULL");
      a->stream->WritesDone();
      b->stream->WritesDone();
      a->Finish();
      b->Finish();
    }
    EXPECT_TRUE(served);
  }
}

// Under TSan this finds races between the thread that opens a resumed session and one that ends the
// call meanwhile.
TEST_F(BoundsTest, AResumeThatIsCancelledWhileItOpensSharesNothing) {
  Start();
  auto stream = WithASegment("");
  const Request resume = Resume(*stream);
  for (int i = 0; i < 200; ++i) {
    auto next = Open("", {resume});
    if (i % 2 == 0) absl::SleepFor(absl::Microseconds(10 * i));
    next->context.TryCancel();
    EXPECT_FALSE(next->Finish().ok());
  }
  auto last = Open("", {resume});
  last->stream->WritesDone();
  EXPECT_TRUE(last->Finish().ok());
}

TEST_F(BoundsTest, AQuotaAloneLetsAResumeIn) {
  ServerOptions options;
  options.max_sessions = 10;
  options.max_sessions_per_principal = 1;
  Start(WithTokens(options));
  auto alice = WithASegment("alice");
  EXPECT_EQ(Reason(Open("alice", {Config(2)})->Finish()), "QUOTA_EXCEEDED");
  auto next = Open("alice", {Resume(*alice)});
  EXPECT_TRUE(next->ReadUntil(IsStarted));
  EXPECT_EQ(Reason(alice->Finish()), "SUPERSEDED");
  next->stream->WritesDone();
  EXPECT_TRUE(next->Finish().ok());
}

TEST_F(BoundsTest, AFullServerLetsAResumeOfNobodyIn) {
  ServerOptions options;
  options.max_sessions = 1;
  Start(options);
  auto stream = WithASegment("");
  auto next = Open("", {Resume(*stream)});
  EXPECT_TRUE(next->ReadUntil(IsStarted));
  EXPECT_EQ(Reason(stream->Finish()), "SUPERSEDED");
}

TEST_F(BoundsTest, ATokenIsGoodForItsPrincipalAlone) {
  Start(WithTokens({}));
  auto alice = WithASegment("alice");
  const grpc::Status status = Open("bob", {Resume(*alice)})->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Reason(status), "RESUME_TOKEN_INVALID");
  EXPECT_THAT(status.error_message(), HasSubstr("was not given to this principal"));
  alice->stream->WritesDone();
  EXPECT_TRUE(alice->Finish().ok()) << "it is expected to be untouched";
}

TEST_F(BoundsTest, AResumeBeginsAfterWhatIsConsumed) {
  Start();
  auto stream = WithASegment("");
  EXPECT_EQ(stream->point.consumed_source_sequence(), 1);
  for (const int64_t next : {-1, 0, 1}) {
    Request resume = Resume(*stream);
    resume.mutable_config()->mutable_resume()->set_next_source_sequence(next);
    EXPECT_EQ(Reason(Open("", {resume})->Finish()), "SEQUENCE_MISMATCH") << next;
  }
  // The rest of a segment whose translation was complete before its end is not sent again.
  Request later = Resume(*stream);
  later.mutable_config()->mutable_resume()->set_next_source_sequence(5);
  EXPECT_TRUE(Open("", {later})->ReadUntil(IsStarted));
}

TEST_F(BoundsTest, TotalsSurviveAResume) {
  FakeModelOptions speech;
  speech.speech = true;
  Start({}, speech);
  Request config = Config(2);
  config.mutable_config()->mutable_output()->set_segment_stats(true);
  Request audio;
  audio.mutable_source()->set_audio(std::string(32000, '\1'));  // A second of audio.
  audio.mutable_source()->set_sequence(1);
  auto stream = Open("", {config, audio, EndSegment()});
  ASSERT_TRUE(stream->ReadUntil([](const Response& r) { return r.has_segment_completed(); }));
  const v1::SegmentStats stats = stream->last.segment_completed().stats();
  EXPECT_GT(stats.source_audio_ms(), 0);
  Request resume = config;
  *resume.mutable_config()->mutable_resume() = Resume(*stream).config().resume();
  auto rest = Open("", {resume});
  rest->stream->WritesDone();
  ASSERT_TRUE(rest->Finish().ok());
  const v1::SegmentStats& totals = rest->last.summary().totals();
  EXPECT_EQ(totals.source_audio_ms(), stats.source_audio_ms());
  const auto nanos = [](const google::protobuf::Duration& d) {
    return d.seconds() * 1000000000 + d.nanos();
  };
  EXPECT_EQ(nanos(totals.first_token_duration()), nanos(stats.first_token_duration()));
  EXPECT_EQ(nanos(totals.compute_duration()), nanos(stats.compute_duration()));
  EXPECT_EQ(nanos(totals.queue_duration()), nanos(stats.queue_duration()));
  EXPECT_EQ(totals.source_tokens(), stats.source_tokens());
  EXPECT_DOUBLE_EQ(totals.average_lagging(), stats.average_lagging());
}

TEST_F(BoundsTest, ADrainMayCloseThePort) {
  ServerOptions options;
  options.drain_stops_listening = true;
  grpc::Status ended;
  size_t completed = 0;
  // gRPC closes a connection with its last call. A client that writes at that moment, be it an
  // acknowledgement, finds it broken before it has read the end, and would resume: try again.
  for (int attempt = 0; attempt < 5 && Reason(ended) != "DRAINING"; ++attempt) {
    Start(options);
    auto open = Open("", {Config(2), Text("one two three four", 1)});
    ASSERT_TRUE(open->ReadUntil(IsTarget));
    std::thread drain([&] { server_->Shutdown(SteadyNow() + absl::Seconds(20)); });
    EXPECT_TRUE(open->ReadUntil([](const Response& r) { return r.has_going_away(); }));
    const auto other = v1::SimultaneousTranslationService::NewStub(
        ConnectWithSmallWindow(server_->port()));
    grpc::Status status;
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    do {
      grpc::ClientContext context;
      SetDeadline(&context);
      v1::ListModelsResponse models;
      status = other->ListModels(&context, {}, &models);
      // A connection that was open before is reset, and the next one is refused.
    } while (!absl::StrContains(status.error_message(), "refused") && absl::Now() < deadline);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_THAT(status.error_message(), HasSubstr("refused")) << "nobody listens";
    open->stream->Write(EndSegment());
    ended = open->Finish();
    EXPECT_EQ(ended.error_code(), grpc::StatusCode::UNAVAILABLE) << ended.error_message();
    completed = open->completed.size();
    drain.join();
  }
  EXPECT_EQ(Reason(ended), "DRAINING") << ended.error_message();
  EXPECT_EQ(completed, 1u) << "the open segment is expected to end";
}

// Returns the token as the version before this one wrote it: with the first 14 fields, signed with
// the same key.
std::string OldToken(const std::string& token, const std::string& version,
                     const std::string& key) {
  std::vector<std::string> fields = absl::StrSplit(token.substr(32), '\n');
  fields.resize(version == "2" ? 14 : 19);
  fields[0] = version;
  const std::string text = absl::StrJoin(fields, "\n");
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac, &size);
  return std::string(reinterpret_cast<char*>(mac), size) + text;
}

// A token of version 2 names no principal. It is good for callers without a name, and for nobody
// else.
TEST_F(BoundsTest, OldTokensAreGood) {
  const std::string key = "0123456789abcdef0123456789abcdef";
  ServerOptions options;
  options.resume_key_file = testing::TempDir() + "/bounds_test_key";
  std::ofstream(options.resume_key_file) << key << "\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "2"}, {"", "3"}, {"alice", "2"}, {"alice", "3"}};
  for (const auto& [name, version] : cases) {
    Start(name.empty() ? options : WithTokens(options));
    auto stream = WithASegment(name);
    Request resume = Resume(*stream);
    std::string& token = *resume.mutable_config()->mutable_resume()->mutable_resume_token();
    token = OldToken(token, version, key);
    auto next = Open(name, {resume});
    next->stream->WritesDone();
    const grpc::Status status = next->Finish();
    if (name.empty() || version == "3") {
      EXPECT_TRUE(status.ok()) << status.error_message();
      EXPECT_EQ(next->last.summary().segments(), 1);
    } else {
      EXPECT_EQ(Reason(status), "RESUME_TOKEN_INVALID");
    }
  }
}

TEST(ResumeTokenTest, SaysWhoseItIsAndNotWho) {
  const std::string path = testing::TempDir() + "/bounds_test_key";
  std::ofstream(path) << "0123456789abcdef0123456789abcdef\n";
  const auto signer = ResumeSigner::WithKeyFrom(path);
  ASSERT_TRUE(signer.ok());
  ResumeToken token;
  token.session_id = "id";
  token.owner = OwnerOf("alice");
  token.expires = absl::Now() + absl::Hours(1);
  token.before.totals.source_audio = absl::Milliseconds(1234);
  token.in_text = true;
  EXPECT_EQ(signer->Sign(token).find("alice"), std::string::npos);
  const auto verified = signer->Verify(signer->Sign(token), absl::Now());
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->owner, OwnerOf("alice"));
  EXPECT_NE(verified->owner, OwnerOf("alice "));
  EXPECT_EQ(verified->before.totals.source_audio, absl::Milliseconds(1234));
  EXPECT_TRUE(verified->in_text);
  EXPECT_FALSE(verified->begin.has_value());
  EXPECT_EQ(verified->source.audio, 0);
  token.source = {3, 5, 16000};
  const auto of_audio = signer->Verify(signer->Sign(token), absl::Now());
  ASSERT_TRUE(of_audio.ok()) << of_audio.status();
  EXPECT_FALSE(of_audio->begin.has_value());
  EXPECT_EQ(of_audio->source.samples, 5);
  EXPECT_EQ(of_audio->source.audio, 16000);
  token.begin = SourcePosition{4, 21};
  const auto with_begin = signer->Verify(signer->Sign(token), absl::Now());
  ASSERT_TRUE(with_begin.ok()) << with_begin.status();
  ASSERT_TRUE(with_begin->begin.has_value());
  EXPECT_EQ(with_begin->begin->chunks, 4);
  EXPECT_EQ(with_begin->begin->samples, 21);
  EXPECT_EQ(OwnerOf(""), "");
}

}  // namespace
}  // namespace leapstream
