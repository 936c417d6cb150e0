#include "streaming/live_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/budget.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

using testing::ElementsAre;

constexpr char kText[] = "the quick brown fox jumps over the lazy dog";

// Keeps the session's output. There is one thread only.
struct PlainSink final : public SessionSink {
  void OnEvent(SessionEvent event) override {
    EXPECT_TRUE(ends.empty()) << "OnFinished() is the last call";
    if (auto* delta = std::get_if<TargetDelta>(&event)) {
      text += delta->text;
      ids.push_back(delta->token.id);
      read.push_back(delta->token.source_tokens_read);
    } else if (auto* completed = std::get_if<SegmentCompleted>(&event)) {
      text += completed->unsent;
      segments.push_back(*completed);
    } else {
      summaries.push_back(std::get<SessionSummary>(event));
    }
  }
  void OnRoom() override { ++rooms; }
  void OnFinished(absl::Status status) override { ends.push_back(std::move(status)); }

  std::string text;  // All text that was appended.
  std::vector<TokenId> ids;
  std::vector<int> read;
  std::vector<SegmentCompleted> segments;
  std::vector<SessionSummary> summaries;
  std::vector<absl::Status> ends;
  int rooms = 0;
};

struct FakeLoop final : public ScheduledSession::Loop {
  void Enqueue(std::shared_ptr<ScheduledSession> /*session*/, Queue queue) override {
    queued.push_back(queue);
  }
  void AddStateBytes(int64_t bytes) override { state_bytes += bytes; }
  StepObserver* observer() const override { return nullptr; }

  std::vector<Queue> queued;  // The queues into which the session was put, from outside a turn.
  int64_t state_bytes = 0;    // The growth that the loop was told.
};

// One session, of which the test is the step loop.
class LiveSessionTest : public testing::Test {
 protected:
  LiveSessionTest() {
    options_.policy = WaitK{3};
    options_.early_end = EarlyEnd::kSuppress;
  }
  void Open(ResumeFrom from = {}) {
    LiveSession::Parts parts;
    auto source = SegmentSource::Create(options_, *model_, Frame(), from);
    ASSERT_TRUE(source.ok()) << source.status();
    parts.source = *std::move(source);
    auto state = NewState(*model_, Frame(), options_);
    ASSERT_TRUE(state.ok()) << state.status();
    parts.state = *std::move(state);
    parts.options = options_;
    parts.sink = &sink_;
    parts.from = std::move(from);
    session_ = std::make_shared<LiveSession>(std::move(parts), *model_, &loop_);
  }
  // Gives the session a turn, as the loop does for its batch.
  Due Turn(int max_rows = 16) {
    const Due due = session_->Plan(max_rows, budget::kWorkPerSession);
    if (!due.has_turn) return due;
    const Translator& model = *model_->translator;
    if (due.replay_count > 0) {
      EXPECT_TRUE(model.Replay({due.replay}, [] {}).ok());
      session_->ApplyReplay();
    } else if (due.read_count > 0) {
      EXPECT_TRUE(model.Read({due.reads}, [] {}).ok());
    }
    if (due.deciding != nullptr) {
      Decision decision;
      EXPECT_TRUE(model.Decide({due.reads.state}, absl::MakeSpan(&decision, 1), [] {}).ok());
      session_->Apply(decision);
    }
    return due;
  }
  void RunUntilItWaits(int max_rows = 16) {
    while (Turn(max_rows).has_turn) continue;
  }

  std::shared_ptr<const Model> model_ = FakeModel();
  SessionOptions options_;
  PlainSink sink_;
  FakeLoop loop_;
  std::shared_ptr<LiveSession> session_;
};

TEST_F(LiveSessionTest, ReadsUntilThePolicyWritesAndThenOneForOne) {
  Open();
  EXPECT_FALSE(Turn().has_turn) << "there is nothing to do";
  session_->Push(std::string("the the "));
  EXPECT_THAT(loop_.queued, ElementsAre(Queue::kLive));
  Due due = Turn();
  EXPECT_EQ(due.read_count, 2);
  EXPECT_EQ(due.deciding, nullptr) << "k is 3";
  EXPECT_FALSE(Turn().has_turn);
  session_->Push(std::string("the the "));
  due = Turn();
  EXPECT_EQ(due.read_count, 1);
  EXPECT_NE(due.deciding, nullptr);
  EXPECT_THAT(sink_.read, ElementsAre(3));
  due = Turn();
  EXPECT_EQ(due.read_count, 1);
  EXPECT_NE(due.deciding, nullptr);
  EXPECT_EQ(Turn().deciding, nullptr) << "the next token needs more source";
  EXPECT_THAT(sink_.read, ElementsAre(3, 4));
}

