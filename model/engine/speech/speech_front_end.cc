#include "model/engine/speech/speech_front_end.h"

#include <algorithm>

namespace leapstream {
namespace {

// The most frames that are normalised at once.
constexpr int64_t kNormalisedTogether = 256;

}  // namespace

SpeechFrontEnd::State::State(const State& other)
    : samples_(other.samples_),
      frame_count_(other.frame_count_),
      frames_(other.frames_),
      sums_(other.sums_),
      stale_(other.stale_),
      subsampled_(other.subsampled_->Clone()) {}

void SpeechFrontEnd::State::Reset() {
  samples_.Reset();
  frame_count_ = 0;
  frames_.clear();
  sums_ = {};
  stale_ = false;
  subsampled_->Reset();
}

int64_t SpeechFrontEnd::State::bytes() const {
  const size_t floats = frames_.capacity() + sums_.values.capacity() + sums_.squares.capacity();
  return static_cast<int64_t>(sizeof(State) + floats * sizeof(float)) + samples_.bytes() +
         subsampled_->bytes();
}

SpeechFrontEnd::SpeechFrontEnd(const Parameters& parameters, const SpeechConfig& config,
                               int64_t width)
    : frames_per_row_(config.input.frames_per_state),
      bank_(config),
      normaliser_(config),
      subsampler_(MakeSubsampler(parameters, config, width)) {}

std::unique_ptr<SpeechFrontEnd::State> SpeechFrontEnd::NewState() const {
  auto state = std::make_unique<State>();
  state->subsampled_ = subsampler_->NewState();
  return state;
}

void SpeechFrontEnd::Append(absl::Span<const float> samples, State& state) const {
  const size_t before = state.frames_.size();
  state.samples_.Append(samples, bank_, &state.frames_);
  const auto added = absl::MakeConstSpan(state.frames_).subspan(before);
  if (added.empty()) return;
  state.frame_count_ += static_cast<int64_t>(added.size()) / bank_.bins();
  state.stale_ = true;
  if (normaliser_.changes()) normaliser_.Add(added, &state.sums_);
}

void SpeechFrontEnd::Update(State& state, Workspace& scratch, const Observer& observer) const {
  if (!state.stale_) return;
  state.stale_ = false;
  std::vector<float> shown;
  if (normaliser_.changes()) state.subsampled_->Reset();
  const Workspace::Scope scope(scratch);
  const int64_t block = kNormalisedTogether * bank_.bins();
  const auto count = static_cast<int64_t>(state.frames_.size());
  float* const normalised = scratch.Floats(std::min(block, count));
  for (int64_t begin = 0; begin < count; begin += block) {
    const int64_t size = std::min(block, count - begin);
    std::copy_n(state.frames_.data() + begin, size, normalised);
    normaliser_.Apply(state.sums_, absl::MakeSpan(normalised, size));
    if (observer) shown.insert(shown.end(), normalised, normalised + size);
    subsampler_->Append(absl::MakeConstSpan(normalised, size), *state.subsampled_, scratch,
                        observer);
  }
  if (observer) observer("features", 0, {{count / bank_.bins(), bank_.bins()}, shown});
  if (!normaliser_.changes()) state.frames_.clear();
}

}  // namespace leapstream
