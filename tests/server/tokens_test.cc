// Tokens and quotas.
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/token_file.h"
#include "tests/server/operations_fixture.h"

namespace leapstream {
namespace {

TEST_F(TokenTest, OnlyGoodTokensComeIn) {
  std::ostringstream log;
  auto logger = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log));
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(logger);
  spdlog::set_level(spdlog::level::info);
  quiet_ = false;
  ServerOptions options;
  options.auth_tokens_file = path_;
  Start(options);
  EXPECT_TRUE(Translate(Of("alice")).ok());
  EXPECT_TRUE(Translate({absl::StrCat("bearer ", tokens_["bob"]), ""}).ok());
  const struct {
    Credentials credentials;
    const char* reason;
  } kCases[] = {
      {{"", ""}, "TOKEN_MISSING"},
      {{"Bearer", ""}, "TOKEN_MISSING"},
      {{absl::StrCat("Basic ", tokens_["alice"]), ""}, "TOKEN_MISSING"},
      {{"Bearer ", ""}, "TOKEN_INVALID"},
      {{absl::StrCat("Bearer ", tokens_["alice"], "0"), ""}, "TOKEN_INVALID"},
      {{absl::StrCat("Bearer ", tokens_["alice"].substr(1)), ""}, "TOKEN_INVALID"},
      {{absl::StrCat("Bearer ", std::string(5000, 'a')), ""}, "TOKEN_INVALID"},
      {Of("carol"), "TOKEN_EXPIRED"},
  };
  for (const auto& test : kCases) {
    const grpc::Status status = Translate(test.credentials);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << test.reason;
    EXPECT_EQ(Reason(status), test.reason);
  }
  grpc::ClientContext context;
  v1::ListModelsResponse models;
  EXPECT_EQ(stub_->ListModels(&context, {}, &models).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  grpc::ClientContext unary;
  v1::TranslateResponse translation;
  EXPECT_EQ(stub_->Translate(&unary, {}, &translation).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Metric("leapstream_sessions_rejected_total{reason=\"TOKEN_EXPIRED\"}"), 1);

  // The token is revoked. Then the file cannot be read, which changes nothing.
  WriteFile(path_, lines_["bob"] + "\n");
  EXPECT_EQ(Reason(Translate(Of("alice"))), "TOKEN_INVALID");
  EXPECT_TRUE(Translate(Of("bob")).ok());
  WriteFile(path_, absl::StrCat("alice ", tokens_["alice"], "\n"));
  EXPECT_TRUE(Translate(Of("bob")).ok());
  EXPECT_EQ(Reason(Translate(Of("alice"))), "TOKEN_INVALID");
  server_.reset();
  spdlog::set_default_logger(before);
  EXPECT_THAT(log.str(), HasSubstr("TOKEN_MISSING"));
  EXPECT_THAT(log.str(), HasSubstr("principal=alice"));
  EXPECT_THAT(log.str(), HasSubstr(absl::StrCat(path_, ":1: expected")));
  for (const auto& token : tokens_) EXPECT_THAT(log.str(), Not(HasSubstr(token.second)));
}

TEST_F(TokenTest, ATokenThatIsTakenBackEndsItsSessions) {
  ServerOptions options;
  options.auth_tokens_file = path_;
  Start(options);
  grpc::ClientContext alices, bobs;
  auto alice = Open(&alices, Of("alice")), bob = Open(&bobs, Of("bob"));
  Response response;
  ASSERT_TRUE(alice->Read(&response) && bob->Read(&response));
  WriteFile(path_, lines_["bob"] + "\n");
  while (alice->Read(&response)) {
  }
  const grpc::Status status = alice->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Reason(status), "TOKEN_INVALID");
  WriteFile(path_, absl::StrCat(lines_["alice"], "\n", lines_["bob"], " 2001-01-01T00:00:00Z\n"));
  while (bob->Read(&response)) {
  }
  EXPECT_EQ(Reason(bob->Finish()), "TOKEN_EXPIRED");
  EXPECT_TRUE(Translate(Of("alice")).ok());
}

