#include "client/cli/segmentation.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/characters.h"

namespace leapstream::client {
namespace {

// After so many words or characters a sentence ends in any case: a recogniser's text may have no
// marks at all.
constexpr int kMostWords = 50;
constexpr int kManyWords = 40;  // After so many words a clause ends a sentence, too.
constexpr size_t kMostCharacters = 500;
// The same limits for a run of characters without a space.
constexpr int kMostUnspacedCharacters = 100;
constexpr int kManyUnspacedCharacters = 60;

constexpr absl::string_view kOpening[] = {"\"", "'", "(", "[", "{", "«", "»", "„", "“",
                                          "”",  "‘", "’", "‚", "¿", "¡", "-", "–", "—"};
constexpr absl::string_view kClosing[] = {"\"", "'", ")", "]",  "}",  "»",  "«",  "“",  "”",  "’",
                                          "‘",  "›", "‹", "」", "』", "）", "】", "》", "〉", "］"};
// Full stops, question and exclamation marks of scripts that use no "." for one, and some others.
constexpr absl::string_view kStrongEnds[] = {
    "?", "!", "…", "‼", "⁇", "⁈", "⁉",  // Latin, Greek, Cyrillic, Hebrew.
    "。", "｡", "︒", "．", "？", "！",  // Chinese, Japanese.
    "؟", "۔", "؞", "܀", "܁", "܂",      // Arabic, Urdu, Syriac.
    "।", "॥", "෴", "꯫", "᱾", "᱿",      // Devanagari, Bengali and others, Sinhala, Meetei, Santali.
    "។", "៕", "။", "།", "༎",     // Khmer, Burmese, Tibetan.
    "።", "፧", "፨", "։", "՜", "՞", "᠃"};  // Ethiopic, Armenian, Mongolian.
// Marks after which the next sentence may follow without a space.
constexpr absl::string_view kUnspacedEnds[] = {"。", "｡", "︒", "？", "！", "।", "॥", "។",
                                               "៕",  "။",  "།",  "༎",  "።", "፧", "؟", "۔"};
// Marks that may close there. Left out are marks that open in other languages, such as German's in
// Chinese.
constexpr absl::string_view kUnspacedClosing[] = {")",  "]",  "”",  "’",  "»",  "›", "」",
                                                  "』", "）", "】", "》", "〉", "］"};
// Marks at which a sentence that is too long is best cut.
constexpr absl::string_view kClauseEnds[] = {",", ";", ":", "–", "—", "،", "؛", "，", "、", "；",
                                             "：", "､", "၊", "፣", "፤"};

// Words that are never the last one of a sentence, as far as a program can tell. Lower case. This
// list and the next two are modelled on Moses' nonbreaking_prefix.en and .de.
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

// Abbreviations that may end a sentence: companies, places, additions to names, months and days.
// Lower case.
const absl::flat_hash_set<absl::string_view>& AbbreviationsThatMayEnd() {
  static const auto* const words = new absl::flat_hash_set<absl::string_view>{
      "ave", "blvd", "bros", "co",  "corp", "inc",  "ltd", "mt",  "rd",   "st",    "jr",  "sr",
      "esq", "jan",  "feb",  "mar", "apr",  "jun",  "jul", "aug", "sep",  "sept",  "oct", "okt",
      "nov", "dec",  "dez",  "mon", "tue",  "tues", "wed", "thu", "thur", "thurs", "fri", "sat"};
  return *words;
}

// Words that begin sentences and are seldom names: "Plan B. Then", but "J. Smith".
const absl::flat_hash_set<absl::string_view>& Openers() {
  static const auto* const words = new absl::flat_hash_set<absl::string_view>{
      "A",    "An",    "And",   "As",   "At",   "But",   "For", "He",   "How",  "However", "I",
      "If",   "In",    "It",    "My",   "On",   "Our",   "She", "So",   "That", "The",     "Their",
      "Then", "There", "These", "They", "This", "Those", "We",  "What", "When", "Why",     "You"};
  return *words;
}

// "It's" opens a sentence as "It" does.
bool OpensSentence(absl::string_view next) {
  next = next.substr(0, std::min(next.find('\''), next.find("’")));
  return Openers().contains(next);
}

template <size_t N>
bool EndsWithOneOf(absl::string_view text, const absl::string_view (&ends)[N]) {
  return std::any_of(std::begin(ends), std::end(ends),
                     [&](absl::string_view end) { return absl::EndsWith(text, end); });
}

// Bytes of the mark that `text` begins with; 0 if it begins with none of `marks`.
template <size_t N>
size_t BytesOfOne(absl::string_view text, const absl::string_view (&marks)[N]) {
  for (const absl::string_view mark : marks) {
    if (absl::StartsWith(text, mark)) return mark.size();
  }
  return 0;
}

// Bytes of the first character, which is whole UTF-8 or a byte.
size_t Utf8Bytes(absl::string_view text) {
  size_t size = 1;
  while (size < text.size() && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) ++size;
  return size;
}

// The number of bytes after which a sentence ends within `word`, which is written without spaces;
// all its bytes if no sentence ends there.
size_t SentenceEndsWithin(absl::string_view word) {
  int characters = 0;  // ASCII is not counted, as Latin text has spaces.
  for (size_t at = 0; at < word.size();) {
    const size_t bytes = Utf8Bytes(word.substr(at));
    // A character without width is added to the one before.
    if (characters >= kMostUnspacedCharacters && DisplayWidth(word.substr(at, bytes)) > 0) {
      return at;
    }
    if (size_t size = BytesOfOne(word.substr(at), kUnspacedEnds); size > 0) {
      for (; size > 0; size = std::max(BytesOfOne(word.substr(at), kStrongEnds),
                                       BytesOfOne(word.substr(at), kUnspacedClosing))) {
        at += size;
      }
      return at;
    }
    if (const size_t size = BytesOfOne(word.substr(at), kClauseEnds);
        size > 0 && characters >= kManyUnspacedCharacters) {
      return at + size;
    }
    if (bytes > 1) ++characters;
    at += bytes;
  }
  return word.size();
}

// Characters of `word` that are not ASCII: Latin text has spaces.
int CountUnspaced(absl::string_view word) {
  int count = 0;
  for (; !word.empty(); word.remove_prefix(Utf8Bytes(word))) count += Utf8Bytes(word) > 1 ? 1 : 0;
  return count;
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
  // The mark may stand alone, as in French and often in Hindi.
  if (EndsWithOneOf(word, kStrongEnds)) {
    return !previous.empty() || BytesOfOne(word, kStrongEnds) < word.size();
  }
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
    const bool spaced = absl::ConsumeSuffix(&word, " ") || item.ends_line;
    if (word.empty() && !item.ends_line) {  // It ends a word that had none behind it.
      within_word_ = false;
      unspaced_ = 0;
      if (!last_word_.empty()) out.push_back({item.text, false});
      return;
    }
    if (segmentation_ == Segmentation::kSentence) {
      while (true) {
        const size_t size = SentenceEndsWithin(word);
        if (size == word.size()) break;
        AddWord(word.substr(0, size), "", out);
        has_sentences_ = true;
        EndSegment(out);
        word.remove_prefix(size);
      }
    }
    AddWord(word, spaced ? " " : "", out);
    line_is_empty_ = false;
  }
  if (!item.ends_line) return;
  if (line_is_empty_) EndSegment(out);
  line_is_empty_ = true;
}

void Segmenter::AddWord(absl::string_view word, absl::string_view after,
                        std::deque<SourceItem>& out) {
  const bool by_sentence = segmentation_ == Segmentation::kSentence;
  if ((by_sentence || segmentation_ == Segmentation::kPause) && !last_word_.empty()) {
    const bool clause = EndsWithOneOf(last_word_, kClauseEnds);
    const bool is_long = words_ >= kMostWords || characters_ >= kMostCharacters ||
                         unspaced_ >= kMostUnspacedCharacters ||
                         (clause && (words_ >= kManyWords || unspaced_ >= kManyUnspacedCharacters));
    const bool ends = by_sentence && SentenceEndsBetween(previous_word_, last_word_, word);
    has_sentences_ = has_sentences_ || ends;
    if (ends || is_long) EndSegment(out);
  }
  if (!within_word_) ++words_;
  characters_ += CountCharacters(word);
  within_word_ = after.empty();
  unspaced_ = within_word_ ? unspaced_ + CountUnspaced(word) : 0;
  previous_word_ = std::exchange(last_word_, std::string(word));
  out.push_back({absl::StrCat(word, after), false});
}

void Segmenter::Pause(std::deque<SourceItem>& out) {
  const bool ends = segmentation_ == Segmentation::kSentence && !last_word_.empty() &&
                    SentenceEndsBetween(previous_word_, last_word_, "");
  has_sentences_ = has_sentences_ || ends;
  if (ends || segmentation_ == Segmentation::kPause) EndSegment(out);
}

void Segmenter::Finish(std::deque<SourceItem>& out) { EndSegment(out); }

void Segmenter::EndSegment(std::deque<SourceItem>& out) {
  if (last_word_.empty()) return;
  previous_word_.clear();
  last_word_.clear();
  words_ = 0;
  characters_ = 0;
  within_word_ = false;
  unspaced_ = 0;
  out.push_back({"", true});
}

}  // namespace leapstream::client
