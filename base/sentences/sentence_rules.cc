#include "base/sentences/sentence_rules.h"

#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/uloc.h>
#include <unicode/ustring.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/scripts.h"
#include "base/sentences/characters.h"

namespace leapstream {
namespace {

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
constexpr char32_t kUnspacedEnds[] = {U'。', U'｡', U'︒', U'？', U'！', U'।', U'॥', U'។',
                                      U'៕',  U'။', U'།', U'༎', U'።', U'፧', U'؟', U'۔'};
// Marks that may follow these in the same sentence: others that end sentences, and those that may
// close there. Left out are marks that open in other languages, such as German's in Chinese.
constexpr char32_t kBelongToEnds[] = {
    U'?', U'!', U'…', U'‼', U'⁇', U'⁈', U'⁉', U'。', U'｡', U'︒', U'．', U'？', U'！',
    U'؟', U'۔', U'؞', U'܀', U'܁', U'܂', U'।', U'॥', U'෴', U'꯫', U'᱾', U'᱿', U'។',
    U'៕', U'။', U'།', U'༎', U'።', U'፧', U'፨', U'։', U'՜', U'՞', U'᠃', U')', U']',
    U'”', U'’', U'»', U'›', U'」', U'』', U'）', U'】', U'》', U'〉', U'］'};
// Marks at which a sentence that is too long is best cut.
constexpr char32_t kClauseEnds[] = {U',', U';', U':', U'–', U'—', U'،', U'؛', U'，', U'、', U'；',
                                    U'：', U'､', U'၊', U'፣', U'፤'};

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

constexpr size_t kLongestOpener = 7;

template <size_t N>
bool IsOneOf(char32_t c, const char32_t (&marks)[N]) {
  return std::find(std::begin(marks), std::end(marks), c) != std::end(marks);
}

template <size_t N>
bool EndsWithOneOf(absl::string_view text, const absl::string_view (&ends)[N]) {
  return std::any_of(std::begin(ends), std::end(ends),
                     [&](absl::string_view end) { return absl::EndsWith(text, end); });
}

// The bytes of the mark that `text` begins with; 0 if it begins with none of `marks`.
template <size_t N>
size_t BytesOfOne(absl::string_view text, const absl::string_view (&marks)[N]) {
  for (const absl::string_view mark : marks) {
    if (absl::StartsWith(text, mark)) return mark.size();
  }
  return 0;
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

bool StartsLower(absl::string_view text) {
  return !text.empty() && u_islower(static_cast<UChar32>(FirstCharacter(text).code_point)) != 0;
}

bool IsOneCharacter(absl::string_view text) {
  return !text.empty() && FirstCharacter(text).bytes == text.size();
}

bool HasDigit(absl::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c); });
}

bool IsNumber(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isdigit(c) || c == '.'; });
}

// The next words before which a sentence ends, as a word's end has it.
enum class EndsBefore { kNone, kAllButLower, kOpeners, kAllButNumbers };

// After a word with a "." behind it.
EndsBefore AfterFullStop(absl::string_view previous, absl::string_view stem) {
  const bool number = IsNumber(stem);
  const bool letter = !number && IsOneCharacter(stem);
  // "1. The server", "2.1. Introduction", "A. The client".
  if (previous.empty() && (letter || number)) return EndsBefore::kNone;
  // "Plan B. Then", not "z. B. Mai".
  if (letter) return StartsLower(stem) ? EndsBefore::kNone : EndsBefore::kOpeners;
  // "in 2010.", "$3.50.", but "am 3. Mai".
  if (number && !absl::StrContains(stem, '.')) {
    return stem.size() > 2 ? EndsBefore::kAllButLower : EndsBefore::kOpeners;
  }
  if (absl::StrContains(stem, '.') && HasDigit(stem)) return EndsBefore::kAllButLower;
  const std::string lower = absl::AsciiStrToLower(stem);
  if (lower == "no" || lower == "p") return EndsBefore::kAllButNumbers;
  if (lower == "a.m" || lower == "p.m") return EndsBefore::kAllButLower;
  if (Abbreviations().contains(lower)) return EndsBefore::kNone;
  const bool dotted = absl::StrContains(lower, '.') && lower.find('.') <= 2 && !StartsLower(stem);
  if (dotted || AbbreviationsThatMayEnd().contains(lower)) return EndsBefore::kOpeners;  // "U.S."
  return EndsBefore::kAllButLower;
}

