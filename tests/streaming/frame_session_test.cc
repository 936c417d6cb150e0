// Sessions of models whose segments have a frame of languages: the frames of fairseq's tasks, with
// a model without a network.
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "absl/strings/str_cat.h"
#include "streaming/scheduler.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

constexpr char kText[] = "the quick brown fox jumps over the lazy dog and the rest in the end";

struct Task {
  const char* name;
  FrameConfig frame;
};

std::vector<Task> Tasks() {
  return {{"translation", {}},
          {"multi", {{"{source}"}, {"</s>"}, "</s>", {"{target}"}, "</s>"}},
          {"multi_target_only", {{"{target}"}, {"</s>"}, "</s>", {}, "</s>"}},
          {"replacing", {{}, {"{source}"}, "{target}", {}, "</s>"}},
          {"pretrained_bart", {{}, {"</s>", "{source}"}, "{target}", {}, "{target}"}},
          {"several",
           {{"{source}", "{target}"},
            {"</s>", "{source}"},
            "<s>",
            {"{target}", "{source}"},
            "</s>"}}};
}

std::vector<TokenId> Ids(const std::vector<TargetToken>& tokens, size_t end) {
  std::vector<TokenId> ids;
  for (size_t i = 0; i < end; ++i) ids.push_back(tokens[i].id);
  return ids;
}

std::vector<int> SourceRead(const std::vector<TargetToken>& tokens, size_t end) {
  std::vector<int> read;
  for (size_t i = 0; i < end; ++i) read.push_back(tokens[i].source_tokens_read);
  return read;
}

class FrameSessionTest : public testing::TestWithParam<std::tuple<int, bool>> {
 protected:
  static std::shared_ptr<const Model> Make(const Task& task, bool can_replay) {
    FakeModelOptions fake;
    fake.name = task.name;
    fake.frame = task.frame;
    fake.can_replay = can_replay;
    if (task.frame == FrameConfig()) return FakeModel(fake);  // One pair.
    fake.symbols = {"[en]", "[de]", "[fr]"};
    fake.languages = {{"en", "[en]", "[en]"}, {"de", "[de]", "[de]"}, {"fr", "[fr]", "[fr]"}};
    return FakeModel(fake);
  }
  static SessionOptions Options(int k) {
    SessionOptions options;
    options.languages = {"en", "fr"};
    if (k > 0) options.policy = WaitK{k};
    if (k == 0) options.policy = Offline();
    return options;
  }
  // Translates kText from chunks of random sizes, up to `largest`; 0: as one.
  std::unique_ptr<CollectingSink> Translate(const SessionOptions& options, size_t largest,
                                            ResumeFrom from = {}) {
    auto sink = std::make_unique<CollectingSink>();
    auto session = scheduler_.Open(options, sink.get(), std::move(from));
    EXPECT_TRUE(session.ok()) << session.status();
    if (!session.ok()) return sink;
    const std::string text = kText;
    for (size_t at = 0; at < text.size();) {
      const size_t size = largest == 0 ? text.size() : random_() % (largest + 1);
      (*session)->Push(text.substr(at, size));
      at += size;
    }
    (*session)->EndSource();
    sink->Wait();
    EXPECT_TRUE(sink->status.ok()) << sink->status;
    return sink;
  }

  const Task task_ = Tasks()[std::get<0>(GetParam())];
  const std::shared_ptr<const Model> model_ = Make(task_, std::get<1>(GetParam()));
  Scheduler scheduler_{model_};
  std::mt19937 random_{7};
};

