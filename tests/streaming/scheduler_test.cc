#include "streaming/scheduler.h"

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include "metrics/unicode.h"
#include "metrics/word_timing.h"
#include "streaming/text_sink.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

constexpr char kText[] = "the quick brown fox jumps over the lazy dog";

std::string Translate(Scheduler& scheduler, const SessionOptions& options,
                      const std::vector<std::string>& chunks) {
  CollectingSink sink;
  auto session = scheduler.Open(options, &sink);
  EXPECT_TRUE(session.ok()) << session.status();
  for (const std::string& chunk : chunks) (*session)->Push(chunk);
  (*session)->EndSource();
  sink.Wait();
  EXPECT_TRUE(sink.status.ok()) << sink.status;
  EXPECT_EQ(1u, sink.segments.size());
  EXPECT_EQ(sink.appended[0], sink.segments[0].text) << "text is only appended";
  return sink.segments[0].text;
}

TEST(SchedulerTest, AnyChunkingGivesTheSameOutput) {
  Scheduler scheduler(FakeModel());
  for (const EarlyEnd early_end : {EarlyEnd::kStop, EarlyEnd::kSuppress, EarlyEnd::kReadOn}) {
    SessionOptions options;
    options.early_end = early_end;
    const std::string text = kText;
    const std::string whole = Translate(scheduler, options, {text});
    EXPECT_FALSE(whole.empty());
    std::mt19937 random(3);
    for (int round = 0; round < 50; ++round) {
      std::vector<std::string> chunks;
      for (size_t at = 0; at < text.size();) {
        const size_t size = random() % 4;
        chunks.push_back(text.substr(at, size));
        at += size;
      }
      EXPECT_EQ(whole, Translate(scheduler, options, chunks)) << "round " << round;
    }
  }
}

TEST(SchedulerTest, LaggingPerWordIsThatOfTheWordsThatWereReadAndCompleted) {
  const std::shared_ptr<const Model> model = FakeModel();
  Scheduler scheduler(model);
  CollectingSink sink;
  auto session = scheduler.Open(SessionOptions(), &sink);
  ASSERT_TRUE(session.ok()) << session.status();
  (*session)->Push(kText);
  (*session)->EndSource();
  sink.Wait();
  ASSERT_EQ(1u, sink.segments.size());

  std::vector<int> pieces;
  for (const absl::string_view word : metrics::SplitWords(kText)) {
    pieces.push_back(static_cast<int>(model->source_tokenizer->Encode(std::string(word)).size()));
  }
  const metrics::SourceWordEnds ends(pieces);
  TextSink text(model->target_tokenizer.get());
  metrics::TargetWords words;
  metrics::SegmentTiming timing;
  const auto add = [&](const std::string& appended, int read) {
    for (const auto& word : words.Append(appended, ends.WordsRead(read), 0)) {
      timing.delays.push_back(word.source_read);
    }
  };
  for (const TargetToken& token : sink.tokens) {
    add(text.Append(token.piece), token.source_tokens_read);
  }
  add(text.Finish() + " ", ends.tokens());
  timing.source_length = ends.words();
  const SegmentStats& stats = sink.segments[0].stats;
  ASSERT_TRUE(stats.words.has_value());
  ASSERT_GT(timing.delays.size(), 1u);
  const metrics::Lagging expected = metrics::MeasureLagging(timing);
  EXPECT_EQ(stats.words->al, expected.al);
  EXPECT_EQ(stats.words->dal, expected.dal);
  EXPECT_EQ(stats.words->start_offset, expected.start_offset);
  EXPECT_EQ(stats.words->end_offset, 0);
  EXPECT_FALSE(stats.computation_aware.has_value()) << "text has no time";
}

