// Sessions survive their servers: real processes are killed and stopped at random moments, and no
// transcript differs from an uninterrupted one. CHAOS_SEED repeats a run.
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/end_to_end/exported_model.h"
#include "tests/end_to_end/processes.h"
#include "tests/end_to_end/speaker.h"

namespace leapstream {
namespace {

using client::Client;

class ResumeTest : public testing::Test {
 protected:
  void StartServers(int count, std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--resume-key-file", WriteResumeKey(folder_)});
    std::vector<std::string> addresses;
    for (int i = 0; i < count; ++i) {
      servers_.push_back(
          std::make_unique<ServerProcess>(folder_, absl::StrCat("server", i), flags));
      ASSERT_NO_FATAL_FAILURE(servers_.back()->StartAndWait());
      addresses_ += (i > 0 ? "," : "") + servers_.back()->address();
    }
    auto client = Client::Connect({addresses_, absl::Seconds(10)});
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }
  std::vector<Sentence> Sentences(int speaker, int count) const {
    std::vector<Sentence> sentences;
    for (int i = 0; i < count; ++i) sentences.push_back(all_[(speaker * 7 + i) % all_.size()]);
    return sentences;
  }

  // Ends what was said, and expects that nothing was lost although servers were.
  static void ExpectMovesWithoutALoss(const std::vector<std::unique_ptr<Speaker>>& speakers) {
    int moves = 0;
    for (const auto& speaker : speakers) {
      speaker->Join();
      speaker->ExpectFaultlessTranscript();
      moves += speaker->moves();
    }
    std::printf("%d moves of %zu sessions\n", moves, speakers.size());
    EXPECT_GT(moves, 0) << "nobody was there to notice";
  }

