// SentencePiece, gRPC and a real model in one process: the embedded model behind a real server, reached
// by the client library.
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "model/engine/load_model.h"
#include "server/server.h"
#include "tests/end_to_end/speaker.h"

namespace leapstream {
namespace {

class EmbeddedServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto model = LoadModel(absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/model/pretrained/en-de"));
    ASSERT_TRUE(model.ok()) << model.status();
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    auto server = Server::Start(options, {*model});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
    client::ClientOptions client_options;
    client_options.address = absl::StrCat("127.0.0.1:", server_->port());
    auto client = client::Client::Connect(client_options);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = std::move(*client);
    sentences_ = ReadSentences();
    sentences_.resize(20);
  }

  std::unique_ptr<Server> server_;
  std::unique_ptr<client::Client> client_;
  std::vector<Sentence> sentences_;
};

TEST_F(EmbeddedServerTest, TranslatesAsTheReferenceHoweverTheTextIsCut) {
  for (const size_t chunk : {1u, 7u, 1000u}) {
    client::StreamOptions options;
    options.policy.rule = client::WaitK{3};
    options.early_end = client::EarlyEnd::kStop;
    auto stream = client_->StartStream(options);
    for (const auto& [source, translation] : sentences_) {
      for (size_t at = 0; at < source.size(); at += chunk) {
        ASSERT_TRUE(stream->PushText(source.substr(at, chunk)).ok());
      }
      ASSERT_TRUE(stream->EndSegment().ok());
    }
    ASSERT_TRUE(stream->CloseSource().ok());
    std::vector<std::string> appended(sentences_.size()), texts;
    while (std::optional<client::Event> event = stream->Next()) {
      if (auto* delta = std::get_if<client::Delta>(&*event)) {
        ASSERT_GE(delta->segment, 1);
        ASSERT_LE(delta->segment, static_cast<int64_t>(sentences_.size()));
        appended[delta->segment - 1] += delta->text;
      } else if (auto* segment = std::get_if<client::SegmentCompleted>(&*event)) {
        texts.push_back(segment->text);
      }
    }
    ASSERT_TRUE(stream->Wait().ok());
    ASSERT_EQ(sentences_.size(), texts.size());
    EXPECT_EQ(appended, texts) << "text is only appended";
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(sentences_[i].translation, texts[i]) << "chunks of " << chunk;
    }
  }
}

TEST_F(EmbeddedServerTest, ListsItsModel) {
  auto models = client_->ListModels();
  ASSERT_TRUE(models.ok()) << models.status();
  ASSERT_EQ(1u, models->size());
  EXPECT_EQ("en-de", (*models)[0].name);
  EXPECT_EQ(3, (*models)[0].default_k);
  EXPECT_GT((*models)[0].state_bytes_per_session, 0);
  EXPECT_TRUE(client_->Probe(absl::Seconds(5)).ok());
}

}  // namespace
}  // namespace leapstream