TEST(SchedulerTest, SegmentsFollowEachOtherAndAnEmptyOneCompletesAtOnce) {
  Scheduler scheduler(FakeModel());
  SessionOptions options;
  CollectingSink sink;
  auto session = scheduler.Open(options, &sink);
  ASSERT_TRUE(session.ok());
  (*session)->EndSegment();
  (*session)->Push("  \t ");
  (*session)->EndSegment();
  (*session)->Push(kText);
  (*session)->EndSegment();
  (*session)->Push(kText);
  (*session)->EndSource();
  sink.Wait();
  ASSERT_TRUE(sink.status.ok()) << sink.status;
  ASSERT_EQ(4u, sink.segments.size());
  EXPECT_EQ("", sink.segments[0].text);
  EXPECT_EQ("", sink.segments[1].text);
  EXPECT_NE("", sink.segments[2].text);
  EXPECT_EQ(sink.segments[2].text, sink.segments[3].text)
      << "nothing of a segment is left in the next";
  for (int i = 0; i < 4; ++i) EXPECT_EQ(i + 1, sink.segments[i].segment);
  EXPECT_EQ(4, sink.summary.segments);
}

TEST(SchedulerTest, NothingSentIsNothingTranslated) {
  Scheduler scheduler(FakeModel());
  CollectingSink sink;
  auto session = scheduler.Open({}, &sink);
  (*session)->EndSource();
  sink.Wait();
  EXPECT_TRUE(sink.status.ok());
  EXPECT_TRUE(sink.segments.empty());
}

TEST(SchedulerTest, TargetLengthIsLimitedInTokens) {
  Scheduler scheduler(FakeModel());
  SessionOptions options;
  options.early_end = EarlyEnd::kSuppress;
  options.max_target_tokens = 3;
  CollectingSink sink;
  auto session = scheduler.Open(options, &sink);
  (*session)->Push(kText);
  (*session)->EndSource();
  sink.Wait();
  ASSERT_EQ(1u, sink.segments.size());
  EXPECT_EQ(FinishReason::kMaxLength, sink.segments[0].reason);
  EXPECT_EQ(3u, sink.tokens.size());
}

TEST(SchedulerTest, SourceLengthIsLimitedAndTheStreamGoesOn) {
  Scheduler scheduler(FakeModel());
  SessionOptions options;
  options.early_end = EarlyEnd::kReadOn;
  options.max_source_tokens = 4;
  CollectingSink sink;
  auto session = scheduler.Open(options, &sink);
  (*session)->Push(kText);
  (*session)->EndSegment();
  (*session)->Push("a ");
  (*session)->EndSource();
  sink.Wait();
  ASSERT_EQ(2u, sink.segments.size());
  EXPECT_EQ(FinishReason::kSourceLimit, sink.segments[0].reason);
  EXPECT_EQ(4, sink.segments[0].stats.source_tokens);
}

// That source was dropped is worse than that its translation was cut, and must not be hidden.
TEST(SchedulerTest, SourceLimitIsSaidAlsoIfTheTargetLimitEndsTheSegment) {
  Scheduler scheduler(FakeModel());
  SessionOptions options;
  options.early_end = EarlyEnd::kSuppress;
  options.max_source_tokens = 4;
  options.max_target_tokens = 3;
  CollectingSink sink;
  auto session = scheduler.Open(options, &sink);
  (*session)->Push(kText);
  (*session)->EndSource();
  sink.Wait();
  ASSERT_EQ(1u, sink.segments.size());
  EXPECT_EQ(3u, sink.tokens.size());
  EXPECT_EQ(FinishReason::kSourceLimit, sink.segments[0].reason);
  EXPECT_EQ(4, sink.segments[0].stats.source_tokens);
}

TEST(SchedulerTest, BadInputEndsOneSessionAndNoOther) {
  Scheduler scheduler(FakeModel());
  CollectingSink bad, ids, good;
  auto one = scheduler.Open({}, &bad);
  auto two = scheduler.Open({}, &ids);
  auto three = scheduler.Open({}, &good);
  (*three)->Push(kText);
  (*one)->Push(std::string("caf\xc3 au lait "));
  (*two)->Push(std::vector<TokenId>{4, 1 << 30});
  bad.Wait();
  ids.Wait();
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, bad.status.code());
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, ids.status.code());
  (*one)->Push("after the end");
  (*three)->EndSource();
  good.Wait();
  EXPECT_TRUE(good.status.ok());
}

TEST(SchedulerTest, OptionsOutOfRangeAreRefused) {
  Scheduler scheduler(FakeModel());
  CollectingSink sink;
  SessionOptions options;
  options.policy = WaitK{0};
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, scheduler.Open(options, &sink).status().code());
  options = {};
  options.policy = WaitK{3, 0};
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, scheduler.Open(options, &sink).status().code());
  options = {};
  options.max_length_a = -1;
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, scheduler.Open(options, &sink).status().code());
}