// The session's tokens are those of the translator, given the frame and the words at once.
TEST_P(FrameSessionTest, GivesWhatTheModelGives) {
  const absl::StatusOr<Frame> frame = model_->FrameOf({"en", "fr"});
  ASSERT_TRUE(frame.ok()) << frame.status();
  std::vector<TokenId> source;
  for (const std::string& piece : model_->source_tokenizer->Encode(kText)) {
    source.push_back(model_->source_vocabulary.Id(piece));
  }
  const size_t words = source.size();
  source.insert(source.end(), frame->source_tail.begin(), frame->source_tail.end());
  const auto state = *model_->translator->NewState();
  state->SetFrame(*frame);
  SessionState* const one = state.get();
  ASSERT_TRUE(model_->translator->Read({{one, source}}).ok());
  EXPECT_EQ(one->source_read(), words + 1) << "the end is one token, the lead none";
  std::vector<TokenId> expected;
  std::vector<std::string> symbols;
  for (Decision decision; expected.size() < 1000;) {
    ASSERT_TRUE(model_->translator->Decide({one}, absl::MakeSpan(&decision, 1)).ok());
    if (decision.best.id == frame->end) break;
    expected.push_back(decision.best.id);
    if (!model_->target_frame_tokens.Has(decision.best.id)) {
      symbols.emplace_back(model_->target_vocabulary.Symbol(decision.best.id));
    }
    one->Commit(decision.best.id);
  }
  const auto sink = Translate(Options(0), 0);
  EXPECT_EQ(Ids(sink->tokens, sink->tokens.size()), expected);
  ASSERT_EQ(sink->segments.size(), 1u);
  EXPECT_EQ(sink->segments[0].text, model_->target_tokenizer->Decode(symbols));
  EXPECT_EQ(sink->segments[0].stats.source_tokens, words + 1);
}

TEST_P(FrameSessionTest, AnyChunkingGivesTheSameOutputAndReadsTheFrameWithoutREADs) {
  for (const EarlyEnd early_end :
       {EarlyEnd::kStop, EarlyEnd::kReadOn, EarlyEnd::kSuppress, EarlyEnd::kForceFinish}) {
    for (const int k : {0, 1, 3, 7}) {
      SessionOptions options = Options(k);
      options.early_end = early_end;
      const auto whole = Translate(options, 0);
      ASSERT_EQ(whole->segments.size(), 1u);
      EXPECT_EQ(whole->appended[0], whole->segments[0].text) << "text is only appended";
      if (!whole->tokens.empty() && k > 0 && early_end != EarlyEnd::kReadOn &&
          early_end != EarlyEnd::kForceFinish) {
        EXPECT_EQ(whole->tokens[0].source_tokens_read, k) << "the lead is no READ";
      }
      for (const char* token : {"[en]", "[de]", "[fr]", "</s>", "<s>"}) {
        // Where the source alone names languages, their tokens are text.
        const TokenId id = model_->target_vocabulary.Id(token);
        if (id > kUnknown && !model_->target_frame_tokens.Has(id)) continue;
        EXPECT_EQ(whole->segments[0].text.find(token), std::string::npos) << token;
      }
      for (int round = 0; round < 5; ++round) {
        const auto cut = Translate(options, 6);
        ASSERT_EQ(cut->tokens.size(), whole->tokens.size());
        EXPECT_EQ(Ids(cut->tokens, cut->tokens.size()), Ids(whole->tokens, cut->tokens.size()));
        EXPECT_EQ(SourceRead(cut->tokens, cut->tokens.size()),
                  SourceRead(whole->tokens, cut->tokens.size()));
        EXPECT_EQ(cut->segments[0].text, whole->segments[0].text);
        EXPECT_EQ(cut->segments[0].stats.lagging.al, whole->segments[0].stats.lagging.al);
      }
    }
  }
}

