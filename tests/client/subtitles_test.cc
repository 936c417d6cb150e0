#include "client/cli/subtitles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace leapstream::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kSrt[] =
    "\xef\xbb\xbf" "1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>Open the</i>\r\nfile\r\n\r\n"
    "2\r\n00:00:02,600 --> 00:00:04,000\r\n{\\an8}and save it.\r\n\r\n"
    "3\r\n01:00:00,000 --> 01:00:01,000\r\n\r\n";

TEST(ParseSubtitlesTest, SubRipAndWebVttGiveTheSame) {
  const auto srt = ParseSubtitles(kSrt);
  ASSERT_TRUE(srt.ok()) << srt.status();
  ASSERT_EQ(srt->size(), 3u);
  EXPECT_EQ((*srt)[0].begin, absl::Seconds(1));
  EXPECT_EQ((*srt)[0].end, absl::Milliseconds(2500));
  EXPECT_EQ((*srt)[0].text, "Open the file");
  EXPECT_EQ((*srt)[1].text, "and save it.");
  EXPECT_EQ((*srt)[2].begin, absl::Hours(1));
  EXPECT_EQ((*srt)[2].text, "");
  const auto vtt = ParseSubtitles(
      "WEBVTT - a talk\nKind: captions\n\nNOTE\nnot shown\n\nSTYLE\n::cue { color: red }\n\n"
      "first\n00:01.000 --> 00:02.500 align:start\nOpen the\nfile\n\n"
      "00:00:02.600 --> 00:00:04.000\nand save it.\n\n01:00:00.000 --> 01:00:01.000\n");
  ASSERT_TRUE(vtt.ok()) << vtt.status();
  ASSERT_EQ(vtt->size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ((*vtt)[i].begin, (*srt)[i].begin);
    EXPECT_EQ((*vtt)[i].end, (*srt)[i].end);
    EXPECT_EQ((*vtt)[i].text, (*srt)[i].text);
  }
}

TEST(ParseSubtitlesTest, OtherTextIsRefusedWithItsLine) {
  for (const char* text : {"Open the file.\n", "1\nOpen the file.\n",
                           "1\n00:00:01 --> 00:00:02\nx\n",
                           "1\n00:00:01,000 -> 00:00:02,000\nx\n"}) {
    const auto cues = ParseSubtitles(text);
    EXPECT_EQ(cues.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(cues.status().message()), HasSubstr("-->")) << text;
  }
  EXPECT_TRUE(ParseSubtitles("")->empty());
}

TEST(FormatCueTest, WhatIsWrittenIsReadAgain) {
  const Cue cue = {absl::Milliseconds(3723004), absl::Milliseconds(3724000),
                   "A line that is longer than forty-two characters by far."};
  EXPECT_EQ(FormatCue(cue, 7, SubtitleFormat::kSrt),
            "7\n01:02:03,004 --> 01:02:04,000\nA line that is longer than\nforty-two characters by "
            "far.\n\n");
  EXPECT_EQ(FormatCue({absl::ZeroDuration(), absl::Seconds(1), "x"}, 1, SubtitleFormat::kVtt),
            "00:00:00.000 --> 00:00:01.000\nx\n\n");
  for (const SubtitleFormat format : {SubtitleFormat::kSrt, SubtitleFormat::kVtt}) {
    const auto read = ParseSubtitles(SubtitleHead(format) + FormatCue(cue, 1, format));
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_EQ(read->size(), 1u);
    EXPECT_EQ((*read)[0].text, cue.text);
    EXPECT_EQ((*read)[0].begin, cue.begin);
  }
}

TEST(PassagesTest, ASentenceOverSeveralCuesIsOne) {
  const auto at = [](int begin, int end, const char* text) {
    return Cue{absl::Seconds(begin), absl::Seconds(end), text};
  };
  const std::vector<Cue> cues = {at(0, 1, "Open the"),  at(1, 2, "file."),
                                 at(2, 3, "\"Save it!\""), at(3, 4, "and then"),
                                 at(9, 10, "close"),    at(10, 11, ""),
                                 at(11, 12, "it。")};
  std::vector<std::string> texts;
  for (const Passage& passage : Passages(cues)) texts.push_back(passage.text);
  EXPECT_THAT(texts, ElementsAre("Open the file.", "\"Save it!\"", "and then", "close it。"));
  const std::vector<Cue> endless(100, at(0, 0, "word"));
  for (const Passage& passage : Passages(endless)) EXPECT_LE(passage.count, 16u);
}

TEST(SpreadTest, GivesAllWordsInOrderAndInProportion) {
  EXPECT_THAT(Spread("Die Datei öffnen und dann speichern.", {10, 10}),
              ElementsAre("Die Datei öffnen", "und dann speichern."));
  EXPECT_THAT(Spread("kurz", {5, 5, 5}), testing::Each(testing::AnyOf("", "kurz")));
  EXPECT_THAT(Spread("打开文件并保存", {6, 6}), ElementsAre("打开文", "件并保存"));
  EXPECT_THAT(Spread("", {1, 2}), ElementsAre("", ""));
  EXPECT_THAT(Spread("a b", {0, 0}), ElementsAre("a b", ""));
  std::string joined;
  for (const std::string& part : Spread("one two three four five", {3, 9, 1, 2})) {
    if (!part.empty()) joined += (joined.empty() ? "" : " ") + part;
  }
  EXPECT_EQ(joined, "one two three four five");
}

