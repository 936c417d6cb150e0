#include "streaming/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

// The tokens that may be drawn at a step, with their weights. No function sorts: a draw costs a few
// passes over the vocabulary, whatever the temperature.
class DrawnTokens {
 public:
  DrawnTokens(const TokenScores& scores, double temperature, absl::Span<const TokenId> excluded,
              std::vector<TokenId>* ids, std::vector<double>* weights)
      : logits_(scores.logits), ids_(*ids), weights_(*weights) {
    ids_.clear();
    float most = -std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < logits_.size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      if (absl::c_linear_search(excluded, id)) continue;
      ids_.push_back(id);
      most = std::max(most, logits_[i]);
    }
    weights_.assign(logits_.size(), 0);
    for (const TokenId id : ids_) {
      weights_[id] = std::exp((double{logits_[id]} - double{most}) / temperature);
    }
  }

  // Leaves only the best `count` tokens.
  void Keep(size_t count) {
    if (count >= ids_.size()) return;
    Divide(0, count, ids_.size());
    for (size_t i = count; i < ids_.size(); ++i) weights_[ids_[i]] = 0;
    ids_.resize(count);
  }
  // Leaves only the best tokens up to the first that brings their weights to this part of all.
  void KeepPart(double part) {
    const double wanted = part * Sum(0, ids_.size());
    size_t most = ids_.size(), fewer = 0;  // The number to keep is in (fewer, most].
    double sum = 0;                        // The weights of the first `fewer`.
    while (most - fewer > 1) {
      const size_t middle = fewer + (most - fewer) / 2;
      Divide(fewer, middle, most);
      const double left = Sum(fewer, middle);
      if (sum + left >= wanted) {
        most = middle;
      } else {
        sum += left;
        fewer = middle;
      }
    }
    Keep(most);
  }
  // The first token of the vocabulary with which the weights reach this part of all, a multiple of
  // 2^-53. Half of such a step more keeps out tokens that are less likely than any step.
  TokenId At(double part) const {
    double all = 0;
    for (const double weight : weights_) all += weight;
    const double wanted = (part + 0x1.0p-54) * all;
    double sum = 0;
    TokenId last = ids_.front();
    for (size_t i = 0; i < weights_.size(); ++i) {
      if (weights_[i] == 0) continue;
      last = static_cast<TokenId>(i);
      sum += weights_[i];
      if (sum >= wanted) break;
    }
    return last;
  }

 private:
  // Reorders the tokens from `begin` to `end` so that those before `middle` are the best ones.
  void Divide(size_t begin, size_t middle, size_t end) {
    const auto at = [this](size_t i) { return ids_.begin() + static_cast<std::ptrdiff_t>(i); };
    std::nth_element(at(begin), at(middle), at(end), [this](TokenId a, TokenId b) {
      return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
    });
  }
  double Sum(size_t begin, size_t end) const {
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += weights_[ids_[i]];
    return sum;
  }

  const absl::Span<const float> logits_;
  std::vector<TokenId>& ids_;
  std::vector<double>& weights_;  // Of all tokens; those that may not be drawn have 0.
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
  // A step thread draws for all of its texts.
  thread_local std::vector<TokenId> ids;
  thread_local std::vector<double> weights;
  DrawnTokens tokens(scores, sampling.temperature, excluded, &ids, &weights);
  if (sampling.top_k > 0) tokens.Keep(static_cast<size_t>(sampling.top_k));
  if (sampling.top_p < 1) tokens.KeepPart(sampling.top_p);
  const TokenId id = tokens.At(uniform);
  return {id, scores.log_prob(id)};
}

}  // namespace leapstream
