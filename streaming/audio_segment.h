#ifndef LEAPSTREAM_STREAMING_AUDIO_SEGMENT_H_
#define LEAPSTREAM_STREAMING_AUDIO_SEGMENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "model/api/speech.h"
#include "streaming/audio_source.h"
#include "streaming/segment_source.h"

namespace leapstream {

// A source of speech. A READ reads InputOf(...).SamplesPerRead() samples. At the source's end one
// READ reads the samples that are left, and one more reads nothing and finishes the source. Source
// tokens are encoder states.
class AudioSegment final : public SegmentSource {
 public:
  // `model` takes speech and must outlive this.
  AudioSegment(const SessionOptions& options, const ModelInfo& model,
               std::unique_ptr<AudioSource> audio);

  void Open() override;
  absl::Status Append(SourceInput source, SourcePosition at, int64_t* work) override;
  void Close() override;
  absl::StatusOr<Next> NextRead(int64_t* work) override;
  int due_reads() const override { return due_reads_; }
  SourceRows due_rows(SessionState* state) const override { return {state, {}, due_}; }
  void ForgetReads() override;
  Progress progress() const override;
  bool is_empty() const override { return finished_ && states() == 0; }
  int64_t encoder_rows() const override { return states(); }
  int64_t front_rows() const override {
    return int64_t{due_reads_} * input_.pre_decision_ratio;
  }
  double Delay(int source_read) const override;
  absl::Duration audio_given() const override;
  absl::Duration audio_begin() const override;
  SourceLeft Leave(int source_read) override;

 private:
  int64_t states() const { return input_.StatesOf(given_); }

  const ModelInfo& model_;
  const SpeechInput input_;  // With the session's READs.
  const int sample_rate_;  // The rate of the audio that is appended.
  const int read_steps_;   // The chunk of source of a READ, in steps; 0: one.
  const int64_t limit_;    // The most samples of a segment.
  const std::unique_ptr<AudioSource> audio_;
  std::optional<int64_t> begin_;  // The samples that came before the segment's first one.
  int64_t given_ = 0;  // The number of the segment's samples that were made due.
  int due_reads_ = 0;
  std::vector<float> due_;  // The samples of the READs that are due.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_AUDIO_SEGMENT_H_