EndsBefore After(absl::string_view previous, absl::string_view word) {
  while (ConsumeEnd(word, kClosing)) continue;
  // The mark may stand alone, as in French and often in Hindi.
  if (EndsWithOneOf(word, kStrongEnds)) {
    const bool alone = BytesOfOne(word, kStrongEnds) == word.size();
    return alone && previous.empty() ? EndsBefore::kNone : EndsBefore::kAllButLower;
  }
  if (!absl::ConsumeSuffix(&word, ".")) return EndsBefore::kNone;
  if (absl::EndsWith(word, ".")) return EndsBefore::kAllButLower;  // An ellipsis.
  return AfterFullStop(previous, WithoutOpening(word));
}

// See SentenceRules::EndsBetween().
std::optional<bool> Ends(EndsBefore rule, absl::string_view next, bool next_is_whole) {
  if (rule == EndsBefore::kNone) return false;
  next = WithoutOpening(next);
  if (next.empty() && !next_is_whole) return std::nullopt;
  if (rule != EndsBefore::kOpeners) {
    const bool number = !next.empty() && absl::ascii_isdigit(next[0]);
    return !StartsLower(next) && !(number && rule == EndsBefore::kAllButNumbers);
  }
  // "It's" opens a sentence as "It" does.
  const size_t opener = std::min(next.find('\''), next.find("’"));
  if (opener == absl::string_view::npos && !next_is_whole && next.size() <= kLongestOpener) {
    return std::nullopt;
  }
  return Openers().contains(next.substr(0, opener));
}

int32_t SentenceClass(char32_t c) {
  return u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_SENTENCE_BREAK);
}

// Whether a word of a language without lists ends no sentence, whatever follows: it has no mark for
// that, or is as "3." and "J.".
bool NeverEnds(absl::string_view word) {
  DecodedCharacter mark = LastCharacter(word);
  while (mark.bytes > 0 && SentenceClass(mark.code_point) == U_SB_CLOSE) {
    word.remove_suffix(mark.bytes);
    mark = LastCharacter(word);
  }
  const int32_t kind = SentenceClass(mark.code_point);
  if (kind != U_SB_ATERM) return kind != U_SB_STERM;
  if (!absl::ConsumeSuffix(&word, ".")) return false;
  const absl::string_view stem = WithoutOpening(word);
  return IsOneCharacter(stem) || (!stem.empty() && stem.size() <= 2 && IsNumber(stem));
}

// The beginning of `next` on which ICU's decision depends here, up to its first letter, number or
// mark; nullopt: it has none yet.
std::optional<absl::string_view> DecisivePart(absl::string_view next, bool next_is_whole) {
  for (size_t at = 0; at < next.size();) {
    const DecodedCharacter c = FirstCharacter(next.substr(at));
    at += c.bytes;
    switch (SentenceClass(c.code_point)) {
      case U_SB_ATERM:
      case U_SB_LOWER:
      case U_SB_NUMERIC:
      case U_SB_OLETTER:
      case U_SB_SCONTINUE:
      case U_SB_STERM:
      case U_SB_UPPER:
        return next.substr(0, at);
      default:
        break;
    }
  }
  if (!next_is_whole) return std::nullopt;
  return next;
}

// Whether `text` has nothing but marks that close. They belong to what was before them.
bool OnlyCloses(absl::string_view text) {
  while (!text.empty()) {
    const DecodedCharacter c = FirstCharacter(text);
    const int8_t type = u_charType(static_cast<UChar32>(c.code_point));
    if (type != U_END_PUNCTUATION && type != U_FINAL_PUNCTUATION) return false;
    text.remove_prefix(c.bytes);
  }
  return true;
}

}  // namespace

// ICU's iterator over the sentences of a language.
class SentenceRules::Iterator {
 public:
  explicit Iterator(const std::string& language) {
    UErrorCode error = U_ZERO_ERROR;
    const std::string locale = absl::StrCat(language, "@ss=standard");  // With abbreviations.
    iterator_ = ubrk_open(UBRK_SENTENCE, locale.c_str(), nullptr, 0, &error);
    if (U_FAILURE(error) != 0) Close();
  }
  ~Iterator() { Close(); }
  Iterator(const Iterator&) = delete;
  Iterator& operator=(const Iterator&) = delete;

