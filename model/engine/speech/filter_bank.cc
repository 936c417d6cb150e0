#include "model/engine/speech/filter_bank.h"

#include <kiss_fftr.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>

namespace leapstream {
namespace {

constexpr double kPreemphasis = 0.97;
constexpr double kLowHertz = 20;
constexpr double kHighHertz = 8000;
constexpr float kFloor = 1.1920928955078125e-07f;  // 2^-23, torch.finfo(float32).eps.

double Mel(double hertz) { return 1127.0 * std::log(1.0 + hertz / 700.0); }

// KISS FFT's plan has a buffer in it, so each thread has its own.
kiss_fftr_cfg PlanOfThread() {
  struct Free {
    void operator()(kiss_fftr_state* plan) const { kiss_fftr_free(plan); }
  };
  thread_local const std::unique_ptr<kiss_fftr_state, Free> plan(
      kiss_fftr_alloc(FilterBank::kFftSize, 0, nullptr, nullptr));
  if (plan == nullptr) throw std::bad_alloc();
  return plan.get();  // NOLINT: the analyzer takes the thread's end for this function's.
}

}  // namespace

FilterBank::FilterBank(const SpeechConfig& config)
    : input_(config.input),
      window_(config.input.frame_samples),
      mel_banks_(config.mel_bins * (kFftSize / 2)) {
  const int frame = input_.frame_samples;
  for (int i = 0; i < frame; ++i) {  // The window is Kaldi's "povey".
    const double hann = 0.5 - 0.5 * std::cos(2 * M_PI * i / (frame - 1));
    window_[i] = static_cast<float>(std::pow(hann, 0.85));
  }
  const double low = Mel(kLowHertz);
  const double spacing = (Mel(kHighHertz) - low) / (config.mel_bins + 1);
  for (int b = 0; b < config.mel_bins; ++b) {
    const double left = low + b * spacing;
    Band band{kFftSize / 2, 0};
    for (int j = 0; j < kFftSize / 2; ++j) {
      const double mel = Mel(static_cast<double>(kSpeechSampleRate) / kFftSize * j);
      const double up = (mel - left) / spacing;
      const double weight = std::max(0.0, std::min(up, 2 - up));
      mel_banks_[b * (kFftSize / 2) + j] = static_cast<float>(weight);
      if (weight <= 0) continue;
      band.first = std::min(band.first, j);
      band.count = j + 1 - band.first;
    }
    bands_.push_back(band);
  }
}

void FilterBank::Window(const float* samples, float* windowed) const {
  const int frame = input_.frame_samples;
  double sum = 0;
  for (int i = 0; i < frame; ++i) sum += samples[i];
  const auto mean = static_cast<float>(sum / frame);
  float last = samples[0] - mean;
  for (int i = 0; i < frame; ++i) {
    const float centred = samples[i] - mean;
    windowed[i] = (centred - static_cast<float>(kPreemphasis) * last) * window_[i];
    last = centred;
  }
  std::fill(windowed + frame, windowed + kFftSize, 0.0f);
}

void FilterBank::Power(const float* windowed, float* power) {
  kiss_fft_cpx spectrum[kFftBins];
  kiss_fftr(PlanOfThread(), windowed, spectrum);
  for (int j = 0; j < kFftBins; ++j) {
    power[j] = spectrum[j].r * spectrum[j].r + spectrum[j].i * spectrum[j].i;
  }
}

void FilterBank::LogMel(const float* power, float* log_mel) const {
  for (int b = 0; b < bins(); ++b) {
    const float* weights = mel_banks_.data() + b * (kFftSize / 2);
    float energy = 0;
    for (int j = bands_[b].first; j < bands_[b].first + bands_[b].count; ++j) {
      energy += weights[j] * power[j];
    }
    log_mel[b] = std::log(std::max(energy, kFloor));
  }
}

void FrameBuffer::Append(absl::Span<const float> samples, const FilterBank& bank,
                         std::vector<float>* frames) {
  residual_.insert(residual_.end(), samples.begin(), samples.end());
  const int64_t count = bank.input().FramesOf(residual());
  const int shift = bank.input().frame_shift_samples;
  const auto before = static_cast<int64_t>(frames->size());
  frames->resize(before + count * bank.bins());
  for (int64_t f = 0; f < count; ++f) {
    float windowed[FilterBank::kFftSize];
    float power[FilterBank::kFftBins];
    bank.Window(residual_.data() + f * shift, windowed);
    FilterBank::Power(windowed, power);
    bank.LogMel(power, frames->data() + before + f * bank.bins());
  }
  residual_.erase(residual_.begin(), residual_.begin() + count * shift);
}

}  // namespace leapstream
