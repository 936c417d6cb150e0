#ifndef LEAPSTREAM_MODEL_API_SPEECH_H_
#define LEAPSTREAM_MODEL_API_SPEECH_H_

#include <cstdint>

namespace leapstream {

// The sample rate of models, in Hz. Samples are mono, and have the values of 16-bit integers.
inline constexpr int kSpeechSampleRate = 16000;

// The ways in which the encoder states of a pre-decision step become one key of p_choose. Which it
// is matters only before the first whole step.
enum class PreDecision { kAverage, kLast };

// The durations of a model that takes speech: fairseq's convtransformer_simul_trans with
// fixed pre-decision (Ma et al. 2020), by default.
struct SpeechInput {
  int frame_samples = 400;        // 25 ms.
  int frame_shift_samples = 160;  // 10 ms.
  int frames_per_state = 4;       // Two convolutions of stride 2.
  int pre_decision_ratio = 7;     // The encoder states of one pre-decision step.
  PreDecision pre_decision_type = PreDecision::kAverage;

  int SamplesPerState() const { return frames_per_state * frame_shift_samples; }
  int MillisecondsPerState() const { return SamplesPerState() / (kSpeechSampleRate / 1000); }
  // The samples that one READ asks for.
  int SamplesPerRead() const { return pre_decision_ratio * SamplesPerState(); }
  // The number of whole frames in so many samples. The samples left at the end are not padded.
  int64_t FramesOf(int64_t samples) const {
    if (samples < frame_samples) return 0;
    return (samples - (frame_samples - frame_shift_samples)) / frame_shift_samples;
  }
  // The number of encoder states that so many samples give.
  int64_t StatesOf(int64_t samples) const {
    return (FramesOf(samples) + frames_per_state - 1) / frames_per_state;
  }

  // The number of steps that the policy sees in so many encoder states, at least one of each.
  int Steps(int states) const {
    if (states >= pre_decision_ratio) return states / pre_decision_ratio;
    // fairseq does not pool keys that are too short for a step, and cuts one of them off.
    if (pre_decision_type == PreDecision::kAverage || states < 3) return 1;
    return states - 1;
  }
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_SPEECH_H_
