#include "streaming/pause_segmenter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

constexpr absl::Duration kFrame = absl::Milliseconds(10);
constexpr double kFullScale = 32768;

// The frames of a segment that is not longer than `limit`. One is kept back, since resampling may
// give a sample more.
int64_t FramesOf(absl::Duration limit) {
  if (limit == absl::InfiniteDuration()) return std::numeric_limits<int64_t>::max();
  return std::max<int64_t>(limit / kFrame - 1, 2);
}

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

PauseSegmenter::PauseSegmenter(const PauseRule& rule, const Input& input, const Start& start)
    : frame_(static_cast<size_t>(input.sample_rate / 100)),
      pause_(rule.duration / kFrame),
      quiet_energy_(kFullScale * kFullScale *
                    std::pow(10, (rule.on() ? rule.threshold_db : kSilenceDb) / 10) *
                    static_cast<double>(frame_)),
      limit_(FramesOf(input.limit)),
      search_(std::min(int64_t{kSearch / kFrame}, limit_ / 2)),
      stretch_(static_cast<size_t>(
          std::max<int64_t>(std::min(int64_t{kStretch / kFrame}, search_ / 2), 1))),
      lead_in_(rule.on() ? std::min(int64_t{kLeadIn / kFrame}, search_) : search_),
      skip_(static_cast<size_t>(start.at.samples)),
      drops_(start.drops),
      begun_(start.begun),
      first_(start.at.audio),
      restart_(start.at),
      mark_(start.at) {}

std::vector<PauseSegmenter::Part> PauseSegmenter::Append(int64_t chunks,
                                                         const AudioSamples& samples) {
  std::vector<Part> parts;
  const size_t skipped = std::min(skip_, samples.size());
  skip_ -= skipped;
  held_.insert(held_.end(), samples.begin() + static_cast<ptrdiff_t>(skipped), samples.end());
  begun_ = begun_ || skipped < samples.size();
  while (looked_ < held_.size()) {
    const float sample = held_[looked_++];
    energy_ += static_cast<double>(sample) * sample;
    if (++in_frame_ < frame_) continue;
    in_frame_ = 0;
    Frame frame = {std::exchange(energy_, 0), {}};
    if (!seen_.empty()) {
      frame.end = seen_.front();
      seen_.pop_front();
    } else {
      const size_t left = held_.size() - looked_;  // All of them are of this chunk.
      if (left == 0) {
        frame.end.chunks = chunks + 1;
      } else {
        frame.end = {chunks, static_cast<int64_t>(samples.size() - left)};
      }
      frame.end.audio = first_ + static_cast<int64_t>(looked_);
    }
    Take(frame, &parts);
  }
  if (in_segment_ && before_limit_.empty() && !held_.empty()) {
    Part part = Give(held_.size());
    if (!part.samples.empty()) parts.push_back(std::move(part));
  }
  return parts;
}

void PauseSegmenter::Take(const Frame& frame, std::vector<Part>* parts) {
  const bool loud = frame.energy >= quiet_energy_;
  quiet_ = loud ? 0 : quiet_ + 1;
  ++frames_;
  if (!in_segment_ && !loud) return TakeQuiet(frame.end, parts);
  if (!in_segment_) {
    in_segment_ = true;
    const size_t most = (static_cast<size_t>(lead_in_) + 1) * frame_;
    if (looked_ > most) Drop(looked_ - most);
    frames_ = static_cast<int64_t>(looked_ / frame_);
  }
  if (pause_ > 0 && quiet_ >= pause_) {
    EndAt(frame.end, false, parts);
  } else if (frames_ > limit_ - search_) {
    TakeBeforeLimit(frame, parts);
  }
}

void PauseSegmenter::TakeQuiet(SourcePosition here, std::vector<Part>* parts) {
  const size_t most = static_cast<size_t>(lead_in_) * frame_;
  if (looked_ >= 2 * most) Drop(looked_ - most);  // Seldom, since all others have to move.
  if (pause_ == 0 && frames_ >= limit_) {
    Drop(looked_);
    return EndAt(here, true, parts);
  }
  if (quiet_ < lead_in_) return;
  // From here on a new segmenter that began at mark_ would hold the same samples as this one.
  restart_ = std::exchange(mark_, here);
  quiet_ = 0;
}

void PauseSegmenter::TakeBeforeLimit(const Frame& frame, std::vector<Part>* parts) {
  before_limit_.push_back(frame);
  if (before_limit_.size() >= stretch_) {
    double energy = 0;
    for (size_t i = before_limit_.size() - stretch_; i < before_limit_.size(); ++i) {
      energy += before_limit_[i].energy;
    }
    if (cut_ == 0 || energy < quietest_) {
      quietest_ = energy;
      cut_ = before_limit_.size() - stretch_ / 2;
    }
  }
  const bool is_quiet = cut_ > 0 && quietest_ < quiet_energy_ * static_cast<double>(stretch_);
  if (frames_ < limit_ && !is_quiet) return;
  for (size_t i = cut_; i < before_limit_.size(); ++i) seen_.push_back(before_limit_[i].end);
  EndAt(before_limit_[cut_ - 1].end, true, parts);
}

PauseSegmenter::Part PauseSegmenter::Give(size_t count) {
  Part part;
  part.begin.audio = first_;
  const auto end = held_.begin() + static_cast<ptrdiff_t>(count);
  if (drops_ == 0) part.samples.assign(held_.begin(), end);
  Drop(count);
  return part;
}

void PauseSegmenter::Drop(size_t count) {
  if (count == held_.size()) {
    held_ = AudioSamples();
  } else {
    held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(count));
  }
  first_ += static_cast<int64_t>(count);
  looked_ -= std::min(looked_, count);
}

void PauseSegmenter::EndAt(SourcePosition end, bool is_cut, std::vector<Part>* parts) {
  Part part = Give(static_cast<size_t>(end.audio - first_));
  part.ends_segment = true;
  part.end = end;
  part.is_cut = is_cut;
  if (drops_ == 0) parts->push_back(std::move(part));
  Restart(end);
}

std::optional<PauseSegmenter::Part> PauseSegmenter::EndSegment(int64_t chunks) {
  if (pause_ > 0 && !in_segment_) return std::nullopt;
  const SourcePosition end = EndOfChunks(chunks);
  if (!in_segment_) Drop(held_.size());
  std::vector<Part> parts;
  EndAt(end, false, &parts);
  begun_ = false;
  if (!parts.empty()) return std::move(parts.back());
  if (pause_ > 0) return std::nullopt;
  Part part;
  part.ends_segment = true;
  part.end = end;
  return part;
}

std::optional<PauseSegmenter::Part> PauseSegmenter::Finish(int64_t chunks) {
  if (pause_ > 0 ? !in_segment_ : !begun_) return std::nullopt;
  return EndSegment(chunks);
}

std::optional<SourcePosition> PauseSegmenter::restart() const {
  if (in_segment_ || drops_ > 0) return std::nullopt;
  return restart_;
}

void PauseSegmenter::Restart(SourcePosition at) {
  looked_ = 0;
  in_frame_ = 0;
  energy_ = 0;
  in_segment_ = false;
  if (drops_ > 0) --drops_;
  frames_ = 0;
  quiet_ = 0;
  before_limit_.clear();
  cut_ = 0;
  restart_ = mark_ = at;
}

}  // namespace leapstream