TEST(CueMakerTest, CuesFollowOneAnotherAndHaveAllText) {
  CueMaker maker;
  std::vector<Cue> cues;
  const auto add = [&](const char* text, int ms) {
    for (Cue& cue : maker.Add(text, absl::Milliseconds(ms))) cues.push_back(cue);
  };
  add("Die", 1000);
  add(" Datei", 1400);
  add(" öffnen.", 2000);
  add(" Dann", 2100);
  add("ach", 2200);
  maker.EndCue();
  add("Neu", 9000);
  for (Cue& cue : maker.Finish()) cues.push_back(cue);
  ASSERT_EQ(cues.size(), 3u);
  EXPECT_EQ(cues[0].text, "Die Datei öffnen.");
  EXPECT_EQ(cues[0].begin, absl::Seconds(1));
  EXPECT_EQ(cues[0].end, absl::Seconds(2));
  EXPECT_EQ(cues[1].text, "Dannach");
  EXPECT_EQ(cues[1].end, absl::Milliseconds(3100));
  EXPECT_EQ(cues[2].text, "Neu");
  EXPECT_TRUE(maker.Finish().empty());
}

TEST(SpeechCueMakerTest, CuesBeginWhereTheirAudioHadBeenRead) {
  SpeechCueMaker maker;
  std::vector<Cue> cues;
  const auto take = [&](std::vector<Cue> done) {
    for (Cue& cue : done) cues.push_back(std::move(cue));
  };
  take(maker.Add("Guten", absl::Milliseconds(560)));
  take(maker.Add(" Tag", absl::Milliseconds(840)));
  take(maker.Add(".", absl::Milliseconds(840)));
  take(maker.Add(" Danke", absl::Milliseconds(2240)));
  // It is written at the end, so spread over the time from 2240 to 6240 ms.
  take(maker.Add(" für alles. Und dies", absl::Milliseconds(6240)));
  take(maker.EndSegment(absl::ZeroDuration(), absl::Milliseconds(6240)));
  // All of this segment comes at its end.
  take(maker.Add("Bald.", absl::Milliseconds(20000)));
  take(maker.Add(" Gut.", absl::Milliseconds(20000)));
  take(maker.EndSegment(absl::Seconds(10), absl::Seconds(20)));
  take(maker.Finish());
  ASSERT_EQ(cues.size(), 5u);
  EXPECT_EQ(cues[0].text, "Guten Tag.");
  EXPECT_EQ(cues[0].begin, absl::Milliseconds(560));
  EXPECT_EQ(cues[1].text, "Danke für alles.");
  EXPECT_EQ(cues[1].begin, absl::Milliseconds(2240));
  EXPECT_EQ(cues[2].text, "Und dies");
  EXPECT_GT(cues[2].begin, absl::Milliseconds(4000));
  EXPECT_LT(cues[2].begin, absl::Milliseconds(6240));
  EXPECT_EQ(cues[3].text, "Bald.");
  EXPECT_EQ(cues[3].begin, absl::Seconds(10));
  EXPECT_EQ(cues[4].text, "Gut.");
  EXPECT_EQ(cues[4].begin, absl::Seconds(15));
  EXPECT_TRUE(maker.Finish().empty());
}

// Also with the text that a break leaves open, and in scripts without spaces.
TEST(SpeechCueMakerTest, NoTextIsLost) {
  SpeechCueMaker maker;
  std::string all;
  const auto take = [&](const std::vector<Cue>& done) {
    for (const Cue& cue : done) all += cue.text;
  };
  std::string text;
  for (int i = 0; i < 60; ++i) text += "打开文件";
  take(maker.Add(text, absl::Seconds(30)));
  const std::vector<Cue> spread = maker.EndSegment(absl::ZeroDuration(), absl::Seconds(30));
  EXPECT_GE(spread.size(), 2u) << "no cue has so many characters";
  take(spread);
  take(maker.Add("保存", absl::Seconds(31)));
  take(maker.Finish());
  EXPECT_EQ(all, text + "保存");
}

TEST(CueMakerTest, NoCueIsLongAndNoneIsTooShortToSee) {
  CueMaker maker;
  std::vector<Cue> cues;
  std::string all;
  for (int i = 0; i < 200; ++i) {
    const std::string word = i == 0 ? "Wort" : " Wort";
    all += word;
    for (Cue& cue : maker.Add(word, absl::Milliseconds(i))) cues.push_back(cue);
  }
  for (Cue& cue : maker.Finish()) cues.push_back(cue);
  std::string joined;
  for (size_t i = 0; i < cues.size(); ++i) {
    EXPECT_LE(cues[i].text.size(), 84u);
    EXPECT_GE(cues[i].end - cues[i].begin, absl::Seconds(1));
    if (i > 0) EXPECT_GE(cues[i].begin, cues[i - 1].end);
    joined += (joined.empty() ? "" : " ") + cues[i].text;
  }
  EXPECT_EQ(joined, all);
}

}  // namespace
}  // namespace leapstream::client