TEST_F(LiveSessionTest, TheSourcesEndCompletesTheSegmentAndThenTheSession) {
  Open();
  session_->Push(std::string(kText));
  session_->EndSource();
  RunUntilItWaits();
  ASSERT_EQ(sink_.segments.size(), 1u);
  EXPECT_EQ(sink_.segments[0].segment, 1);
  EXPECT_EQ(sink_.segments[0].text, sink_.text) << "text is only appended";
  EXPECT_EQ(sink_.segments[0].reason, FinishReason::kEndOfSentence);
  ASSERT_EQ(sink_.summaries.size(), 1u);
  EXPECT_EQ(sink_.summaries[0].segments, 1);
  ASSERT_EQ(sink_.ends.size(), 1u);
  EXPECT_TRUE(sink_.ends[0].ok()) << sink_.ends[0];
  EXPECT_TRUE(session_->finished());
}

TEST_F(LiveSessionTest, AnyChunkingAndAnySizeOfTurnsGivesTheSame) {
  std::string expected;
  for (const int max_rows : {16, 1, 3}) {
    for (const size_t chunk : {size_t{100}, size_t{1}, size_t{4}}) {
      sink_ = PlainSink();
      Open();
      const std::string text = kText;
      for (size_t at = 0; at < text.size(); at += chunk) {
        session_->Push(text.substr(at, chunk));
        RunUntilItWaits(max_rows);
      }
      session_->EndSource();
      RunUntilItWaits(max_rows);
      ASSERT_EQ(sink_.ends.size(), 1u);
      if (expected.empty()) expected = sink_.text;
      EXPECT_EQ(sink_.text, expected) << max_rows << " " << chunk;
      EXPECT_FALSE(expected.empty());
    }
  }
}

TEST_F(LiveSessionTest, ATurnHasAtMostSoManyReads) {
  options_.policy = WaitK{40};
  Open();
  std::string words;
  for (int i = 0; i < 50; ++i) words += "the ";
  session_->Push(words);
  EXPECT_EQ(Turn(16).read_count, 16);
  EXPECT_EQ(Turn(7).read_count, 7);
  EXPECT_EQ(session_->queue(), Queue::kBacklog) << "it reads without waiting";
  EXPECT_EQ(Turn(16).read_count, 16);
  const Due due = Turn(16);
  EXPECT_EQ(due.read_count, 1);
  EXPECT_NE(due.deciding, nullptr);
}

TEST_F(LiveSessionTest, DoesNothingWhileItIsHeld) {
  Open();
  session_->Hold();
  session_->Push(std::string(kText));
  session_->EndSource();
  EXPECT_FALSE(Turn().has_turn);
  EXPECT_TRUE(sink_.ids.empty());
  loop_.queued.clear();
  session_->Release();
  EXPECT_THAT(loop_.queued, ElementsAre(Queue::kLive));
  RunUntilItWaits();
  EXPECT_EQ(sink_.ends.size(), 1u);
}

TEST_F(LiveSessionTest, IsEndingOnceItIsCancelledAndGivesItsStateBack) {
  FakeModelOptions grows;
  grows.state_bytes_per_token = 1000;
  model_ = FakeModel(grows);
  Open();
  const int64_t fixed = session_->state_bytes();
  session_->Push(std::string("the the the the "));
  RunUntilItWaits();
  session_->CountState();
  EXPECT_GT(loop_.state_bytes, 0);
  EXPECT_EQ(session_->state_bytes(), fixed + loop_.state_bytes);
  EXPECT_FALSE(session_->ending());
  session_->Cancel(absl::AbortedError("one"));
  session_->Cancel(absl::CancelledError("two"));
  EXPECT_TRUE(session_->ending()) << "before its turn";
  EXPECT_TRUE(sink_.ends.empty());
  EXPECT_FALSE(Turn().has_turn);
  EXPECT_THAT(sink_.ends, ElementsAre(absl::AbortedError("one")));
  session_->Finish(absl::InternalError("late"));
  EXPECT_EQ(sink_.ends.size(), 1u);
  session_->FreeState();
  EXPECT_EQ(session_->state_bytes(), 0);
  EXPECT_EQ(loop_.state_bytes, -fixed) << "the loop counts the state at the session's opening";
  loop_.queued.clear();
  session_->Push(std::string("the "));
  EXPECT_TRUE(loop_.queued.empty());
  EXPECT_FALSE(Turn().has_turn);
}

