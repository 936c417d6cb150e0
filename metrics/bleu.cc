#include "metrics/bleu.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "metrics/unicode.h"

namespace leapstream::metrics {
namespace {

constexpr size_t kOrders = 4;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsPeriodOrComma(char c) { return c == '.' || c == ','; }

// sacreBLEU's class of symbols that are tokens of their own: [\{-\~\[-\` -\&\(-\+\:-\@\/]
bool IsSymbol(char c) {
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
using Ngram = std::array<uint32_t, kOrders>;  // Unused places at the end: 0.
using Counts = absl::flat_hash_map<Ngram, int64_t>;

class Numbering {
 public:
  std::vector<uint32_t> Numbers(absl::string_view text) {
    const std::string tokens = Tokenize13a(StripTrailingSpace(text));
    std::vector<uint32_t> numbers;
    for (const absl::string_view token : SplitWords(tokens)) {
      const auto next = static_cast<uint32_t>(numbers_.size() + 1);
      numbers.push_back(numbers_.try_emplace(std::string(token), next).first->second);
    }
    return numbers;
  }

 private:
  absl::flat_hash_map<std::string, uint32_t> numbers_;
};

Counts CountNgrams(const std::vector<uint32_t>& tokens) {
  Counts counts;
  for (size_t begin = 0; begin < tokens.size(); ++begin) {
    Ngram ngram{};
    for (size_t n = 0; n < kOrders && begin + n < tokens.size(); ++n) {
      ngram[n] = tokens[begin + n];
      ++counts[ngram];
    }
  }
  return counts;
}

}  // namespace

std::string Tokenize13a(absl::string_view text) {
  // Each in turn, over the whole text: the result of one may be the next one's input.
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
  std::string spaced = " ";
  for (const char c : line) {
    if (IsSymbol(c)) {
      absl::StrAppend(&spaced, " ", absl::string_view(&c, 1), " ");
    } else {
      spaced += c;
    }
  }
  spaced += ' ';
  // A period or comma is a token unless a digit is before it, or after it.
  line = ReplacePairs(spaced, "", " ",
                      [](char a, char b) { return !IsDigit(a) && IsPeriodOrComma(b); });
  line =
      ReplacePairs(line, " ", "", [](char a, char b) { return IsPeriodOrComma(a) && !IsDigit(b); });
  line = ReplacePairs(line, "", " ", [](char a, char b) { return IsDigit(a) && b == '-'; });
  return absl::StrJoin(SplitWords(line), " ");
}

BleuScore Bleu(absl::Span<const std::string> translations,
               absl::Span<const std::string> references) {
  BleuScore bleu;
  std::array<int64_t, kOrders> correct{}, total{};
  Numbering numbering;
  for (size_t i = 0; i < std::min(translations.size(), references.size()); ++i) {
    const std::vector<uint32_t> translation = numbering.Numbers(translations[i]);
    const std::vector<uint32_t> reference = numbering.Numbers(references[i]);
    bleu.translation_length += static_cast<int64_t>(translation.size());
    bleu.reference_length += static_cast<int64_t>(reference.size());
    const Counts expected = CountNgrams(reference);
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
  for (size_t n = 0; n < kOrders; ++n) {
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
  bleu.score = bleu.brevity_penalty * std::exp(log_sum / kOrders);
  return bleu;
}

std::string BleuScore::ToString() const {
  const double ratio = reference_length > 0 ? static_cast<double>(translation_length) /
                                                  static_cast<double>(reference_length)
                                            : 0;
  return absl::StrFormat(
      "BLEU|%s = %.2f %.1f/%.1f/%.1f/%.1f (BP = %.3f ratio = %.3f hyp_len = %d ref_len = %d)",
      kBleuSignature, score, precisions[0], precisions[1], precisions[2], precisions[3],
      brevity_penalty, ratio, translation_length, reference_length);
}

}  // namespace leapstream::metrics
