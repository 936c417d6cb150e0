#include "streaming/scheduler.h"

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "base/budget.h"
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

// fairseq's text agent keeps symbols. For a repeated symbol it therefore feeds back the last token
// that has it.
TEST(SchedulerTest, ARepeatedSymbolIsFedBackAsItsLastToken) {
  FakeModelOptions fake;
  fake.repeats = true;
  const std::shared_ptr<const Model> model = FakeModel(fake);
  std::vector<TokenId> source;
  for (const std::string& piece : model->source_tokenizer->Encode(kText)) {
    source.push_back(model->source_vocabulary.Id(piece));
  }
  source.push_back(kEndOfSentence);
  const auto state = *model->translator->NewState();
  SessionState* const one = state.get();
  ASSERT_TRUE(model->translator->Read({{one, source}}).ok());
  std::vector<TokenId> expected, earlier;
  for (Decision decision; expected.size() < 1000;) {
    ASSERT_TRUE(model->translator->Decide({one}, absl::MakeSpan(&decision, 1)).ok());
    const TokenId id = decision.best.id;
    if (id == kEndOfSentence) break;
    expected.push_back(id);
    const TokenId last = model->target_vocabulary.Id(model->target_vocabulary.Symbol(id));
    if (last != id) earlier.push_back(id);
    one->Commit(last);
  }
  EXPECT_GT(earlier.size(), 0u);
  Scheduler scheduler(model);
  SessionOptions options;
  options.policy = Offline();
  CollectingSink sink;
  auto session = scheduler.Open(options, &sink);
  ASSERT_TRUE(session.ok()) << session.status();
  (*session)->Push(std::string(kText));
  (*session)->EndSource();
  sink.Wait();
  std::vector<TokenId> ids;
  for (const TargetToken& token : sink.tokens) ids.push_back(token.id);
  EXPECT_EQ(ids, expected);
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

// Each character of such a target is a word, which is complete when it is written. If the target
// were one word, all of it would count as written when the source is over.
TEST(SchedulerTest, LaggingPerWordOfATargetWithoutSpacesIsThatOfItsCharacters) {
  FakeModelOptions chinese;
  chinese.target_language = "zh";
  const std::shared_ptr<const Model> model = FakeModel(chinese);
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
  metrics::SegmentTiming timing;
  for (const TargetToken& token : sink.tokens) {
    timing.delays.push_back(ends.WordsRead(token.source_tokens_read));
  }
  timing.source_length = ends.words();
  ASSERT_GT(timing.delays.size(), 3u);
  ASSERT_LT(timing.delays.front(), timing.source_length);
  const SegmentStats& stats = sink.segments[0].stats;
  ASSERT_TRUE(stats.words.has_value());
  const metrics::Lagging expected = metrics::MeasureLagging(timing);
  EXPECT_EQ(stats.words->al, expected.al);
  EXPECT_EQ(stats.words->ap, expected.ap);
  EXPECT_EQ(stats.words->start_offset, expected.start_offset);
}

// Audio under 25 ms has nothing to translate, and leaves nothing to the next segment.
TEST(SchedulerTest, AudioThatIsTooShortIsOfItsOwnSegmentAlone) {
  FakeModelOptions speech;
  speech.speech = true;
  Scheduler scheduler(FakeModel(speech));
  CollectingSink sink;
  auto session = scheduler.Open(SessionOptions(), &sink);
  ASSERT_TRUE(session.ok()) << session.status();
  (*session)->Hold();  // One turn then finds all of the input.
  (*session)->Push(AudioSamples(174, 1.0f));
  (*session)->EndSegment();
  (*session)->Push(AudioSamples(26540, 1.0f));  // 164 frames, 41 states. 60 more make 42.
  (*session)->EndSource();
  (*session)->Release();
  sink.Wait();
  ASSERT_EQ(sink.segments.size(), 2u);
  EXPECT_EQ(sink.segments[0].stats.source_tokens, 0);
  EXPECT_EQ(sink.segments[1].stats.source_tokens, 41);
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

// Dropped source is worse than a cut translation, and must not be hidden by it.
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

// A learned policy reads and writes at the same places, whatever the chunks are.
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

std::vector<TokenId> Ids(const std::vector<TargetToken>& tokens, size_t begin, size_t end) {
  std::vector<TokenId> ids;
  for (size_t i = begin; i < end; ++i) ids.push_back(tokens[i].id);
  return ids;
}

std::vector<int> SourceRead(const std::vector<TargetToken>& tokens, size_t begin, size_t end) {
  std::vector<int> read;
  for (size_t i = begin; i < end; ++i) read.push_back(tokens[i].source_tokens_read);
  return read;
}

// The lagging figures of words, in the order of the fields of metrics::Lagging.
std::vector<double> Figures(const SegmentStats& stats) {
  const metrics::Lagging& all = stats.lagging;
  const metrics::Lagging& words = *stats.words;
  return {all.al,   all.laal,   all.ap,   all.dal,   all.atd,   all.start_offset,
          words.al, words.laal, words.ap, words.dal, words.atd, words.start_offset};
}

// A session that is cut after any number of tokens and goes on elsewhere puts out the missing
// tokens, after the same source tokens, with the same log-probabilities and the same figures. That
// holds whether its target is decided again or taken at once.
class ResumeTest : public testing::TestWithParam<std::tuple<bool, bool>> {};
INSTANTIATE_TEST_SUITE_P(SchedulerTest, ResumeTest,
                         testing::Combine(testing::Bool(), testing::Bool()));
TEST_P(ResumeTest, AResumedSessionGoesOnToTheBit) {
  const auto [learned, at_once] = GetParam();
  FakeModelOptions model_options;
  model_options.learned_policy = learned;
  model_options.can_replay = at_once;
  Scheduler first(FakeModel(model_options)), second(FakeModel(model_options));
  for (const EarlyEnd early_end : {EarlyEnd::kStop, EarlyEnd::kSuppress, EarlyEnd::kReadOn}) {
    for (const int k : {0, 1, 3, 7}) {
      SessionOptions options;
      options.early_end = early_end;
      if (learned) options.policy = Learned();
      if (!learned && k > 0) options.policy = WaitK{k, 1 + k % 2};
      if (!learned && k == 0) options.policy = Offline();
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
                                   {2, Ids(whole.tokens, begin, cut), whole.segments[0].so_far,
                                    SourceRead(whole.tokens, begin, cut)});
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
        EXPECT_EQ(Figures(whole.segments[1].stats), Figures(rest.segments[0].stats));
        EXPECT_EQ(2, rest.summary.segments);
        EXPECT_EQ(whole.summary.target_tokens, rest.summary.target_tokens);
        EXPECT_EQ(whole.summary.totals.lagging.al, rest.summary.totals.lagging.al);
        const std::string& text_whole = whole.segments[1].text;
        ASSERT_GE(text_whole.size(), rest.appended[0].size());
        EXPECT_EQ(text_whole.substr(text_whole.size() - rest.appended[0].size()), rest.appended[0]);
      }
    }
  }
}

