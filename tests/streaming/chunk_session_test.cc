// Sessions that read by chunks, count words, or write what is probable.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include "absl/types/span.h"
#include "streaming/scheduler.h"
#include "streaming/target_units.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/fake_model.h"
#include "tests/testing/one_session.h"

namespace leapstream {
namespace {

constexpr char kText[] = "the thin tea in the inner ear can be heard there and then another era";

FakeModelOptions Follows() {
  FakeModelOptions fake;
  fake.follows_source = 9;
  return fake;
}

std::vector<SessionOptions> AllOptions() {
  std::vector<SessionOptions> all;
  for (const Policy& policy :
       {Policy(WaitK{2}), Policy(WaitK{2, 1, true}), Policy(WaitK{3, 2, true}),
        Policy(AdaptiveWaitK{1, 4}), Policy(AdaptiveWaitK{2, 6, 0.8, 0.3}), Policy(Offline())}) {
    for (const int words : {0, 2}) {
      SessionOptions options;
      options.policy = policy;
      options.read_words = words;
      all.push_back(options);
      options.read_words = 0;
      options.read_tokens = 3;
      all.push_back(options);
    }
  }
  return all;
}

std::vector<std::pair<TokenId, int>> Trace(const CollectingSink& sink) {
  std::vector<std::pair<TokenId, int>> trace;
  for (const TargetToken& token : sink.tokens) {
    trace.emplace_back(token.id, token.source_tokens_read);
  }
  return trace;
}

TEST(ChunkSessionTest, ReadsWholeChunks) {
  const auto model = FakeModel(Follows());
  Scheduler scheduler(model);
  SessionOptions options;
  options.policy = WaitK{2};
  options.read_tokens = 3;
  const auto sink = Translate(scheduler, options, {kText});
  const int source = sink->segments[0].stats.source_tokens;
  for (const TargetToken& token : sink->tokens) {
    EXPECT_TRUE(token.source_tokens_read % 3 == 0 || token.source_tokens_read == source);
  }
  options.read_tokens = 0;
  options.read_words = 2;
  std::vector<int> ends;  // The source tokens of each two words.
  int tokens = 0, words = 0;
  for (const std::string word : {"the", "thin", "tea", "in", "the", "inner", "ear", "can", "be",
                                 "heard", "there", "and", "then", "another", "era"}) {
    tokens += static_cast<int>(model->source_tokenizer->Encode(word).size());
    if (++words % 2 == 0) ends.push_back(tokens);
  }
  const auto by_words = Translate(scheduler, options, {kText});
  for (const TargetToken& token : by_words->tokens) {
    EXPECT_TRUE(token.source_tokens_read == source ||
                std::find(ends.begin(), ends.end(), token.source_tokens_read) != ends.end())
        << token.source_tokens_read;
  }
}

TEST(ChunkSessionTest, AChunkOfOneTokenChangesNothing) {
  for (const bool follows : {false, true}) {
    Scheduler scheduler(FakeModel(follows ? Follows() : FakeModelOptions()));
    SessionOptions options;
    options.policy = WaitK{2};
    const auto plain = Translate(scheduler, options, {kText});
    options.read_tokens = 1;
    EXPECT_EQ(Trace(*Translate(scheduler, options, {kText})), Trace(*plain));
  }
}

TEST(ChunkSessionTest, AnyChunkingGivesTheSame) {
  Scheduler scheduler(FakeModel(Follows()));
  for (const SessionOptions& options : AllOptions()) {
    const auto whole = Translate(scheduler, options, {kText});
    for (const size_t length : {1, 5}) {
      std::vector<std::string> chunks;
      const std::string text = kText;
      for (size_t i = 0; i < text.size(); i += length) chunks.push_back(text.substr(i, length));
      const auto cut = Translate(scheduler, options, chunks);
      EXPECT_EQ(Trace(*cut), Trace(*whole)) << ToString(options.policy);
      EXPECT_EQ(cut->appended[0], whole->segments[0].text);
    }
  }
}

TEST(ChunkSessionTest, AResumedSessionGoesOnWhereverItBroke) {
  for (const bool known : {true, false}) {
    Scheduler scheduler(FakeModel(Follows()));
    for (const SessionOptions& options : AllOptions()) {
      const auto whole = Translate(scheduler, options, {kText});
      for (size_t broke = 0; broke <= whole->tokens.size(); broke += 2) {
        ResumeFrom from;
        for (size_t i = 0; i < broke; ++i) {
          from.committed.push_back(whole->tokens[i].id);
          if (known) from.source_read.push_back(whole->tokens[i].source_tokens_read);
        }
        const auto resumed = Translate(scheduler, options, {kText}, from);
        EXPECT_EQ(resumed->segments[0].text, whole->segments[0].text)
            << ToString(options.policy) << " " << broke;
        EXPECT_EQ(resumed->tokens.size(), whole->tokens.size() - broke);
      }
    }
  }
}

// No word begins before its source words are there, and a word that has begun goes on at once.
TEST(ChunkSessionTest, WaitKCountsWordsOnBothSides) {
  const auto model = FakeModel(Follows());
  Scheduler scheduler(model);
  const TargetUnits units(*model);
  SessionOptions options;
  options.policy = WaitK{2, 1, true};
  const auto sink = Translate(scheduler, options, {kText});
  std::vector<int> ends = {0};
  std::string word;
  for (const char* p = kText;; ++p) {
    if (*p != ' ' && *p != 0) {
      word.push_back(*p);
      continue;
    }
    ends.push_back(ends.back() + static_cast<int>(model->source_tokenizer->Encode(word).size()));
    word.clear();
    if (*p == 0) break;
  }
  const int words = static_cast<int>(ends.size()) - 1;
  int begun = 0;
  TokenId last = TargetUnits::kNone;
  int early = 0;
  for (const TargetToken& token : sink->tokens) {
    if (units.Begins(last, token.id)) ++begun;
    last = token.id;
    EXPECT_GE(token.source_tokens_read, ends[std::min(begun + 1, words)]);
    if (token.source_tokens_read < ends.back()) ++early;
  }
  EXPECT_GT(early, 10);
}

TEST(ChunkSessionTest, AnAdaptiveSessionLagsBetweenItsBounds) {
  Scheduler scheduler(FakeModel(Follows()));
  SessionOptions options;
  options.policy = AdaptiveWaitK{2, 5};
  const auto sink = Translate(scheduler, options, {kText});
  const int source = sink->segments[0].stats.source_tokens;
  bool differs = false;
  for (size_t i = 0; i < sink->tokens.size(); ++i) {
    const int lag = sink->tokens[i].source_tokens_read - static_cast<int>(i);
    if (sink->tokens[i].source_tokens_read == source) break;
    EXPECT_GE(lag, 2);
    differs = differs || lag != 2;
  }
  EXPECT_TRUE(differs);
  options.policy = AdaptiveWaitK{2, 5, 0, 0};  // Everything is probable enough: wait-2.
  const auto all = Translate(scheduler, options, {kText});
  options.policy = WaitK{2};
  const auto wait_k = Translate(scheduler, options, {kText});
  EXPECT_EQ(all->tokens[0].source_tokens_read, wait_k->tokens[0].source_tokens_read);
}

}  // namespace
}  // namespace leapstream