// Whatever the chunks, a learned policy reads and writes in the same places.
TEST(SchedulerTest, ALearnedPolicyReadsWhatItWantsAndNoMore) {
  FakeModelOptions options;
  options.learned_policy = true;
  for (const EarlyEnd early_end : {EarlyEnd::kStop, EarlyEnd::kSuppress, EarlyEnd::kReadOn}) {
    std::vector<std::vector<int>> delays;
    for (const size_t chunk : {size_t{1}, size_t{7}, size_t{1000}}) {
      Scheduler scheduler(FakeModel(options));
      CollectingSink sink;
      SessionOptions session_options;
      session_options.policy = Learned();
      session_options.early_end = early_end;
      auto session = scheduler.Open(session_options, &sink);
      ASSERT_TRUE(session.ok()) << session.status();
      const std::string text = kText;
      for (size_t i = 0; i < text.size(); i += chunk) (*session)->Push(text.substr(i, chunk));
      (*session)->EndSource();
      sink.Wait();
      ASSERT_TRUE(sink.status.ok()) << sink.status;
      delays.emplace_back();
      for (const TargetToken& token : sink.tokens)
        delays.back().push_back(token.source_tokens_read);
    }
    EXPECT_EQ(delays[0], delays[1]);
    EXPECT_EQ(delays[0], delays[2]);
    EXPECT_FALSE(delays[0].empty());
    EXPECT_TRUE(std::is_sorted(delays[0].begin(), delays[0].end()));
  }
}

TEST(SchedulerTest, ASegmentHasOneFormOfSource) {
  Scheduler scheduler(FakeModel());
  CollectingSink mixed, separate;
  auto one = scheduler.Open({}, &mixed);
  (*one)->Push(std::string("abc "));
  (*one)->Push(std::vector<TokenId>{5});
  mixed.Wait();
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, mixed.status.code());
  auto two = scheduler.Open({}, &separate);
  (*two)->Push(std::string("abc "));
  (*two)->EndSegment();
  (*two)->Push(std::vector<TokenId>{5});
  (*two)->EndSource();
  separate.Wait();
  EXPECT_TRUE(separate.status.ok()) << separate.status;
  EXPECT_EQ(2u, separate.segments.size());
}

TEST(SchedulerTest, CancelledSessionsAndTheSchedulersEndAreFinal) {
  CollectingSink cancelled, cut;
  {
    Scheduler scheduler(FakeModel());
    auto one = scheduler.Open({}, &cancelled);
    auto two = scheduler.Open({}, &cut);
    (*one)->Push(kText);
    (*one)->Cancel(absl::CancelledError("enough"));
    cancelled.Wait();
    EXPECT_EQ(absl::StatusCode::kCancelled, cancelled.status.code());
    (*two)->Push(kText);
  }
  cut.Wait();
  EXPECT_EQ(absl::StatusCode::kUnavailable, cut.status.code());
}

TEST(SchedulerTest, ABatchGivesWhatItsMembersGiveAlone) {
  Scheduler scheduler(FakeModel());
  const std::string alone = Translate(scheduler, {}, {kText});
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      for (int round = 0; round < 10; ++round) EXPECT_EQ(alone, Translate(scheduler, {}, {kText}));
    });
  }
  for (std::thread& client : clients) client.join();
}

// A tokenizer of another model.
class SharedTokenizer final : public Tokenizer {
 public:
  SharedTokenizer(std::shared_ptr<const Model> owner, const Tokenizer& tokenizer)
      : owner_(std::move(owner)), tokenizer_(tokenizer) {}
  std::vector<std::string> Encode(absl::string_view text) const override {
    return tokenizer_.Encode(text);
  }
  std::string Decode(const std::vector<std::string>& pieces) const override {
    return tokenizer_.Decode(pieces);
  }
  PieceKind Kind(absl::string_view piece) const override { return tokenizer_.Kind(piece); }
  const std::string& unknown_surface() const override { return tokenizer_.unknown_surface(); }
  bool strips_leading_space() const override { return tokenizer_.strips_leading_space(); }
  bool strips_all_leading_space() const override { return tokenizer_.strips_all_leading_space(); }