TEST(SchedulerTest, ResumingWithWhatCannotBeIsRefused) {
  Scheduler scheduler(FakeModel());
  CollectingSink sink;
  for (const TokenId id : {-1, 1 << 20, static_cast<int>(kEndOfSentence)}) {
    EXPECT_EQ(absl::StatusCode::kInvalidArgument,
              scheduler.Open({}, &sink, {1, {id}, {}, {}}).status().code());
  }
  EXPECT_EQ(absl::StatusCode::kInvalidArgument,
            scheduler.Open({}, &sink, {0, {}, {}, {}}).status().code());
  SessionOptions options;
  options.max_target_tokens = 2;
  for (const char* source : {"", "a b c d e", static_cast<const char*>(nullptr)}) {
    CollectingSink longer;
    auto session = scheduler.Open(options, &longer, {1, {5, 6, 7, 8}, {}, {}});
    ASSERT_TRUE(session.ok());
    if (source != nullptr) (*session)->Push(std::string(source));
    (*session)->EndSource();
    longer.Wait();
    EXPECT_EQ(absl::StatusCode::kInvalidArgument, longer.status.code());
  }
}

TEST(SchedulerTest, ResumingWithSourceReadThatCannotBeIsRefused) {
  Scheduler scheduler(FakeModel());
  CollectingSink unused;
  EXPECT_EQ(absl::StatusCode::kInvalidArgument,
            scheduler.Open({}, &unused, {1, {5, 6}, {}, {3}}).status().code());
  for (const EarlyEnd early_end : {EarlyEnd::kReadOn, EarlyEnd::kSuppress}) {
    SessionOptions options;
    options.early_end = early_end;
    const bool reads_on = early_end == EarlyEnd::kReadOn;
    const struct {
      const char* source;
      std::vector<int> source_read;
      bool is_good;
    } cases[] = {
        {"a b c d e", {3, 4}, true},
        {"a b c d e", {3, 5}, reads_on},  // A token after an early </s>.
        {"a b c d e", {6, 6}, reads_on},  // All source tokens, </s> included.
        {"a b", {3, 3}, true},
        {"a b c d e", {2, 4}, false},  // Less source than k.
        {"a b c d e", {3, 3}, false},
        {"a b c d e", {4, 3}, false},
        {"a b c d e", {3, 7}, false},  // More source than there is.
        {"a b c d e", {-1, 4}, false},
        {"a b", {3, 4}, false},
        {"", {0, 0}, false},
    };
    for (const auto& [source, source_read, is_good] : cases) {
      CollectingSink sink;
      auto session = scheduler.Open(options, &sink, {1, {5, 6}, {}, source_read});
      ASSERT_TRUE(session.ok()) << session.status();
      (*session)->Push(std::string(source));
      (*session)->EndSource();
      sink.Wait();
      EXPECT_EQ(is_good ? absl::StatusCode::kOk : absl::StatusCode::kInvalidArgument,
                sink.status.code())
          << sink.status << " " << source << " " << source_read[0] << " " << source_read[1];
      EXPECT_EQ(!is_good, sink.status.GetPayload(kCommittedTargetPayload).has_value());
    }
  }
}

// A sink that calls a function at each token.
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
    const SteadyTime deadline = SteadyNow() + absl::Seconds(60);
    MutexLock lock(&room_mutex_);
    while (rooms_ < count && changed_.WaitUntil(&room_mutex_, deadline)) continue;
    return rooms_ == count;
  }

 private:
  Mutex room_mutex_;
  CondVar changed_;  // Signalled when rooms_ has grown.
  int rooms_ ABSL_GUARDED_BY(room_mutex_) = 0;
};

// Fills the queue of a session with `input` and waits until it has room again. Returns the number
// of inputs that it took.
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

// Empty segments make output without a step, so they must stop, too.
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

// Random text with all that text may have, such as long words and words without pieces.
std::string OddText(std::mt19937& random, int most = 1500) {
  const std::vector<std::string> words = {
      "the",       " ",          "\t\n",       "\xE2\x80\x8B", "fox, ",  "\xE3\x80\x80", "quick ",
      "\xC3\xA4",  "\xE2\x80\x8B ", "jumps. ", "over",         "lazy ",  "dog\xE3\x80\x82"};
  std::string text;
  for (int i = 0; i < 40; ++i) {
    const std::string& word = words[random() % words.size()];
    const int times = random() % 20 == 0 ? most : 1;
    for (int j = 0; j < times; ++j) text += word;
  }
  return text;
}

// The translation of two segments, and the chunks into which they were cut.
struct Translated {
  std::vector<std::string> texts;
  std::vector<FinishReason> reasons;
  std::vector<int> source_tokens;
  std::vector<double> word_lagging;
  bool operator==(const Translated& other) const {
    return texts == other.texts && reasons == other.reasons &&
           source_tokens == other.source_tokens && word_lagging == other.word_lagging;
  }
};
Translated TranslateTwice(Scheduler& scheduler, const SessionOptions& options,
                          const std::string& text, const std::function<size_t()>& size) {
  CollectingSink sink;
  auto session = scheduler.Open(options, &sink);
  EXPECT_TRUE(session.ok()) << session.status();
  for (int i = 0; i < 2; ++i) {
    for (size_t at = 0; at < text.size();) {
      const size_t bytes = size();
      (*session)->Push(text.substr(at, bytes));
      at += bytes;
    }
    (*session)->EndSegment();
  }
  (*session)->EndSource();
  sink.Wait();
  EXPECT_TRUE(sink.status.ok()) << sink.status;
  Translated result;
  for (const SegmentCompleted& segment : sink.segments) {
    result.texts.push_back(segment.text);
    result.reasons.push_back(segment.reason);
    result.source_tokens.push_back(segment.stats.source_tokens);
    result.word_lagging.push_back(segment.stats.words.has_value() ? segment.stats.words->al : -1);
  }
  return result;
}

