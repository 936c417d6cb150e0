#include "streaming/text_segment.h"

#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using Next = SegmentSource::Next;

// A text with many words of one token, "the", and others.
constexpr char kText[] = "the quick brown fox, the lazy dog the the over the the end";

class TextSegmentTest : public testing::Test {
 protected:
  std::unique_ptr<TextSegment> Make(const ResumeFrom& from = {}) {
    auto segment = std::make_unique<TextSegment>(options_, *model_, Frame(), from);
    segment->Open();
    return segment;
  }
  void Append(TextSegment& segment, SourceInput source, SourcePosition at = {}) {
    EXPECT_TRUE(segment.Append(std::move(source), at, &work_).ok());
  }
  // Makes READs due as long as there are some, but at most `most`; returns their tokens.
  std::vector<TokenId> Read(TextSegment& segment, size_t most = 1000) {
    segment.ForgetReads();
    while (static_cast<size_t>(segment.due_reads()) < most) {
      const absl::StatusOr<Next> next = segment.NextRead(&work_);
      EXPECT_TRUE(next.ok()) << next.status();
      last_ = *next;
      if (last_ != Next::kRead) break;
    }
    const SourceRows rows = segment.due_rows(nullptr);
    return {rows.tokens.begin(), rows.tokens.end()};
  }
  std::vector<TokenId> Tokens(const std::string& text) {
    std::vector<TokenId> tokens;
    for (const std::string& piece : model_->source_tokenizer->Encode(text)) {
      tokens.push_back(model_->source_vocabulary.Id(piece));
    }
    return tokens;
  }

  const std::shared_ptr<Model> model_ = std::const_pointer_cast<Model>(FakeModel());
  SessionOptions options_;
  int64_t work_ = 1 << 30;
  Next last_ = Next::kNone;
};

TEST_F(TextSegmentTest, AnyChunkingGivesTheSameTokens) {
  const std::string text = kText;
  std::vector<TokenId> expected = Tokens(text);
  expected.push_back(kEndOfSentence);
  std::mt19937 random(17);
  for (int round = 0; round < 200; ++round) {
    const auto segment = Make();
    std::vector<TokenId> tokens;
    for (size_t at = 0; at < text.size();) {
      const size_t size = random() % 7;
      Append(*segment, text.substr(at, size));
      at += size;
      if (random() % 2 == 0) continue;
      for (const TokenId token : Read(*segment)) tokens.push_back(token);
      EXPECT_EQ(last_, Next::kWaits);
    }
    segment->Close();
    for (const TokenId token : Read(*segment)) tokens.push_back(token);
    EXPECT_EQ(tokens, expected);
    EXPECT_EQ(last_, Next::kNone);
    EXPECT_TRUE(segment->finished());
    EXPECT_EQ(segment->words()->words(), 13);
  }
}

TEST_F(TextSegmentTest, PiecesAndIdsAreTokensAndAllFormsGiveTheSame) {
  const std::vector<std::string> pieces = model_->source_tokenizer->Encode(kText);
  const auto by_pieces = Make(), by_ids = Make();
  Append(*by_pieces, pieces);
  Append(*by_ids, Tokens(kText));
  EXPECT_EQ(Read(*by_pieces), Tokens(kText));
  EXPECT_EQ(Read(*by_ids), Tokens(kText));
  EXPECT_EQ(by_ids->words()->words(), 0);
}

TEST_F(TextSegmentTest, TheWrongSourceIsRefused) {
  const auto bad = absl::StatusCode::kInvalidArgument;
  const auto segment = Make();
  Append(*segment, std::string("the "));
  EXPECT_EQ(segment->Append(std::vector<TokenId>{5}, {}, &work_).code(), bad) << "another form";
  EXPECT_EQ(segment->Append(AudioSamples(5), {}, &work_).code(), bad);
  const auto ids = Make();
  EXPECT_EQ(ids->Append(std::vector<TokenId>{kEndOfSentence}, {}, &work_).code(), bad);
  EXPECT_EQ(ids->Append(std::vector<TokenId>{-1}, {}, &work_).code(), bad);
  const auto pieces = Make();
  Append(*pieces, std::vector<std::string>{"</s>"});
  EXPECT_EQ(pieces->NextRead(&work_).status().code(), bad);
  const auto bytes = Make();
  Append(*bytes, std::string("\xFF"));
  EXPECT_EQ(bytes->NextRead(&work_).status().code(), bad);
}

TEST_F(TextSegmentTest, IsEmptyIfItClosesWithoutATokenOfItsOwn) {
  const auto segment = Make();
  Append(*segment, std::string(" \n "));
  EXPECT_TRUE(Read(*segment).empty());
  EXPECT_FALSE(segment->is_empty());
  segment->Close();
  EXPECT_TRUE(Read(*segment).empty());
  EXPECT_TRUE(segment->is_empty());
  EXPECT_EQ(last_, Next::kNone);
}

TEST_F(TextSegmentTest, SaysWhenItsWorkIsUsedUp) {
  const auto segment = Make();
  Append(*segment, std::string(1000, ' ') + "the the ");
  work_ = 500;
  EXPECT_TRUE(Read(*segment).empty());
  EXPECT_EQ(last_, Next::kWork);
  work_ = 1 << 20;
  EXPECT_EQ(Read(*segment).size(), 2u);
  EXPECT_EQ(last_, Next::kWaits);
}