 private:
  const std::shared_ptr<const Model> owner_;
  const Tokenizer& tokenizer_;
};

std::vector<TokenId> Ids(const std::vector<TargetToken>& tokens, size_t begin, size_t end) {
  std::vector<TokenId> ids;
  for (size_t i = begin; i < end; ++i) ids.push_back(tokens[i].id);
  return ids;
}

// A session that is cut after any number of tokens and goes on elsewhere puts out what is missing:
// the same tokens, read at the same places, with the same log-probabilities, and the same figures.
TEST(SchedulerTest, AResumedSessionGoesOnToTheBit) {
  for (const bool learned : {false, true}) {
    FakeModelOptions model_options;
    model_options.learned_policy = learned;
    Scheduler first(FakeModel(model_options)), second(FakeModel(model_options));
    for (const EarlyEnd early_end : {EarlyEnd::kStop, EarlyEnd::kSuppress, EarlyEnd::kReadOn}) {
      for (const int k : {1, 3, 7}) {
        SessionOptions options;
        options.early_end = early_end;
        if (learned) options.policy = Learned();
        if (!learned) options.policy = WaitK{k, 1 + k % 2};
        CollectingSink whole;
        auto session = first.Open(options, &whole);
        ASSERT_TRUE(session.ok()) << session.status();
        for (int i = 0; i < 2; ++i) {
          (*session)->Push(i == 0 ? "once upon a time there was" : kText);
          (*session)->EndSegment();
        }
        (*session)->EndSource();
        whole.Wait();
        ASSERT_EQ(2u, whole.segments.size());
        const size_t begin = whole.segments[0].stats.target_tokens;
        for (size_t cut = begin; cut <= whole.tokens.size(); ++cut) {
          CollectingSink rest;
          auto resumed = second.Open(options, &rest,
                                     {2, Ids(whole.tokens, begin, cut), whole.segments[0].so_far});
          ASSERT_TRUE(resumed.ok()) << resumed.status();
          const std::string text = kText;
          for (size_t at = 0; at < text.size(); at += 5) (*resumed)->Push(text.substr(at, 5));
          (*resumed)->EndSource();
          rest.Wait();
          ASSERT_TRUE(rest.status.ok()) << rest.status;
          ASSERT_EQ(1u, rest.segments.size());
          ASSERT_EQ(whole.tokens.size() - cut, rest.tokens.size()) << "cut after " << cut;
          for (size_t i = 0; i < rest.tokens.size(); ++i) {
            EXPECT_EQ(whole.tokens[cut + i].id, rest.tokens[i].id);
            EXPECT_EQ(whole.tokens[cut + i].source_tokens_read, rest.tokens[i].source_tokens_read);
            EXPECT_EQ(whole.tokens[cut + i].log_prob, rest.tokens[i].log_prob);
          }
          EXPECT_EQ(2, rest.segments[0].segment);
          EXPECT_EQ(whole.segments[1].text, rest.segments[0].text);
          EXPECT_EQ(whole.segments[1].reason, rest.segments[0].reason);
          EXPECT_EQ(whole.segments[1].stats.lagging.al, rest.segments[0].stats.lagging.al);
          EXPECT_EQ(2, rest.summary.segments);
          EXPECT_EQ(whole.summary.target_tokens, rest.summary.target_tokens);
          EXPECT_EQ(whole.summary.totals.lagging.al, rest.summary.totals.lagging.al);
          const std::string& text_whole = whole.segments[1].text;
          ASSERT_GE(text_whole.size(), rest.appended[0].size());
          EXPECT_EQ(text_whole.substr(text_whole.size() - rest.appended[0].size()),
                    rest.appended[0]);
        }
      }
    }
  }
}

