#ifndef LEAPSTREAM_CLIENT_CLI_PIPED_AUDIO_H_
#define LEAPSTREAM_CLIENT_CLI_PIPED_AUDIO_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/client.h"

namespace leapstream::client {

// Samples that come through a pipe: raw ones, or a WAV or AU file as it is being written. Knows
// nothing of where the bytes come from. Not thread-safe.
class PipedAudio {
 public:
  explicit PipedAudio(int raw_sample_rate) : sample_rate_(raw_sample_rate) {}

  // INVALID_ARGUMENT: a file of another kind, or with samples of another coding; what to do.
  absl::Status Append(absl::string_view bytes);
  // There are no more bytes. INVALID_ARGUMENT: there was no sample, or they end within one, or
  // within a header.
  absl::Status Finish();

  // The header has been read, or there is none. Only then the others mean something.
  bool is_known() const { return state_ == State::kSamples || state_ == State::kAfter; }
  bool is_raw() const { return raw_; }
  AudioFormat format() const { return raw_ ? AudioFormat::kPcmS16Le : AudioFormat::kPcmF32Le; }
  int sample_rate() const { return sample_rate_; }
  // Whole samples that have come since the last call: of one channel, the mean of all.
  std::string Take();

 private:
  enum class State { kUnknown, kChunks, kAuHeader, kSamples, kAfter };
  enum class Coding { kU8, kS8, kS16, kS24, kS32, kF32, kF64, kALaw, kMuLaw };

  absl::Status ReadHeader();
  absl::Status ReadChunk();
  absl::Status ReadFormat(absl::string_view content);
  absl::Status ReadAuHeader();
  absl::Status CheckFormat(uint64_t rate);
  // `declared`: bytes by the header; what was never filled in lasts until the end.
  void BeginSamples(uint64_t declared, bool until_end);
  size_t width() const;  // Of a sample, in bytes.
  double Decode(const char* sample) const;

  State state_ = State::kUnknown;
  std::string bytes_;    // That came and are not taken.
  uint64_t skipped_ = 0;  // Bytes of a chunk without a meaning that are still to come.
  bool raw_ = true;
  bool big_endian_ = false;
  bool has_format_ = false;
  bool any_ = false;  // A sample has come.
  Coding coding_ = Coding::kS16;
  uint64_t channels_ = 1;
  int sample_rate_;
  bool until_end_ = true;
  uint64_t left_ = 0;  // Bytes of samples, if not until the end.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_PIPED_AUDIO_H_
