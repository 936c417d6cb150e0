// Language models on real servers: generating, scoring, states that move, and refusals by name.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/budget.h"
#include "leapstream/v1/language_model.grpc.pb.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"
#include "tests/end_to_end/processes.h"
#include "tests/testing/metrics_page.h"

namespace leapstream {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::string kGolden = LEAPSTREAM_SOURCE_DIR "/tests/golden/language_models/";
const std::string kBinaries = LEAPSTREAM_BINARY_DIR "/bin/";

std::string ExportModelOf(const TestFolder& folder, const std::string& name) {
  const std::string model = folder / name, log = folder / "export.log";
  Process exporter;
  exporter.Start({kBinaries + "leapstream-export", "--checkpoint",
                  kGolden + "checkpoints/" + name + ".pt", "--dict", kGolden + "en/dict.txt",
                  "--spm", kGolden + "en/spm.model", "--output", model},
                 log);
  EXPECT_EQ(exporter.Wait(), 0) << ReadFile(log);
  return model;
}

struct Generated {
  grpc::Status status;
  std::string text;
  std::vector<int32_t> ids;
  v1::GenerateCompleted completed;
};

class GenerationProgramTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestFolder();
    model_ = new std::string(ExportModelOf(*folder_, "lm_leap_adaptive"));
  }
  static void TearDownTestSuite() {
    delete folder_;
    delete model_;
  }
  // Starts a server of the language model, or of several models.
  static void Start(ServerProcess* server) { server->StartAndWait(); }

  static std::unique_ptr<v1::LanguageModelService::Stub> StubOf(const ServerProcess& server) {
    return v1::LanguageModelService::NewStub(
        grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  }
  static Generated Generate(const ServerProcess& server, const v1::GenerateRequest& request,
                            const std::string& token = "") {
    const auto stub = StubOf(server);
    grpc::ClientContext context;
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
    const auto reader = stub->Generate(&context, request);
    Generated result;
    v1::GenerateResponse response;
    bool started = false;
    while (reader->Read(&response)) {
      EXPECT_EQ(std::exchange(started, true), !response.has_started());
      EXPECT_FALSE(result.completed.has_usage());
      result.text += response.delta().text();
      for (const auto& token : response.delta().tokens()) result.ids.push_back(token.id());
      if (response.has_completed()) result.completed = response.completed();
    }
    result.status = reader->Finish();
    return result;
  }
  static v1::GenerateRequest Request(const std::string& prompt, int tokens) {
    v1::GenerateRequest request;
    request.mutable_prompt()->set_text(prompt);
    request.mutable_config()->set_max_tokens(tokens);
    request.mutable_config()->set_min_tokens(tokens);
    request.set_token_details(true);
    return request;
  }

  static TestFolder* folder_;
  static std::string* model_;
};
TestFolder* GenerationProgramTest::folder_ = nullptr;
std::string* GenerationProgramTest::model_ = nullptr;