  // Whether a sentence ends between the texts. nullopt: ICU has no data.
  std::optional<bool> EndsBetween(absl::string_view before, absl::string_view after) {
    if (iterator_ == nullptr) return std::nullopt;
    text_.clear();
    const bool both = Add(before);
    const auto place = static_cast<int32_t>(text_.size());
    if (!both || !Add(after)) return std::nullopt;
    UErrorCode error = U_ZERO_ERROR;
    ubrk_setText(iterator_, text_.data(), static_cast<int32_t>(text_.size()), &error);
    if (U_FAILURE(error) != 0) return std::nullopt;
    return ubrk_isBoundary(iterator_, place) != 0;
  }

 private:
  bool Add(absl::string_view utf8) {
    const size_t begin = text_.size();
    text_.resize(begin + utf8.size());  // UTF-16 never has more units than UTF-8 has bytes.
    int32_t size = 0;
    UErrorCode error = U_ZERO_ERROR;
    u_strFromUTF8WithSub(text_.data() + begin, static_cast<int32_t>(utf8.size()), &size,
                         utf8.data(), static_cast<int32_t>(utf8.size()), 0xFFFD, nullptr, &error);
    if (U_FAILURE(error) != 0) return false;
    text_.resize(begin + static_cast<size_t>(size));
    return true;
  }
  void Close() {
    if (iterator_ != nullptr) ubrk_close(iterator_);
    iterator_ = nullptr;
  }

  UBreakIterator* iterator_ = nullptr;  // Owned; null: there is none.
  std::vector<UChar> text_;             // The iterator reads it.
};

SentenceRules::SentenceRules(absl::string_view language) {
  std::array<char, ULOC_LANG_CAPACITY> code = {};
  UErrorCode error = U_ZERO_ERROR;
  const int32_t size = uloc_getLanguage(std::string(language).c_str(), code.data(),
                                        static_cast<int32_t>(code.size()), &error);
  if (U_FAILURE(error) == 0 && size < static_cast<int32_t>(code.size())) {
    language_.assign(code.data(), static_cast<size_t>(size));
  }
  if (language_ == "en" || language_ == "de") language_.clear();
}

SentenceRules::~SentenceRules() = default;
SentenceRules::SentenceRules(SentenceRules&&) noexcept = default;
SentenceRules& SentenceRules::operator=(SentenceRules&&) noexcept = default;

std::optional<bool> SentenceRules::EndsBetween(absl::string_view previous, absl::string_view word,
                                               absl::string_view next, bool next_is_whole) {
  if (language_.empty() || absl::EndsWith(word, "…")) {
    return Ends(After(previous, word), next, next_is_whole);
  }
  return AsksIterator(previous, word, next, next_is_whole);
}

std::optional<bool> SentenceRules::AsksIterator(absl::string_view previous, absl::string_view word,
                                                absl::string_view next, bool next_is_whole) {
  if (word.empty() || NeverEnds(word)) return false;
  const std::optional<absl::string_view> decisive = DecisivePart(next, next_is_whole);
  if (!decisive.has_value()) return std::nullopt;
  if (decisive->empty()) return true;  // The text ends here.
  if (next_is_whole && OnlyCloses(next)) return false;
  if (iterator_ == nullptr) iterator_ = std::make_unique<Iterator>(language_);
  const std::optional<bool> ends =
      iterator_->EndsBetween(absl::StrCat(previous, " ", word, " "), *decisive);
  return ends.has_value() ? ends : Ends(After(previous, word), next, /*next_is_whole=*/true);
}

bool IsMark(char32_t c) {
  const int32_t type = u_charType(static_cast<UChar32>(c));
  return type == U_NON_SPACING_MARK || type == U_ENCLOSING_MARK || type == U_FORMAT_CHAR;
}

bool EndsWithoutSpace(char32_t mark, char32_t before) {
  if (mark == U'?' || mark == U'!') return IsOfScriptWithoutSpaces(before);
  return IsOneOf(mark, kUnspacedEnds);
}

bool BelongsToEnd(char32_t mark) { return IsOneOf(mark, kBelongToEnds); }

bool EndsClause(char32_t mark) { return IsOneOf(mark, kClauseEnds); }

}  // namespace leapstream
