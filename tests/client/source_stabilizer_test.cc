#include "client/hypotheses/source_stabilizer.h"

#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using testing::ElementsAre;

SourceHypothesis Partial(std::string text, int stable_words = 0) {
  SourceHypothesis result;
  result.text = std::move(text);
  result.stable_words = stable_words;
  return result;
}

SourceHypothesis Final(std::string text) {
  SourceHypothesis result = Partial(std::move(text));
  result.final = true;
  return result;
}

std::vector<std::string> Given(const std::vector<SourceHypothesis>& hypotheses, int agreement = 2) {
  SourceStabilizer stabilizer(agreement);
  std::vector<std::string> given;
  for (const SourceHypothesis& hypothesis : hypotheses) given.push_back(stabilizer.Add(hypothesis));
  const std::string rest = stabilizer.Finish();
  if (!rest.empty()) given.push_back(rest);
  return given;
}

TEST(SourceStabilizerTest, GivesOutWhatHypothesesAgreeOnButForTheNewestWord) {
  EXPECT_THAT(Given({Partial("the"), Partial("the cat"), Partial("the cat sat"),
                     Partial("the cat sat on"), Final("the cat sat on it")}),
              ElementsAre("", "", "the ", "cat ", "sat on it "));
  EXPECT_THAT(Given({Partial("a"), Partial("a b"), Partial("a b c"), Partial("a b c d"),
                     Partial("a b c d e"), Final("a b c d e")},
                    3),
              ElementsAre("", "", "", "a ", "b ", "c d e "));
}

TEST(SourceStabilizerTest, AHypothesisThatComesAgainIsNoSecondVote) {
  EXPECT_THAT(Given({Partial("the cat sat"), Partial("the cat sat"), Partial("The cat, sat")}),
              ElementsAre("", "", "", "The cat, sat "));
}

TEST(SourceStabilizerTest, FoldsCaseAndEdgesAndSendsTheNewestSpelling) {
  EXPECT_THAT(
      Given({Partial("über uns it’s"), Partial("Über uns, it's so"), Final("Über uns, it's so.")}),
      ElementsAre("", "Über uns, ", "it's so. "));
  // A mark that is content, or stands apart.
  EXPECT_THAT(Given({Partial("5 of 6 are"), Partial("5% of 6 are")}),
              ElementsAre("", "", "5% of 6 are "));
  EXPECT_THAT(Given({Partial("oui mais non non"), Partial("« Oui ! Mais non, non non")}),
              ElementsAre("", "« Oui ! Mais non, ", "non non "));
}

TEST(SourceStabilizerTest, AWordThatVacillatesIsNotGivenOut) {
  EXPECT_THAT(Given({Partial("i want to wreck"), Partial("i want to recognise"),
                     Partial("i want two wreck a"), Final("I want to recognise speech")}),
              ElementsAre("", "i want ", "", "to recognise speech "));
}

TEST(SourceStabilizerTest, StableWordsAreGivenOutAtOnce) {
  EXPECT_THAT(Given({Partial("one two three", 2), Partial("one two tree", 2), Partial("", 5),
                     Partial("one two three four", 9)}),
              ElementsAre("one two ", "", "", "three four "));
}

TEST(SourceStabilizerTest, AFinalThatContradictsWhatWasSentIsRepairedByAlignment) {
  SourceStabilizer stabilizer;
  EXPECT_EQ(stabilizer.Add(Partial("a nice cream please now")), "");
  EXPECT_EQ(stabilizer.Add(Partial("a nice cream please no")), "a nice cream ");
  EXPECT_EQ(stabilizer.Add(Final("an ice cream please, Noah.")), "please, Noah. ");
  EXPECT_EQ(stabilizer.figures().repairs, 1);
  EXPECT_EQ(stabilizer.figures().repaired_words, 2);
  EXPECT_EQ(stabilizer.figures().words, 5);
  EXPECT_EQ(stabilizer.figures().finals, 1);
  EXPECT_EQ(stabilizer.figures().hypotheses, 3);
  struct Case {
    const char *sent, *final, *appended;
    int distance;
  };
  for (const Case& c : std::vector<Case>{
           {"hello world", "hello there world today", "today ", 1},  // A word was left out.
           {"hello there world", "hello world today", "today ", 1},  // A word is too many.
           {"twenty five men", "25 men came", "came ", 2},
           {"a b", "x y z", "z ", 2},  // Nothing is the same.
           {"a b c", "a b", "", 1},    // The recogniser takes a word back.
           {"a b c", "", "", 3},
           {"a b c", "c d e", "d e ", 2},
           {"a b c", "A, B c.", "", 0}}) {
    SourceStabilizer repaired;
    EXPECT_EQ(repaired.Add(Partial(c.sent, 9)), absl::StrCat(c.sent, " "));
    EXPECT_EQ(repaired.Add(Final(c.final)), c.appended) << c.sent << " | " << c.final;
    EXPECT_EQ(repaired.figures().repaired_words, c.distance) << c.sent << " | " << c.final;
    EXPECT_EQ(repaired.figures().repairs, c.distance > 0 ? 1 : 0);
  }
}