// The work that bounds a turn must not change the output.
TEST(SchedulerTest, AnyChunkingOfOddTextGivesTheSameOutput) {
  Scheduler scheduler(FakeModel());
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    SessionOptions options;
    options.policy = WaitK{static_cast<int>(1 + random() % 5)};
    options.max_target_tokens = 200;
    const std::string text = OddText(random);
    const Translated whole =
        TranslateTwice(scheduler, options, text, [&] { return text.size(); });
    ASSERT_GE(whole.texts.size(), 2u);
    EXPECT_EQ(whole, TranslateTwice(scheduler, options, text, [] { return size_t{1}; }));
    EXPECT_EQ(whole, TranslateTwice(scheduler, options, text,
                                    [&] { return size_t{1} + random() % 3000; }));
  }
}

TEST(SchedulerTest, AWordWithoutEndIsTranslatedInPartsHoweverItIsCut) {
  Scheduler scheduler(FakeModel());
  const std::string source = "some words " + std::string(40000, 'x') + " and more";
  SessionOptions options;
  options.max_source_tokens = 100000;
  const Translated whole =
      TranslateTwice(scheduler, options, source, [&] { return source.size(); });
  ASSERT_EQ(whole.texts.size(), 2u);
  EXPECT_EQ(whole.texts[0], whole.texts[1]);
  EXPECT_EQ(whole.reasons[0], FinishReason::kEndOfSentence);
  EXPECT_GT(whole.source_tokens[0], 10000) << "nothing of it is dropped";
  EXPECT_EQ(whole, TranslateTwice(scheduler, options, source, [] { return size_t{1000}; }));
}

// --- Translations that end before their source does. ---

// Source in one of its forms, cut anywhere.
struct OddSource {
  std::vector<SourceInput> chunks;
  // The inputs from `at` on, each with its place.
  std::vector<std::pair<SourceInput, SourcePosition>> From(SourcePosition at) const {
    std::vector<std::pair<SourceInput, SourcePosition>> rest;
    for (size_t i = at.chunks; i < chunks.size(); ++i) {
      SourceInput chunk = chunks[i];
      const int64_t skip = static_cast<int64_t>(i) == at.chunks ? at.samples : 0;
      std::visit([&](auto& all) { all.erase(all.begin(), all.begin() + skip); }, chunk);
      rest.push_back({std::move(chunk), {static_cast<int64_t>(i), skip}});
    }
    return rest;
  }
};
OddSource CutText(const std::string& text, const std::function<size_t()>& size) {
  OddSource source;
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = size();
    source.chunks.push_back(text.substr(at, bytes));
    at += bytes;
  }
  return source;
}

std::unique_ptr<CollectingSink> TranslateFrom(Scheduler& scheduler, const SessionOptions& options,
                                              const OddSource& source, SourcePosition at,
                                              ResumeFrom from) {
  auto sink = std::make_unique<CollectingSink>();
  auto session = scheduler.Open(options, sink.get(), std::move(from));
  EXPECT_TRUE(session.ok()) << session.status();
  for (const auto& [chunk, position] : source.From(at)) (*session)->Push(chunk, position);
  (*session)->EndSource();
  sink->Wait();
  EXPECT_TRUE(sink->status.ok()) << sink->status;
  return sink;
}

std::vector<SessionOptions> OptionsThatEndEarly() {
  std::vector<SessionOptions> all;
  for (const EarlyEnd early_end : {EarlyEnd::kStop, EarlyEnd::kReadOn, EarlyEnd::kSuppress}) {
    for (const int limit : {0, 1, 2, 3, 4}) {
      SessionOptions options;
      options.next_segments = true;
      options.early_end = early_end;
      options.policy = WaitK{limit == 4 ? 1 : 2 + limit};
      if (limit == 1) options.max_target_tokens = 5;
      // With 4, one segment leaves more words than fit into the next.
      if (limit == 2 || limit == 4) options.max_source_tokens = 9;
      if (limit == 3) options.policy = Offline();
      if (limit == 3) options.max_source_tokens = 20;
      all.push_back(options);
    }
  }
  return all;
}

