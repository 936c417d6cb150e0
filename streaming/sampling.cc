#include "streaming/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

// The best tokens of a text's next step, and the sums of their weights up to each of them.
class BestTokens {
 public:
  BestTokens(const TokenScores& scores, double temperature, absl::Span<const TokenId> excluded)
      : scores_(scores), temperature_(temperature) {
    ids_.resize(scores.logits.size());
    std::iota(ids_.begin(), ids_.end(), 0);
    const auto is_excluded = [&](TokenId id) { return absl::c_linear_search(excluded, id); };
    ids_.erase(std::remove_if(ids_.begin(), ids_.end(), is_excluded), ids_.end());
    for (const TokenId id : ids_) most_ = std::max(most_, scores.logits[id]);
  }

  size_t size() const { return ids_.size(); }
  TokenId operator[](size_t i) const { return ids_[i]; }
  // exp of the logit over the temperature, relative to the best of these tokens.
  double Weight(size_t i) const {
    return std::exp((double{scores_.logits[ids_[i]]} - double{most_}) / temperature_);
  }
  // Leaves only the best `count` tokens.
  void Keep(size_t count) {
    if (count >= ids_.size()) return;
    SortFirst(count);
    ids_.resize(count);
  }
  // Sorts so that the first `count` tokens are the best ones, in order.
  void SortFirst(size_t count) {
    if (count <= sorted_) return;
    const auto better = [this](TokenId a, TokenId b) {
      const float x = scores_.logits[a];
      const float y = scores_.logits[b];
      return x != y ? x > y : a < b;
    };
    if (8 * count > size()) {  // To sort all at once is then faster than a part again and again.
      std::sort(ids_.begin(), ids_.end(), better);
      sorted_ = size();
      return;
    }
    std::partial_sort(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(count), ids_.end(),
                      better);
    sorted_ = count;
  }
  // The smallest number of best tokens whose weights are `weight` or more.
  size_t CountOf(double weight) {
    double sum = 0;
    for (size_t i = 0; i < size(); ++i) {
      SortUpTo(i);
      sum += Weight(i);
      if (sum >= weight) return i + 1;
    }
    return size();
  }
  // The first of the best tokens with which the weights are more than `weight`.
  size_t At(double weight) {
    double sum = 0;
    for (size_t i = 0; i + 1 < size(); ++i) {
      SortUpTo(i);
      sum += Weight(i);
      if (sum > weight) return i;
    }
    SortFirst(size());
    return size() - 1;
  }
  double AllWeights() const {
    double sum = 0;
    for (size_t i = 0; i < size(); ++i) sum += Weight(i);
    return sum;
  }

 private:
  // Most sums need only the first few of a large vocabulary.
  void SortUpTo(size_t i) {
    constexpr size_t kFirst = 64;
    if (i >= sorted_) SortFirst(std::min(size(), std::max(kFirst, 4 * sorted_)));
  }

  const TokenScores& scores_;
  const double temperature_;
  std::vector<TokenId> ids_;
  float most_ = -std::numeric_limits<float>::infinity();
  size_t sorted_ = 0;
};

TokenId Best(const TokenScores& scores, absl::Span<const TokenId> excluded) {
  TokenId best = -1;
  for (size_t i = 0; i < scores.logits.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    // Ties are those of log-probabilities, as in fairseq.
    if (best >= 0 && scores.log_prob(id) <= scores.log_prob(best)) continue;
    if (!absl::c_linear_search(excluded, id)) best = id;
  }
  return best;
}

}  // namespace

absl::Status CheckSampling(const Sampling& sampling) {
  if (!(sampling.temperature >= 0) || sampling.temperature > 1000 || sampling.top_k < 0 ||
      !(sampling.top_p > 0) || sampling.top_p > 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sampling needs a temperature in [0, 1000], top_k of 0 or more and top_p in (0, 1], got ",
        sampling.temperature, ", ", sampling.top_k, " and ", sampling.top_p,
        "; leave all unset for the best token"));
  }
  return absl::OkStatus();
}

double UniformAt(uint64_t seed, int64_t place) {
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;
  const auto mix = [](uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  };
  const uint64_t bits = mix(mix(seed + kGolden) + kGolden * (static_cast<uint64_t>(place) + 1));
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

ScoredToken ChooseToken(const TokenScores& scores, const Sampling& sampling,
                        absl::Span<const TokenId> excluded, double uniform) {
  if (sampling.temperature == 0) {
    const TokenId best = Best(scores, excluded);
    return {best, scores.log_prob(best)};
  }
  BestTokens tokens(scores, sampling.temperature, excluded);
  if (sampling.top_k > 0) tokens.Keep(static_cast<size_t>(sampling.top_k));
  double weights = tokens.AllWeights();
  if (sampling.top_p < 1) {
    tokens.Keep(tokens.CountOf(sampling.top_p * weights));
    weights = tokens.AllWeights();
  }
  const TokenId id = tokens[tokens.At(uniform * weights)];
  return {id, scores.log_prob(id)};
}

}  // namespace leapstream