// A recogniser may revise long before its final; the text goes on meanwhile.
TEST(SourceStabilizerTest, GoesOnBehindARevisionBeforeTheFinal) {
  EXPECT_THAT(Given({Partial("a nice", 2), Partial("an ice cream to go"),
                     Partial("an ice cream to gogh please"), Final("an ice cream to go please")}),
              ElementsAre("a nice ", "", "cream ", "to go please "));
}

TEST(SourceStabilizerTest, AnUtteranceWithoutAFinalIsGivenOutAtTheEnd) {
  EXPECT_THAT(Given({Final("first one."), Partial("second")}),
              ElementsAre("first one. ", "", "second "));
  EXPECT_THAT(Given({Partial("gone"), Partial("")}), ElementsAre("", ""));
  EXPECT_THAT(Given({}), ElementsAre());
}

TEST(SourceStabilizerTest, CharactersOfScriptsWithoutSpacesAreWords) {
  EXPECT_THAT(Given({Partial("今天天"), Partial("今天天气很"), Partial("今天，天气很好"),
                     Final("今天，天气很好。我用Linux系统。"), Final("好")}),
              ElementsAre("", "今天", "天气", "很好。我用Linux系统。", "好"));
}

TEST(SourceStabilizerTest, OddTextIsKept) {
  EXPECT_THAT(Given({Final("..."), Final(" \t "), Final("? !"), Final("a\tb\u3000c")}),
              ElementsAre("... ", "", "? ! ", "a b c "));
}

// The next tests go through many random streams. `seed` is shown on failure.
class Streams {
 public:
  explicit Streams(unsigned seed) : random_(seed) {}

  int Below(int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random_); }
  std::string Word() {
    static constexpr const char* kWords[] = {"a",    "B,", "cat", "Cat", "今天",
                                             "好。", "—",  "5%",  "it’s"};
    return kWords[Below(9)];
  }
  std::string Text(int most) {
    std::vector<std::string> words;
    for (int i = Below(most + 1); i > 0; --i) words.push_back(Word());
    return absl::StrJoin(words, Below(9) == 0 ? "  " : " ");
  }
  // Any hypotheses at all: nothing connects them.
  std::vector<SourceHypothesis> Wild() {
    std::vector<SourceHypothesis> stream;
    for (int i = Below(30); i > 0; --i) {
      stream.push_back(Partial(Text(12), Below(4) == 0 ? Below(12) : 0));
      stream.back().final = Below(5) == 0;
    }
    return stream;
  }

 private:
  std::mt19937 random_;
};

// Returns the words as they are compared.
std::vector<std::string> Compared(absl::string_view text) {
  std::string folded = absl::AsciiStrToLower(text);
  for (const char* mark : {",", ".", "。", "—"}) {
    folded = absl::StrJoin(absl::StrSplit(folded, mark), "");
  }
  folded = absl::StrJoin(absl::StrSplit(folded, "今天"), " 今 天 ");
  folded = absl::StrJoin(absl::StrSplit(folded, "好"), " 好 ");
  return absl::StrSplit(folded, ' ', absl::SkipEmpty());
}

// A twin of the alignment in the plainest form. Returns the smallest distance between `sent` and a
// beginning of `words`.
int64_t PlainDistance(const std::vector<std::string>& sent, const std::vector<std::string>& words) {
  std::vector<std::vector<int64_t>> cost(sent.size() + 1,
                                         std::vector<int64_t>(words.size() + 1, 0));
  for (size_t i = 0; i <= sent.size(); ++i) {
    for (size_t j = 0; j <= words.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = static_cast<int64_t>(i + j);
        continue;
      }
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1,
                             cost[i - 1][j - 1] + (sent[i - 1] == words[j - 1] ? 0 : 1)});
    }
  }
  return *std::min_element(cost.back().begin(), cost.back().end());
}

