// The drawing on a terminal, and the cutting of running text; without a terminal and a server.
#include <algorithm>
#include <deque>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cli/characters.h"
#include "client/cli/lanes.h"
#include "client/cli/segmentation.h"
#include "client/cli/source_words.h"
#include "client/cli/typed_words.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> Segments(Segmentation segmentation, const std::string& text) {
  SourceWords words;
  Segmenter segmenter(segmentation);
  std::vector<SourceItem> items;
  EXPECT_TRUE(words.Append(text, items).ok());
  EXPECT_TRUE(words.Finish(items).ok());
  std::deque<SourceItem> out;
  for (SourceItem& item : items) segmenter.Add(std::move(item), out);
  segmenter.Finish(out);
  std::vector<std::string> segments = {""};
  for (const SourceItem& item : out) {
    segments.back() += item.text;
    if (item.ends_line) segments.emplace_back();
  }
  EXPECT_EQ(segments.back(), "") << "the last segment is not ended";
  segments.pop_back();
  for (std::string& segment : segments) segment = std::string(absl::StripSuffix(segment, " "));
  return segments;
}

TEST(SegmentationTest, EmptyLinesEndSegments) {
  const std::string text = "A title\n\n \nOne. Two\nlines.\n\nlast";
  for (const auto segmentation : {Segmentation::kLine, Segmentation::kLineSentences}) {
    EXPECT_THAT(Segments(segmentation, text),
                ElementsAre("A title", "", "", "One. Two", "lines.", "", "last"));
  }
  for (const auto segmentation : {Segmentation::kSentence, Segmentation::kExplicit}) {
    EXPECT_THAT(Segments(segmentation, text), ElementsAre("A title", "One. Two lines.", "last"));
    EXPECT_THAT(Segments(segmentation, "\n\n"), ElementsAre());
  }
}

TEST(CharactersTest, KnowsWidthsWhateverTheLocale) {
  EXPECT_EQ(DisplayWidth("für"), 3);
  EXPECT_EQ(DisplayWidth("日本"), 4);
  EXPECT_EQ(DisplayWidth("e\xCC\x81"), 1);  // A combining accent.
  EXPECT_EQ(CharacterBytes("€x"), 3u);
}

// The part of a terminal that the lanes use. It has no column limit, so that lines that are too
// long are seen.
class Screen {
 public:
  void Write(const std::string& bytes) {
    for (size_t i = 0; i < bytes.size();) {
      if (bytes[i] == '\x1b') {
        const size_t end = bytes.find_first_of("mAKJ", i);
        ASSERT_NE(end, std::string::npos);
        if (bytes[end] == 'A') row_ -= std::stoul(bytes.substr(i + 2, end - i - 2));
        if (bytes[end] == 'J') {
          Line().resize(std::min(Line().size(), column_));
          lines_.resize(row_ + 1);
        }
        if (bytes[end] == 'K') Line().resize(std::min(Line().size(), column_));
        i = end + 1;
      } else if (bytes[i] == '\r') {
        column_ = 0;
        ++i;
      } else if (bytes[i] == '\n') {
        ++row_;
        column_ = 0;  // Terminals do this for programs' line feeds.
        Line();
        ++i;
      } else {
        const size_t size = CharacterBytes(bytes.substr(i));
        auto& line = Line();
        if (line.size() <= column_) line.resize(column_ + 1, " ");
        line[column_++] = bytes.substr(i, size);
        i += size;
      }
    }
  }
  // Breaks lines that have become too long, as most terminals do. The cursor is at the end.
  void Reflow(size_t columns) {
    std::vector<std::vector<std::string>> broken;
    for (const auto& line : lines_) {
      for (size_t at = 0; at == 0 || at < line.size(); at += columns) {
        const size_t end = std::min(at + columns, line.size());
        broken.emplace_back(line.begin() + static_cast<std::ptrdiff_t>(at),
                            line.begin() + static_cast<std::ptrdiff_t>(end));
      }
    }
    lines_ = std::move(broken);
    row_ = lines_.size() - 1;
    column_ = lines_.back().size();
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> lines;
    for (const auto& line : lines_) {
      lines.emplace_back(absl::StrJoin(line, ""));
      lines.back().erase(lines.back().find_last_not_of(' ') + 1);
    }
    return lines;
  }
  size_t widest() const {
    size_t widest = 0;
    for (const auto& line : lines_) widest = std::max(widest, line.size());
    return widest;
  }

