#include "streaming/calibration/calibration.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>

#include "model/api/translator.h"
#include "streaming/draft_rules.h"
#include "streaming/policy.h"

namespace leapstream {
namespace {

constexpr double kRightEnough = 0.9;
constexpr int kMostFrames = 10;
constexpr float kLeastThreshold = 0.01f;

struct Counts {
  int64_t right = 0;
  int64_t wrong = 0;
};

// The pairs of a right and a wrong try, and those in which the right one's number is larger.
struct Pairs {
  double larger = 0;
  double all = 0;

  double Area() const { return all > 0 ? larger / all : 0.5; }
  void Add(const std::map<int, Counts>& by_number) {
    double wrong_below = 0, right = 0, wrong = 0;
    for (const auto& [number, counts] : by_number) {
      const auto own = static_cast<double>(counts.wrong);
      larger += static_cast<double>(counts.right) * (wrong_below + own / 2);
      wrong_below += own;
      right += static_cast<double>(counts.right);
      wrong += own;
    }
    all += right * wrong;
  }
};

void Count(std::map<int, Counts>* counts, int number, bool right) {
  Counts& own = (*counts)[number];
  ++(right ? own.right : own.wrong);
}

// The distance between the end of what was read and where the head looks; kNoSource: not known.
int DistanceOf(const Tries& tries, const Try& each, const HeadScore& head) {
  const auto place = static_cast<size_t>(head.layer * (tries.heads + 1) + head.head);
  if (place >= each.attended.size() || each.attended[place] == kNoSource) return kNoSource;
  return each.source_read - 1 - each.attended[place];
}

// `number` gives that of a try; kNoSource: it has none.
void Measure(const Tries& tries, const std::function<int(const Try&)>& number, HeadScore* score) {
  std::map<int, Counts> all;
  std::map<int, std::map<int, Counts>> by_lag;
  for (const Try& each : tries.tries) {
    const int own = number(each);
    if (own == kNoSource) continue;
    Count(&all, own, each.right);
    Count(&by_lag[each.lag()], own, each.right);
  }
  Pairs pairs, within;
  pairs.Add(all);
  for (const auto& [lag, counts] : by_lag) within.Add(counts);
  score->area = pairs.Area();
  score->area_within_lag = within.Area();
}

}  // namespace

std::vector<HeadScore> ScoreHeads(const Tries& tries) {
  std::vector<HeadScore> scores;
  for (int layer = 0; layer < tries.layers; ++layer) {
    for (int head = 0; head <= tries.heads; ++head) {
      HeadScore score{layer, head};
      const auto distance = [&](const Try& each) { return DistanceOf(tries, each, score); };
      const bool known = std::any_of(tries.tries.begin(), tries.tries.end(),
                                     [&](const Try& each) { return distance(each) != kNoSource; });
      if (!known) continue;
      Measure(tries, distance, &score);
      scores.push_back(score);
    }
  }
  std::stable_sort(scores.begin(), scores.end(), [](const HeadScore& a, const HeadScore& b) {
    return a.area > b.area;
  });
  return scores;
}

HeadScore ScoreLag(const Tries& tries) {
  HeadScore score;
  // Never negative, so that no lag is kNoSource.
  Measure(tries, [](const Try& each) { return each.lag() + (1 << 20); }, &score);
  return score;
}

std::vector<FrameScore> ScoreFrames(const Tries& tries, const HeadScore& head) {
  std::vector<FrameScore> scores;
  for (int frames = 0; frames <= kMostFrames; ++frames) {
    int64_t known = 0, written = 0, right = 0;
    for (const Try& each : tries.tries) {
      const int distance = DistanceOf(tries, each, head);
      if (distance == kNoSource) continue;
      ++known;
      Decision decision;
      decision.attended = each.source_read - 1 - distance;
      if (IsUnsafe(AlignAtt{frames}, decision, each.source_read)) continue;
      ++written;
      if (each.right) ++right;
    }
    FrameScore score;
    score.frames = frames;
    score.written = known > 0 ? static_cast<double>(written) / static_cast<double>(known) : 0;
    score.right = written > 0 ? static_cast<double>(right) / static_cast<double>(written) : 1;
    scores.push_back(score);
  }
  return scores;
}

int ChooseFrames(const std::vector<FrameScore>& scores) {
  const FrameScore* best = nullptr;
  for (const FrameScore& score : scores) {
    if (score.frames < 1 || score.written == 0) continue;
    if (score.right >= kRightEnough) return score.frames;
    if (best == nullptr || score.right > best->right) best = &score;
  }
  return best != nullptr ? best->frames : 1;
}

std::vector<LagScore> ScoreLags(const Tries& tries, int most) {
  std::vector<LagScore> scores;
  for (int lag = 1; lag <= most; ++lag) {
    std::vector<float> log_probs;
    int64_t right = 0;
    for (const Try& each : tries.tries) {
      if (each.lag() != lag) continue;
      log_probs.push_back(each.log_prob);
      if (each.right) ++right;
    }
    if (log_probs.empty()) continue;
    LagScore score;
    score.lag = lag;
    score.tries = static_cast<int>(log_probs.size());
    score.right = static_cast<double>(right) / static_cast<double>(log_probs.size());
    // As many tries have this probability or more as are right.
    std::sort(log_probs.begin(), log_probs.end(), std::greater<float>());
    score.threshold =
        right == 0 ? 1 : std::exp(static_cast<double>(log_probs[static_cast<size_t>(right - 1)]));
    scores.push_back(score);
  }
  return scores;
}

std::vector<float> ChooseThresholds(const std::vector<LagScore>& scores, int min_k, int max_k) {
  double weight = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (const LagScore& score : scores) {
    const double w = score.tries, lag = score.lag;
    weight += w;
    x += w * lag;
    y += w * score.threshold;
    xx += w * lag * lag;
    xy += w * lag * score.threshold;
  }
  const double spread = weight * xx - x * x;
  const double slope = spread > 0 ? (weight * xy - x * y) / spread : 0;
  const double start = (y - slope * x) / weight;
  const auto at = [&](int lag) {
    return std::clamp(static_cast<float>(start + slope * lag), kLeastThreshold, 1.0f);
  };
  return {at(min_k), at(max_k)};
}

}  // namespace leapstream