TEST_F(LiveSessionTest, IsEndingOnceItIsOver) {
  Open();
  EXPECT_FALSE(session_->ending());
  session_->EndSource();
  RunUntilItWaits();
  EXPECT_TRUE(session_->finished());
  EXPECT_TRUE(session_->ending());
}

TEST_F(LiveSessionTest, EndsAfterTheOpenSegment) {
  Open();
  session_->Push(std::string("the the the the "));
  RunUntilItWaits();
  session_->EndAfterSegment(absl::UnavailableError("draining"));
  RunUntilItWaits();
  EXPECT_FALSE(session_->finished()) << "the segment is open";
  session_->EndSegment();
  RunUntilItWaits();
  EXPECT_EQ(sink_.segments.size(), 1u);
  EXPECT_THAT(sink_.ends, ElementsAre(absl::UnavailableError("draining")));
  EXPECT_TRUE(sink_.summaries.empty());
}

TEST_F(LiveSessionTest, StopsWhenWhatWasPushedIsTranslatedAsFarAsItCanBe) {
  Open();
  session_->Push(std::string("the the "));
  session_->EndSegment();
  session_->Push(std::string("the the the the "));
  session_->StopSource(absl::ResourceExhaustedError("quota"));
  RunUntilItWaits();
  EXPECT_EQ(sink_.segments.size(), 1u) << "the second one is open";
  ASSERT_GE(sink_.read.size(), 2u);
  EXPECT_EQ(sink_.read.end()[-2], 3);
  EXPECT_EQ(sink_.read.back(), 4) << "a token was written once all was read";
  EXPECT_THAT(sink_.ends, ElementsAre(absl::ResourceExhaustedError("quota")));
  EXPECT_TRUE(sink_.summaries.empty());
}

TEST_F(LiveSessionTest, StopsAtOnceIfNothingIsOpen) {
  Open();
  session_->StopSource(absl::ResourceExhaustedError("quota"));
  RunUntilItWaits();
  EXPECT_THAT(sink_.ends, ElementsAre(absl::ResourceExhaustedError("quota")));
}

TEST_F(LiveSessionTest, SourceOfAnotherFormEndsIt) {
  Open();
  session_->Push(std::string("the "));
  session_->Push(std::vector<TokenId>{5});
  RunUntilItWaits();
  ASSERT_EQ(sink_.ends.size(), 1u);
  EXPECT_EQ(sink_.ends[0].code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(LiveSessionTest, SaysWhenThereIsRoomAgain) {
  options_.max_queued_bytes = 1000;
  Open();
  while (session_->HasRoom()) session_->Push(std::string("the "));
  EXPECT_EQ(sink_.rooms, 0);
  RunUntilItWaits();
  EXPECT_EQ(sink_.rooms, 1);
  EXPECT_TRUE(session_->HasRoom());
}

TEST_F(LiveSessionTest, AResumeReplaysTheTargetAndGoesOnAsBefore) {
  Open();
  session_->Push(std::string(kText));
  session_->EndSource();
  RunUntilItWaits();
  const PlainSink whole = sink_;
  ASSERT_GT(whole.ids.size(), 4u);
  ResumeFrom from;
  from.committed = {whole.ids.begin(), whole.ids.begin() + 4};
  from.source_read = {whole.read.begin(), whole.read.begin() + 4};
  for (const bool at_once : {true, false}) {
    sink_ = PlainSink();
    if (!at_once) from.source_read.clear();  // Each token is then decided again.
    Open(from);
    EXPECT_EQ(session_->queue(), at_once ? Queue::kBacklog : Queue::kLive);
    session_->Push(std::string(kText));
    session_->EndSource();
    if (at_once) {
      EXPECT_EQ(Turn().replay_count, 4);
    }
    RunUntilItWaits();
    EXPECT_THAT(sink_.ids, testing::ElementsAreArray(whole.ids.begin() + 4, whole.ids.end()));
    ASSERT_EQ(sink_.segments.size(), 1u);
    EXPECT_EQ(sink_.segments[0].text, whole.segments[0].text);
    EXPECT_TRUE(sink_.ends[0].ok()) << sink_.ends[0];
  }
}

TEST_F(LiveSessionTest, AResumeWithAnotherSourceIsRefused) {
  ResumeFrom from;
  from.committed = {5, 6, 7};
  from.source_read = {3, 4, 5};
  Open(from);
  session_->EndSource();  // There is no source for the target.
  RunUntilItWaits();
  ASSERT_EQ(sink_.ends.size(), 1u);
  EXPECT_EQ(sink_.ends[0].code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(sink_.ends[0].GetPayload(kCommittedTargetPayload).has_value());
}

}  // namespace
}  // namespace leapstream
