#ifndef LEAPSTREAM_CLIENT_EVALUATION_PIPED_AUDIO_H_
#define LEAPSTREAM_CLIENT_EVALUATION_PIPED_AUDIO_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/evaluation/audio_file.h"
#include "client/types.h"

namespace leapstream::client {

// Samples that come through a pipe: raw ones, or a WAV or AU file as it is being written. Knows
// nothing of the source of the bytes. Not thread-safe.
class PipedAudio {
 public:
  // `channel`: see AudioFile.
  explicit PipedAudio(int raw_sample_rate, int channel = kAllChannels)
      : channel_(channel), sample_rate_(raw_sample_rate) {}

  // INVALID_ARGUMENT: a file of another kind, with samples of another coding, or without the
  // channel; the message says what to do.
  absl::Status Append(absl::string_view bytes);
  // Ends the input. INVALID_ARGUMENT: there was no sample, or the bytes end within a sample or a
  // header.
  absl::Status Finish();

  // Whether the header has been read, or there is none. The getters below mean something only then.
  bool is_known() const { return state_ == State::kSamples || state_ == State::kAfter; }
  bool is_raw() const { return raw_; }
  AudioFormat format() const { return raw_ ? AudioFormat::kPcmS16Le : AudioFormat::kPcmF32Le; }
  int sample_rate() const { return sample_rate_; }
  // Returns the whole samples that have come since the last call, of the channel.
  std::string Take();

 private:
  enum class State { kUnknown, kChunks, kAuHeader, kSamples, kAfter };
  enum class Coding { kU8, kS8, kS16, kS24, kS32, kF32, kF64, kALaw, kMuLaw };

  absl::Status ReadHeader();
  absl::Status ReadChunk();
  absl::Status ReadFormat(absl::string_view content);
  absl::Status ReadAuHeader();
  absl::Status CheckFormat(uint64_t rate);
  // `declared`: bytes by the header. With `until_end`, which is for a size that was never filled
  // in, the samples last until the end.
  void BeginSamples(uint64_t declared, bool until_end);
  size_t width() const;  // Bytes of a sample.
  double Decode(const char* sample) const;

  const int channel_;
  State state_ = State::kUnknown;
  std::string bytes_;     // Bytes that came and are not taken.
  uint64_t skipped_ = 0;  // Bytes still to come of a chunk that means nothing here.
  bool raw_ = true;
  bool big_endian_ = false;
  bool has_format_ = false;
  bool any_ = false;  // A sample has come.
  Coding coding_ = Coding::kS16;
  uint64_t channels_ = 1;
  int sample_rate_;
  bool until_end_ = true;
  uint64_t left_ = 0;  // Bytes of samples still to come, if until_end_ is false.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_PIPED_AUDIO_H_
