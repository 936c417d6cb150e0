// Resumes, and resumes that are refused.
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/server/server_fixture.h"

namespace leapstream {
namespace {

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

// A session of one model that translates many pairs.
TEST_F(ServerTest, AResumeIsOfTheSamePair) {
  FakeModelOptions many;
  many.name = "many";
  many.source_language = many.target_language = "";
  many.frame = {{"{source}"}, {"</s>"}, "</s>", {"{target}"}, "</s>"};
  many.symbols = {"__eng__", "__deu__", "__fra__"};
  many.languages = {{"eng_Latn", "__eng__", "__eng__"},
                    {"deu_Latn", "__deu__", "__deu__"},
                    {"fra_Latn", "__fra__", "__fra__"}};
  Start({FakeModel(many)});
  ExpectError({Config(2)}, grpc::StatusCode::INVALID_ARGUMENT, "LANGUAGE_MISMATCH");
  Request config = Config(2);
  config.mutable_config()->set_source_language_code("en");
  config.mutable_config()->set_target_language_code("de-DE");
  OpenStream first(*stub_, {config, Text("one two", 1), EndSegment()});
  ASSERT_TRUE(
      first.ReadUntil([](const Response& response) { return response.has_segment_completed(); }));
  EXPECT_EQ(first.started.effective_config().source_language_code(), "eng_Latn");
  EXPECT_EQ(first.started.effective_config().target_language_code(), "deu_Latn");
  v1::ResumeRequest& resume = *config.mutable_config()->mutable_resume();
  resume.set_session_id(first.started.session_id());
  resume.set_resume_token(first.point.resume_token());
  resume.set_next_source_sequence(2);
  config.mutable_config()->set_target_language_code("fr");
  ExpectError({config}, grpc::StatusCode::FAILED_PRECONDITION, "RESUME_CONFIG_MISMATCH");
  config.mutable_config()->set_target_language_code("deu_Latn");  // The same, by another name.
  OpenStream rest(*stub_, {config, Text("three", 2), EndSegment()});
  rest.stream->WritesDone();
  EXPECT_TRUE(rest.Finish().ok());
  EXPECT_TRUE(rest.started.resumed());

  grpc::ClientContext context;
  v1::ListModelsResponse models;
  ASSERT_TRUE(stub_->ListModels(&context, {}, &models).ok());
  ASSERT_EQ(models.models_size(), 1);
  EXPECT_EQ(models.models(0).source_language_codes_size(), 3);
  EXPECT_EQ(models.models(0).target_language_codes(2), "fra_Latn");
  grpc::ClientContext translating;
  v1::TranslateRequest request;
  v1::TranslateResponse response;
  request.set_source_language_code("de");
  request.set_target_language_code("fr_XX");
  request.set_text("one two");
  EXPECT_TRUE(stub_->Translate(&translating, request, &response).ok());
  EXPECT_FALSE(response.text().empty());
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

}  // namespace
}  // namespace leapstream
