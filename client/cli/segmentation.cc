#include "client/cli/segmentation.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "client/cli/characters.h"

namespace leapstream::client {
namespace {

constexpr absl::string_view kOpening[] = {"\"", "'", "(", "[", "{", "«", "»", "„", "“",
                                          "”",  "‘", "’", "‚", "¿", "¡", "-", "–", "—"};
constexpr absl::string_view kClosing[] = {"\"", "'", ")", "]", "}", "»", "«", "“", "”", "’", "‘"};
constexpr absl::string_view kStrongEnds[] = {"?", "!", "…", "？", "！", "。"};

// After Moses' nonbreaking_prefix.en and .de, as the next ones: never the last word of a sentence,
// as far as a program can tell. Lower case.
const absl::flat_hash_set<absl::string_view>& Abbreviations() {
  static const auto* const words = new absl::flat_hash_set<absl::string_view>{
      // Titles and ranks.
      "adj", "adm", "brig", "capt", "cmdr", "col", "comdr", "cpl", "det", "dr", "drs", "gen", "gov",
      "hon", "insp", "lt", "maj", "messrs", "mlle", "mme", "mr", "mrs", "ms", "msgr", "op", "ord",
      "pfc", "ph", "pres", "prof", "pvt", "rep", "reps", "res", "rev", "sen", "sens", "sgt", "supt",
      "surg", "hr", "hrn", "fr", "frl", "dipl", "ing", "mag", "med", "phil", "habil", "hl",
      // References and quantities.
      "approx", "art", "bd", "bde", "ca", "cf", "chap", "circa", "dept", "ed", "eds", "eq", "esp",
      "est", "fig", "figs", "max", "min", "mio", "mrd", "nos", "nr", "pp", "resp", "sec", "tab",
      "tel", "univ", "viz", "vol", "vs", "abb", "abs", "abt", "allg", "anm", "aufl", "bes", "bez",
      "betr", "bspw", "bzgl", "bzw", "chr", "d.h", "ebd", "einschl", "evtl", "exkl", "ff", "geb",
      "gem", "gest", "ggf", "ggfs", "hrsg", "inkl", "insb", "jh", "jhd", "jmd", "kap", "lat", "lfd",
      "mind", "röm", "sog", "std", "str", "tgl", "ugs", "urspr", "vgl", "wg", "zit", "zzgl", "al",
      "e.g", "i.e", "z.b", "u.a", "o.ä", "v.a"};
  return *words;
}

// These may be it: companies, places, what follows names, months and days. Lower case.
const absl::flat_hash_set<absl::string_view>& AbbreviationsThatMayEnd() {
  static const auto* const words = new absl::flat_hash_set<absl::string_view>{
      "ave", "blvd", "bros", "co",  "corp", "inc",  "ltd", "mt",  "rd",   "st",    "jr",  "sr",
      "esq", "jan",  "feb",  "mar", "apr",  "jun",  "jul", "aug", "sep",  "sept",  "oct", "okt",
      "nov", "dec",  "dez",  "mon", "tue",  "tues", "wed", "thu", "thur", "thurs", "fri", "sat"};
  return *words;
}

// What begins a sentence and is seldom a name: "Plan B. Then", but "J. Smith".
const absl::flat_hash_set<absl::string_view>& Openers() {
  static const auto* const words = new absl::flat_hash_set<absl::string_view>{
      "A",    "An",    "And",   "As",   "At",   "But",   "For", "He",   "How",  "However", "I",
      "If",   "In",    "It",    "My",   "On",   "Our",   "She", "So",   "That", "The",     "Their",
      "Then", "There", "These", "They", "This", "Those", "We",  "What", "When", "Why",     "You"};
  return *words;
}

// "It's" opens as "It" does.
bool OpensSentence(absl::string_view next) {
  next = next.substr(0, std::min(next.find('\''), next.find("’")));
  return Openers().contains(next);
}

template <size_t N>
bool ConsumeEnd(absl::string_view& text, const absl::string_view (&ends)[N]) {
  return std::any_of(std::begin(ends), std::end(ends), [&](absl::string_view end) {
    return text.size() > end.size() && absl::ConsumeSuffix(&text, end);
  });
}

absl::string_view WithoutOpening(absl::string_view text) {
  const auto consume = [&](absl::string_view start) { return absl::ConsumePrefix(&text, start); };
  while (std::any_of(std::begin(kOpening), std::end(kOpening), consume)) continue;
  return text;
}

bool HasDigit(absl::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c); });
}

bool IsNumber(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isdigit(c) || c == '.'; });
}

}  // namespace

bool SentenceEndsBetween(absl::string_view previous, absl::string_view word,
                         absl::string_view next) {
  next = WithoutOpening(next);
  if (IsLower(next)) return false;
  while (ConsumeEnd(word, kClosing)) continue;
  if (ConsumeEnd(word, kStrongEnds)) return true;
  if (!absl::ConsumeSuffix(&word, ".")) return false;
  if (absl::EndsWith(word, ".")) return true;  // An ellipsis.
  const absl::string_view stem = WithoutOpening(word);
  const bool number = IsNumber(stem);
  const bool letter = !number && CountCharacters(stem) == 1;
  // "1. The server", "2.1. Introduction", "A. The client".
  if (previous.empty() && (letter || number)) return false;
  if (letter) return !IsLower(stem) && OpensSentence(next);  // "Plan B. Then", not "z. B. Mai".
  // "in 2010.", "$3.50.", but "am 3. Mai".
  if (number && !absl::StrContains(stem, '.')) return stem.size() > 2 || OpensSentence(next);
  if (absl::StrContains(stem, '.') && HasDigit(stem)) return true;
  const std::string lower = absl::AsciiStrToLower(stem);
  if (lower == "no" || lower == "p") return next.empty() || !absl::ascii_isdigit(next[0]);
  if (lower == "a.m" || lower == "p.m") return true;
  if (Abbreviations().contains(lower)) return false;
  const bool dotted = absl::StrContains(lower, '.') && lower.find('.') <= 2 && !IsLower(stem);
  if (dotted || AbbreviationsThatMayEnd().contains(lower)) return OpensSentence(next);  // "U.S."
  return true;
}

void Segmenter::Add(SourceItem item, std::deque<SourceItem>& out) {
  if (segmentation_ == Segmentation::kLine) return out.push_back(std::move(item));
  if (!item.text.empty()) {
    absl::string_view word = item.text;
    absl::ConsumeSuffix(&word, " ");
    if (segmentation_ == Segmentation::kSentence && !last_word_.empty() &&
        SentenceEndsBetween(previous_word_, last_word_, word)) {
      EndSegment(out);
    }
    previous_word_ = std::exchange(last_word_, std::string(word));
    line_is_empty_ = false;
    if (item.ends_line) item.text += ' ';
    out.push_back({std::move(item.text), false});
  }
  if (!item.ends_line) return;
  if (line_is_empty_) EndSegment(out);
  line_is_empty_ = true;
}

void Segmenter::Finish(std::deque<SourceItem>& out) { EndSegment(out); }

void Segmenter::EndSegment(std::deque<SourceItem>& out) {
  if (last_word_.empty()) return;
  previous_word_.clear();
  last_word_.clear();
  out.push_back({"", true});
}

}  // namespace leapstream::client
