#ifndef LEAPSTREAM_MODEL_API_SPEECH_H_
#define LEAPSTREAM_MODEL_API_SPEECH_H_

#include <cstdint>

// How long things are in a model that takes speech: fairseq's convtransformer_simul_trans with
// fixed pre-decision (Ma et al. 2020). Samples are 16 kHz mono, 16-bit integers as numbers.
namespace leapstream {

inline constexpr int kSpeechSampleRate = 16000;
inline constexpr int kMelBins = 80;
inline constexpr int kFrameSamples = 400;       // 25 ms.
inline constexpr int kFrameShiftSamples = 160;  // 10 ms.
inline constexpr int kStateMilliseconds = 40;   // Two convolutions of stride 2.

// How p_choose's keys are pooled. It matters only before the first whole step.
enum class PreDecision { kAverage, kLast };

struct SpeechInput {
  int pre_decision_ratio = 7;  // Encoder states of a pre-decision step.
  PreDecision pre_decision_type = PreDecision::kAverage;

  // What one READ asks for.
  int SamplesPerRead() const {
    return pre_decision_ratio * kStateMilliseconds * (kSpeechSampleRate / 1000);
  }
  // Whole frames of so many samples: the tail that fills none is not padded.
  static int64_t Frames(int64_t samples) {
    if (samples < kFrameSamples) return 0;
    return (samples - (kFrameSamples - kFrameShiftSamples)) / kFrameShiftSamples;
  }
  static int64_t States(int64_t frames) { return (frames + 3) / 4; }

  // How many steps the policy sees in so many encoder states, of which there is one at least.
  int Steps(int states) const {
    if (states >= pre_decision_ratio) return states / pre_decision_ratio;
    // The reference does not pool a key that is too short, then cuts one entry off.
    if (pre_decision_type == PreDecision::kAverage || states < 3) return 1;
    return states - 1;
  }
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_SPEECH_H_
