#ifndef LEAPSTREAM_STREAMING_SAMPLING_H_
#define LEAPSTREAM_STREAMING_SAMPLING_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/api/translator.h"

namespace leapstream {

// How the next token is chosen. The fields are fairseq's --temperature, --sampling-topk,
// --sampling-topp and --seed; fairseq takes one of the two limits, here both may be set.
struct Sampling {
  double temperature = 0;  // The logits are divided by it; 0: the best token is taken.
  int top_k = 0;           // Only the best so many tokens; 0: all.
  // Only the best tokens up to the first that brings their probabilities, of those of top_k, to so
  // much together. 1: all.
  double top_p = 1;
  uint64_t seed = 0;
};

// INVALID_ARGUMENT: a field is out of its range.
absl::Status CheckSampling(const Sampling& sampling);

// A number in [0, 1) that depends on the seed and on the token's place in the text alone, so that a
// text that goes on elsewhere goes on with the same tokens. (SplitMix64, Steele et al. 2014.)
double UniformAt(uint64_t seed, int64_t place);

// The scores from which ChooseToken() of the same arguments can nearly always choose. `excluded`
// must outlive the result.
WantedScores WantedToChoose(const Sampling& sampling, absl::Span<const TokenId> excluded,
                            double uniform);

// Chooses the next token: a pure function of its arguments. `excluded` tokens have probability 0.
// uniform: in [0, 1); the token is the first of the vocabulary whose probabilities up to it reach
// that. A draw takes a few passes over the vocabulary, whatever is asked. The log-probability is
// the model's own, of temperature 1 and without limits. nullopt: the scores of all tokens might
// give another token than these; those of all always give one.
// REQUIRES: CheckSampling(), and that some token is not excluded.
std::optional<ScoredToken> ChooseToken(const TokenScores& scores, const Sampling& sampling,
                                       absl::Span<const TokenId> excluded, double uniform);

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SAMPLING_H_
