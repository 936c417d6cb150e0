#include "streaming/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

// The best tokens in which top_p is looked for first: with less, a flat distribution is often not
// to be decided, and more are rarely needed. With the few more that are wanted, no more than 1024.
constexpr int kNucleus = 1000;

// The part of all weights at which a token is drawn, of a multiple of 2^-53. Half of such a step
// more keeps out tokens that are less likely than any step.
double DrawnPart(double uniform) { return uniform + 0x1.0p-54; }

// Whether a sum reaches `wanted` with this weight, and not before, whatever the last digits of sums
// are: in another order, they are others. Numbers that are not finite reach nothing.
bool Reaches(double before, double weight, double wanted, double all) {
  const double slack = 2 * all * WantedScores::kWeightTolerance;
  return before + slack < wanted && before + weight - slack >= wanted;
}

// The tokens that may be drawn at a step, with their weights. Tokens are named by their places in
// the scores, which rise with their ids. No function sorts: a draw costs a few passes over the
// vocabulary, whatever the temperature.
class DrawnTokens {
 public:
  DrawnTokens(const TokenScores& scores, double temperature, absl::Span<const TokenId> excluded,
              std::vector<size_t>* places, std::vector<double>* weights)
      : scores_(scores), logits_(scores.logits), places_(*places), weights_(*weights) {
    places_.clear();
    float most = -std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < logits_.size(); ++i) {
      if (absl::c_linear_search(excluded, scores.id(i))) continue;
      places_.push_back(i);
      most = std::max(most, logits_[i]);
    }
    const auto weight = [&](float logit) {
      return std::exp((double{logit} - double{most}) / temperature);
    };
    weights_.assign(logits_.size(), 0);
    for (const size_t place : places_) weights_[place] = weight(logits_[place]);
    if (scores.has_all()) return;
    all_ = scores.weights * weight(scores.most);
  }

  // Both leave only the best tokens. False: which ones these are does not follow from the scores.
  // Leaves so many.
  bool Keep(size_t count) {
    if (count >= places_.size()) return scores_.has_all();
    Divide(0, count, places_.size());
    return KeepDivided(count);
  }
  // Leaves those up to the first that brings their weights to this part of all.
  bool KeepPart(double part) {
    const double all = scores_.has_all() || limited_ ? Sum(0, places_.size()) : all_;
    const double wanted = part * all;
    size_t most = places_.size(), fewer = 0;  // The number to keep is in (fewer, most].
    double sum = 0;                           // The weights of the first `fewer`.
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
    if (scores_.has_all()) return most >= places_.size() || KeepDivided(most);
    return Reaches(sum, weights_[places_[fewer]], wanted, all) && KeepDivided(most);
  }
  // The first token of the vocabulary with which the weights reach the part of all that is drawn.
  size_t At(double uniform) const {
    double all = 0;
    for (const double weight : weights_) all += weight;
    const double wanted = DrawnPart(uniform) * all;
    double sum = 0;
    size_t last = places_.front();
    for (size_t i = 0; i < weights_.size(); ++i) {
      if (weights_[i] == 0) continue;
      last = i;
      sum += weights_[i];
      if (sum >= wanted) break;
    }
    return last;
  }

 private:
  // Leaves the first `count`, which are the best ones.
  bool KeepDivided(size_t count) {
    for (size_t i = count; i < places_.size(); ++i) weights_[places_[i]] = 0;
    places_.resize(count);
    limited_ = true;
    return scores_.has_all() || absl::c_all_of(places_, [this](size_t place) {
             return logits_[place] > scores_.rest;  // Another token may be as good, and come first.
           });
  }
  // Reorders the tokens from `begin` to `end` so that those before `middle` are the best ones.
  void Divide(size_t begin, size_t middle, size_t end) {
    const auto at = [this](size_t i) { return places_.begin() + static_cast<std::ptrdiff_t>(i); };
    std::nth_element(at(begin), at(middle), at(end), [this](size_t a, size_t b) {
      return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
    });
  }
  double Sum(size_t begin, size_t end) const {
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += weights_[places_[i]];
    return sum;
  }

  const TokenScores& scores_;
  const absl::Span<const float> logits_;
  std::vector<size_t>& places_;
  std::vector<double>& weights_;  // Of all places; those that may not be drawn have 0.
  bool limited_ = false;          // Only the best tokens are left.
  double all_ = 0;                // Of scores that are not all: the sum of all tokens' weights.
};