 private:
  std::vector<std::string>& Line() {
    if (lines_.size() <= row_) lines_.resize(row_ + 1);
    return lines_[row_];
  }
  std::vector<std::vector<std::string>> lines_;
  size_t row_ = 0, column_ = 0;
};

TEST(LanesTest, EachThingStandsInTheColumnOfItsMoment) {
  for (const bool colour : {false, true}) {
    Lanes lanes({70, colour});
    Screen screen;
    std::string all;
    const auto draw = [&] {
      const std::string output = lanes.TakeOutput();
      all += output;
      screen.Write(output);
    };
    for (const char* word : {"Sound ", "can ", "be "}) {
      lanes.Source(word);
      draw();
    }
    lanes.Target("Töne", {3});
    draw();
    lanes.Source("included");
    lanes.SourceEnd();
    draw();
    lanes.Target(" kön", {4});
    lanes.Target("nen", {5});
    draw();
    EXPECT_THAT(screen.lines(), ElementsAre("source  Sound can be     included |",
                                            "policy               RRRW           RW  RW",
                                            "target               Töne            können",
                                            "segment 1: READ 5, WRITE 3, lagging 2 tokens"));
    lanes.TargetEnd(2.5);
    lanes.Finish();
    draw();
    EXPECT_THAT(screen.lines().back(), "");
    // Nothing is said of a segment that never came.
    EXPECT_THAT(screen.lines(), testing::Contains("1 segment; mean AL 2.50 of 1"));
    EXPECT_EQ(all.find("\x1b[2J"), std::string::npos);  // Nothing is cleared and drawn again.
    EXPECT_EQ(all.find("\x1b[1m") != std::string::npos, colour);
  }
}

TEST(LanesTest, FiguresCountAsPeopleDo) {
  Lanes lanes({70, false});
  lanes.Target("a", {2});
  EXPECT_THAT(lanes.TakeOutput(), HasSubstr("segment 1: READ 2, WRITE 1, lagging 1 token\x1b[K"));
  lanes.TargetEnd(1);
  lanes.Target("b", {1});
  lanes.TargetEnd(1);
  lanes.Finish();
  EXPECT_THAT(lanes.TakeOutput(), HasSubstr("2 segments; mean AL 1.00 of 2"));
}

TEST(LanesTest, NothingIsLostOrTooWideAtAnyWidth) {
  for (int columns = 1; columns < 120; ++columns) {
    Lanes lanes({columns, true});
    Screen screen;
    std::string expected;
    for (int i = 0; i < 40; ++i) {
      lanes.Source(absl::StrCat("s", i, "ource "));
      if (i == 20) lanes.Note("a note");
      const std::string text = absl::StrCat(i % 3 == 2 ? "" : " ", "t", i, "ext");
      lanes.Target(text, {i + 1});
      expected += text;
      screen.Write(lanes.TakeOutput());
    }
    lanes.Finish();
    screen.Write(lanes.TakeOutput());
    EXPECT_LE(screen.widest(), static_cast<size_t>(std::max(columns, 17)));
    std::string target;
    for (const std::string& line : screen.lines()) {
      absl::string_view row = line;
      if (absl::ConsumePrefix(&row, "target")) absl::StrAppend(&target, row);
    }
    const auto letters = [](std::string text) {
      text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
      return text;
    };
    EXPECT_EQ(letters(target), letters(expected)) << columns;
  }
}

