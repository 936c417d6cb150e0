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
    ids_.insert(ids_.end(), wanted.tokens.begin(), wanted.tokens.end());
    std::sort(ids_.begin(), ids_.end());
    ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
    for (const TokenId id : ids_) logits_.push_back(all.logits[id]);
    scores_.ids = ids_;
    scores_.logits = logits_;
    if (wanted.mass_at <= 0) return;
    for (const float logit : all.logits)
      scores_.mass += std::exp((logit - all.most) / wanted.mass_at);
    scores_.mass *= 1 + WantedScores::kMassTolerance / 2;
  }
  const TokenScores& scores() const { return scores_; }

 private:
  TokenScores scores_;
  std::vector<TokenId> ids_;
  std::vector<float> logits_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_STREAMING_SOME_SCORES_H_
