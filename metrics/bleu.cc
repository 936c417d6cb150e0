#include "metrics/bleu.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "metrics/unicode.h"

namespace leapstream::metrics {
namespace {

constexpr size_t kBleuOrders = 4;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsPeriodOrComma(char c) { return c == '.' || c == ','; }

// Whether sacreBLEU makes the symbol a token of its own: [\{-\~\[-\` -\&\(-\+\:-\@\/]
bool IsSymbolOf13a(char c) {
  return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') ||
         (c >= '(' && c <= '+') || (c >= ':' && c <= '@') || c == '/';
}

// Replaces every two neighbouring bytes for which `matches` holds, left to right without overlap,
// as Python's re.sub() does with a pattern of two characters. All patterns are ASCII or "not a
// digit", so bytes do as well as characters.
template <typename Matches>
std::string ReplacePairs(absl::string_view text, absl::string_view before, absl::string_view after,
                         Matches matches) {
  std::string result;
  result.reserve(text.size() * 2);
  for (size_t i = 0; i < text.size(); ++i) {
    if (i + 1 < text.size() && matches(text[i], text[i + 1])) {
      absl::StrAppend(&result, before, text.substr(i, 1), " ", text.substr(i + 1, 1), after);
      ++i;
    } else {
      result += text[i];
    }
  }
  return result;
}

// Tokens are numbers, so that an n-gram is four of them.
using WordNgram = std::array<uint32_t, kBleuOrders>;  // Unused places at the end are 0.
using WordCounts = absl::flat_hash_map<WordNgram, int64_t>;

class Numbering {
 public:
  explicit Numbering(BleuTokenizer tokenizer) : tokenizer_(tokenizer) {}

  std::vector<uint32_t> Numbers(absl::string_view text) {
    const std::string tokens = Tokenize(tokenizer_, StripTrailingSpace(text));
    std::vector<uint32_t> numbers;
    for (const absl::string_view token : SplitWords(tokens)) {
      const auto next = static_cast<uint32_t>(numbers_.size() + 1);
      numbers.push_back(numbers_.try_emplace(std::string(token), next).first->second);
    }
    return numbers;
  }

 private:
  const BleuTokenizer tokenizer_;
  absl::flat_hash_map<std::string, uint32_t> numbers_;
};

WordCounts CountNgrams(const std::vector<uint32_t>& tokens) {
  WordCounts counts;
  for (size_t begin = 0; begin < tokens.size(); ++begin) {
    WordNgram ngram{};
    for (size_t n = 0; n < kBleuOrders && begin + n < tokens.size(); ++n) {
      ngram[n] = tokens[begin + n];
      ++counts[ngram];
    }
  }
  return counts;
}

// The part of mteval-v13a's tokenizer that is for Western languages.
std::string TokenizeWestern(absl::string_view text) {
  std::string spaced;
  for (const char c : text) {
    if (IsSymbolOf13a(c)) {
      absl::StrAppend(&spaced, " ", absl::string_view(&c, 1), " ");
    } else {
      spaced += c;
    }
  }
  // A period or comma is a token unless a digit is before it, or after it.
  std::string line = ReplacePairs(
      spaced, "", " ", [](char a, char b) { return !IsDigit(a) && IsPeriodOrComma(b); });
  line =
      ReplacePairs(line, " ", "", [](char a, char b) { return IsPeriodOrComma(a) && !IsDigit(b); });
  line = ReplacePairs(line, "", " ", [](char a, char b) { return IsDigit(a) && b == '-'; });
  return absl::StrJoin(SplitWords(line), " ");
}

std::string Tokenize13a(absl::string_view text) {
  // The rules apply in turn, each over the whole text: the result of one may be the next one's
  // input.
  std::string line(text);
  for (const auto& [from, to] : {std::pair<const char*, const char*>{"<skipped>", ""},
                                 {"-\n", ""},
                                 {"\n", " "},
                                 {"&quot;", "\""},
                                 {"&amp;", "&"},
                                 {"&lt;", "<"},
                                 {"&gt;", ">"}}) {
    line = absl::StrReplaceAll(line, {{from, to}});
  }
  return TokenizeWestern(absl::StrCat(" ", line, " "));
}

// Whether sacreBLEU's tokenizer `zh` takes `c` for a Chinese character. Two of its ranges are meant
// to be U+20000 to U+2A6D6 and U+2F800 to U+2FA1D, but are these.
bool IsChineseOfSacreBleu(char32_t c) {
  static constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0x3400, 0x4DB5}, {0x4E00, 0x9FA5}, {0x9FA6, 0x9FBB}, {0xF900, 0xFA2D}, {0xFA30, 0xFA6A},
      {0xFA70, 0xFAD9}, {0x2001, 0x2A6D}, {0x2F81, 0x2FA1}, {0xFF00, 0xFFEF}, {0x2E80, 0x2EFF},
      {0x3000, 0x303F}, {0x31C0, 0x31EF}, {0x2F00, 0x2FDF}, {0x2FF0, 0x2FFF}, {0x3100, 0x312F},
      {0x31A0, 0x31BF}, {0xFE10, 0xFE1F}, {0xFE30, 0xFE4F}, {0x2600, 0x26FF}, {0x2700, 0x27BF},
      {0x3200, 0x32FF}, {0x3300, 0x33FF}};
  return std::any_of(std::begin(kRanges), std::end(kRanges), [c](const auto& range) {
    return c >= range.first && c <= range.second;
  });
}