// The segments are the same however the source is cut, and wherever a session is resumed.
TEST(SchedulerTest, WhatIsLeftOfTheSourceIsTheNextSegment) {
  std::mt19937 random(11);
  for (const int ends_after : {0, 6, 2}) {
    FakeModelOptions ends;
    ends.ends_after = ends_after;
    Scheduler scheduler(FakeModel(ends));
    for (const SessionOptions& options : OptionsThatEndEarly()) {
      const std::string text = OddText(random, 300) + " and the rest ";
      const OddSource whole = CutText(text, [&] { return text.size(); });
      const auto expected = TranslateFrom(scheduler, options, whole, {}, {});
      ASSERT_GE(expected->segments.size(), 1u);
      EXPECT_FALSE(expected->segments.back().continues_at.has_value());
      EXPECT_EQ(expected->summary.dropped_source_bytes, 0);
      EXPECT_LE(expected->summary.untranslated_source_tokens,
                std::max(kEndsInARow, expected->segments.back().stats.source_tokens / 4));
      std::vector<size_t> begins = {0};
      for (const SegmentCompleted& segment : expected->segments) {
        EXPECT_FALSE(segment.source_dropped);
        if (&segment == &expected->segments.back()) break;
        ASSERT_TRUE(segment.continues_at.has_value());
        EXPECT_GE(static_cast<size_t>(segment.continues_at->samples), begins.back());
        begins.push_back(segment.continues_at->samples);
      }
      for (int round = 0; round < 4; ++round) {
        const OddSource cut = CutText(text, [&] { return round == 0 ? 1 : 1 + random() % 40; });
        std::vector<size_t> starts = {0};
        for (const SourceInput& chunk : cut.chunks) {
          starts.push_back(starts.back() + std::get<std::string>(chunk).size());
        }
        const auto sink = TranslateFrom(scheduler, options, cut, {}, {});
        ASSERT_EQ(sink->segments.size(), expected->segments.size());
        const size_t resumed_after[] = {random() % sink->segments.size(),
                                        random() % sink->segments.size()};
        for (size_t i = 0; i < sink->segments.size(); ++i) {
          const SegmentCompleted& segment = sink->segments[i];
          EXPECT_EQ(segment.text, expected->segments[i].text);
          EXPECT_EQ(segment.reason, expected->segments[i].reason);
          EXPECT_EQ(segment.stats.source_tokens, expected->segments[i].stats.source_tokens);
          EXPECT_EQ(segment.untranslated_source_tokens,
                    expected->segments[i].untranslated_source_tokens);
          if (!segment.continues_at.has_value()) continue;
          const SourcePosition at = *segment.continues_at;
          EXPECT_EQ(starts[at.chunks] + at.samples, begins[i + 1]) << "segment " << i + 1;
          EXPECT_EQ(segment.continues_after_tokens, expected->segments[i].continues_after_tokens);
          if (i != resumed_after[0] && i != resumed_after[1]) continue;
          ResumeFrom from;
          from.in_text = segment.continues_in_text;
          from.skip_tokens = segment.continues_after_tokens;
          from.segment = static_cast<int64_t>(i) + 2;
          const auto resumed = TranslateFrom(scheduler, options, cut, at, from);
          ASSERT_EQ(resumed->segments.size(), sink->segments.size() - i - 1);
          for (size_t j = 0; j < resumed->segments.size(); ++j) {
            const SegmentCompleted& again = resumed->segments[j];
            EXPECT_EQ(again.segment, sink->segments[i + 1 + j].segment);
            EXPECT_EQ(again.text, sink->segments[i + 1 + j].text);
            EXPECT_EQ(again.stats.source_tokens, sink->segments[i + 1 + j].stats.source_tokens);
          }
        }
      }
    }
  }
}

// A source of pieces or ids leaves its rest to the next segment as text does. Each token is a word.
TEST(SchedulerTest, WhatIsLeftOfPiecesAndIdsIsTheNextSegment) {
  FakeModelOptions ends;
  ends.ends_after = 6;
  const auto model = FakeModel(ends);
  Scheduler scheduler(model);
  SessionOptions options;
  options.next_segments = true;
  std::vector<std::string> pieces;
  for (int i = 0; i < 20; ++i) {
    for (const std::string& piece : model->source_tokenizer->Encode(kText)) pieces.push_back(piece);
  }
  std::vector<TokenId> ids;
  for (const std::string& piece : pieces) ids.push_back(model->source_vocabulary.Id(piece));
  const auto by_pieces = TranslateFrom(scheduler, options, {{pieces}}, {}, {});
  const auto by_ids = TranslateFrom(scheduler, options, {{ids}}, {}, {});
  OddSource single;
  for (const TokenId id : ids) single.chunks.push_back(std::vector<TokenId>{id});
  const auto one_by_one = TranslateFrom(scheduler, options, single, {}, {});
  ASSERT_GT(by_pieces->segments.size(), 10u);
  ASSERT_EQ(by_ids->segments.size(), by_pieces->segments.size());
  ASSERT_EQ(one_by_one->segments.size(), by_pieces->segments.size());
  for (size_t i = 0; i < by_pieces->segments.size(); ++i) {
    EXPECT_EQ(by_ids->segments[i].text, by_pieces->segments[i].text);
    EXPECT_EQ(one_by_one->segments[i].text, by_pieces->segments[i].text);
    if (!by_ids->segments[i].continues_at.has_value()) continue;
    EXPECT_EQ(by_ids->segments[i].untranslated_source_tokens, 0);
    EXPECT_EQ(by_ids->segments[i].continues_at->samples,
              by_pieces->segments[i].continues_at->samples);
    const SourcePosition at = *one_by_one->segments[i].continues_at;
    EXPECT_EQ(at.chunks + at.samples, by_ids->segments[i].continues_at->samples);
  }
}

// The translation of the text ends after six tokens, and the session tells the fate of the rest.
TEST(SchedulerTest, SourceThatIsNotTranslatedIsSaid) {
  FakeModelOptions ends;
  ends.ends_after = 6;
  Scheduler scheduler(FakeModel(ends));
  std::string text;
  for (int i = 0; i < 480; ++i) text += "the ";
  std::mt19937 random(5);
  SessionOptions read_on, stop;
  read_on.policy = stop.policy = WaitK{3};
  stop.early_end = EarlyEnd::kStop;
  for (int round = 0; round < 5; ++round) {
    const OddSource source =
        CutText(text, [&] { return round == 0 ? text.size() : 1 + random() % 100; });
    const auto on = TranslateFrom(scheduler, read_on, source, {}, {});
    ASSERT_EQ(on->segments.size(), 1u);
    EXPECT_EQ(on->segments[0].stats.source_tokens, 481);
    EXPECT_EQ(on->segments[0].untranslated_source_tokens, 480 - 9) << "k and six were read";
    EXPECT_FALSE(on->segments[0].source_dropped);
    EXPECT_EQ(on->summary.untranslated_source_tokens, 480 - 9);
    EXPECT_EQ(on->summary.dropped_source_bytes, 0);
    const auto stopped = TranslateFrom(scheduler, stop, source, {}, {});
    ASSERT_EQ(stopped->segments.size(), 1u);
    EXPECT_EQ(stopped->segments[0].untranslated_source_tokens, 0);
    EXPECT_TRUE(stopped->segments[0].source_dropped);
    EXPECT_EQ(stopped->summary.dropped_source_bytes, 3 * (480 - 9));
  }
  read_on.next_segments = true;
  const auto next = TranslateFrom(scheduler, read_on, CutText(text, [] { return 17; }), {}, {});
  // Each segment has nine tokens. The last three tokens are too few to tell an end from a pause.
  EXPECT_EQ(next->segments.size(), 480 / 9);
  EXPECT_EQ(next->summary.untranslated_source_tokens, 480 % 9);
  for (const SegmentCompleted& segment : next->segments) EXPECT_FALSE(segment.source_dropped);
}

