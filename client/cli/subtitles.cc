#include "client/cli/subtitles.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"
#include "base/scripts.h"
#include "base/status.h"
#include "base/utf8.h"

namespace leapstream::client {
namespace {

// The habits of broadcasters: two lines of 42 characters, seven seconds, 17 characters a second.
constexpr size_t kLineCharacters = 42;
constexpr absl::Duration kLongestCue = absl::Seconds(7);
constexpr absl::Duration kShortestCue = absl::Seconds(1);
constexpr double kCharactersPerSecond = 17;
constexpr absl::Duration kSilence = absl::Seconds(2);
constexpr size_t kPassageCues = 16;

bool ContinuesCharacter(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

size_t Characters(absl::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !ContinuesCharacter(c); }));
}

bool EndsSentence(absl::string_view text) {
  for (const absl::string_view closing : {"\"", "'", ")", "”", "’", "»", "」", "』"}) {
    absl::ConsumeSuffix(&text, closing);
  }
  constexpr absl::string_view kMarks[] = {".",  "!",  "?",  "…",  "。",
                                          "！", "？", "؟", "۔", "।"};
  for (const absl::string_view mark : kMarks) {
    if (absl::EndsWith(text, mark)) return true;
  }
  return false;
}

// Parses "01:02:03,456", "01:02:03.456" or WebVTT's "02:03.456".
std::optional<absl::Duration> ParseTime(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, absl::ByAnyChar(":,."));
  if (parts.size() != 3 && parts.size() != 4) return std::nullopt;
  const absl::string_view milliseconds = parts.back();
  if (milliseconds.size() != 3) return std::nullopt;
  int64_t total = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    uint32_t value = 0;
    if (parts[i].empty() || parts[i].size() > 6 || !absl::SimpleAtoi(parts[i], &value)) {
      return std::nullopt;
    }
    total = total * (i + 1 == parts.size() ? 1000 : 60) + value;
  }
  return absl::Milliseconds(total);
}

// The times of "BEGIN --> END settings"; nullopt: the line has none.
std::optional<Cue> ParseTimes(absl::string_view line) {
  const std::vector<absl::string_view> sides = absl::StrSplit(line, absl::MaxSplits("-->", 1));
  if (sides.size() != 2) return std::nullopt;
  const absl::string_view after = absl::StripLeadingAsciiWhitespace(sides[1]);
  const auto begin = ParseTime(absl::StripAsciiWhitespace(sides[0]));
  const auto end = ParseTime(after.substr(0, after.find_first_of(" \t")));
  if (!begin.has_value() || !end.has_value()) return std::nullopt;
  return Cue{*begin, *end, ""};
}

// Leaves out <tags> and {\codes}.
std::string WithoutMarkup(absl::string_view text) {
  std::string result;
  while (!text.empty()) {
    const bool tag = text[0] == '<' && text.size() > 1 &&
                     (absl::ascii_isalnum(static_cast<unsigned char>(text[1])) || text[1] == '/');
    const char close = absl::StartsWith(text, "{\\") ? '}' : tag ? '>' : '\0';
    const size_t end = close == '\0' ? absl::string_view::npos : text.find(close);
    if (end == absl::string_view::npos) {
      result += text[0];
      text.remove_prefix(1);
    } else {
      text.remove_prefix(end + 1);
    }
  }
  return result;
}

void AppendLine(absl::string_view line, std::string* text) {
  const absl::string_view stripped = absl::StripAsciiWhitespace(line);
  if (stripped.empty()) return;
  absl::StrAppend(text, text->empty() ? "" : " ", stripped);
}

std::string FormatTime(absl::Duration time, char point) {
  const int64_t ms = absl::ToInt64Milliseconds(time);
  return absl::StrFormat("%02d:%02d:%02d%c%03d", ms / 3600000, ms / 60000 % 60, ms / 1000 % 60,
                         point, ms % 1000);
}

// The places at which a text may be cut: after its spaces, and after characters of scripts without
// spaces.
std::vector<size_t> Cuts(absl::string_view text) {
  std::vector<size_t> cuts = {0};
  size_t length = 1;
  char32_t c = 0;
  for (size_t i = 0; i < text.size(); i += length) {
    if (ReadUtf8(text.substr(i), &length, &c) != Utf8::kCharacter) length = 1;
    if (c == ' ' || IsOfScriptWithoutSpaces(c)) cuts.push_back(i + length);
  }
  cuts.push_back(text.size());
  return cuts;
}