std::string TokenizeZh(absl::string_view text) {
  std::string spaced;
  size_t size = 0;
  for (text = StripSpace(text); !text.empty(); text.remove_prefix(size)) {
    const bool chinese = IsChineseOfSacreBleu(FirstCodePoint(text, &size));
    const absl::string_view character = text.substr(0, size);
    absl::StrAppend(&spaced, chinese ? " " : "", character, chinese ? " " : "");
  }
  return TokenizeWestern(spaced);
}

// mteval-v14's tokenizer. Its rules use Unicode's categories, those of 13a only ASCII's. They apply
// in turn, as those of 13a do.
std::string TokenizeIntl(absl::string_view text) {
  std::vector<absl::string_view> line = Characters(text);
  const auto is = [](bool (*has_category)(char32_t), absl::string_view character) {
    size_t size = 0;
    return has_category(FirstCodePoint(character, &size));
  };
  std::vector<absl::string_view> next;
  for (size_t i = 0; i < line.size(); ++i) {
    next.push_back(line[i]);
    if (i + 1 < line.size() && !is(IsNumber, line[i]) && is(IsPunctuation, line[i + 1])) {
      next.insert(next.end(), {" ", line[++i], " "});
    }
  }
  line = std::exchange(next, {});
  for (size_t i = 0; i < line.size(); ++i) {
    if (i + 1 < line.size() && is(IsPunctuation, line[i]) && !is(IsNumber, line[i + 1])) {
      next.insert(next.end(), {" ", line[i], " ", line[i + 1]});
      ++i;
    } else {
      next.push_back(line[i]);
    }
  }
  std::string result;
  for (const absl::string_view character : next) {
    const bool symbol = is(IsSymbol, character);
    absl::StrAppend(&result, symbol ? " " : "", character, symbol ? " " : "");
  }
  return absl::StrJoin(SplitWords(result), " ");
}

}  // namespace

const char* BleuTokenizerName(BleuTokenizer tokenizer) {
  switch (tokenizer) {
    case BleuTokenizer::kZh:
      return "zh";
    case BleuTokenizer::kChar:
      return "char";
    case BleuTokenizer::kIntl:
      return "intl";
    case BleuTokenizer::kNone:
      return "none";
    case BleuTokenizer::k13a:
      break;
  }
  return "13a";
}

