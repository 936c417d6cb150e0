#ifndef LEAPSTREAM_STREAMING_CALIBRATION_CALIBRATION_H_
#define LEAPSTREAM_STREAMING_CALIBRATION_CALIBRATION_H_

#include <vector>

#include "streaming/calibration/tries.h"

// The numbers of policies that follow from tries: pure functions.
//
// A policy should write a token when more source would not change it, that is when the try is right.
// AlignAtt decides so by one number, the distance between the end of what was read and the place
// to which heads attend. So the best heads are those whose distance tells right tries from wrong
// ones best, and no word alignment is needed to find them.
namespace leapstream {

// How well heads tell right tries from wrong ones.
struct HeadScore {
  int layer = 0;
  int head = 0;  // Tries::heads: all of the layer's.
  // The probability that a right try has a larger distance than a wrong one, with a half for equal
  // distances (the area under the ROC curve). 0.5: the distance says nothing.
  double area = 0.5;
  // The area among tries of one lag alone. 0.5: the head says no more than the lag, which
  // wait-k uses.
  double area_within_lag = 0.5;
};

// The scores of each head, and of all heads of each layer together: the largest area first. Heads
// whose places are not known have none.
std::vector<HeadScore> ScoreHeads(const Tries& tries);
// The score of the lag itself.
HeadScore ScoreLag(const Tries& tries);

// The result of AlignAtt with so many frames.
struct FrameScore {
  int frames = 0;
  double written = 0;  // The share of tries that it writes.
  double right = 0;    // The share of right tries of these; 1: there are none.
};
// The scores of 0 to 10 frames.
std::vector<FrameScore> ScoreFrames(const Tries& tries, const HeadScore& head);
// The fewest frames, but one at least, with which nine of ten written tokens are right; if there
// are none, those with which most are.
int ChooseFrames(const std::vector<FrameScore>& scores);

// The tries of one lag.
struct LagScore {
  int lag = 0;
  int tries = 0;
  double right = 0;      // The share of right tries.
  double threshold = 1;  // The quantile of the best token's probability above which so many are.
};
// The scores of the lags 1 to `most` that have tries.
std::vector<LagScore> ScoreLags(const Tries& tries, int most);
// The two thresholds of AdaptiveWaitK: the ends of the straight line that fits the thresholds of
// all lags best, each weighted with its tries. REQUIRES: !scores.empty().
std::vector<float> ChooseThresholds(const std::vector<LagScore>& scores, int min_k, int max_k);

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_CALIBRATION_CALIBRATION_H_