// The token that the weights of all tokens reach, if it is known.
std::optional<ScoredToken> Reached(const TokenScores& scores, double temperature, double uniform) {
  const size_t place = scores.place(scores.reached);
  if (place == scores.logits.size()) return std::nullopt;
  const float logit = scores.logits[place];
  const double weight = std::exp((double{logit} - double{scores.most}) / temperature);
  if (!Reaches(scores.weights_before, weight, DrawnPart(uniform) * scores.weights,
               scores.weights)) {
    return std::nullopt;
  }
  return ScoredToken{scores.reached, scores.log_prob_of(logit)};
}

// Ties are those of log-probabilities, as in fairseq.
std::optional<ScoredToken> Best(const TokenScores& scores, absl::Span<const TokenId> excluded) {
  std::optional<ScoredToken> best;
  for (size_t i = 0; i < scores.logits.size(); ++i) {
    const float log_prob = scores.log_prob_of(scores.logits[i]);
    if (best.has_value() && log_prob <= best->log_prob) continue;
    if (!absl::c_linear_search(excluded, scores.id(i))) best = {scores.id(i), log_prob};
  }
  const bool known =
      scores.has_all() || (best.has_value() && best->log_prob > scores.log_prob_of(scores.rest));
  return known ? best : std::nullopt;
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

WantedScores WantedToChoose(const Sampling& sampling, absl::Span<const TokenId> excluded,
                            double uniform) {
  WantedScores wanted;
  wanted.tokens = excluded;
  int64_t best = 1;
  if (sampling.temperature > 0 && sampling.top_k > 0) {
    // A device that computes in 16 bits has many equal logits, at the last place above all.
    best = int64_t{sampling.top_k} + sampling.top_k / 8;
  } else if (sampling.temperature > 0) {
    wanted.weight_at = sampling.temperature;
    if (sampling.top_p == 1) {
      wanted.best = 0;
      wanted.part = DrawnPart(uniform);
      return wanted;
    }
    best = kNucleus;
  }
  // Excluded tokens may be among the best; one more shows that no other is as good.
  best += static_cast<int64_t>(excluded.size()) + 1;
  wanted.best = static_cast<int>(std::min<int64_t>(best, WantedScores::kAll));
  return wanted;
}

std::optional<ScoredToken> ChooseToken(const TokenScores& scores, const Sampling& sampling,
                                       absl::Span<const TokenId> excluded, double uniform) {
  if (sampling.temperature == 0) return Best(scores, excluded);
  const bool limited = sampling.top_k > 0 || sampling.top_p < 1;
  if (!limited && !scores.has_all()) return Reached(scores, sampling.temperature, uniform);
  // A step thread draws for all of its texts.
  thread_local std::vector<size_t> places;
  thread_local std::vector<double> weights;
  DrawnTokens tokens(scores, sampling.temperature, excluded, &places, &weights);
  if (places.empty()) return std::nullopt;
  if (sampling.top_k > 0 && !tokens.Keep(static_cast<size_t>(sampling.top_k))) return std::nullopt;
  if (sampling.top_p < 1 && !tokens.KeepPart(sampling.top_p)) return std::nullopt;
  const size_t place = tokens.At(uniform);
  return ScoredToken{scores.id(place), scores.log_prob_of(scores.logits[place])};
}

}  // namespace leapstream