TEST_P(FrameSessionTest, AResumedSessionGoesOnAsIfUninterrupted) {
  for (const EarlyEnd early_end : {EarlyEnd::kStop, EarlyEnd::kReadOn, EarlyEnd::kSuppress}) {
    for (const int k : {0, 1, 3}) {
      SessionOptions options = Options(k);
      options.early_end = early_end;
      const auto whole = Translate(options, 0);
      for (size_t cut = 0; cut <= whole->tokens.size(); ++cut) {
        ResumeFrom from;
        from.committed = Ids(whole->tokens, cut);
        from.source_read = SourceRead(whole->tokens, cut);
        const auto rest = Translate(options, 9, from);
        ASSERT_EQ(rest->tokens.size(), whole->tokens.size() - cut) << "cut after " << cut;
        for (size_t i = 0; i < rest->tokens.size(); ++i) {
          EXPECT_EQ(rest->tokens[i].id, whole->tokens[cut + i].id);
          EXPECT_EQ(rest->tokens[i].source_tokens_read, whole->tokens[cut + i].source_tokens_read);
        }
        EXPECT_EQ(rest->segments[0].text, whole->segments[0].text);
        EXPECT_EQ(rest->segments[0].stats.lagging.al, whole->segments[0].stats.lagging.al);
      }
    }
  }
}

TEST_P(FrameSessionTest, AnEmptySegmentIsNotTranslated) {
  CollectingSink sink;
  auto session = scheduler_.Open(Options(3), &sink);
  ASSERT_TRUE(session.ok());
  (*session)->Push(" ");
  (*session)->EndSource();
  sink.Wait();
  ASSERT_EQ(sink.segments.size(), 1u);
  EXPECT_EQ(sink.segments[0].stats.source_tokens, 0);
  EXPECT_TRUE(sink.tokens.empty());
}

TEST_P(FrameSessionTest, LimitsCountTheEndAsOne) {
  SessionOptions options = Options(1);
  options.max_source_tokens = 5;
  const auto sink = Translate(options, 0);
  ASSERT_EQ(sink->segments.size(), 1u);
  EXPECT_LE(sink->segments[0].stats.source_tokens, 5);
}

// Nothing that a user sends becomes a token of a frame.
TEST_P(FrameSessionTest, AUserCannotMakeATokenOfTheFrame) {
  const Vocabulary& vocabulary = model_->source_vocabulary;
  for (const char* symbol : {"[en]", "[fr]", "</s>", "<pad>"}) {
    const TokenId id = vocabulary.Id(symbol);
    const bool special = id == kPadding || model_->source_frame_tokens.Has(id);
    for (const SourceInput& source : {SourceInput(std::vector<TokenId>{5, id}),
                                      SourceInput(std::vector<std::string>{"a", symbol})}) {
      CollectingSink sink;
      auto session = scheduler_.Open(Options(1), &sink);
      ASSERT_TRUE(session.ok());
      (*session)->Push(source);
      (*session)->EndSource();
      sink.Wait();
      EXPECT_EQ(absl::IsInvalidArgument(sink.status), special) << symbol << sink.status;
    }
  }
  // The end cannot be committed. All else that the model may write can be.
  const TokenId end = model_->FrameOf({"en", "fr"})->end;
  for (TokenId id = 0; id < model_->target_vocabulary.size(); ++id) {
    CollectingSink sink;
    ResumeFrom from;
    from.committed = {id};
    auto session = scheduler_.Open(Options(1), &sink, from);
    EXPECT_EQ(session.ok(), id != end) << id;
    if (!session.ok()) continue;
    (*session)->Cancel(absl::CancelledError());
    sink.Wait();
  }
}

TEST_P(FrameSessionTest, AnotherModelsLanguagesAreRefused) {
  if (!model_->info.is_multilingual()) return;
  CollectingSink sink;
  SessionOptions options = Options(1);
  options.languages.target = "xx";
  EXPECT_TRUE(absl::IsInvalidArgument(scheduler_.Open(options, &sink).status()));
}

INSTANTIATE_TEST_SUITE_P(Tasks, FrameSessionTest,
                         testing::Combine(testing::Range(0, 6), testing::Bool()),
                         [](const auto& info) {
                           return absl::StrCat(Tasks()[std::get<0>(info.param)].name,
                                               std::get<1>(info.param) ? "_replays" : "_forces");
                         });

}  // namespace
}  // namespace leapstream