TEST_F(GenerationProgramTest, AStateMovedBetweenServersGoesOnAsIfUninterrupted) {
  const std::vector<std::string> flags = {"--model", *model_, "--resume-key-file",
                                          WriteResumeKey(*folder_)};
  ServerProcess one(*folder_, "one", flags), two(*folder_, "two", flags);
  ServerProcess stranger(*folder_, "stranger", {"--model", *model_});
  for (ServerProcess* server : {&one, &two, &stranger}) Start(server);
  for (const double temperature : {0.0, 1.2}) {
    v1::GenerateRequest whole = Request("This package", 40);
    whole.mutable_config()->set_temperature(temperature);
    whole.mutable_config()->set_seed(5);
    const Generated uninterrupted = Generate(one, whole);
    ASSERT_TRUE(uninterrupted.status.ok()) << uninterrupted.status.error_message();
    ASSERT_EQ(uninterrupted.ids.size(), 40u);
    EXPECT_EQ(uninterrupted.completed.end(), v1::TEXT_END_MAX_TOKENS);
    EXPECT_EQ(uninterrupted.completed.usage().generated_tokens(), 40);

    v1::GenerateRequest part = whole;
    part.mutable_config()->set_max_tokens(20);
    part.mutable_config()->set_min_tokens(20);
    part.set_return_state(true);
    const Generated first = Generate(one, part);
    ASSERT_TRUE(first.status.ok()) << first.status.error_message();
    part.set_state(first.completed.state());
    part.clear_prompt();
    const Generated second = Generate(two, part);
    ASSERT_TRUE(second.status.ok()) << second.status.error_message();
    EXPECT_EQ(second.completed.usage().prompt_tokens(), 1) << "nothing is read again";
    EXPECT_EQ(first.text + second.text, uninterrupted.text);
    std::vector<int32_t> ids = first.ids;
    ids.insert(ids.end(), second.ids.begin(), second.ids.end());
    EXPECT_EQ(ids, uninterrupted.ids);
    EXPECT_EQ(first.completed.state().size() > 0, true);

    // A server with another key, and a state with one bit changed, are refused.
    EXPECT_THAT(Generate(stranger, part).status.error_message(), HasSubstr("resume_key_file"));
    std::string changed = first.completed.state();
    changed[changed.size() / 2] ^= 1;
    part.set_state(changed);
    EXPECT_EQ(Generate(two, part).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(GenerationProgramTest, ModelsRefuseTheOtherKindByNameAndTheTableOfErrorsHolds) {
  ServerProcess server(*folder_, "both", {"--model", kEmbeddedModel, "--model", *model_});
  Start(&server);
  // The translator refuses to generate.
  v1::GenerateRequest request = Request("Hello", 3);
  request.set_model("en-de");
  Generated refused = Generate(server, request);
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("model en-de translates"));
  // The language model refuses to translate.
  const auto translation = v1::SimultaneousTranslationService::NewStub(
      grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::TranslateRequest translate;
  translate.set_model("lm_leap_adaptive");
  translate.set_text("Hello");
  v1::TranslateResponse translated;
  const grpc::Status other = translation->Translate(&context, translate, &translated);
  EXPECT_EQ(other.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(other.error_message(), HasSubstr("LanguageModelService/Generate"));
  // Without a name the translator translates, and the language model goes on with texts.
  translate.clear_model();
  grpc::ClientContext unnamed;
  EXPECT_TRUE(translation->Translate(&unnamed, translate, &translated).ok());
  request.clear_model();
  EXPECT_TRUE(Generate(server, request).status.ok());
  grpc::ClientContext list_context;
  v1::ListModelsResponse models;
  ASSERT_TRUE(translation->ListModels(&list_context, v1::ListModelsRequest(), &models).ok());
  ASSERT_EQ(models.models_size(), 2);
  EXPECT_FALSE(models.models(0).generates());
  EXPECT_TRUE(models.models(1).generates());
  EXPECT_EQ(models.models(1).source_language_codes_size(), 0);
  EXPECT_EQ(models.models(1).trained_text_tokens(), 128);

  request.set_model("nobody");
  EXPECT_EQ(Generate(server, request).status.error_code(), grpc::StatusCode::NOT_FOUND);
  request.clear_model();
  for (const auto& change : std::vector<std::function<void(v1::GenerateRequest*)>>{
           [](auto* r) { r->mutable_config()->set_max_tokens(-1); },
           [](auto* r) { r->mutable_config()->set_max_tokens(1 << 20); },
           [](auto* r) { r->mutable_config()->set_temperature(-2); },
           [](auto* r) { r->mutable_config()->set_top_p(7); },
           [](auto* r) { r->mutable_config()->add_stop(""); },
           [](auto* r) { r->mutable_prompt()->mutable_tokens()->add_ids(-4); },
           [](auto* r) { r->mutable_prompt()->mutable_tokens()->add_ids(1 << 28); },
           [](auto* r) { r->set_state("nothing that was signed, though it is long enough"); }}) {
    v1::GenerateRequest odd = request;
    change(&odd);
    const grpc::Status status = Generate(server, odd).status;
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  }
  EXPECT_TRUE(Generate(server, request).status.ok());

  // The bounds of budget.h.
  const auto stub = StubOf(server);
  v1::TokenizeRequest tokenize;
  for (int i = 0; i < 4097; ++i) tokenize.add_texts()->set_text("a");
  grpc::ClientContext many_context;
  v1::TokenizeResponse tokenized;
  const grpc::Status many = stub->Tokenize(&many_context, tokenize, &tokenized);
  EXPECT_THAT(many.error_message(), HasSubstr("4096 texts, got 4097"));
  tokenize.mutable_texts()->DeleteSubrange(1, 4096);
  request.mutable_prompt()->set_text(std::string(513 << 10, 'a'));
  EXPECT_THAT(Generate(server, request).status.error_message(), HasSubstr("524288 bytes"));
  grpc::ClientContext one_context;
  EXPECT_TRUE(stub->Tokenize(&one_context, tokenize, &tokenized).ok());
  EXPECT_EQ(tokenized.texts_size(), 1);
}

TEST_F(GenerationProgramTest, ManyTextsAtOnceAreThoseThatEachIsAlone) {
  ServerProcess server(*folder_, "many", {"--model", *model_});
  Start(&server);
  std::vector<v1::GenerateRequest> requests;
  std::vector<Generated> alone;
  for (int i = 0; i < 8; ++i) {
    v1::GenerateRequest request = Request(i % 2 == 0 ? "You can use" : std::string(200, 'a'), 30);
    request.mutable_config()->set_temperature(i % 3);
    request.mutable_config()->set_seed(i);
    alone.push_back(Generate(server, request));
    ASSERT_TRUE(alone.back().status.ok()) << alone.back().status.error_message();
    requests.push_back(request);
  }
  std::vector<Generated> together(requests.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < requests.size(); ++i) {
    threads.emplace_back([&, i] { together[i] = Generate(server, requests[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(together[i].ids, alone[i].ids) << i;
}

// Prompts, scored texts and what is generated count as characters.
TEST_F(GenerationProgramTest, AQuotaEndsATextAndLosesNothingOfIt) {
  const std::string tokens = *folder_ / "tokens";
  std::vector<std::string> secrets;
  std::ofstream file(tokens);
  for (const char* principal : {"alice", "bob"}) {
    const std::string made = *folder_ / absl::StrCat("token-", principal);
    Process maker;
    maker.Start({kBinaries + "leapstream-server", "--new-token", principal}, made);
    ASSERT_EQ(maker.Wait(), 0) << ReadFile(made);
    const std::vector<std::string> lines = absl::StrSplit(ReadFile(made), '\n');
    secrets.push_back(lines.at(0));
    file << lines.at(1) << "\n";
  }
  file.close();
  ServerProcess server(*folder_, "quota",
                       {"--model", *model_, "--auth-tokens-file", tokens, "--auth-without-tls",
                        "--max-characters-per-day", "120", "--metrics-listen", "127.0.0.1:0"});
  Start(&server);
  const auto used = [&](const std::string& what) {
    httplib::Client http("127.0.0.1", server.port_of("metrics"));
    const auto page = http.Get("/metrics");
    return MetricIn(page ? page->body : "",
                    absl::StrCat("leapstream_usage_", what, "_total{principal=\"alice\"}"));
  };
  const Generated first = Generate(server, Request("This package", 4), secrets[0]);
  ASSERT_TRUE(first.status.ok()) << first.status.error_message();
  EXPECT_EQ(used("source_characters"), 12);
  EXPECT_EQ(used("prompt_tokens"), first.completed.usage().prompt_tokens());
  EXPECT_EQ(used("generated_tokens"), 4);

  const auto stub = StubOf(server);
  v1::ScoreRequest score;
  score.add_texts()->mutable_input()->set_text("für");
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer " + secrets[0]);
  v1::ScoreResponse scored;
  ASSERT_TRUE(stub->Score(&context, score, &scored).ok());
  EXPECT_EQ(used("source_characters"), 15);

  // The quota is used up within the text, whose beginning comes.
  const Generated second = Generate(server, Request("You can use", 200), secrets[0]);
  EXPECT_EQ(second.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(second.status.error_message(),
              HasSubstr("you may use 120 characters a day (max_characters_per_day) and have "
                        "used 1"));
  const size_t all = 15 + first.text.size() + 11 + second.text.size();
  EXPECT_TRUE(all >= 120 && all < 140) << second.text;
  EXPECT_EQ(used("generated_tokens"), 4 + static_cast<double>(second.ids.size()));
  EXPECT_EQ(Generate(server, Request("a", 1), secrets[0]).status.error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  grpc::ClientContext again;
  again.AddMetadata("authorization", "Bearer " + secrets[0]);
  EXPECT_EQ(stub->Score(&again, score, &scored).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);

  // Bob's second text is complete with the token that uses up the quota.
  const auto bob = [&] { return Generate(server, Request("This package", 4), secrets[1]); };
  ASSERT_EQ(bob().text, first.text);
  score.mutable_texts(0)->mutable_input()->set_text(
      std::string(120 - 2 * (12 + first.text.size()), 'a'));
  grpc::ClientContext between;
  between.AddMetadata("authorization", "Bearer " + secrets[1]);
  ASSERT_TRUE(stub->Score(&between, score, &scored).ok());
  const Generated last = bob();
  ASSERT_TRUE(last.status.ok()) << last.status.error_message();
  EXPECT_EQ(last.completed.usage().generated_tokens(), 4);
  EXPECT_EQ(bob().status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

// One thread tokenizes. Those that would wait long behind others are told to come back.
TEST_F(GenerationProgramTest, CallsOfTokenizeAreBounded) {
  ServerProcess server(*folder_, "tokenize", {"--model", *model_});
  Start(&server);
  const auto stub = StubOf(server);
  v1::TokenizeRequest request;
  for (int i = 0; i < 40; ++i) request.add_texts()->set_text(std::string(2000, 'a' + i % 20));
  std::atomic<int> done{0}, refused{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 150; ++i) {
    callers.emplace_back([&] {
      grpc::ClientContext context;
      v1::TokenizeResponse response;
      const grpc::Status status = stub->Tokenize(&context, request, &response);
      if (status.ok()) {
        ++done;
      } else {
        EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
        EXPECT_THAT(status.error_message(), HasSubstr("too many texts"));
        ++refused;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_GE(done, budget::kTokenizeCalls);
  EXPECT_GE(refused, 1);
}

// The commands, and perplexity as fairseq-eval-lm has it.
TEST_F(GenerationProgramTest, CommandsGenerateAndMeasure) {
  ServerProcess server(*folder_, "commands", {"--model", *model_});
  Start(&server);
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kBinaries + "leapstream");
    arguments.insert(arguments.end(), {"--server", server.address()});
    const std::string output = *folder_ / "output";
    std::remove(output.c_str());
    Process command;
    command.Start(arguments, output);
    EXPECT_EQ(command.Wait(), 0) << ReadFile(output);
    return ReadFile(output);
  };
  for (const char* mode : {"none64ctx48", "complete64"}) {
    std::ifstream file(kGolden + "traces/eval.lm_leap_adaptive." + mode + ".jsonl");
    json summary;
    for (std::string line; std::getline(file, line);) summary = json::parse(line);
    const json measured = json::parse(
        run({"perplexity", kGolden + "en/eval.pieces", "--pieces", "--json", "--sample-break-mode",
             summary["break_mode"], "--tokens-per-sample",
             absl::StrCat(summary["tokens_per_sample"].get<int>()), "--context-window",
             absl::StrCat(summary["context_window"].get<int>())}));
    EXPECT_EQ(measured["tokens"], summary["tokens"]);
    EXPECT_NEAR(measured["perplexity"].get<double>() / summary["perplexity"].get<double>(), 1,
                2e-5);
  }
  const std::string state = *folder_ / "state";
  const std::string whole = run({"generate", "--prompt", "You can", "--max-len", "16", "--min-len",
                                 "16"});
  const std::string first = run({"generate", "--prompt", "You can", "--max-len", "8", "--min-len",
                                 "8", "--save-state", state});
  const std::string second = run({"generate", "--prompt", "", "--max-len", "8", "--min-len", "8",
                                  "--state", state});
  EXPECT_EQ(first.substr(0, first.size() - 1) + second, whole);
  const json drawn = json::parse(run({"generate", "--prompt", "You can", "--sampling-topk", "5",
                                      "--seed", "3", "--json", "--stop", "the"}));
  EXPECT_EQ(drawn["prompt_tokens"].get<int>(), 3);
}

}  // namespace
}  // namespace leapstream