// A drain ends a session between two segments of one source. The session tells the place at which
// it goes on.
TEST(SchedulerTest, EndsAfterASegmentThatGoesOn) {
  FakeModelOptions ends;
  ends.ends_after = 6;
  Scheduler scheduler(FakeModel(ends));
  SessionOptions options;
  options.next_segments = true;
  std::promise<void> first_token;
  bool told = false;
  TokenSink sink([&] {
    if (!std::exchange(told, true)) first_token.set_value();
  });
  auto session = scheduler.Open(options, &sink);
  ASSERT_TRUE(session.ok());
  (*session)->Push(std::string("one two three "));
  first_token.get_future().wait();
  (*session)->EndAfterSegment(absl::UnavailableError("draining"));
  std::string text;
  for (int i = 0; i < 100; ++i) text += "the ";
  (*session)->Push(text, {1, 0});
  sink.Wait();
  EXPECT_EQ(absl::StatusCode::kUnavailable, sink.status.code());
  ASSERT_EQ(sink.segments.size(), 1u);
  EXPECT_TRUE(sink.segments[0].continues_at.has_value());
}

// --- The costs of a turn, and of all states. ---

TEST(SchedulerTest, TheLargestStateGoesWhenMemoryIsUsedUp) {
  FakeModelOptions grows;
  grows.state_bytes_per_token = 1000;
  const auto model = FakeModel(grows);
  const int64_t fixed = model->info.state_bytes_per_session;
  StateBudget budget(3 * fixed + 400 * 1000);
  Scheduler scheduler(model, nullptr, &budget);
  SessionOptions options;
  options.early_end = EarlyEnd::kSuppress;
  options.policy = WaitK{1};
  CollectingSink small, large;
  auto first = scheduler.Open(options, &small);
  auto second = scheduler.Open(options, &large);
  EXPECT_EQ(scheduler.state_bytes(), 2 * fixed);
  std::string words;
  for (int i = 0; i < 5000; ++i) words += "the ";
  (*first)->Push(std::string(kText));
  (*second)->Push(words);
  large.Wait();
  EXPECT_EQ(absl::StatusCode::kResourceExhausted, large.status.code()) << large.status;
  (*first)->EndSource();
  small.Wait();
  EXPECT_TRUE(small.status.ok()) << small.status;
  EXPECT_LE(budget.used(), budget.limit());
}

// The session with the largest state of all schedulers that share the budget ends, not the largest
// of the scheduler that notices.
TEST(SchedulerTest, TheLargestStateGoesWhicheverSchedulerHasIt) {
  FakeModelOptions grows;
  grows.state_bytes_per_token = 1000;
  const auto model = FakeModel(grows);
  const int64_t fixed = model->info.state_bytes_per_session;
  StateBudget budget(3 * fixed + 400 * 1000);
  Scheduler one(model, nullptr, &budget), other(model, nullptr, &budget);
  SessionOptions options;
  options.early_end = EarlyEnd::kSuppress;
  options.policy = WaitK{1};
  CollectingSink small, large;
  auto first = one.Open(options, &small);
  auto second = other.Open(options, &large);
  std::string words;
  for (int i = 0; i < 380; ++i) words += "the ";
  (*second)->Push(words);  // With its translation it takes most of the budget.
  while (other.state_bytes() < fixed + 350 * 1000) std::this_thread::yield();
  std::string some;
  for (int i = 0; i < 200; ++i) some += "the ";
  (*first)->Push(some);  // The first scheduler notices that this is too much.
  large.Wait();
  EXPECT_EQ(absl::StatusCode::kResourceExhausted, large.status.code()) << large.status;
  (*first)->EndSource();
  small.Wait();
  EXPECT_TRUE(small.status.ok()) << small.status;
}

// The session that was ended keeps its memory until its next turn, which may be late. Meanwhile
// another session that outgrows it goes on, since the budget has room for it alone.
TEST(SchedulerTest, NoOtherSessionEndsWhileTheLargestStateIsBeingFreed) {
  FakeModelOptions grows;
  grows.state_bytes_per_token = 1000;
  const auto model = FakeModel(grows);
  const int64_t fixed = model->info.state_bytes_per_session;
  StateBudget budget(2 * fixed + 500 * 1000);
  Scheduler late(model, nullptr, &budget), other(model, nullptr, &budget);
  SessionOptions options;
  options.early_end = EarlyEnd::kSuppress;
  options.policy = WaitK{1};
  std::promise<void> grown, go_on;
  TokenSink largest([&, count = 0]() mutable {
    if (++count != 350) return;
    grown.set_value();
    go_on.get_future().wait();
  });
  CollectingSink second;
  auto first_session = late.Open(options, &largest);
  auto second_session = other.Open(options, &second);
  ASSERT_TRUE(first_session.ok() && second_session.ok());
  std::string words;
  for (int i = 0; i < 420; ++i) words += "the ";
  (*first_session)->Push(words);
  grown.get_future().wait();  // It now has about 350,000 bytes, and no turn.
  (*second_session)->Push(words);
  while (other.state_bytes() < fixed + 400 * 1000 && other.open_sessions() > 0) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(budget.exceeded());
  go_on.set_value();
  largest.Wait();
  EXPECT_EQ(absl::StatusCode::kResourceExhausted, largest.status.code()) << largest.status;
  (*second_session)->EndSource();
  second.Wait();
  EXPECT_TRUE(second.status.ok()) << second.status;
}

