#include "server/wire/open_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "server/resume_token.h"
#include "server/status_mapping.h"
#include "streaming/glossary.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<Serving> Serve(const ServerOptions& options = {},
                               const FakeModelOptions& model = {},
                               std::vector<GlossaryTerm> glossary = {}) {
  auto metrics = std::make_unique<Metrics>();
  std::map<std::string, std::vector<GlossaryTerm>> glossaries;
  if (!glossary.empty()) glossaries[model.name] = std::move(glossary);
  auto models = ServedModels::Create({FakeModel(model)}, 1, metrics.get(), /*max_state_bytes=*/0,
                                     std::move(glossaries));
  EXPECT_TRUE(models.ok()) << models.status();
  return std::make_unique<Serving>(options, 8, 1 << 20, ResumeSigner::WithRandomKey(), nullptr,
                                   std::move(metrics), *std::move(models));
}

v1::SessionConfig WithK(int k) {
  v1::SessionConfig config;
  config.mutable_policy()->mutable_wait_k()->set_k(k);
  return config;
}

TEST(OpenRequestTest, AnEmptyConfigGetsTheDefaults) {
  ServerOptions options;
  options.limits.idle_timeout = absl::Minutes(2);
  options.limits.max_chunk_bytes = 4711;
  const auto serving = Serve(options);
  const auto request = ReadOpenRequest({}, *serving, "alice");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->scheduler->model()->info.name, "fake-en-de");
  EXPECT_EQ(request->resumed_id, "");
  EXPECT_EQ(request->from.segment, 1);
  EXPECT_EQ(request->start.segment, 1);
  EXPECT_FALSE(request->server_ends_segments());
  EXPECT_EQ(request->idle_timeout, absl::Minutes(2));
  EXPECT_EQ(request->effective.policy().wait_k().k(), 3) << "the model's";
  EXPECT_EQ(request->effective.input_format(), v1::INPUT_FORMAT_TEXT);

  const v1::SessionStarted started = ToStarted(*request, options.limits, "id");
  EXPECT_EQ(started.session_id(), "id");
  EXPECT_EQ(started.model(), "fake-en-de");
  EXPECT_EQ(started.model_checksum(), "fa4e");
  EXPECT_FALSE(started.resumed());
  EXPECT_EQ(started.effective_config().policy().wait_k().k(), 3);
  EXPECT_EQ(started.limits().max_chunk_bytes(), 4711);
  EXPECT_EQ(started.limits().idle_timeout().seconds(), 120);
  EXPECT_FALSE(started.limits().has_max_audio_per_segment());
}

TEST(OpenRequestTest, WhatDecidesTheOutputDecidesTheDigest) {
  const auto serving = Serve();
  const auto digest = [&](const v1::SessionConfig& config) {
    return ReadOpenRequest(config, *serving, "")->config_digest;
  };
  EXPECT_EQ(digest({}), digest(WithK(3))) << "the default, said";
  EXPECT_NE(digest({}), digest(WithK(4)));
  v1::SessionConfig shorter;
  shorter.mutable_idle_timeout()->set_seconds(5);
  shorter.mutable_output()->set_token_details(true);
  EXPECT_EQ(digest({}), digest(shorter));
}

TEST(OpenRequestTest, WhatNoModelHasIsRefused) {
  const auto serving = Serve();
  v1::SessionConfig config;
  config.set_model("other");
  EXPECT_EQ(ReadOpenRequest(config, *serving, "").status().code(), absl::StatusCode::kNotFound);
  config = v1::SessionConfig();
  config.mutable_policy()->set_early_end(static_cast<v1::EarlyEnd>(99));
  EXPECT_EQ(ReadOpenRequest(config, *serving, "").status().code(),
            absl::StatusCode::kInvalidArgument);
  config = v1::SessionConfig();
  config.mutable_pause_detection()->mutable_min_duration()->set_seconds(1);
  EXPECT_EQ(ReadOpenRequest(config, *serving, "").status().code(),
            absl::StatusCode::kInvalidArgument)
      << "the model takes text";
}

void AddTerm(const std::string& source, const std::string& target, v1::Glossary* glossary) {
  v1::Term* const term = glossary->add_terms();
  term->set_source(source);
  term->set_target(target);
}

