#include "client/cli/audio_sender.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/status.h"

namespace leapstream::client {
namespace {

constexpr int kDefaultSampleRate = 16000;  // Of StreamOptions.

size_t Width(AudioFormat format) { return format == AudioFormat::kPcmS16Le ? 2 : 4; }

std::vector<float> ToFloats(absl::string_view bytes, AudioFormat format) {
  const size_t width = Width(format);
  std::vector<float> samples(bytes.size() / width);
  for (size_t i = 0; i < samples.size(); ++i) {
    uint32_t bits = 0;
    for (size_t b = 0; b < width; ++b) {
      bits |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i * width + b])) << (8 * b);
    }
    if (width == 2) {
      samples[i] = static_cast<float>(static_cast<int16_t>(bits)) / 32768;
    } else {
      std::memcpy(&samples[i], &bits, sizeof(bits));
    }
  }
  return samples;
}

}  // namespace

AudioSender::AudioSender(Stream* stream, const StreamOptions& options, absl::Duration pause)
    : stream_(stream), format_(options.audio) {
  if (pause <= absl::ZeroDuration()) return;
  pauses_.emplace(options.sample_rate > 0 ? options.sample_rate : kDefaultSampleRate, pause);
}

absl::Status AudioSender::Send(absl::string_view samples) {
  const size_t width = Width(format_);
  // What the stream refuses must not move the detector on.
  if (!pauses_.has_value() || samples.size() % width != 0) return stream_->PushAudio(samples);
  size_t sent = 0;
  for (const size_t end : pauses_->Append(ToFloats(samples, format_))) {
    LEAPSTREAM_RETURN_IF_ERROR(stream_->PushAudio(samples.substr(sent, end * width - sent)));
    LEAPSTREAM_RETURN_IF_ERROR(stream_->EndSegment());
    sent = end * width;
  }
  return stream_->PushAudio(samples.substr(sent));
}

}  // namespace leapstream::client