TEST(SchedulerTest, ResumingWithWhatCannotBeIsRefused) {
  Scheduler scheduler(FakeModel());
  CollectingSink sink;
  for (const TokenId id : {-1, 1 << 20, static_cast<int>(kEndOfSentence)}) {
    EXPECT_EQ(absl::StatusCode::kInvalidArgument,
              scheduler.Open({}, &sink, {1, {id}, {}}).status().code());
  }
  EXPECT_EQ(absl::StatusCode::kInvalidArgument,
            scheduler.Open({}, &sink, {0, {}, {}}).status().code());
  SessionOptions options;
  options.max_target_tokens = 2;
  for (const char* source : {"", "a b c d e"}) {
    CollectingSink longer;
    auto session = scheduler.Open(options, &longer, {1, {5, 6, 7, 8}, {}});
    ASSERT_TRUE(session.ok());
    (*session)->Push(std::string(source));
    (*session)->EndSource();
    longer.Wait();
    EXPECT_EQ(absl::StatusCode::kInvalidArgument, longer.status.code());
  }
}

// Calls back at each token.
class TokenSink final : public CollectingSink {
 public:
  explicit TokenSink(std::function<void()> on_token) : on_token_(std::move(on_token)) {}
  void OnEvent(SessionEvent event) override {
    if (std::holds_alternative<TargetDelta>(event)) on_token_();
    CollectingSink::OnEvent(std::move(event));
  }

 private:
  const std::function<void()> on_token_;
};

class RoomSink final : public CollectingSink {
 public:
  void OnRoom() override {
    MutexLock lock(&room_mutex_);
    ++rooms_;
    changed_.NotifyAll();
  }
  bool WaitForRoom(int count) {
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    MutexLock lock(&room_mutex_);
    while (rooms_ < count && changed_.WaitUntil(&room_mutex_, deadline)) continue;
    return rooms_ == count;
  }

 private:
  Mutex room_mutex_;
  CondVar changed_;  // rooms_ has grown.
  int rooms_ ABSL_GUARDED_BY(room_mutex_) = 0;
};

// Fills the queue of a session with `input` and waits for it to have room again; returns how many
// it took.
int Fill(const SessionOptions& options, const std::string& input) {
  Scheduler scheduler(FakeModel());
  RoomSink sink;
  auto session = scheduler.Open(options, &sink);
  EXPECT_TRUE(session.ok());
  (*session)->Hold();
  int pushed = 0;
  for (; (*session)->HasRoom(); ++pushed) (*session)->Push(input);
  (*session)->Release();
  EXPECT_TRUE(sink.WaitForRoom(1));
  EXPECT_TRUE((*session)->HasRoom());
  (*session)->EndSource();
  sink.Wait();
  EXPECT_TRUE(sink.status.ok());
  EXPECT_TRUE(sink.WaitForRoom(1));
  return pushed;
}

TEST(SchedulerTest, AFullQueueSaysWhenThereIsRoom) {
  SessionOptions options;
  EXPECT_EQ(Fill(options, "some words "), 128) << "inputs count, however small";
  options.max_queued_bytes = 2000;
  EXPECT_EQ(Fill(options, "some words "), 27);
}

// Empty segments make output without a step, so they too must stop.
TEST(SchedulerTest, AHeldSessionPutsOutNothingAndCanBeCancelled) {
  Scheduler scheduler(FakeModel());
  CollectingSink sink;
  auto session = scheduler.Open({}, &sink);
  ASSERT_TRUE(session.ok());
  (*session)->Push(kText);
  (*session)->EndSegment();
  sink.WaitForSegments(1);
  (*session)->Hold();
  for (int i = 0; i < 10; ++i) (*session)->EndSegment();
  EXPECT_FALSE(Translate(scheduler, {}, {kText}).empty());  // The step thread has been past it.
  (*session)->Cancel(absl::AbortedError("enough"));
  sink.Wait();
  EXPECT_EQ(absl::StatusCode::kAborted, sink.status.code());
  EXPECT_EQ(1u, sink.segments.size());
}