TEST(OpenRequestTest, AGlossaryOfTheSessionStandsInPlaceOfTheServers) {
  const auto serving = Serve({}, {}, {{"tea", "ear"}});
  const auto servers = ReadOpenRequest({}, *serving, "");
  ASSERT_TRUE(servers.ok()) << servers.status();
  ASSERT_NE(servers->options.glossary, nullptr);
  EXPECT_EQ(servers->options.glossary->entry(0).source, "tea");
  EXPECT_FALSE(servers->effective.has_glossary()) << "the client need not send it again";
  EXPECT_NE(servers->config_digest, ReadOpenRequest({}, *Serve(), "")->config_digest)
      << "a resume elsewhere needs the same";

  v1::SessionConfig config;
  AddTerm("in", "an", config.mutable_glossary());
  config.set_keep_markup(true);
  const auto own = ReadOpenRequest(config, *serving, "");
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(own->options.glossary->entry(0).source, "in");
  EXPECT_TRUE(own->options.keep_markup);
  EXPECT_EQ(own->effective.glossary().terms(0).target(), "an") << "a resume may send this back";
  EXPECT_TRUE(own->effective.keep_markup());
  EXPECT_EQ(ReadOpenRequest(own->effective, *serving, "")->config_digest, own->config_digest);
  config.mutable_glossary()->mutable_terms(0)->set_target("ear");
  EXPECT_NE(ReadOpenRequest(config, *serving, "")->config_digest, own->config_digest);

  config.mutable_glossary()->clear_terms();
  EXPECT_EQ(ReadOpenRequest(config, *serving, "")->options.glossary, nullptr) << "none at all";
}

TEST(OpenRequestTest, AResumedSessionKeepsTheGlossaryThatItBeganWith) {
  const auto serving = Serve({}, {}, {{"tea", "ear"}});
  const auto began = ReadOpenRequest({}, *serving, "");
  ASSERT_TRUE(began.ok()) << began.status();
  ResumeToken token;
  token.session_id = "s";
  token.owner = OwnerOf("");
  token.model_checksum = began->scheduler->model()->info.checksum;
  token.config_digest = began->config_digest;
  token.expires = absl::InfiniteFuture();
  v1::SessionConfig config;
  config.mutable_resume()->set_session_id("s");
  config.mutable_resume()->set_resume_token(serving->signer.Sign(token));
  config.mutable_resume()->set_next_source_sequence(1);
  ASSERT_TRUE(serving->models->Replace(began->scheduler->model(), {{"tea", "an"}}).ok());
  const auto resumed = ReadOpenRequest(config, *serving, "");
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->scheduler, began->scheduler);
  EXPECT_EQ(resumed->options.glossary, began->options.glossary);
  EXPECT_EQ(ReadOpenRequest({}, *serving, "")->options.glossary->terms()[0].target, "an");
  serving->models->DropUnused(SteadyNow() + 2 * ServedModels::kKeepUnused);
  EXPECT_EQ(ReasonOf(ReadOpenRequest(config, *serving, "").status()), "RESUME_CONFIG_MISMATCH");
}

TEST(OpenRequestTest, AGlossaryThatCannotBeKeptIsRefused) {
  const auto serving = Serve({}, {}, {{"tea", "ear"}});
  const auto refusal = [&](const v1::SessionConfig& config) {
    return ReasonOf(ReadOpenRequest(config, *serving, "").status());
  };
  v1::SessionConfig config;
  AddTerm("tea", "T\xC3\xBC", config.mutable_glossary());
  EXPECT_EQ(refusal(config), "GLOSSARY_INVALID") << "the model has no such symbol";
  config = v1::SessionConfig();
  config.set_keep_markup(true);
  config.mutable_policy()->mutable_local_agreement();
  EXPECT_EQ(refusal(config), "GLOSSARY_INVALID");
  config.mutable_policy()->mutable_wait_k()->set_k(3);
  config.set_input_format(v1::INPUT_FORMAT_PIECES);
  EXPECT_EQ(refusal(config), "GLOSSARY_INVALID");
  config.set_keep_markup(false);
  EXPECT_EQ(refusal(config), "");
  EXPECT_EQ(ReadOpenRequest(config, *serving, "")->options.glossary, nullptr)
      << "the server's own is left away";
  Metrics metrics;
  EXPECT_FALSE(
      ServedModels::Create({FakeModel()}, 1, &metrics, 0, {{"fake-en-de", {{"tea", "T\xC3\xBC"}}}})
          .ok());
}

