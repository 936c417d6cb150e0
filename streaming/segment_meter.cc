#include "streaming/segment_meter.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace leapstream {

void SegmentMeter::Begin(SteadyTime now) {
  opened_ = now;
  timing_ = metrics::SegmentTiming();
  word_timing_ = metrics::SegmentTiming();
  target_words_ = metrics::TargetWords(metrics::TargetUnit::kWordOrCharacter);
  stats_ = SegmentStats();
}

void SegmentMeter::RecordToken(double delay) {
  timing_.delays.push_back(delay);
  timing_.elapsed.push_back(delay + Computed());
}

void SegmentMeter::RecordText(absl::string_view text, double delay) {
  for (const metrics::TimedWord& word : target_words_.Append(text, delay, Computed())) {
    word_timing_.delays.push_back(word.source_read);
    word_timing_.elapsed.push_back(word.source_read + word.elapsed);
  }
}

SegmentStats SegmentMeter::Complete(const SourceFigures& source, int target_tokens,
                                    absl::string_view unsent) {
  const bool is_speech = source.words == nullptr;
  stats_.source_tokens = source.tokens;
  stats_.target_tokens = target_tokens;
  stats_.source_audio = source.audio;
  if (is_speech) timing_.durations = word_timing_.durations = metrics::kSpeechDurations;
  timing_.source_length = source.length;
  stats_.lagging = metrics::MeasureLagging(timing_);
  RecordText(absl::StrCat(unsent, " "), source.length);
  MeasureWords(source);
  if (is_speech) {
    stats_.computation_aware = metrics::MeasureComputationAwareLagging(timing_);
    stats_.words_computation_aware = metrics::MeasureComputationAwareLagging(word_timing_);
  }
  ++summary_.segments;
  summary_.source_tokens += stats_.source_tokens;
  summary_.target_tokens += stats_.target_tokens;
  SegmentStats& totals = summary_.totals;
  totals.source_audio += stats_.source_audio;
  totals.lagging.al += stats_.lagging.al;
  totals.lagging.laal += stats_.lagging.laal;
  totals.compute += stats_.compute;
  totals.queue += stats_.queue;
  if (summary_.segments == 1) totals.first_token = stats_.first_token;
  return stats_;
}

void SegmentMeter::MeasureWords(const SourceFigures& source) {
  word_timing_.source_length = source.length;
  if (source.words != nullptr) {
    if (source.words->words() == 0) return;
    const int read = source.tokens - (source.finished ? 1 : 0);  // </s> belongs to no word.
    for (double& delay : word_timing_.delays) {
      delay = source.words->WordsRead(std::min(static_cast<int>(delay), read));
    }
    word_timing_.source_length = source.words->WordsRead(read);
  }
  stats_.words = metrics::MeasureLagging(word_timing_);
}

SessionSummary SegmentMeter::Summary() const {
  SessionSummary summary = summary_;
  summary.totals.source_tokens = static_cast<int>(summary.source_tokens);
  summary.totals.target_tokens = static_cast<int>(summary.target_tokens);
  if (summary.segments > 0) {
    summary.totals.lagging.al /= static_cast<double>(summary.segments);
    summary.totals.lagging.laal /= static_cast<double>(summary.segments);
  }
  return summary;
}

}  // namespace leapstream