TEST(LanesTest, WhatIsTypedStandsBelowAndGoesAwayAtTheEnd) {
  Lanes lanes({60, false, /*typing=*/true});
  Screen screen;
  const auto draw = [&] { screen.Write(lanes.TakeOutput()); };
  draw();
  EXPECT_THAT(screen.lines(),
              ElementsAre("source", "policy", "target",
                          "segment 1: READ 0, WRITE 0, lagging 0 tokens", "typing"));
  lanes.Typing("Soun");
  draw();
  EXPECT_EQ(screen.lines().back(), "typing  Soun");
  lanes.Typing("");
  lanes.Source("Sound ");
  draw();
  lanes.Target("Töne", {1});
  lanes.Typing("can");
  draw();
  EXPECT_THAT(screen.lines(),
              ElementsAre("source  Sound", "policy        RW", "target        Töne",
                          "segment 1: READ 1, WRITE 1, lagging 0 tokens", "typing  can"));
  for (int i = 0; i < 20; ++i) lanes.Source("word ");  // More than one block.
  draw();
  EXPECT_EQ(screen.lines().back(), "typing  can");
  const std::vector<std::string> lines = screen.lines();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "typing  can"), 1);
  lanes.Typing(std::string(200, 'x') + "end");  // The end shows, since it is being typed.
  draw();
  EXPECT_THAT(screen.lines().back(), testing::EndsWith("xend"));
  EXPECT_LE(screen.widest(), 60u);
  lanes.Finish();
  draw();
  EXPECT_EQ(screen.lines().back(), "");
  EXPECT_EQ(lanes.TakeOutput(), "");
}

TEST(TypedWordsTest, AWordCanBeChangedUntilSpaceEndsIt) {
  TypedWords words;
  EXPECT_EQ(words.Append("Helo"), "");
  EXPECT_EQ(words.Append("\x7Flo wo"), "Hello ");
  EXPECT_EQ(words.open(), "wo");
  EXPECT_EQ(words.Append("\x17"), "");
  EXPECT_EQ(words.Append("w\xC3\xA4\xE2\x82\xAC\x08\x08\x08\x08x\n"), "x\n");
  EXPECT_EQ(words.Append("a\x1b[Db\x1bOP\x1b"), "");  // Cursor and function keys do nothing.
  EXPECT_EQ(words.Append("[3~c\x07\t"), "abc ");      // Their bytes may come in any pieces.
  EXPECT_EQ(words.Append("last\x04more"), "last");
  EXPECT_TRUE(words.ended());
  EXPECT_EQ(words.Append("x "), "");
}

TEST(LanesTest, AnotherWidthDrawsTheOpenRowsAnewAndLeavesNothingBehind) {
  const std::vector<std::string> words = {"Sound", "can", "be", "included", "in", "presentations",
                                          "that", "are"};
  for (const bool reflows : {true, false}) {
    LanesOptions options = {120, true, /*typing=*/true};
    options.reflows = reflows;
    Lanes lanes(options);
    Screen screen;
    const auto draw = [&] { screen.Write(lanes.TakeOutput()); };
    screen.Write("before\r\n");
    int read = 0;
    for (const std::string& word : words) {
      lanes.Source(word);
      lanes.Target(" " + word, {++read});
      draw();
    }
    lanes.Typing("next");
    draw();
    for (const int columns : {45, 30, 100}) {
      if (reflows) screen.Reflow(static_cast<size_t>(columns));
      lanes.Resize(columns);
      draw();
      const std::string all = absl::StrJoin(screen.lines(), "\n");
      const auto count = [&all](const std::string& text) {
        return static_cast<int>(std::vector<std::string>(absl::StrSplit(all, text)).size()) - 1;
      };
      EXPECT_EQ(count("typing  next"), 1) << all;
      EXPECT_EQ(count("segment 1: "), 1) << all;
      EXPECT_EQ(screen.lines().front(), "before") << all;
      if (columns != 45) continue;  // Rows that were full then stay as they are.
      EXPECT_LE(screen.widest(), static_cast<size_t>(columns)) << all;
      for (const std::string& word : words) {
        EXPECT_EQ(count(" " + word + " ") + count(" " + word + "\n"), 2) << word << "\n" << all;
      }
    }
  }
}

TEST(LanesTest, TextCannotCommandTheTerminal) {
  Lanes lanes({80, false});
  lanes.Source("a\x1b[2Jb");
  lanes.Target(" c\x1b]0;title\x07", {1});
  lanes.Note("d\x1b[31m");
  const std::string output = lanes.TakeOutput();
  EXPECT_EQ(output.find("\x1b[2J"), std::string::npos);
  EXPECT_EQ(output.find("\x1b]"), std::string::npos);
  EXPECT_EQ(output.find("\x1b[31m"), std::string::npos);
}

}  // namespace
}  // namespace leapstream::client
