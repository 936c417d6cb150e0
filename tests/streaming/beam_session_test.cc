// Sessions whose segments end with a beam search: offline ones, and those with a tail beam.
#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "streaming/scheduler.h"
#include "streaming/segment_search.h"
#include "streaming/state_budget.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/fake_model.h"
#include "tests/testing/one_session.h"

namespace leapstream {
namespace {

constexpr char kText[] = "the thin tea in the inner ear can be heard there";

SessionOptions Searching(Policy policy, int beam = 4) {
  SessionOptions options;
  options.policy = policy;
  options.early_end = EarlyEnd::kReadOn;
  options.beam = BeamOptions();
  options.beam->beam = beam;
  options.beam->n_best = std::min(beam, 3);
  return options;
}

std::vector<TokenId> Ids(const CollectingSink& sink) {
  std::vector<TokenId> ids;
  for (const TargetToken& token : sink.tokens) ids.push_back(token.id);
  return ids;
}

TEST(BeamSessionTest, AnOfflineSessionWritesTheBestHypothesis) {
  const auto model = FakeModel();
  Scheduler scheduler(model);
  const SessionOptions options = Searching(Offline());
  const auto sink = Translate(scheduler, options, {kText});
  ASSERT_TRUE(sink->status.ok()) << sink->status;
  ASSERT_EQ(sink->segments.size(), 1u);

  std::vector<TokenId> source;
  for (const std::string& piece : model->source_tokenizer->Encode(kText)) {
    source.push_back(model->source_vocabulary.Id(piece));
  }
  source.push_back(kEndOfSentence);
  auto state = *model->translator->NewState();
  ASSERT_TRUE(model->translator->Read({SourceRows{state.get(), source}}).ok());
  BeamTask task;
  task.source_length = static_cast<int>(source.size());
  task.source_words = task.source_length - 1;
  task.vocabulary_size = model->target_vocabulary.size();
  auto search = *SegmentSearch::Begin(*state, *options.beam, task);
  while (!search->done()) {
    const auto take = [&](size_t row, const TokenScores& scores) {
      return search->Take(row, scores);
    };
    ASSERT_TRUE(model->translator->Score(search->rows(), take).ok());
    ASSERT_TRUE(search->Advance().ok());
  }
  const std::vector<BeamHypothesis> expected = search->search().Result();
  ASSERT_EQ(expected.size(), 3u);
  std::vector<TokenId> ids = Ids(*sink);
  ids.push_back(kEndOfSentence);
  EXPECT_EQ(ids, expected[0].ids);
  for (size_t i = 0; i < sink->tokens.size(); ++i) {
    EXPECT_EQ(sink->tokens[i].log_prob, expected[0].log_probs[i]);
    EXPECT_EQ(sink->tokens[i].source_tokens_read, task.source_length);
  }
  const SegmentCompleted& segment = sink->segments[0];
  EXPECT_EQ(segment.text, sink->appended[0]);
  EXPECT_EQ(segment.reason, FinishReason::kEndOfSentence);
  ASSERT_EQ(segment.hypotheses.size(), 3u);
  EXPECT_EQ(segment.hypotheses[0].text, segment.text);
  for (size_t h = 0; h < 3; ++h) EXPECT_EQ(segment.hypotheses[h].score, expected[h].score);
  EXPECT_NE(segment.hypotheses[1].text, segment.text);
}

std::vector<std::string> Cut(const std::string& text, size_t length) {
  std::vector<std::string> chunks;
  for (size_t i = 0; i < text.size(); i += length) chunks.push_back(text.substr(i, length));
  return chunks;
}

TEST(BeamSessionTest, AnyChunkingGivesTheSame) {
  Scheduler scheduler(FakeModel());
  for (const Policy& policy : {Policy(Offline()), Policy(WaitK{1}), Policy(WaitK{3, 2})}) {
    const SessionOptions options = Searching(policy);
    const auto whole = Translate(scheduler, options, {kText});
    for (const size_t length : {1, 2, 7}) {
      const auto cut = Translate(scheduler, options, Cut(kText, length));
      ASSERT_EQ(cut->segments.size(), 1u);
      EXPECT_EQ(Ids(*cut), Ids(*whole));
      EXPECT_EQ(cut->segments[0].text, whole->segments[0].text);
      EXPECT_EQ(cut->appended[0], cut->segments[0].text);  // Text is only appended.
    }
  }
}

TEST(BeamSessionTest, ATailBeamLeavesWhatWasWrittenBefore) {
  Scheduler scheduler(FakeModel());
  const SessionOptions options = Searching(WaitK{2});
  SessionOptions greedy = options;
  greedy.beam.reset();
  const auto with = Translate(scheduler, options, {kText});
  const auto without = Translate(scheduler, greedy, {kText});
  const int source_tokens = with->segments[0].stats.source_tokens;
  size_t before = 0;
  while (before < with->tokens.size() &&
         with->tokens[before].source_tokens_read < source_tokens) {
    ASSERT_LT(before, without->tokens.size());
    EXPECT_EQ(with->tokens[before].id, without->tokens[before].id);
    ++before;
  }
  EXPECT_GT(before, 3u);
  EXPECT_LT(before, with->tokens.size());
  EXPECT_NE(Ids(*with), Ids(*without));  // The tail is another one.
}

// Nothing of a tail is committed before it is found, so a resume finds it anew, also if the stream
// broke while it was put out.
TEST(BeamSessionTest, AResumedSessionGoesOnWhereverItBroke) {
  for (const bool can_replay : {true, false}) {
    FakeModelOptions fake;
    fake.can_replay = can_replay;
    Scheduler scheduler(FakeModel(fake));
    for (const Policy& policy : {Policy(Offline()), Policy(WaitK{2})}) {
      const SessionOptions options = Searching(policy);
      const auto whole = Translate(scheduler, options, {kText});
      for (size_t broke = 0; broke <= whole->tokens.size(); ++broke) {
        ResumeFrom from;
        for (size_t i = 0; i < broke; ++i) {
          from.committed.push_back(whole->tokens[i].id);
          from.source_read.push_back(whole->tokens[i].source_tokens_read);
        }
        const auto resumed = Translate(scheduler, options, {kText}, from);
        ASSERT_TRUE(resumed->status.ok()) << resumed->status;
        EXPECT_EQ(resumed->segments[0].text, whole->segments[0].text) << broke;
        EXPECT_EQ(resumed->tokens.size(), whole->tokens.size() - broke);
      }
    }
  }
}

// Another machine's rounding may have found another hypothesis: what it put out stays.
TEST(BeamSessionTest, CommittedTokensOfATailThatIsNotFoundAgainAreForced) {
  Scheduler scheduler(FakeModel());
  const SessionOptions options = Searching(Offline());
  const auto whole = Translate(scheduler, options, {kText});
  ResumeFrom from;
  from.committed = {whole->tokens[0].id == 10 ? 11 : 10, 12};
  from.source_read = {whole->tokens[0].source_tokens_read, whole->tokens[0].source_tokens_read};
  const auto resumed = Translate(scheduler, options, {kText}, from);
  ASSERT_TRUE(resumed->status.ok()) << resumed->status;
  EXPECT_FALSE(resumed->tokens.empty());
  EXPECT_NE(resumed->segments[0].text, whole->segments[0].text);
}

TEST(BeamSessionTest, SessionsSideBySideGiveWhatEachGivesAlone) {
  Scheduler scheduler(FakeModel());
  constexpr int kSessions = 40;  // With 4 rows each, more than a turn takes.
  const auto text = [](int i) { return absl::StrCat(kText, std::string(1 + i % 7, 'e')); };
  std::vector<std::unique_ptr<CollectingSink>> sinks;
  std::vector<std::shared_ptr<Session>> sessions;
  for (int i = 0; i < kSessions; ++i) {
    sinks.push_back(std::make_unique<CollectingSink>());
    SessionOptions options = Searching(i % 2 == 0 ? Policy(Offline()) : Policy(WaitK{2}));
    if (i % 5 == 0) options.beam.reset();
    auto session = scheduler.Open(options, sinks.back().get());
    ASSERT_TRUE(session.ok()) << session.status();
    (*session)->Push(text(i));
    (*session)->EndSource();
    sessions.push_back(*std::move(session));
  }
  for (int i = 0; i < kSessions; ++i) {
    sinks[i]->Wait();
    const auto alone = Translate(scheduler, sessions[i]->options(), {text(i)});
    EXPECT_EQ(Ids(*sinks[i]), Ids(*alone)) << i;
  }
}

TEST(BeamSessionTest, ASegmentEndsAtTheMostTokens) {
  FakeModelOptions fake;
  fake.ends_after = 1000;
  Scheduler scheduler(FakeModel(fake));
  SessionOptions options = Searching(Offline());
  options.beam->max_length_b = 7;
  const auto sink = Translate(scheduler, options, {kText});
  ASSERT_EQ(sink->segments.size(), 1u);
  EXPECT_EQ(sink->segments[0].reason, FinishReason::kMaxLength);
  EXPECT_EQ(sink->tokens.size(), 7u);
  options.max_target_tokens_cap = 5;
  EXPECT_EQ(Translate(scheduler, options, {kText})->tokens.size(), 5u);
}

TEST(BeamSessionTest, ABeamsStatesCountAndAreGivenBack) {
  FakeModelOptions grows;
  grows.state_bytes_per_token = 1000;
  const auto model = FakeModel(grows);
  const int64_t one = model->info.state_bytes_per_session;
  StateBudget budget(3 * one);
  CollectingSink refused;
  Scheduler full(model, nullptr, &budget);
  EXPECT_EQ(full.Open(Searching(Offline()), &refused).status().code(),
            absl::StatusCode::kResourceExhausted);
  StateBudget unlimited(0);
  Scheduler scheduler(model, nullptr, &unlimited);
  CollectingSink sink;
  auto session = scheduler.Open(Searching(Offline()), &sink);
  ASSERT_TRUE(session.ok()) << session.status();
  (*session)->Push(std::string(kText));
  (*session)->EndSegment();
  sink.WaitForSegments(1);
  while (unlimited.used() > 100 * 1000) std::this_thread::yield();  // The rows' states are gone.
  (*session)->EndSource();
  sink.Wait();
}

TEST(BeamSessionTest, OptionsAreChecked) {
  Scheduler scheduler(FakeModel());
  CollectingSink sink;
  SessionOptions options = Searching(Offline());
  options.beam->beam = 0;
  EXPECT_EQ(scheduler.Open(options, &sink).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(BeamSessionTest, AModelThatFailsEndsTheSession) {
  FakeModelOptions fake;
  fake.fails = true;
  Scheduler scheduler(FakeModel(fake));
  EXPECT_EQ(RunSession(scheduler, Searching(Offline()), {kText})->status.code(),
            absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace leapstream