TEST(OpenRequestTest, SpeechIsToldItsLimitInTime) {
  FakeModelOptions speech;
  speech.speech = true;
  ServerOptions options;
  options.pause.duration = absl::Milliseconds(600);
  const auto serving = Serve(options, speech);
  const auto request = ReadOpenRequest({}, *serving, "");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(request->server_ends_segments()) << "by the server's pauses";
  const v1::SessionStarted started = ToStarted(*request, options.limits, "id");
  EXPECT_TRUE(started.limits().has_max_audio_per_segment());
  EXPECT_EQ(started.effective_config().pause_detection().min_duration().nanos(), 600'000'000);
}

// A session of "alice" that can be resumed after two segments.
class ResumeRequestTest : public testing::Test {
 protected:
  ResumeRequestTest() {
    token_.session_id = "s";
    token_.owner = OwnerOf("alice");
    token_.model_checksum = "fa4e";
    token_.segment = 3;
    token_.source = {7, 5};
    token_.drops = 2;
    token_.expires = absl::Now() + absl::Hours(1);
    token_.before.segments = 2;
    token_.before.target_tokens = 20;
    SetConfig(v1::SessionConfig());
    for (const int id : {5, 6}) resume().mutable_committed_target()->add_ids(id);
    for (const int read : {3, 4}) resume().add_committed_source_tokens_read(read);
  }
  void SetConfig(v1::SessionConfig config) {
    token_.config_digest = ReadOpenRequest(config, *serving_, "")->config_digest;
    config.mutable_resume()->Swap(config_.mutable_resume());
    config_ = std::move(config);
    resume().set_session_id("s");
    resume().set_next_source_sequence(8);
  }
  v1::ResumeRequest& resume() { return *config_.mutable_resume(); }
  absl::StatusOr<OpenRequest> Read(const std::string& principal = "alice") {
    resume().set_resume_token(serving_->signer.Sign(token_));
    return ReadOpenRequest(config_, *serving_, principal);
  }
  std::string Refusal(const std::string& principal = "alice") {
    return ReasonOf(Read(principal).status());
  }

  const std::unique_ptr<Serving> serving_ = Serve();
  ResumeToken token_;
  v1::SessionConfig config_;
};

TEST_F(ResumeRequestTest, GoesOnWithTheSegmentThatIsOpen) {
  const auto request = Read();
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->resumed_id, "s");
  EXPECT_EQ(request->from.segment, 3);
  EXPECT_THAT(request->from.committed, ElementsAre(5, 6));
  EXPECT_THAT(request->from.source_read, ElementsAre(3, 4));
  EXPECT_EQ(request->from.before.target_tokens, 20);
  EXPECT_EQ(request->from.skip_tokens, 0) << "a next segment begins with a whole chunk";
  EXPECT_EQ(request->start.segment, 3);
  EXPECT_EQ(request->start.source.chunks, 7) << "one before next_source_sequence";
  EXPECT_EQ(request->start.source.samples, 0);
  EXPECT_EQ(request->start.before.segments, 2);
  EXPECT_TRUE(ToStarted(*request, serving_->options.limits, "s").resumed());
}

TEST_F(ResumeRequestTest, WhereTheServerEndsSegmentsItKnowsThePlace) {
  v1::SessionConfig config;
  config.mutable_policy()->set_continue_in_next_segment(true);
  SetConfig(config);
  const auto request = Read();
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_TRUE(request->server_ends_segments());
  EXPECT_EQ(request->start.source.chunks, 7);
  EXPECT_EQ(request->start.source.samples, 5);
  EXPECT_EQ(request->start.skipped, 2);
  EXPECT_EQ(request->from.skip_tokens, 2);
  resume().set_next_source_sequence(9);
  EXPECT_EQ(Refusal(), "SEQUENCE_MISMATCH") << "a chunk is missing";
}