TEST(SourceStabilizerTest, FinalsLoseNoWordButForRepairs) {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    Streams streams(seed);
    SourceStabilizer stabilizer(1 + streams.Below(3));
    std::string sent;  // Of the open utterance.
    StabilizerFigures before;
    std::vector<SourceHypothesis> stream = streams.Wild();
    stream.push_back(Final(streams.Text(12)));
    for (const SourceHypothesis& hypothesis : stream) {
      const std::vector<std::string> words = Compared(hypothesis.text);
      const std::vector<std::string> given = Compared(sent);
      const std::string more = stabilizer.Add(hypothesis);
      absl::StrAppend(&sent, more);
      const std::vector<std::string> now = Compared(sent);
      // Words that are given out are words of the hypothesis, in order, up to its end if it is
      // final.
      const std::vector<std::string> added(now.begin() + static_cast<ptrdiff_t>(given.size()),
                                           now.end());
      ASSERT_THAT(std::vector<std::string>(now.begin(), now.begin() + given.size()), given);
      ASSERT_TRUE(added.empty() || std::search(words.begin(), words.end(), added.begin(),
                                               added.end()) != words.end());
      if (!hypothesis.final) continue;
      ASSERT_LE(added.size(), words.size());
      ASSERT_TRUE(std::equal(added.rbegin(), added.rend(), words.rbegin())) << "seed=" << seed;
      const int64_t distance = stabilizer.figures().repaired_words - before.repaired_words;
      ASSERT_EQ(distance, PlainDistance(given, words)) << "seed=" << seed << " " << hypothesis.text;
      ASSERT_EQ(stabilizer.figures().repairs - before.repairs, distance > 0 ? 1 : 0);
      if (distance == 0) ASSERT_THAT(now, words) << "seed=" << seed;
      before = stabilizer.figures();
      sent.clear();
    }
    EXPECT_EQ(stabilizer.Finish(), "");
  }
}

// With an honest recogniser, whose beginnings stay, nothing is ever repaired, and the text is what
// it said.
TEST(SourceStabilizerTest, NothingIsRepairedIfTheRecogniserOnlyAppends) {
  for (unsigned seed = 0; seed < 500; ++seed) {
    Streams streams(seed);
    SourceStabilizer stabilizer(1 + streams.Below(3));
    std::string sent;
    std::string said;
    for (int utterance = 0; utterance < 3; ++utterance) {
      std::string text;
      for (int i = streams.Below(12); i > 0; --i) {
        absl::StrAppend(&text, text.empty() ? "" : " ", streams.Word());
        absl::StrAppend(&sent, stabilizer.Add(Partial(text, streams.Below(3))));
      }
      absl::StrAppend(&sent, stabilizer.Add(Final(text)));
      absl::StrAppend(&said, text, " ");
    }
    EXPECT_THAT(Compared(sent), Compared(said)) << "seed=" << seed;
    EXPECT_EQ(stabilizer.figures().repairs, 0) << "seed=" << seed;
  }
}

TEST(SourceStabilizerTest, LongUtterancesTakeLittleTime) {
  std::string text;
  for (int i = 0; i < 20000; ++i) absl::StrAppend(&text, "w", i, " ");
  SourceStabilizer stabilizer;
  EXPECT_EQ(stabilizer.Add(Partial(text, 20000)), text);
  EXPECT_EQ(stabilizer.Add(Final(absl::StrCat("x ", text, "end"))), "end ");
  EXPECT_EQ(stabilizer.figures().repaired_words, 1);
  EXPECT_EQ(stabilizer.Add(Partial(text, 20000)), text);
  EXPECT_EQ(stabilizer.Add(Final("x")), "");
  EXPECT_GE(stabilizer.figures().repaired_words, 19999);
}

// The example client in Python is held to the same file by stable_source_test.py.
TEST(SourceStabilizerTest, GoldenStreams) {
  std::ifstream file(LEAPSTREAM_SOURCE_DIR "/tests/golden/hypotheses/streams.jsonl");
  int streams = 0;
  for (std::string line; std::getline(file, line); ++streams) {
    const auto stream = nlohmann::json::parse(line);
    SourceStabilizer stabilizer(stream["agreement"].get<int>());
    for (const auto& step : stream["steps"]) {
      SourceHypothesis hypothesis = Partial(step["text"], step.value("stable_words", 0));
      hypothesis.final = step.value("final", false);
      EXPECT_EQ(stabilizer.Add(hypothesis), step["appended"]) << stream["name"] << step;
    }
    EXPECT_EQ(stabilizer.Finish(), stream["rest"]) << stream["name"];
    EXPECT_EQ(stabilizer.figures().repairs, stream["repairs"]) << stream["name"];
    EXPECT_EQ(stabilizer.figures().repaired_words, stream["repaired_words"]) << stream["name"];
    EXPECT_EQ(stabilizer.figures().words, stream["words"]) << stream["name"];
  }
  EXPECT_GE(streams, 10);
}

}  // namespace
}  // namespace leapstream::client