TEST(SchedulerTest, ASessionWhoseStateHasNoRoomIsRefusedAndNoOtherEnds) {
  const auto model = FakeModel();
  StateBudget budget(2 * model->info.state_bytes_per_session);
  CollectingSink first_sink, second_sink, third_sink, resumed_sink;  // The scheduler ends them.
  Scheduler scheduler(model, nullptr, &budget);
  auto first = scheduler.Open({}, &first_sink);
  auto second = scheduler.Open({}, &second_sink);
  auto third = scheduler.Open({}, &third_sink);
  EXPECT_EQ(third.status().code(), absl::StatusCode::kResourceExhausted) << third.status();
  ResumeFrom from;
  from.takes_place = true;  // One of the two ends when this one has begun.
  auto resumed = scheduler.Open({}, &resumed_sink, from);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  (*resumed)->EndSource();
  resumed_sink.Wait();
  (*first)->EndSource();
  first_sink.Wait();
  while (scheduler.open_sessions() > 1) std::this_thread::yield();
  EXPECT_TRUE(scheduler.Open({}, &third_sink).ok());
}

TEST(SchedulerTest, MemoryOfALongSegmentIsGivenBack) {
  FakeModelOptions grows;
  grows.state_bytes_per_token = 1000;
  int states = 0, told = 0;
  grows.on_new_state = [&] { ++states; };
  grows.on_wait_k = [&](int k) { told += k == 5 ? 1 : 0; };
  const auto model = FakeModel(grows);
  StateBudget budget(0);
  std::string words;
  for (int i = 0; i < 3000; ++i) words += "the ";
  CollectingSink sink;
  {
    Scheduler scheduler(model, nullptr, &budget);
    SessionOptions options;
    options.early_end = EarlyEnd::kSuppress;
    options.policy = WaitK{5};
    auto session = scheduler.Open(options, &sink);
    (*session)->Push(words);
    (*session)->EndSegment();
    sink.WaitForSegments(1);
    EXPECT_EQ(states, 2) << "the one that grew, and one in its place";
    EXPECT_EQ(told, states) << "each new state is told the session's k";
    EXPECT_EQ(scheduler.state_bytes(), model->info.state_bytes_per_session);
    EXPECT_EQ(budget.used(), scheduler.state_bytes());
    (*session)->Push(words);
  }
  EXPECT_EQ(budget.used(), 0) << "of a scheduler that is gone";
}

// A model that lets a test look at its calls and act between their layers. Used by the step thread
// only.
class WatchedTranslator final : public Translator {
 public:
  explicit WatchedTranslator(std::unique_ptr<const Translator> translator)
      : translator_(std::move(translator)) {}
  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override {
    return translator_->NewState();
  }
  absl::Status Read(absl::Span<const SourceRows> rows,
                    BetweenLayers between_layers) const override {
    for (const SourceRows& row : rows) {
      EXPECT_LE(row.tokens.size(), static_cast<size_t>(Scheduler::kMaxRowsPerSession));
    }
    return translator_->Read(rows, between_layers);
  }
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override {
    if (!error.ok()) return error;
    ++steps;
    ++depth;
    int64_t rows = 0;  // The encoder's rows, if each state has read since its last decision.
    for (const SessionState* state : states) {
      int& read = read_[state];
      if (read != state->source_read()) rows += state->source_read();
      read = state->source_read();
    }
    most_rows = std::max(most_rows, rows);
    absl::Status status = translator_->Decide(states, result, [&] {
      if (depth == 1) in_step(states.size());
      between_layers();
    });
    --depth;
    batch = states.size();
    return status;
  }

  bool encodes_anew() const override { return translator_->encodes_anew(); }
  bool can_replay() const override { return translator_->can_replay(); }
  absl::Status Replay(absl::Span<const ReplayRows> rows,
                      BetweenLayers between_layers) const override {
    for (const ReplayRows& row : rows) replayed.push_back(row.target.size());
    return translator_->Replay(rows, between_layers);
  }

  absl::Status error;             // Of each step.
  mutable int64_t most_rows = 0;  // The most encoder rows of a step.
  mutable int steps = 0;
  mutable std::vector<size_t> replayed;  // The number of tokens of each row of Replay().
  mutable int depth = 0;                 // The number of calls that go on.
  mutable size_t batch = 0;              // The batch of the last call that has ended.
  // Called between the layers of a step, unless this step is itself between the layers of another.
  std::function<void(size_t batch)> in_step = [](size_t) {};

 private:
  const std::unique_ptr<const Translator> translator_;
  mutable std::map<const SessionState*, int> read_;
};

// A tokenizer that counts its calls. Used by the step thread only.
class WatchedTokenizer final : public Tokenizer {
 public:
  explicit WatchedTokenizer(std::unique_ptr<const Tokenizer> tokenizer)
      : tokenizer_(std::move(tokenizer)) {}
  void AppendWord(absl::string_view text, TokenizerState* state,
                  std::vector<Symbols>* ready) const override {
    ++words;
    bytes += text.size();
    EXPECT_LE(text.size(), budget::kWordBytes);
    tokenizer_->AppendWord(text, state, ready);
  }
  void FinishWords(TokenizerState* state, std::vector<Symbols>* ready) const override {
    tokenizer_->FinishWords(state, ready);
  }
  TargetBytes AppendSymbol(absl::string_view symbol, TokenizerState* state) const override {
    return tokenizer_->AppendSymbol(symbol, state);
  }
  TargetBytes FinishSymbols(TokenizerState* state) const override {
    return tokenizer_->FinishSymbols(state);
  }
  std::vector<std::string> Encode(absl::string_view text) const override {
    return tokenizer_->Encode(text);
  }
  std::string Decode(const std::vector<std::string>& pieces) const override {
    return tokenizer_->Decode(pieces);
  }

  mutable size_t words = 0;
  mutable size_t bytes = 0;

 private:
  const std::unique_ptr<const Tokenizer> tokenizer_;
};