// The client's segment of audio may have been cut; if it was, the client sends the rest of it.
TEST(OpenRequestTest, AudioGoesOnWithinTheClientsSegmentOrAfterIt) {
  FakeModelOptions speech;
  speech.speech = true;
  const auto serving = Serve({}, speech);
  v1::SessionConfig config;
  ResumeToken token;
  token.session_id = "s";
  token.owner = OwnerOf("");
  token.model_checksum = "fa4e";
  token.config_digest = ReadOpenRequest(config, *serving, "")->config_digest;
  token.segment = 3;
  token.source = {7, 5, 700};
  token.drops = 1;
  token.expires = absl::Now() + absl::Hours(1);
  config.mutable_resume()->set_session_id("s");
  config.mutable_resume()->set_resume_token(serving->signer.Sign(token));
  config.mutable_resume()->set_next_source_sequence(8);
  auto request = ReadOpenRequest(config, *serving, "");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->start.source.chunks, 7);
  EXPECT_EQ(request->start.source.samples, 5);
  EXPECT_EQ(request->start.source.audio, 700);
  EXPECT_EQ(request->start.skipped, 1);
  EXPECT_EQ(request->from.skip_tokens, 0);
  config.mutable_resume()->set_next_source_sequence(11);
  request = ReadOpenRequest(config, *serving, "");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->start.source.chunks, 10);
  EXPECT_EQ(request->start.source.samples, 0);
  EXPECT_EQ(request->start.skipped, 0);
}

TEST_F(ResumeRequestTest, ATokenIsGoodForItsOwnerOnly) {
  EXPECT_EQ(Refusal("bob"), "RESUME_TOKEN_INVALID");
  EXPECT_EQ(Refusal(""), "RESUME_TOKEN_INVALID");
  token_.owner = OwnerOf("");  // Whoever had no name.
  EXPECT_TRUE(Read("").ok());
  EXPECT_EQ(Refusal("alice"), "RESUME_TOKEN_INVALID");
  token_.owner = std::nullopt;  // A token of an older server, which names nobody.
  EXPECT_EQ(Refusal("alice"), "RESUME_TOKEN_INVALID");
  resume().set_session_id("t");
  token_.owner = OwnerOf("alice");
  EXPECT_EQ(Refusal("alice"), "RESUME_TOKEN_INVALID");
}

TEST_F(ResumeRequestTest, AForgedOrStaleTokenIsRefused) {
  std::string forged = serving_->signer.Sign(token_);
  forged.back() = forged.back() == 'A' ? 'B' : 'A';
  resume().set_resume_token(forged);
  EXPECT_FALSE(ReadOpenRequest(config_, *serving_, "alice").ok());
  token_.expires = absl::Now() - absl::Seconds(1);
  EXPECT_EQ(Refusal(), "RESUME_TOKEN_EXPIRED");
}

TEST_F(ResumeRequestTest, ModelAndConfigMustBeThoseOfTheSession) {
  config_.mutable_policy()->mutable_wait_k()->set_k(5);
  EXPECT_EQ(Refusal(), "RESUME_CONFIG_MISMATCH");
  config_.clear_policy();
  config_.mutable_policy()->mutable_local_agreement();
  EXPECT_EQ(Refusal(), "RESUME_CONFIG_MISMATCH");
  config_.clear_policy();
  config_.mutable_policy()->set_read_words(2);
  EXPECT_EQ(Refusal(), "RESUME_CONFIG_MISMATCH");
  config_.clear_policy();
  token_.model_checksum = "beef";
  EXPECT_EQ(Refusal(), "RESUME_MODEL_MISMATCH");
  EXPECT_THAT(std::string(Read().status().message()), HasSubstr("fa4e"));
}

TEST_F(ResumeRequestTest, TheSourceGoesOnAfterWhatIsComplete) {
  resume().set_next_source_sequence(7);
  EXPECT_EQ(Refusal(), "SEQUENCE_MISMATCH");
  resume().set_next_source_sequence(12);
  const auto request = Read();
  ASSERT_TRUE(request.ok()) << "the client ends segments, and knows where";
  EXPECT_EQ(request->start.source.chunks, 11);
}

TEST_F(ResumeRequestTest, TheTargetHasTokensOfTheModel) {
  for (const int id : {-1, 1 << 20, kEndOfSentence}) {
    resume().mutable_committed_target()->set_ids(1, id);
    EXPECT_EQ(Refusal(), "RESUME_TARGET_INVALID") << id;
  }
  resume().mutable_committed_target()->set_ids(1, 6);
  EXPECT_TRUE(Read().ok());
  resume().add_committed_source_tokens_read(5);
  EXPECT_EQ(Refusal(), "RESUME_TARGET_INVALID") << "two tokens and three numbers";
  resume().clear_committed_source_tokens_read();
  EXPECT_TRUE(Read().ok()) << "none is enough";
}

}  // namespace
}  // namespace leapstream
