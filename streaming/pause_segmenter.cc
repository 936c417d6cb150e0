#include "streaming/pause_segmenter.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

constexpr absl::Duration kFrame = absl::Milliseconds(10);
constexpr double kFullScale = 32768;

}  // namespace

absl::Status PauseRule::Check() const {
  if (duration != absl::ZeroDuration() && (duration < kMinDuration || duration > kMaxDuration)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a pause that ends a segment needs to last from ",
                     absl::FormatDuration(kMinDuration), " to ", absl::FormatDuration(kMaxDuration),
                     ", got ", absl::FormatDuration(duration), "; 0 turns it off"));
  }
  if (!(threshold_db >= kMinThresholdDb && threshold_db <= kMaxThresholdDb)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the threshold of a pause needs to be in [", kMinThresholdDb, ", ",
                     kMaxThresholdDb, "] dB of full scale, got ", threshold_db,
                     "; leave it unset for ", PauseRule().threshold_db));
  }
  return absl::OkStatus();
}

PauseSegmenter::PauseSegmenter(const PauseRule& rule, int sample_rate, SourcePosition from,
                               int drops)
    : frame_(static_cast<size_t>(sample_rate / 100)),
      lead_in_(kLeadIn / kFrame),
      pause_(rule.duration / kFrame),
      quiet_energy_(kFullScale * kFullScale * std::pow(10, rule.threshold_db / 10) *
                    static_cast<double>(frame_)),
      skip_(from.samples),
      drops_(drops),
      restart_(from),
      mark_(from) {}

std::vector<PauseSegmenter::Part> PauseSegmenter::Append(int64_t chunks,
                                                         const AudioSamples& samples) {
  std::vector<Part> parts;
  const auto give = [&](bool ends_segment, SourcePosition end) {
    AudioSamples given = std::exchange(held_, {});
    if (drops_ == 0 && (ends_segment || !given.empty())) {
      parts.push_back({std::move(given), ends_segment, end});
    }
  };
  for (size_t i = 0; i < samples.size(); ++i) {
    if (skip_ > 0) {
      --skip_;
      continue;
    }
    if (in_frame_ == 0) frame_begin_ = {chunks, static_cast<int64_t>(i)};
    held_.push_back(samples[i]);
    energy_ += static_cast<double>(samples[i]) * samples[i];
    if (++in_frame_ < frame_) continue;
    const bool loud = energy_ >= quiet_energy_;
    in_frame_ = 0;
    energy_ = 0;
    quiet_ = loud ? 0 : quiet_ + 1;
    in_segment_ = in_segment_ || loud;
    if (loud) last_loud_ = frame_begin_;
    const auto after = static_cast<int64_t>(i + 1);
    const SourcePosition here =
        i + 1 == samples.size() ? SourcePosition{chunks + 1, 0} : SourcePosition{chunks, after};
    if (in_segment_) {
      if (quiet_ < pause_) continue;
      give(true, here);
      Restart(here);
      continue;
    }
    const auto excess =
        static_cast<int64_t>(held_.size()) - lead_in_ * static_cast<int64_t>(frame_);
    if (excess > 0) held_.erase(held_.begin(), held_.begin() + excess);
    if (quiet_ < lead_in_) continue;
    // From here on a new segmenter that began at mark_ would hold the same samples as this one.
    restart_ = std::exchange(mark_, here);
    quiet_ = 0;
  }
  if (in_segment_) give(false, {});
  return parts;
}

bool PauseSegmenter::EndSegment(int64_t chunks) {
  if (!in_segment_) return false;
  const bool dropped = drops_ > 0;
  Restart({chunks, 0});
  return !dropped;
}

std::optional<SourcePosition> PauseSegmenter::restart() const {
  if (in_segment_ || drops_ > 0) return std::nullopt;
  return restart_;
}

std::optional<SourcePosition> PauseSegmenter::last_loud() const {
  if (!in_segment_) return std::nullopt;
  return last_loud_;
}

void PauseSegmenter::Restart(SourcePosition at) {
  in_frame_ = 0;
  energy_ = 0;
  in_segment_ = false;
  if (drops_ > 0) --drops_;
  quiet_ = 0;
  restart_ = mark_ = at;
}

}  // namespace leapstream