// The place in `sorted`, which is not empty, that is nearest to `goal`.
size_t Nearest(const std::vector<size_t>& sorted, double goal) {
  const auto apart = [goal](size_t place) { return std::abs(static_cast<double>(place) - goal); };
  return *std::min_element(sorted.begin(), sorted.end(),
                           [&](size_t a, size_t b) { return apart(a) < apart(b); });
}

// The words of a text that is a part of another one, each with the space before it. In scripts
// without spaces they are characters.
std::vector<absl::string_view> WordsOf(absl::string_view text) {
  std::vector<absl::string_view> words;
  size_t begin = 0, length = 1;
  char32_t c = 0;
  for (size_t i = 0; i < text.size(); i += length) {
    if (ReadUtf8(text.substr(i), &length, &c) != Utf8::kCharacter) length = 1;
    if (i == begin || (text[i] != ' ' && !IsOfScriptWithoutSpaces(c))) continue;
    words.push_back(text.substr(begin, i - begin));
    begin = i;
  }
  if (begin < text.size()) words.push_back(text.substr(begin));
  return words;
}

// Breaks a line that is too long near its middle.
std::string InTwoLines(absl::string_view text) {
  if (Characters(text) <= kLineCharacters) return std::string(text);
  const size_t cut = Nearest(Cuts(text), static_cast<double>(text.size()) / 2);
  if (cut == 0 || cut == text.size()) return std::string(text);
  return absl::StrCat(absl::StripTrailingAsciiWhitespace(text.substr(0, cut)), "\n",
                      text.substr(cut));
}

// The characters that WebVTT writes as entities.
std::string WithEntities(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}
std::string WithoutEntities(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&amp;", "&"},
                                    {"&lt;", "<"},
                                    {"&gt;", ">"},
                                    {"&nbsp;", " "},
                                    {"&lrm;", ""},
                                    {"&rlm;", ""}});
}

}  // namespace

absl::StatusOr<std::vector<Cue>> ParseSubtitles(absl::string_view text) {
  absl::ConsumePrefix(&text, "\xef\xbb\xbf");
  const bool vtt = absl::StartsWith(text, "WEBVTT");
  std::vector<Cue> cues;
  bool in_cue = false, in_block = vtt;  // A block is a heading, a note or a style of WebVTT.
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    absl::ConsumeSuffix(&line, "\r");
    const absl::string_view stripped = absl::StripAsciiWhitespace(line);
    if (stripped.empty()) {
      in_cue = in_block = false;
    } else if (in_cue) {
      AppendLine(vtt ? WithoutEntities(WithoutMarkup(line)) : WithoutMarkup(line),
                 &cues.back().text);
    } else if (std::optional<Cue> cue = ParseTimes(line)) {
      cues.push_back(*std::move(cue));
      in_cue = true;
      in_block = false;
    } else if (!in_block) {
      uint64_t index = 0;
      if (!vtt && !absl::SimpleAtoi(stripped, &index)) {
        return absl::InvalidArgumentError(absl::StrCat(
            "want SubRip or WebVTT: a number, or times such as 00:01:02,500 --> 00:01:04,000, at "
            "line ",
            number, "; got ", Quoted(line)));
      }
      in_block = vtt;  // A cue's identifier, NOTE, STYLE or REGION.
    }
  }
  return cues;
}

std::string SubtitleHead(SubtitleFormat format) {
  return format == SubtitleFormat::kVtt ? "WEBVTT\n\n" : "";
}

std::string FormatCue(const Cue& cue, size_t number, SubtitleFormat format) {
  const bool vtt = format == SubtitleFormat::kVtt;
  const char point = vtt ? '.' : ',';
  const std::string text = InTwoLines(cue.text);
  return absl::StrCat(vtt ? "" : absl::StrCat(number, "\n"), FormatTime(cue.begin, point), " --> ",
                      FormatTime(cue.end, point), "\n", vtt ? WithEntities(text) : text, "\n\n");
}