  const std::vector<Sentence> all_ = ReadSentences();
  TestFolder folder_;
  std::vector<std::unique_ptr<ServerProcess>> servers_;
  std::string addresses_;
  std::unique_ptr<Client> client_;
};

TEST_F(ResumeTest, TranscriptsSurviveKillsAndStopsAtRandomMoments) {
  std::mt19937_64 random(RandomSeed());
  ASSERT_NO_FATAL_FAILURE(StartServers(3, {"--drain-timeout", "300ms"}));
  std::vector<std::unique_ptr<Speaker>> speakers;
  for (int i = 0; i < 12; ++i) {
    speakers.push_back(std::make_unique<Speaker>(*client_, Sentences(i, 5), 15));
  }
  for (int i = 0; i < 8; ++i) {
    absl::SleepFor(absl::Milliseconds(100 + static_cast<int64_t>(random() % 400)));
    ServerProcess& victim = *servers_[random() % servers_.size()];
    victim.Signal(random() % 2 == 0 ? SIGKILL : SIGTERM);
    victim.Wait();
    victim.StartAndWait();
  }
  ExpectMovesWithoutALoss(speakers);
}

// The texts of these sentences, each a segment, from servers that nothing happens to.
std::vector<Sentence> TranslatedBy(Client& client, const client::StreamOptions& options,
                                   std::vector<Sentence> sentences) {
  const auto stream = client.StartStream(options);
  for (const Sentence& sentence : sentences) {
    EXPECT_TRUE(stream->PushText(sentence.source).ok());
    EXPECT_TRUE(stream->EndSegment().ok());
  }
  EXPECT_TRUE(stream->CloseSource().ok());
  size_t completed = 0;
  while (const auto event = stream->Next()) {
    if (const auto* segment = std::get_if<client::SegmentCompleted>(&*event)) {
      sentences.at(completed++).translation = segment->text;
    }
  }
  EXPECT_TRUE(stream->Wait().ok());
  EXPECT_EQ(completed, sentences.size());
  return sentences;
}

TEST_F(ResumeTest, DraftsSurviveKillsAtRandomMoments) {
  std::mt19937_64 random(RandomSeed());
  const std::string softmax = ExportSoftmaxModel(folder_, "softmax");
  ASSERT_NO_FATAL_FAILURE(StartServers(2, {"--model", kEmbeddedModel, "--model", softmax}));
  std::vector<std::unique_ptr<Speaker>> speakers;
  const auto speak = [&](const char* model, const char* policy) {
    client::StreamOptions options;
    options.model = model;
    options.policy = *client::ParsePolicy(policy);
    const auto sentences = TranslatedBy(*client_, options, Sentences(static_cast<int>(speakers.size()), 4));
    speakers.push_back(
        std::make_unique<Speaker>(*client_, sentences, 15, absl::ZeroDuration(), options));
  };
  for (const char* policy :
       {"la:2", "la:3:4", "hold:2", "adaptive:1-6:0.7:0.3", "la:2+read-words=2",
        "wait-k:2+count-words"}) {
    speak("en-de", policy);
  }
  for (const char* policy : {"alignatt:1", "la:2", "hold:2"}) speak("softmax", policy);
  for (int i = 0; i < 8; ++i) {
    absl::SleepFor(absl::Milliseconds(100 + static_cast<int64_t>(random() % 300)));
    ServerProcess& victim = *servers_[random() % servers_.size()];
    victim.Kill();
    victim.StartAndWait();
  }
  ExpectMovesWithoutALoss(speakers);
}

// A server that goes away is left at the end of the open segment, and nobody is interrupted.
TEST_F(ResumeTest, AnAnnouncedEndInterruptsNobody) {
  ASSERT_NO_FATAL_FAILURE(StartServers(2));
  std::vector<std::unique_ptr<Speaker>> speakers;
  for (int i = 0; i < 6; ++i) {
    speakers.push_back(std::make_unique<Speaker>(*client_, Sentences(i, 3), 30));
  }
  absl::SleepFor(absl::Milliseconds(500));
  servers_[0]->Signal(SIGTERM);
  int moves = 0;
  for (const auto& speaker : speakers) {
    speaker->Join();
    speaker->ExpectFaultlessTranscript();
    EXPECT_TRUE(speaker->interruptions().empty());
    moves += speaker->moves();
  }
  EXPECT_EQ(moves, 3);  // Streams had taken turns at the servers.
  EXPECT_EQ(servers_[0]->Wait(), 0);
}

TEST_F(ResumeTest, AFullServerSendsStreamsToTheOther) {
  ASSERT_NO_FATAL_FAILURE(StartServers(2, {"--max-sessions", "2"}));
  std::vector<std::unique_ptr<Speaker>> speakers;
  for (int i = 0; i < 4; ++i) {
    speakers.push_back(std::make_unique<Speaker>(*client_, Sentences(i, 2), 30));
  }
  // All slots are taken. One more stream waits as long as it was told to, and has a slot in the
  // end.
  absl::SleepFor(absl::Milliseconds(200));
  speakers.push_back(std::make_unique<Speaker>(*client_, Sentences(4, 1), 100));
  client::StreamOptions impatient = LikeTheReference();
  impatient.resume_timeout = absl::ZeroDuration();
  const absl::Status refused = client_->StartStream(impatient)->Wait();
  EXPECT_EQ(client::ErrorReason(refused), "SERVER_FULL") << refused;
  for (const auto& speaker : speakers) {
    speaker->Join();
    speaker->ExpectFaultlessTranscript();
  }
}

TEST_F(ResumeTest, GivesUpWhenNoServerIsLeft) {
  ASSERT_NO_FATAL_FAILURE(StartServers(1));
  client::StreamOptions options = LikeTheReference();
  options.resume_timeout = absl::Seconds(1);
  auto stream = client_->StartStream(options);
  ASSERT_TRUE(stream->PushText("one word ").ok());
  while (auto event = stream->Next()) {
    if (std::holds_alternative<client::Started>(*event)) servers_[0]->Kill();
  }
  const absl::Status status = stream->Wait();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("within 1s"));
  // A cancel comes while there is no call.
  stream = client_->StartStream(LikeTheReference());
  while (auto event = stream->Next()) {
    if (std::holds_alternative<client::Interrupted>(*event)) stream->Cancel();
  }
  EXPECT_EQ(stream->Wait().code(), absl::StatusCode::kCancelled);
  // A deadline passes while there is no call.
  options.resume_timeout = absl::Seconds(60);
  options.deadline = absl::Milliseconds(300);
  EXPECT_EQ(client_->StartStream(options)->Wait().code(), absl::StatusCode::kDeadlineExceeded);
}

// The other server has another key, so only the server that died could have gone on.
TEST_F(ResumeTest, SaysWhyAServerDoesNotGoOn) {
  ASSERT_NO_FATAL_FAILURE(StartServers(1));
  std::ofstream(folder_ / "other_key") << "another key, of thirty-two bytes at least\n";
  ServerProcess other(folder_, "other", {"--resume-key-file", folder_ / "other_key"});
  other.StartAndWait();
  auto client = Client::Connect({servers_[0]->address() + "," + other.address()});
  ASSERT_TRUE(client.ok());
  auto a = (*client)->StartStream(LikeTheReference());
  auto b = (*client)->StartStream(LikeTheReference());  // Each server has one of them.
  for (auto* stream : {a.get(), b.get()}) {
    ASSERT_TRUE(stream->PushText("it was a dark night and nobody ").ok());
    while (auto event = stream->Next()) {
      if (std::holds_alternative<client::Delta>(*event)) break;
    }
  }
  servers_[0]->Kill();
  ASSERT_TRUE(a->CloseSource().ok());
  ASSERT_TRUE(b->CloseSource().ok());
  const std::vector<std::string> reasons = {client::ErrorReason(a->Wait()),
                                            client::ErrorReason(b->Wait())};
  EXPECT_THAT(reasons, testing::UnorderedElementsAre("", "RESUME_TOKEN_INVALID"));
}

// The program says what happened on standard error, and its output is that of an undisturbed run.
TEST_F(ResumeTest, TheProgramGoesOnByItself) {
  ASSERT_NO_FATAL_FAILURE(StartServers(2));
  const std::vector<Sentence> sentences = Sentences(0, 3);
  std::string expected;
  std::ofstream input(folder_ / "input");
  for (const Sentence& sentence : sentences) {
    input << sentence.source << "\n";
    expected += sentence.translation + "\n";
  }
  input.close();
  Process program;
  program.Start({"sh", "-c",
                 absl::StrCat(LEAPSTREAM_BINARY_DIR "/bin/leapstream translate --k 3 --early-end "
                                                    "stop --pace 15/s --server ",
                              servers_[0]->address(), " --server ", servers_[1]->address(), " > ",
                              folder_ / "output")},
                folder_ / "errors", folder_ / "input");
  for (int i = 0; i < 2; ++i) {
    absl::SleepFor(absl::Milliseconds(400));
    servers_[i]->Kill();
    servers_[i]->StartAndWait();
  }
  EXPECT_EQ(program.Wait(), 0);
  EXPECT_EQ(ReadFile(folder_ / "output"), expected);
  EXPECT_THAT(ReadFile(folder_ / "errors"), testing::HasSubstr("nothing was lost"));
}

}  // namespace
}  // namespace leapstream