// A scheduler of a fake model that is watched, with one session that never runs out of source.
class BacklogTest : public testing::Test {
 protected:
  BacklogTest() {
    options_.policy = WaitK{1};
    options_.early_end = EarlyEnd::kSuppress;
    const auto model = std::const_pointer_cast<Model>(FakeModel());
    auto watched = std::make_unique<WatchedTranslator>(std::move(model->translator));
    watched_ = watched.get();
    model->translator = std::move(watched);
    auto tokenizer = std::make_unique<WatchedTokenizer>(std::move(model->source_tokenizer));
    tokenizer_ = tokenizer.get();
    model->source_tokenizer = std::move(tokenizer);
    scheduler_ = std::make_unique<Scheduler>(model);
  }
  // Waits until done_ is set. No function is called any more afterwards.
  void WaitAndStop() {
    done_.get_future().wait();
    scheduler_.reset();
  }
  // Opens a session. Each "the " is one source token, for which one target token is written.
  // `on_token` is called with the number of each target token, from 1.
  std::shared_ptr<Session> Open(std::function<void(int)> on_token) {
    sinks_.push_back(std::make_unique<TokenSink>(
        [on_token = std::move(on_token), count = 0]() mutable { on_token(++count); }));
    auto session = scheduler_->Open(options_, sinks_.back().get());
    EXPECT_TRUE(session.ok()) << session.status();
    return *session;
  }
  static void PushWords(Session& session, int count) {
    std::string words;
    for (int i = 0; i < count; ++i) words += "the ";
    session.Push(words);
  }
  void OpenBacklog() {
    PushWords(*Open([this](int) { ++backlog_tokens_; }), 9000);
  }

  SessionOptions options_;
  WatchedTranslator* watched_ = nullptr;
  WatchedTokenizer* tokenizer_ = nullptr;
  std::vector<std::unique_ptr<TokenSink>> sinks_;
  std::unique_ptr<Scheduler> scheduler_;
  std::promise<void> done_;
  int backlog_tokens_ = 0;  // Used by the step thread only, as are the variables of each test.
};

// 9,000 words wait in one session. Each token of another session still comes at its next step, or
// at the step after that.
TEST_F(BacklogTest, DoesNotDelayOthersByMoreThanAStep) {
  std::vector<int> steps;
  OpenBacklog();
  const auto quiet = Open([&](int token) {
    steps.push_back(watched_->steps);
    if (token == 30) done_.set_value();
  });
  PushWords(*quiet, 30);
  WaitAndStop();
  for (size_t i = 1; i < steps.size(); ++i) EXPECT_LE(steps[i], steps[i - 1] + 2) << i;
}

TEST_F(BacklogTest, GivesWayBetweenItsLayers) {
  std::shared_ptr<Session> live;
  std::vector<int> depths;
  watched_->in_step = [&](size_t) {
    if (backlog_tokens_ >= 20 && depths.size() < 5) PushWords(*live, 1);
  };
  live = Open([&](int token) {
    depths.push_back(watched_->depth);
    if (token == 5) done_.set_value();
  });
  OpenBacklog();
  WaitAndStop();
  for (const int depth : depths) EXPECT_EQ(depth, 1) << "within the step that it came in";
}

TEST_F(BacklogTest, GoesOnWhileSomebodyLiveIsAlwaysReady) {
  constexpr int kTokens = 300;
  std::shared_ptr<Session> live[2];
  int begun_at = 0, ended_at = 0;
  // A token of one session becomes the source of the other.
  const auto answer = [&](int other) {
    return [&, other](int token) {
      if (token < kTokens) return PushWords(*live[other], 1);
      if (token > kTokens || ended_at > 0) return;
      ended_at = backlog_tokens_;
      done_.set_value();
    };
  };
  for (const int i : {0, 1}) live[i] = Open(answer(1 - i));
  watched_->in_step = [&](size_t) {
    if (begun_at > 0 || backlog_tokens_ < 20) return;
    begun_at = backlog_tokens_;
    PushWords(*live[0], 1);
  };
  OpenBacklog();
  WaitAndStop();
  // A turn of the backlog has two gaps for live turns, and one live turn comes before it.
  EXPECT_GE(ended_at - begun_at, 2 * kTokens / 4);
}

TEST_F(BacklogTest, WhoHasCaughtUpIsLiveAgainAndWhoWasHeldIsNot) {
  std::shared_ptr<Session> other;
  std::vector<std::pair<int, size_t>> tokens;  // The depth and the batch of each step.
  const auto written = [&] { return tokens.size(); };
  watched_->in_step = [&](size_t batch) {
    if (batch > 1) return;  // The other session is in this turn.
    if (written() == 0 && backlog_tokens_ >= 20) PushWords(*other, 30);
    if (written() == 20) other->Release();
    if (written() == 30) PushWords(*other, 1);
  };
  other = Open([&](int token) {
    tokens.push_back({watched_->depth, watched_->batch});
    if (token == 20) other->Hold();
    if (token == 31) done_.set_value();
  });
  OpenBacklog();
  WaitAndStop();
  ASSERT_EQ(tokens.size(), 31u);
  EXPECT_EQ(tokens[0], std::pair(1, size_t{1})) << "it may be live";
  for (int i = 10; i < 30; ++i) EXPECT_EQ(tokens[i], std::pair(0, size_t{2})) << "token " << i + 1;
  EXPECT_EQ(tokens[30], std::pair(1, size_t{1})) << "it has caught up";
}

TEST_F(BacklogTest, TakesACommittedTargetAtOnce) {
  constexpr int kCommitted = 200;
  ResumeFrom from;
  for (int t = 0; t < kCommitted; ++t) {
    from.committed.push_back(5);
    from.source_read.push_back(t + 1);  // k = 1.
  }
  std::vector<size_t> replayed;
  int steps = 0;
  TokenSink sink([&] {
    if (steps > 0) return;
    replayed = watched_->replayed;
    steps = watched_->steps;
    done_.set_value();
  });
  auto session = scheduler_->Open(options_, &sink, std::move(from));
  ASSERT_TRUE(session.ok()) << session.status();
  PushWords(**session, kCommitted + 1);
  WaitAndStop();
  // There were as few passes as turns of a bounded size allow, and no token was decided again.
  EXPECT_EQ(std::vector<size_t>(kCommitted * 2 / Scheduler::kMaxRowsPerSession,
                                Scheduler::kMaxRowsPerSession / 2),
            replayed);
  EXPECT_EQ(steps, 1);
}

// Text may cost work without giving a source token, or have many bytes for each token. A turn is
// bounded by this work, so that a token of another session waits for at most one turn's work.
class CostlyTextTest : public BacklogTest, public testing::WithParamInterface<std::string> {};