TEST_F(TextSegmentTest, TheLimitKeepsAPlaceForTheEndAndTheRestIsDropped) {
  options_.max_source_tokens = 4;
  const auto segment = Make();
  Append(*segment, std::string("the the the the the "));
  const TokenId the = Tokens("the")[0];
  EXPECT_THAT(Read(*segment), ElementsAre(the, the, the, kEndOfSentence));
  EXPECT_TRUE(segment->cut());
  const SourceLeft left = segment->Leave(4);
  EXPECT_TRUE(left.at_limit);
  EXPECT_TRUE(left.dropped);
  EXPECT_EQ(left.untranslated_tokens, 1) << "of the word that was cut into tokens already";
  EXPECT_EQ(left.dropped_bytes, 3);
  EXPECT_FALSE(left.continues_at.has_value());
}

TEST_F(TextSegmentTest, WhatWasReadAfterTheTranslationsEndIsUntranslated) {
  const auto segment = Make();
  Append(*segment, std::string("the the the the "));
  Read(*segment, 2);
  segment->MayHaveEnded(1);
  segment->GoesOn();
  segment->MayHaveEnded(2);
  Read(*segment, 1);
  segment->MayHaveEnded(3);  // It still may have ended at 2.
  EXPECT_EQ(segment->end(), 2);
  segment->Close();
  Read(*segment);
  const SourceLeft left = segment->Leave(5);
  EXPECT_EQ(left.untranslated_tokens, 2);
  EXPECT_FALSE(left.dropped);
}

TEST_F(TextSegmentTest, TheNextSegmentBeginsWithTheWordsThatWereNotTranslated) {
  options_.next_segments = true;
  const auto segment = Make();
  Append(*segment, std::string("the over "), {0, 0});
  Append(*segment, std::string("quick the"), {1, 100});
  Append(*segment, std::string(" lazy"), {2, 0});
  const size_t translated = Tokens("the over").size();
  Read(*segment, translated);
  segment->MayHaveEnded(static_cast<int>(translated));
  Read(*segment);
  const int given = segment->progress().source_read;
  EXPECT_EQ(given, static_cast<int>(Tokens("the over quick the").size()));
  const SourceLeft left = segment->Leave(given);
  ASSERT_TRUE(left.continues_at.has_value());
  EXPECT_EQ(left.continues_at->chunks, 1);
  EXPECT_EQ(left.continues_at->samples, 100);
  EXPECT_EQ(left.untranslated_tokens, 0);
  segment->OpenWithRest();
  EXPECT_EQ(Read(*segment), Tokens("quick the"));
  segment->Close();
  std::vector<TokenId> rest = Tokens("lazy");
  rest.push_back(kEndOfSentence);
  EXPECT_EQ(Read(*segment), rest);
}

TEST_F(TextSegmentTest, AResumedSegmentSkipsTheTokensOfItsFirstWordThatAreOfAnother) {
  ResumeFrom from;
  from.skip_tokens = 2;
  const auto segment = Make(from);
  Append(*segment, std::string("  quick the "));
  std::vector<TokenId> expected = Tokens("quick the");
  expected.erase(expected.begin(), expected.begin() + 2);
  EXPECT_EQ(Read(*segment), expected);
}

// A tokenizer may give the first word of a text other tokens than a later word.
TEST_F(TextSegmentTest, AResumedSegmentHasTheTokensOfOneThatContinues) {
  options_.next_segments = true;
  const std::string text = "one 漢字を書く。 a-b  x's \"three\" four.five 二字 six, 7,000 end.";
  for (const char* bpe : {"characters", "bytes", "none"}) {
    for (const char* tokenizer : {"none", "moses"}) {
      TokenizerConfig config;
      config.bpe = bpe;
      config.tokenizer = tokenizer;
      config.moses_language = "en";
      auto made = Tokenizer::Create(config, TokenizerFiles());
      ASSERT_TRUE(made.ok()) << made.status();
      std::string dictionary;
      const std::vector<std::string> symbols = (*made)->Encode(text);
      for (const std::string& symbol : std::set<std::string>(symbols.begin(), symbols.end())) {
        absl::StrAppend(&dictionary, symbol, " 1\n");
      }
      model_->source_vocabulary = *Vocabulary::Parse(dictionary, "dict.txt");
      model_->source_tokenizer = *std::move(made);
      int continued = 0;
      for (size_t reads = 1; reads < 60; ++reads) {
        const auto segment = Make();
        Append(*segment, text);
        if (Read(*segment, reads).size() < reads || last_ != Next::kRead) break;
        segment->ForgetReads();
        const SourceLeft left = segment->Leave(static_cast<int>(reads));
        if (!left.continues_at.has_value()) continue;
        ++continued;
        segment->OpenWithRest();
        ResumeFrom from;
        from.in_text = left.continues_in_text;
        from.skip_tokens = left.continues_after_tokens;
        const auto resumed = Make(from);
        Append(*resumed, text.substr(left.continues_at->samples));
        segment->Close();
        resumed->Close();
        EXPECT_EQ(Read(*resumed), Read(*segment)) << bpe << ", " << tokenizer << ", " << reads;
      }
      EXPECT_GT(continued, 5) << bpe << ", " << tokenizer;
    }
  }
}

}  // namespace
}  // namespace leapstream
