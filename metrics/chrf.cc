#include "metrics/chrf.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "base/utf8.h"
#include "metrics/unicode.h"

namespace leapstream::metrics {
namespace {

constexpr size_t kChrfOrders = 6;
constexpr double kBeta = 2;

using CharacterNgram = std::array<char32_t, kChrfOrders>;  // Unused places are past Unicode.
using CharacterCounts = absl::flat_hash_map<CharacterNgram, int64_t>;
constexpr char32_t kUnused = 0x110000;

std::u32string WithoutSpace(const std::string& text) {
  std::u32string characters = CodePoints(text);
  characters.erase(std::remove_if(characters.begin(), characters.end(), IsPythonSpace), characters.end());
  return characters;
}

CharacterCounts CountNgrams(const std::u32string& characters) {
  CharacterCounts counts;
  for (size_t begin = 0; begin < characters.size(); ++begin) {
    CharacterNgram ngram;
    ngram.fill(kUnused);
    for (size_t n = 0; n < kChrfOrders && begin + n < characters.size(); ++n) {
      ngram[n] = characters[begin + n];
      ++counts[ngram];
    }
  }
  return counts;
}

int64_t NgramsOf(size_t length, size_t order) {
  return length >= order ? static_cast<int64_t>(length - order + 1) : 0;
}

}  // namespace

double Chrf(absl::Span<const std::string> translations, absl::Span<const std::string> references) {
  std::array<int64_t, kChrfOrders> translated{}, expected{}, matched{};
  for (size_t i = 0; i < std::min(translations.size(), references.size()); ++i) {
    const std::u32string translation = WithoutSpace(translations[i]);
    const std::u32string reference = WithoutSpace(references[i]);
    for (size_t n = 0; n < kChrfOrders; ++n) {
      const int64_t count = NgramsOf(reference.size(), n + 1);
      expected[n] += count;
      // As in sacreBLEU, a segment does not count if its reference has no n-gram of this order.
      if (count > 0) translated[n] += NgramsOf(translation.size(), n + 1);
    }
    const CharacterCounts reference_counts = CountNgrams(reference);
    for (const auto& [ngram, count] : CountNgrams(translation)) {
      const auto match = reference_counts.find(ngram);
      if (match == reference_counts.end()) continue;
      const auto order =
          static_cast<size_t>(std::find(ngram.begin(), ngram.end(), kUnused) - ngram.begin() - 1);
      matched[order] += std::min(count, match->second);
    }
  }
  double precision = 0, recall = 0;
  int orders = 0;
  for (size_t n = 0; n < kChrfOrders; ++n) {
    if (translated[n] == 0 || expected[n] == 0) continue;
    precision += static_cast<double>(matched[n]) / static_cast<double>(translated[n]);
    recall += static_cast<double>(matched[n]) / static_cast<double>(expected[n]);
    ++orders;
  }
  if (orders == 0 || precision + recall == 0) return 0;
  precision /= orders;
  recall /= orders;
  constexpr double kFactor = kBeta * kBeta;
  return 100 * (1 + kFactor) * precision * recall / (kFactor * precision + recall);
}

std::string ChrfToString(double score) {
  return absl::StrFormat("chrF2|%s = %.2f", kChrfSignature, score);
}

}  // namespace leapstream::metrics