std::vector<Passage> Passages(absl::Span<const Cue> cues) {
  std::vector<Passage> passages;
  bool open = false;
  for (size_t i = 0; i < cues.size(); ++i) {
    if (open && (cues[i].begin - cues[i - 1].end >= kSilence ||
                 passages.back().count >= kPassageCues)) {
      open = false;
    }
    if (!open) passages.push_back({i, 0, ""});
    Passage& passage = passages.back();
    ++passage.count;
    if (!cues[i].text.empty()) {
      absl::StrAppend(&passage.text, passage.text.empty() ? "" : " ", cues[i].text);
    }
    open = !EndsSentence(cues[i].text);
  }
  return passages;
}

std::vector<std::string> Spread(absl::string_view text, absl::Span<const size_t> weights) {
  text = absl::StripAsciiWhitespace(text);
  const auto total =
      static_cast<double>(std::accumulate(weights.begin(), weights.end(), size_t{0}));
  const std::vector<size_t> cuts = Cuts(text);
  std::vector<std::string> parts;
  size_t begin = 0;
  double so_far = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    so_far += static_cast<double>(weights[i]);
    const double share = total > 0 ? so_far / total : 1;
    const double goal = share * static_cast<double>(text.size());
    size_t end = text.size();
    if (i + 1 < weights.size()) {
      end = std::max(Nearest(cuts, goal), begin);
    }
    parts.emplace_back(absl::StripAsciiWhitespace(text.substr(begin, end - begin)));
    begin = end;
  }
  return parts;
}

std::vector<Cue> CueMaker::Add(absl::string_view text, absl::Duration time) {
  std::vector<Cue> done;
  if (text.empty()) return done;
  // A cue ends in front of a word, so that none is cut.
  size_t length = 0;
  char32_t c = 0;
  const bool new_word = text[0] == ' ' || (ReadUtf8(text, &length, &c) == Utf8::kCharacter &&
                                           IsOfScriptWithoutSpaces(c) && !EndsSentence(text));
  const bool full = Characters(open_.text) + Characters(text) > 2 * kLineCharacters ||
                    time - open_.begin >= kLongestCue;
  if (!open_.text.empty() &&
      (complete_ || (new_word && (full || EndsSentence(open_.text))))) {
    done = Take(time);
  }
  if (open_.text.empty()) {
    text = absl::StripLeadingAsciiWhitespace(text);
    if (text.empty()) return done;
    open_.begin = std::max(time, shown_until_);
  }
  open_.text.append(text.data(), text.size());
  open_.end = std::max(time, open_.begin);
  return done;
}

std::vector<Cue> SpeechCueMaker::Add(absl::string_view text, absl::Duration read) {
  std::vector<Cue> done;
  if (read > read_) {
    done = cues_.Add(newest_, read_);
    if (!newest_.empty()) before_ = read_;
    newest_.clear();
    read_ = read;
  }
  newest_.append(text.data(), text.size());
  return done;
}

std::vector<Cue> SpeechCueMaker::EndSegment(absl::Duration begin, absl::Duration end) {
  begin = std::max(begin, before_);
  const std::string text = std::exchange(newest_, "");
  std::vector<Cue> done;
  for (const absl::string_view word : WordsOf(text)) {
    const double share =
        static_cast<double>(word.data() - text.data()) / static_cast<double>(text.size());
    const absl::Duration time = read_ < end ? read_ : begin + (end - begin) * share;
    for (Cue& cue : cues_.Add(word, time)) done.push_back(std::move(cue));
  }
  before_ = end;
  cues_.EndCue();
  return done;
}

std::vector<Cue> SpeechCueMaker::Finish() {
  std::vector<Cue> done = cues_.Add(std::exchange(newest_, ""), read_);
  for (Cue& cue : cues_.Finish()) done.push_back(std::move(cue));
  return done;
}

void CueMaker::EndCue() { complete_ = !open_.text.empty(); }

std::vector<Cue> CueMaker::Finish() { return Take(absl::InfiniteDuration()); }

std::vector<Cue> CueMaker::Take(absl::Duration next_begin) {
  if (open_.text.empty()) return {};
  const auto reading = absl::Seconds(static_cast<double>(Characters(open_.text)) /
                                     kCharactersPerSecond);
  Cue cue = std::exchange(open_, Cue());
  cue.text = std::string(absl::StripAsciiWhitespace(cue.text));
  cue.end = std::min(std::max(cue.end, cue.begin + reading), next_begin);
  cue.end = std::max(cue.end, cue.begin + kShortestCue);
  shown_until_ = cue.end;
  complete_ = false;
  return {std::move(cue)};
}

}  // namespace leapstream::client
