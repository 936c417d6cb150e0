#ifndef LEAPSTREAM_TESTS_STREAMING_SOME_SCORES_H_
#define LEAPSTREAM_TESTS_STREAMING_SOME_SCORES_H_

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "model/api/translator.h"

namespace leapstream {

// The scores of a row that are wanted, and no others, as a device gives them. Of equal logits the
// highest ids are given, which a device may do.
class SomeScores {
 public:
  // all: of all tokens. Must outlive this.
  SomeScores(const TokenScores& all, const WantedScores& wanted) : scores_(all) {
    const size_t best = std::min(static_cast<size_t>(wanted.best), all.logits.size());
    if (best == all.logits.size()) return;
    ids_.resize(all.logits.size());
    std::iota(ids_.begin(), ids_.end(), 0);
    std::sort(ids_.begin(), ids_.end(), [&](TokenId a, TokenId b) {
      return all.logits[a] != all.logits[b] ? all.logits[a] > all.logits[b] : a > b;
    });
    ids_.resize(best);
    scores_.rest = best == 0 ? all.most : all.logits[ids_.back()];
    if (wanted.weight_at > 0) Weigh(all, wanted);
    ids_.insert(ids_.end(), wanted.tokens.begin(), wanted.tokens.end());
    std::sort(ids_.begin(), ids_.end());
    ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
    for (const TokenId id : ids_) logits_.push_back(all.logits[id]);
    scores_.ids = ids_;
    scores_.logits = logits_;
  }
  const TokenScores& scores() const { return scores_; }

 private:
  void Weigh(const TokenScores& all, const WantedScores& wanted) {
    std::vector<double> weights;
    for (size_t id = 0; id < all.logits.size(); ++id) {
      const bool without = std::count(wanted.tokens.begin(), wanted.tokens.end(), id) > 0;
      weights.push_back(
          without ? 0 : std::exp((double{all.logits[id]} - double{all.most}) / wanted.weight_at));
    }
    scores_.weights = std::accumulate(weights.rbegin(), weights.rend(), 0.0);
    if (wanted.part <= 0) return;
    double sum = 0;
    for (size_t id = 0; id < weights.size(); ++id) {
      scores_.reached = static_cast<TokenId>(id);
      scores_.weights_before = sum;
      sum += weights[id];
      if (sum >= wanted.part * scores_.weights) break;
    }
    ids_.push_back(scores_.reached);
  }

  TokenScores scores_;
  std::vector<TokenId> ids_;
  std::vector<float> logits_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_STREAMING_SOME_SCORES_H_