std::optional<BleuTokenizer> BleuTokenizerOf(absl::string_view name) {
  for (const BleuTokenizer tokenizer :
       {BleuTokenizer::k13a, BleuTokenizer::kZh, BleuTokenizer::kChar, BleuTokenizer::kIntl,
        BleuTokenizer::kNone}) {
    if (name == BleuTokenizerName(tokenizer)) return tokenizer;
  }
  return std::nullopt;
}

std::string BleuSignature(BleuTokenizer tokenizer) {
  return absl::StrCat("nrefs:1|case:mixed|eff:no|tok:", BleuTokenizerName(tokenizer),
                      "|smooth:exp|version:2.6.0");
}

std::string Tokenize(BleuTokenizer tokenizer, absl::string_view text) {
  switch (tokenizer) {
    case BleuTokenizer::kZh:
      return TokenizeZh(text);
    case BleuTokenizer::kChar:
      return absl::StrJoin(Characters(text), " ");
    case BleuTokenizer::kIntl:
      return TokenizeIntl(text);
    case BleuTokenizer::kNone:
      return std::string(text);
    case BleuTokenizer::k13a:
      break;
  }
  return Tokenize13a(text);
}

BleuScore Bleu(absl::Span<const std::string> translations, absl::Span<const std::string> references,
               BleuTokenizer tokenizer) {
  BleuScore bleu;
  bleu.tokenizer = tokenizer;
  std::array<int64_t, kBleuOrders> correct{}, total{};
  Numbering numbering(tokenizer);
  for (size_t i = 0; i < std::min(translations.size(), references.size()); ++i) {
    const std::vector<uint32_t> translation = numbering.Numbers(translations[i]);
    const std::vector<uint32_t> reference = numbering.Numbers(references[i]);
    bleu.translation_length += static_cast<int64_t>(translation.size());
    bleu.reference_length += static_cast<int64_t>(reference.size());
    const WordCounts expected = CountNgrams(reference);
    for (const auto& [ngram, count] : CountNgrams(translation)) {
      const auto order =
          static_cast<size_t>(std::find(ngram.begin(), ngram.end(), 0u) - ngram.begin() - 1);
      total[order] += count;
      const auto match = expected.find(ngram);
      if (match != expected.end()) correct[order] += std::min(count, match->second);
    }
  }

  const auto hypothesis = static_cast<double>(bleu.translation_length);
  const auto reference = static_cast<double>(bleu.reference_length);
  bleu.brevity_penalty = 1;
  if (hypothesis < reference) {
    bleu.brevity_penalty = hypothesis > 0 ? std::exp(1 - reference / hypothesis) : 0;
  }
  if (std::all_of(correct.begin(), correct.end(), [](int64_t count) { return count == 0; })) {
    return bleu;
  }
  double smoothing = 1;
  double log_sum = 0;
  for (size_t n = 0; n < kBleuOrders; ++n) {
    if (total[n] == 0) return bleu;  // sacreBLEU takes the logarithm of 0 to be -9999999999.
    const auto all = static_cast<double>(total[n]);
    if (correct[n] == 0) {
      smoothing *= 2;
      bleu.precisions[n] = 100 / (smoothing * all);
    } else {
      bleu.precisions[n] = 100 * static_cast<double>(correct[n]) / all;
    }
    log_sum += std::log(bleu.precisions[n]);
  }
  bleu.score = bleu.brevity_penalty * std::exp(log_sum / kBleuOrders);
  return bleu;
}

std::string BleuScore::ToString() const {
  const double ratio = reference_length > 0 ? static_cast<double>(translation_length) /
                                                  static_cast<double>(reference_length)
                                            : 0;
  return absl::StrFormat(
      "BLEU|%s = %.2f %.1f/%.1f/%.1f/%.1f (BP = %.3f ratio = %.3f hyp_len = %d ref_len = %d)",
      BleuSignature(tokenizer), score, precisions[0], precisions[1], precisions[2], precisions[3],
      brevity_penalty, ratio, translation_length, reference_length);
}

}  // namespace leapstream::metrics
