// New weights under a running server: by signal and by the admin service, good ones and broken ones,
// with sessions that must not notice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/admin.h"
#include "client/client.h"
#include "tests/end_to_end/edited_model.h"
#include "tests/end_to_end/processes.h"
#include "tests/end_to_end/speaker.h"
#include "tests/server/raw_stream.h"
#include "tests/testing/metrics_page.h"

namespace leapstream {
namespace {

class ReloadTest : public testing::Test {
 protected:
  void SetUp() override {
    WriteEditedModel(folder_ / "edited");
    std::filesystem::copy(kEmbeddedModel, folder_ / "broken");
    std::filesystem::resize_file(folder_ / "broken/weights.safetensors", 1000);
    Serve(kEmbeddedModel);
    server_ = std::make_unique<ServerProcess>(
        folder_, "server",
        std::vector<std::string>{"--model", folder_ / "model", "--metrics-listen", "127.0.0.1:0",
                                 "--admin-listen", "127.0.0.1:0"});
    ASSERT_NO_FATAL_FAILURE(server_->StartAndWait());
    admin_ = std::make_unique<client::AdminClient>(
        absl::StrCat("127.0.0.1:", server_->port_of("admin")));
  }

  // Changes the model in one step, as docs/operating.md says.
  void Serve(const std::string& directory) {
    std::filesystem::create_directory_symlink(directory, folder_ / "next");
    std::filesystem::rename(folder_ / "next", folder_ / "model");
  }
  double Reloads(const std::string& result) {
    httplib::Client http("127.0.0.1", server_->port_of("metrics"));
    const auto page = http.Get("/metrics");
    return page ? std::max(0.0, MetricIn(page->body,
                                         absl::StrCat("leapstream_model_reloads_total{model="
                                                      "\"en-de\",result=\"",
                                                      result, "\"}")))
                : -1;
  }
  // Reloads by signal, and waits for the end of the reload.
  void Hangup(const std::string& result) {
    const double before = Reloads(result);
    server_->Signal(SIGHUP);
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (Reloads(result) <= before && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(10));
    }
    EXPECT_EQ(Reloads(result), before + 1) << server_->log();
  }
  std::string Checksum() {
    const auto stats = admin_->GetStats();
    EXPECT_TRUE(stats.ok() && stats->models.size() == 1) << stats.status();
    return stats.ok() ? stats->models[0].checksum : "";
  }

  TestFolder folder_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<client::AdminClient> admin_;
};

TEST_F(ReloadTest, NoSessionNotices) {
  const std::vector<Sentence> all = ReadSentences();
  auto client = client::Client::Connect({server_->address(), absl::Seconds(10)});
  ASSERT_TRUE(client.ok()) << client.status();
  const auto speak = [&](int count, std::vector<std::unique_ptr<Speaker>>* speakers) {
    for (int i = 0; i < count; ++i) {
      std::vector<Sentence> own;
      for (int j = 0; j < 4; ++j) own.push_back(all[(speakers->size() * 7 + j) % all.size()]);
      speakers->push_back(std::make_unique<Speaker>(**client, own, 15));
    }
  };
  std::vector<std::unique_ptr<Speaker>> speakers;
  const std::string first = Checksum();
  speak(8, &speakers);
  Serve(folder_ / "edited");
  Hangup("ok");
  const std::string second = Checksum();
  EXPECT_NE(second, first);
  speak(4, &speakers);  // These have the new weights, and the others the old ones.

  Serve(folder_ / "broken");
  Hangup("failed");
  auto refused = admin_->Reload("");
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), testing::HasSubstr("weights.safetensors"));
  Serve(folder_ / "nowhere");
  EXPECT_FALSE(admin_->Reload("en-de").ok());
  EXPECT_EQ(Checksum(), second);
  speak(4, &speakers);

  Serve(kEmbeddedModel);
  const auto reloaded = admin_->Reload("");
  ASSERT_TRUE(reloaded.ok()) << reloaded.status();
  ASSERT_EQ(reloaded->size(), 1u);
  EXPECT_EQ((*reloaded)[0].old_checksum, second);
  EXPECT_EQ((*reloaded)[0].new_checksum, first);
  for (const auto& speaker : speakers) {
    speaker->Join();
    speaker->ExpectFaultlessTranscript();
    EXPECT_TRUE(speaker->interruptions().empty());
    EXPECT_EQ(speaker->moves(), 0);
  }
  EXPECT_EQ(Reloads("ok"), 2);
  EXPECT_EQ(Reloads("failed"), 3);
}

// A session that breaks after a reload goes on with the weights that it began with.
TEST_F(ReloadTest, SessionsFromBeforeCanBeResumed) {
  const auto stub = v1::SimultaneousTranslationService::NewStub(
      grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials()));
  Request config = Config(3);
  config.mutable_config()->mutable_output()->set_token_details(true);
  OpenStream first(*stub, {config, Text("It was a dark night and nobody ", 1)});
  ASSERT_TRUE(first.ReadUntil(IsTarget));
  Serve(folder_ / "edited");
  ASSERT_TRUE(admin_->Reload("").ok());
  first.context.TryCancel();
  first.Finish();
  v1::ResumeRequest& resume = *config.mutable_config()->mutable_resume();
  resume.set_session_id(first.started.session_id());
  resume.set_resume_token(first.point.resume_token());
  resume.set_next_source_sequence(1);
  for (const int id : first.ids) resume.mutable_committed_target()->add_ids(id);
  OpenStream second(*stub, {config, Text("It was a dark night and nobody ", 1), Text("came.", 2)});
  second.stream->WritesDone();
  const grpc::Status status = second.Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(second.started.resumed());
  EXPECT_EQ(second.started.model_checksum(), first.started.model_checksum());
  EXPECT_NE(second.started.model_checksum(), Checksum());
  ASSERT_EQ(second.completed.size(), 1u);
  EXPECT_EQ(second.completed[0], first.text + second.text);
}

// The glossary is read anew with its model, also if the model's files have not changed.
TEST(GlossaryReloadTest, NewSessionsHaveTheNewTerms) {
  const TestFolder folder;
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder / name) << text;
  };
  write("terms.tsv", "file\tAkte\n");
  write("server.yaml",
        absl::StrCat("listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\nmodels:\n  - {path: ",
                     kEmbeddedModel, ", glossary: ", folder / "terms.tsv", "}\n"));
  ServerProcess server(folder, "server", {"--config", folder / "server.yaml"});
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  client::AdminClient admin(absl::StrCat("127.0.0.1:", server.port_of("admin")));
  const auto client = client::Client::Connect({server.address(), absl::Seconds(10)});
  ASSERT_TRUE(client.ok()) << client.status();
  const auto translate = [&] {
    const auto translation = (*client)->Translate("Open the file.", {});
    EXPECT_TRUE(translation.ok()) << translation.status();
    return translation.ok() ? translation->text : "";
  };
  EXPECT_THAT(translate(), testing::HasSubstr("Akte"));
  write("terms.tsv", "file\tMappe\n");
  auto reloaded = admin.Reload("");
  ASSERT_TRUE(reloaded.ok()) << reloaded.status();
  EXPECT_THAT(translate(), testing::HasSubstr("Mappe"));
  write("terms.tsv", "file\tMappe\tOrdner\n");
  reloaded = admin.Reload("");
  EXPECT_EQ(reloaded.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(reloaded.status().message()), testing::HasSubstr("terms.tsv:1"));
  EXPECT_THAT(translate(), testing::HasSubstr("Mappe")) << "it serves on as it was";
}

}  // namespace
}  // namespace leapstream