TEST_F(TokenTest, APrincipalHasItsQuotaAndNoMore) {
  ServerOptions options;
  options.auth_tokens_file = path_;
  options.max_sessions = 5;
  options.max_sessions_per_principal = 2;
  Start(options);
  grpc::ClientContext one, two;
  auto first = Open(&one, Of("alice")), second = Open(&two, Of("alice"));
  Response response;
  ASSERT_TRUE(first->Read(&response) && second->Read(&response));
  const grpc::Status status = Translate(Of("alice"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Reason(status), "QUOTA_EXCEEDED");
  const auto failure = Find<google::rpc::QuotaFailure>(status);
  ASSERT_EQ(failure.violations_size(), 1);
  EXPECT_EQ(failure.violations(0).subject(), "alice");
  EXPECT_TRUE(Translate(Of("bob")).ok()) << "others have their own";
  EXPECT_TRUE(Finish(first.get()).ok());
  EXPECT_TRUE(Eventually([&] { return Translate(Of("alice")).ok(); })) << "one is free again";
  two.TryCancel();
}

// An operator may forget to remove an old line. That must not make the token's good line useless.
TEST_F(TokenTest, ATokenOnSeveralLinesIsGoodIfOneOfThemIs) {
  // This line has another salt.
  const std::string other_line = *TokenFile::Entry("carol", tokens_["alice"]);
  const std::string& line = lines_["alice"];
  const std::string past = " 2001-01-01T00:00:00Z", future = " 2101-01-01T00:00:00Z";
  const absl::Time now = absl::Now();
  for (const std::string& file : {line + past + "\n" + line, line + "\n" + line + past,
                                  line + past + "\n" + line + future + "\n" + line + past,
                                  other_line + past + "\n" + line, line + "\n" + other_line + past,
                                  line + "\n" + other_line}) {
    WriteFile(path_, file + "\n");
    auto tokens = *TokenFile::Open(path_);
    const auto holder = tokens->HolderOf(tokens_["alice"], now);
    ASSERT_TRUE(holder.ok()) << file << holder.status();
    EXPECT_EQ(holder->principal, "alice") << file;
    EXPECT_TRUE(tokens->StillAccepts(holder->entry, now).ok()) << file;
    WriteFile(path_, line + past + "\n");
    EXPECT_EQ(tokens->StillAccepts(holder->entry, now).code(), absl::StatusCode::kUnauthenticated);
    EXPECT_FALSE(tokens->HolderOf(tokens_["alice"], now).ok());
  }
}

TEST_F(TokenTest, WhatIsNoFileIsNotWaitedFor) {
  const std::string fifo = testing::TempDir() + "/operations_test_fifo";
  unlink(fifo.c_str());
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path : {fifo, testing::TempDir(), std::string("/dev/zero")}) {
    EXPECT_FALSE(TokenFile::Open(path).ok()) << path;
    ServerOptions options;
    options.listen = "localhost:0";
    options.resume_key_file = path;
    EXPECT_FALSE(Server::Start(options, {FakeModel()}).ok()) << path;
    options.resume_key_file.clear();
    options.tls.certificate = options.tls.key = path;
    EXPECT_FALSE(Server::Start(options, {FakeModel()}).ok()) << path;
  }
  // If the file becomes a pipe, it cannot be read, and the tokens from before stay.
  WriteFile(path_, lines_["alice"] + "\n");
  auto tokens = *TokenFile::Open(path_);
  ASSERT_EQ(rename(fifo.c_str(), path_.c_str()), 0);
  EXPECT_TRUE(tokens->HolderOf(tokens_["alice"], absl::Now()).ok());
}

// The shell's <(command) is such a pipe.
TEST_F(TokenTest, APipeOfTokensIsReadOnce) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const std::string lines = lines_["alice"] + "\n" + lines_["bob"] + "\n";
  ASSERT_EQ(write(ends[1], lines.data(), lines.size()), static_cast<ssize_t>(lines.size()));
  close(ends[1]);
  auto tokens = TokenFile::Open(absl::StrCat("/dev/fd/", ends[0]));
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  std::ostringstream log;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  spdlog::set_level(spdlog::level::info);
  for (const char* name : {"alice", "bob"}) {
    const auto holder = (*tokens)->HolderOf(tokens_[name], absl::Now());
    ASSERT_TRUE(holder.ok()) << holder.status();
    EXPECT_EQ(holder->principal, name);
    EXPECT_TRUE((*tokens)->StillAccepts(holder->entry, absl::Now()).ok());
  }
  spdlog::set_default_logger(before);
  EXPECT_EQ(log.str(), "") << "nothing is missing, so nothing is said";
  close(ends[0]);
}

TEST_F(TokenTest, EntriesAreChecked) {
  EXPECT_FALSE(TokenFile::Entry("two words", tokens_["alice"]).ok());
  EXPECT_FALSE(TokenFile::Entry("", tokens_["alice"]).ok());
  EXPECT_FALSE(TokenFile::Entry("alice", "guessable").ok());
  for (const std::string& bad :
       {std::string("alice"), std::string("alice 00 00"), lines_["alice"] + " tomorrow",
        lines_["alice"] + " 2030-01-01T00:00:00Z x", "x" + std::string(100, 'x') + lines_["alice"],
        std::string("alice zz") + lines_["alice"].substr(8)}) {
    WriteFile(path_, lines_["bob"] + "\n" + bad + "\n");
    const auto file = TokenFile::Open(path_);
    EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(absl::StrCat(path_, ":2:")));
  }
}

}  // namespace
}  // namespace leapstream