TEST_P(CostlyTextTest, LetsOthersAct) {
  constexpr int kTokens = 20;
  std::shared_ptr<Session> other;
  std::string flood;
  while (flood.size() < 60000) flood += GetParam();
  std::vector<size_t> words, bytes;
  other = Open([&](int token) {
    if (token > kTokens) return;
    words.push_back(tokenizer_->words);
    bytes.push_back(tokenizer_->bytes);
    if (token == kTokens) return done_.set_value();
    PushWords(*other, 1);
  });
  std::vector<std::shared_ptr<Session>> floods;
  for (int i = 0; i < 3; ++i) {
    floods.push_back(Open([](int) {}));
    floods.back()->Hold();
    for (int j = 0; j < 20; ++j) floods.back()->Push(flood);
  }
  PushWords(*other, 1);
  for (const auto& session : floods) session->Release();
  WaitAndStop();
  // The bound allows two turns of each queue, and the work by which a turn may exceed its bound.
  const size_t most = 4 * budget::kWorkPerTurn / budget::kEmptyWordWork + 100;
  for (size_t i = 1; i < words.size(); ++i) {
    EXPECT_LE(words[i] - words[i - 1], most) << i;
    EXPECT_LE(bytes[i] - bytes[i - 1], most * budget::kWordBytes / 4) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, CostlyTextTest,
                         testing::Values("\xE2\x80\x8B ", "\xE2\x80\x8B", " ", "\xE3\x80\x80",
                                         "x", std::string(900, 'q') + " "));

// For models that encode all source anew, the encoder's rows bound a turn: it takes a few sessions
// with long segments, and each session has its turn.
TEST(SchedulerTest, EncoderRowsOfATurnAreBounded) {
  FakeModelOptions anew;
  anew.encodes_anew = true;
  const auto model = std::const_pointer_cast<Model>(FakeModel(anew));
  auto watched = std::make_unique<WatchedTranslator>(std::move(model->translator));
  watched->in_step = [](size_t) {};
  const WatchedTranslator* const translator = watched.get();
  model->translator = std::move(watched);
  constexpr int kSessions = 40, kTokens = 100;
  std::vector<std::unique_ptr<CollectingSink>> sinks;
  Scheduler scheduler(model);
  SessionOptions options;
  options.policy = WaitK{kTokens - 10};
  options.early_end = EarlyEnd::kSuppress;
  std::string words;
  for (int i = 0; i < kTokens; ++i) words += "the ";
  std::vector<std::shared_ptr<Session>> sessions;
  for (int i = 0; i < kSessions; ++i) {
    sinks.push_back(std::make_unique<CollectingSink>());
    auto session = scheduler.Open(options, sinks.back().get());
    ASSERT_TRUE(session.ok());
    (*session)->Hold();
    (*session)->Push(words);
    (*session)->EndSource();
    sessions.push_back(*session);
  }
  for (const auto& session : sessions) session->Release();
  for (const auto& sink : sinks) {
    sink->Wait();
    EXPECT_TRUE(sink->status.ok()) << sink->status;
    EXPECT_EQ(sink->segments[0].text, sinks[0]->segments[0].text);
  }
  EXPECT_GT(translator->most_rows, 0);
  EXPECT_LE(translator->most_rows, budget::kEncoderRowsPerTurn + kTokens);
}

class MemoryObserver final : public StepObserver {
 public:
  void OnStep(const StepFigures& /*step*/) override {}
  void OnToken(absl::Duration /*latency*/) override {}
  void OnFirstToken(absl::Duration /*since_source*/) override {}
  void OnNoMemory(absl::string_view why, int sessions) override {
    told = absl::StrCat(why, ", ", sessions);
  }
  std::string told;
};

// A lack of memory is no fault of the program: the sessions may go on on another server.
TEST(SchedulerTest, AFailedStepEndsItsSessions) {
  const std::map<absl::StatusCode, absl::Status> errors = {
      {absl::StatusCode::kUnavailable, absl::ResourceExhaustedError("no block is free")},
      {absl::StatusCode::kInternal, absl::InternalError("not finite")}};
  for (const auto& [code, error] : errors) {
    const auto model = std::const_pointer_cast<Model>(FakeModel());
    auto watched = std::make_unique<WatchedTranslator>(std::move(model->translator));
    watched->error = error;
    model->translator = std::move(watched);
    CollectingSink sink;
    MemoryObserver observer;
    Scheduler scheduler(model, &observer);
    const auto session = scheduler.Open(SessionOptions(), &sink);
    ASSERT_TRUE(session.ok()) << session.status();
    (*session)->Push("the ");
    (*session)->EndSource();
    sink.Wait();
    EXPECT_EQ(sink.status.code(), code) << sink.status;
    const bool no_memory = code == absl::StatusCode::kUnavailable;
    EXPECT_EQ(observer.told, no_memory ? "no block is free, 1" : "");
  }
}

// A sink that ends an empty segment as soon as the segment before it is complete, like a client
// that is never late.
class EmptySegmentsSink final : public CollectingSink {
 public:
  void OnEvent(SessionEvent event) override {
    if (std::holds_alternative<SegmentCompleted>(event) && ++completed < kMost) on_completed();
    CollectingSink::OnEvent(std::move(event));
  }

  static constexpr int kMost = 20000;
  int completed = 0;
  std::function<void()> on_completed;
};

TEST_F(BacklogTest, EmptySegmentsWithoutEndLetOthersAct) {
  int completed_at_token = 0;
  EmptySegmentsSink endless;
  const auto other = Open([&](int token) {
    if (token != 5) return;
    completed_at_token = endless.completed;
    done_.set_value();
  });
  const auto session = scheduler_->Open(options_, &endless);
  ASSERT_TRUE(session.ok());
  endless.on_completed = [&] {
    if (endless.completed == 1) PushWords(*other, 5);
    (*session)->EndSegment();
  };
  (*session)->EndSegment();
  WaitAndStop();
  // A turn takes at most as many inputs of this session as may be queued.
  EXPECT_LT(completed_at_token, 10 * 128);
}

}  // namespace
}  // namespace leapstream
