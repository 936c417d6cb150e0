// Checks where sentences end, in many languages, and that any chunking of a text gives the same.
#include "base/sentences/sentence_segmenter.h"

#include <iterator>
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
#include "base/sentences/characters.h"

namespace leapstream {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using Mode = SentenceSegmenter::Mode;
using Part = SentenceSegmenter::Part;

// The segments of a text that comes in these chunks. Parts must be the whole text, in order.
std::vector<std::string> SegmentsOf(const std::vector<std::string>& chunks,
                                    absl::string_view language = "en",
                                    Mode mode = Mode::kSentences) {
  SentenceSegmenter segmenter(SentenceRules(language), mode);
  std::vector<std::string> segments = {""};
  int64_t given = 0;
  const auto take = [&](const std::vector<Part>& parts) {
    for (const Part& part : parts) {
      EXPECT_EQ(part.begin, given);
      given += static_cast<int64_t>(part.text.size());
      segments.back() += part.text;
      if (part.ends_segment) segments.emplace_back();
    }
  };
  for (const std::string& chunk : chunks) take(segmenter.Append(chunk));
  take(segmenter.Finish());
  EXPECT_EQ(absl::StrJoin(segments, ""), absl::StrJoin(chunks, ""));
  return segments;
}

// The segments without the white space around them, and with single spaces between words.
std::vector<std::string> Segments(absl::string_view text, absl::string_view language = "en") {
  std::vector<std::string> segments = SegmentsOf({std::string(text)}, language);
  for (std::string& segment : segments) {
    const std::vector<absl::string_view> words =
        absl::StrSplit(segment, absl::ByAnyChar(" \r\n"), absl::SkipEmpty());
    segment = absl::StrJoin(words, " ");
  }
  return segments;
}

// Cuts a text at random places between characters.
std::vector<std::string> Chunks(absl::string_view text, std::mt19937& random) {
  std::vector<std::string> chunks = {""};
  while (!text.empty()) {
    const DecodedCharacter first = FirstCharacter(text);
    chunks.back().append(text.data(), first.bytes);
    text.remove_prefix(first.bytes);
    if (random() % 3 == 0) chunks.emplace_back();
  }
  return chunks;
}

TEST(SentenceSegmenterTest, SentencesOfRunningText) {
  EXPECT_THAT(
      Segments(
          "Mr. Smith met Dr. Jones at\n5 p.m. on Jan. 3rd. \"Really?\" she asked. He left, e.g. "
          "with Prof. J. R.\nHill. It cost 3.5 dollars (approx. 4 Euro). See No. 5 and Fig. 3 "
          "there."
          "\nIn 2010. The U.S. Army said no. \"Go!\" It did... Then it ended"),
      ElementsAre("Mr. Smith met Dr. Jones at 5 p.m. on Jan. 3rd.", "\"Really?\" she asked.",
                  "He left, e.g. with Prof. J. R. Hill.", "It cost 3.5 dollars (approx. 4 Euro).",
                  "See No. 5 and Fig. 3 there.", "In 2010.", "The U.S. Army said no.", "\"Go!\"",
                  "It did...", "Then it ended"));
  EXPECT_THAT(Segments("Am 3. Mai kam Dr. Maier, z. B. mit Hrn. Müller. Das kostet ca. 5 Euro, d. "
                       "h. wenig. Ärger? Öfter! Über Nr. 5 sagte er: „Nein.“ Gut."),
              ElementsAre("Am 3. Mai kam Dr. Maier, z. B. mit Hrn. Müller.",
                          "Das kostet ca. 5 Euro, d. h. wenig.", "Ärger?", "Öfter!",
                          "Über Nr. 5 sagte er: „Nein.“", "Gut."));
}

TEST(SentenceSegmenterTest, NumbersLettersAndCompaniesEndSentencesToo) {
  for (const std::vector<std::string>& sentences : std::vector<std::vector<std::string>>{
           {"The price is $3.50.", "See the list."},
           {"Version 1.2.", "Released in May."},
           {"I have 3.", "You have 4.", "We are 7."},
           {"This is No. 7.", "It is good."},
           {"They came on Jan. 3.", "They left."},
           {"Then comes plan B.", "It's good."},
           {"Take vitamin C.", "The best."},
           {"He lives in the U.K.", "The price fell."},
           {"He left Apple Inc.", "Then it fell."},
           {"It was in Dec.", "“But why?”"},
           {"Ask J. Smith of the U.S. Army, Apple Inc. Headquarters."},
           {"Go to J. A. Smith and J. I. Jones."},
           {"1. The server.", "2. We start it.", "2.1. Start it.", "A. The client."},
           {"Chapters on z. B. Mai, am 3. Mai and e.g. The Times."}}) {
    EXPECT_THAT(Segments(absl::StrJoin(sentences, " ")),
                testing::ElementsAreArray(sentences));
  }
}

TEST(SentenceSegmenterTest, FullStopsOfOtherScripts) {
  for (const std::vector<std::string>& sentences : std::vector<std::vector<std::string>>{
           {"क्या हाल है?", "मैं ठीक हूँ।", "वह आया ।", "सब ठीक है।"},  // A mark may stand alone.
           {"هل أنت بخير؟", "نعم أنا بخير.", "شكرا!"},
           {"یہ ایک جملہ ہے۔", "یہ دوسرا ہے۔"},
           {"ሰላም ነው።", "ደህና ነህ፧", "አዎ።"},
           {"Բարև։", "Ինչպես ես։"},
           {"မင်္ဂလာပါ။", "နေကောင်းလား။"},
           {"这是 一句。", "这是 另一句！", "是 吗？"}}) {
    EXPECT_THAT(Segments(absl::StrJoin(sentences, " ")),
                testing::ElementsAreArray(sentences));
  }
}

TEST(SentenceSegmenterTest, SentencesWithoutSpacesBetween) {
  EXPECT_THAT(Segments("你好。今天天气很好！是吗？“是的。”他说。最后一句"),
              ElementsAre("你好。", "今天天气很好！", "是吗？", "“是的。”", "他说。", "最后一句"));
  EXPECT_THAT(Segments("そうですか。」と言った。"),
              ElementsAre("そうですか。」", "と言った。"));
  EXPECT_THAT(Segments("मैं ठीक हूँ।वह आया।"),
              ElementsAre("मैं ठीक हूँ।", "वह आया।"));
}

TEST(SentenceSegmenterTest, ASentenceWithoutMarksEndsAnyway) {
  const auto words = [](int count, const std::string& last) {
    std::string text;
    for (int i = 1; i < count; ++i) text += "word ";
    return text + last;
  };
  std::vector<std::string> segments = Segments(words(480, "end"));
  ASSERT_EQ(segments.size(), 10u);
  EXPECT_EQ(segments[0], words(50, "word"));
  EXPECT_EQ(segments[9], words(30, "end"));
  EXPECT_THAT(Segments(words(44, "word, ") + words(20, "end")),
              ElementsAre(words(44, "word,"), words(20, "end")));
  EXPECT_THAT(Segments(words(30, "word, ") + words(15, "end")),
              ElementsAre(words(30, "word, ") + words(15, "end")));
  // Chinese without a mark, and with clauses. No character is lost.
  std::string text, clauses;
  for (int i = 0; i < 480; ++i) text += "字";
  for (int i = 0; i < 48; ++i) clauses += "一二三四五六七八九，";
  for (const std::string& source : {text, clauses}) {
    segments = Segments(source);
    EXPECT_GE(segments.size(), 5u);
    EXPECT_EQ(absl::StrJoin(segments, ""), source);
  }
  EXPECT_TRUE(absl::EndsWith(segments[0], "，")) << segments[0];
}

TEST(SentenceSegmenterTest, AWordOrATextWithoutEndIsCut) {
  const std::vector<std::string> segments = SegmentsOf({std::string(5000, 'x')});
  EXPECT_EQ(segments.size(), 3u);
  EXPECT_EQ(segments[0].size(), 2000u);
}

TEST(SentenceSegmenterTest, EmptyLinesEndSegments) {
  EXPECT_THAT(Segments("A title\n\n \nOne. Two\nlines.\r\n\r\nlast"),
              ElementsAre("A title", "One.", "Two lines.", "last"));
  EXPECT_THAT(SegmentsOf({"\n\n"}), ElementsAre("\n\n"));
  EXPECT_THAT(SegmentsOf({"one\n\n"}), ElementsAre("one\n\n")) << "nothing comes after it";
}

// The sentences that ICU's rules find, and those that they must not find.
TEST(SentenceSegmenterTest, OtherLanguagesHaveTheRulesOfIcu) {
  struct Case {
    std::string language;
    std::vector<std::string> sentences;
  };
  for (const Case& c : std::vector<Case>{
           {"es", {"¿Cómo está Ud. hoy?", "El Sr. García llegó a las tres.", "¡Qué bien!"}},
           {"spa_Latn", {"Hola.", "Adiós."}},
           {"fr", {"Comment allez-vous ?", "M. J. Dupont va bien.", "« Oui ! » dit-il.", "Merci."}},
           {"it", {"Il prezzo è 3.50 euro.", "È poco.", "Sì!"}},
           {"ru", {"Привет.", "Как дела?", "Это А. С. Пушкин."}},
           {"el", {"Τι κάνεις;", "Καλά."}},
           {"ar", {"هل أنت بخير؟", "نعم أنا بخير.", "شكرا!"}},
           {"hi", {"क्या हाल है?", "मैं ठीक हूँ।", "वह आया ।", "सब ठीक है।"}},
           {"ur", {"یہ ایک جملہ ہے۔", "یہ دوسرا ہے۔"}},
           {"am", {"ሰላም ነው።", "ደህና ነህ፧", "አዎ።"}},
           {"hy", {"Բարև։", "Ինչպես ես։"}},
           {"my", {"မင်္ဂလာပါ။", "နေကောင်းလား။"}},
           {"zh-Hans", {"这是 一句。", "这是 另一句！", "是 吗？"}},
           {"nl", {"Dit is zin een…", "Dit is zin twee."}}}) {
    std::vector<std::string> expected = c.sentences;
    if (c.language == "el") expected = {"Τι κάνεις; Καλά."};  // ";" may be a semicolon.
    EXPECT_THAT(Segments(absl::StrJoin(c.sentences, " "), c.language),
                ElementsAreArray(expected))
        << c.language;
  }
}

TEST(SentenceSegmenterTest, AsciiMarksEndSentencesWithoutSpacesToo) {
  EXPECT_THAT(Segments("你好!今天好?是https://a.b/?c=d!e。", "zh"),
              ElementsAre("你好!", "今天好?", "是https://a.b/?c=d!e。"));
}

TEST(SentenceSegmenterTest, TextIsGivenOutAtOnce) {
  SentenceSegmenter segmenter{SentenceRules("en")};
  const auto text = [](const std::vector<Part>& parts) {
    std::string all;
    for (const Part& part : parts) absl::StrAppend(&all, part.text, part.ends_segment ? "|" : "");
    return all;
  };
  EXPECT_EQ(text(segmenter.Append("It wo")), "It wo");
  EXPECT_EQ(text(segmenter.Append("rks. ")), "rks. ");
  EXPECT_EQ(text(segmenter.Append("\"")), "");       // It opens; the next character decides.
  EXPECT_EQ(text(segmenter.Append("W")), "|\"W");
  EXPECT_EQ(text(segmenter.Append("e saw plan B. ")), "e saw plan B. ");
  EXPECT_EQ(text(segmenter.Append("Th")), "");       // The whole word decides.
  EXPECT_EQ(text(segmenter.Append("en")), "");
  EXPECT_EQ(text(segmenter.Append(" ")), "|Then ");
  EXPECT_EQ(text(segmenter.Append("it. (((")), "it. ");
}

// No more than kLookAhead characters are held of a word that does not end.
TEST(SentenceSegmenterTest, LooksAheadNoFurtherThanItSays) {
  for (const char* language : {"en", "fr"}) {
    SentenceSegmenter segmenter{SentenceRules(language)};
    segmenter.Append("It ends. ");
    size_t held = 0;
    for (int i = 0; i < 100; ++i) {
      ++held;
      for (const Part& part : segmenter.Append("(")) held -= part.text.size();
      ASSERT_LT(held, static_cast<size_t>(SentenceSegmenter::kLookAhead));
    }
    EXPECT_EQ(held, 0u);
  }
}

TEST(SentenceSegmenterTest, PausesEndWhatMayBeASentence) {
  SentenceSegmenter segmenter{SentenceRules("en")};
  EXPECT_TRUE(segmenter.Pause().empty());
  segmenter.Append("By Dr.");
  EXPECT_TRUE(segmenter.Pause().empty());
  segmenter.Append(" Smith. ");
  const std::vector<Part> parts = segmenter.Pause();
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_TRUE(parts[0].ends_segment);
  EXPECT_TRUE(segmenter.Pause().empty());
  SentenceSegmenter by_length(SentenceRules("en"), Mode::kLength);
  by_length.Append("One. Two");
  EXPECT_EQ(by_length.Pause().size(), 1u);
  EXPECT_FALSE(by_length.has_sentences());
}

TEST(SentenceSegmenterTest, AnyChunkingGivesTheSame) {
  const std::string alphabet[] = {"a", "B",  "The", "Dr", ".", ".",  "?",  "!", " ",  " ",  "\n",
                                  "3", "10", "“",   "”",  "»", "(",  "。", "！", "」", "字", "，",
                                  "ß", "é",  "…",   "'",  "-", "\n\n", "é", "Inc", "ا", "؟", "।"};
  std::mt19937 random(7);
  for (int round = 0; round < 400; ++round) {
    std::string text;
    for (int i = 0; i < 80; ++i) text += alphabet[random() % std::size(alphabet)];
    for (const char* language : {"en", "", "fr", "zh", "ar", "hi"}) {
      for (const Mode mode : {Mode::kSentences, Mode::kLength}) {
        ASSERT_EQ(SegmentsOf(Chunks(text, random), language, mode),
                  SegmentsOf({text}, language, mode))
            << language << ": " << text;
      }
    }
  }
}

// A segmenter that begins where a segment did finds the same segments after it.
TEST(SentenceSegmenterTest, GoesOnFromAnySegmentsBeginning) {
  const std::string text =
      "He met J. Smith. 1. Start it. Then plan B. The end? No! “Why?” e.g. so. 今天。好！吗 x. Y";
  for (const char* language : {"en", "fr", "zh"}) {
    const std::vector<std::string> segments = SegmentsOf({text}, language);
    ASSERT_GT(segments.size(), 3u);
    for (size_t i = 0; i < segments.size(); ++i) {
      const std::vector<std::string> rest(segments.begin() + i, segments.end());
      EXPECT_EQ(SegmentsOf({absl::StrJoin(rest, "")}, language), rest);
    }
  }
}

// Bytes that are not UTF-8 come out as they went in.
TEST(SentenceSegmenterTest, TakesAnyBytes) {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (int i = 0; i < 60; ++i) text.push_back(static_cast<char>(random()));
    for (const char* language : {"en", "fr", "\xFF\xFE", "no such language, and a long one, too"}) {
      SegmentsOf({text, ". ", text}, language);
    }
  }
}

}  // namespace
}  // namespace leapstream