TEST(SchedulerTest, EndsAfterTheOpenSegment) {
  Scheduler scheduler(FakeModel());
  CollectingSink idle, closing;
  std::promise<void> first_token;
  bool told = false;
  TokenSink open([&] {
    if (!std::exchange(told, true)) first_token.set_value();
  });
  auto one = scheduler.Open({}, &idle);
  auto two = scheduler.Open({}, &open);
  auto three = scheduler.Open({}, &closing);
  (*one)->EndAfterSegment(absl::UnavailableError("draining"));
  idle.Wait();
  EXPECT_EQ(absl::StatusCode::kUnavailable, idle.status.code());
  (*two)->Push(std::string("one two three four five six "));
  first_token.get_future().wait();
  (*two)->EndAfterSegment(absl::UnavailableError("draining"));
  (*two)->Push(std::string("seven eight"));
  (*two)->EndSegment();
  (*two)->Push(std::string("for another server"));
  open.Wait();
  EXPECT_EQ(absl::StatusCode::kUnavailable, open.status.code());
  ASSERT_EQ(1u, open.segments.size());
  EXPECT_EQ(Translate(scheduler, {}, {"one two three four five six seven eight"}),
            open.segments[0].text);
  (*three)->Push(kText);
  (*three)->EndSource();
  (*three)->EndAfterSegment(absl::UnavailableError("draining"));
  closing.Wait();
  EXPECT_TRUE(closing.status.ok() || closing.segments.empty()) << closing.status;
}

TEST(SchedulerTest, AWordWithoutEndEndsItsSegmentHoweverItIsCut) {
  Scheduler scheduler(FakeModel());
  const std::string source = "some words " + std::string(40000, 'x') + " and more";
  for (const size_t size : {source.size(), size_t{1000}}) {
    CollectingSink sink;
    auto session = scheduler.Open({}, &sink);
    for (size_t at = 0; at < source.size(); at += size) (*session)->Push(source.substr(at, size));
    (*session)->EndSegment();
    (*session)->Push(kText);
    (*session)->EndSource();
    sink.Wait();
    ASSERT_TRUE(sink.status.ok()) << sink.status;
    ASSERT_EQ(2u, sink.segments.size());
    EXPECT_EQ(FinishReason::kSourceLimit, sink.segments[0].reason);
    EXPECT_LT(sink.segments[0].stats.source_tokens, 20);
    EXPECT_EQ(FinishReason::kEndOfSentence, sink.segments[1].reason);
  }
}

// A model that counts what its batches hold.
class CountingTranslator final : public Translator {
 public:
  explicit CountingTranslator(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override {
    return model_->translator->NewState();
  }
  absl::Status Read(absl::Span<const SourceRows> rows,
                    BetweenLayers between_layers) const override {
    for (const SourceRows& row : rows) {
      EXPECT_LE(row.tokens.size(), static_cast<size_t>(Scheduler::kMaxRowsPerSession));
    }
    return model_->translator->Read(rows, between_layers);
  }
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override {
    ++steps;
    return model_->translator->Decide(states, result, between_layers);
  }

  mutable std::atomic<int> steps{0};

 private:
  const std::shared_ptr<const Model> model_;
};

// 10,000 words wait in one session; each token of another one still comes at its next step.
TEST(SchedulerTest, AFullQueueDoesNotDelayOthersByMoreThanAStep) {
  auto counted = std::make_shared<Model>();
  const std::shared_ptr<const Model> fake = FakeModel();
  auto translator = std::make_unique<CountingTranslator>(fake);
  const CountingTranslator& counting = *translator;
  counted->info = fake->info;
  counted->source_vocabulary = fake->source_vocabulary;
  counted->target_vocabulary = fake->target_vocabulary;
  counted->source_tokenizer = std::make_unique<SharedTokenizer>(fake, *fake->source_tokenizer);
  counted->target_tokenizer = std::make_unique<SharedTokenizer>(fake, *fake->target_tokenizer);
  counted->translator = std::move(translator);
  CollectingSink flood;
  std::vector<int> steps;
  TokenSink other([&] { steps.push_back(counting.steps); });
  Scheduler scheduler(counted);
  SessionOptions options;
  options.policy = WaitK{1};
  options.early_end = EarlyEnd::kSuppress;
  auto flooding = scheduler.Open(options, &flood);
  std::string words;
  for (int i = 0; i < 10000; ++i) words += "word ";
  (*flooding)->Push(words);
  auto quiet = scheduler.Open(options, &other);
  (*quiet)->Push(kText);
  (*quiet)->EndSource();
  other.Wait();
  ASSERT_GT(steps.size(), 5u);
  for (size_t i = 1; i < steps.size(); ++i) EXPECT_EQ(steps[i - 1] + 1, steps[i]);
  (*flooding)->Cancel(absl::CancelledError("enough"));
  flood.Wait();
}

}  // namespace
}  // namespace leapstream
