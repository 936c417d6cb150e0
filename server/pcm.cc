#include "server/pcm.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

constexpr float kFullScale = 32768;
// A larger float is an error. A client that sends integers as floats would get a bad translation,
// and nobody would notice why.
constexpr float kMaxFloat = 256;

uint32_t LittleEndian(const char* bytes, int count) {
  uint32_t value = 0;
  for (int i = 0; i < count; ++i) {
    value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return value;
}

}  // namespace

absl::StatusOr<AudioSamples> DecodePcm(absl::string_view bytes, PcmEncoding encoding) {
  const size_t width = encoding == PcmEncoding::kS16Le ? 2 : 4;
  if (bytes.size() % width != 0) {
    return InvalidRequest(
        "AUDIO_NOT_WHOLE_SAMPLES",
        absl::StrCat("a chunk of audio must be a multiple of ", width, " bytes, got ", bytes.size(),
                     "; keep the rest for the next chunk"));
  }
  AudioSamples samples(bytes.size() / width);
  for (size_t i = 0; i < samples.size(); ++i) {
    const uint32_t bits = LittleEndian(bytes.data() + i * width, static_cast<int>(width));
    if (encoding == PcmEncoding::kS16Le) {
      samples[i] = static_cast<int16_t>(static_cast<uint16_t>(bits));
      continue;
    }
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    if (!(std::abs(value) <= kMaxFloat)) {
      return InvalidRequest("AUDIO_NOT_FINITE",
                            absl::StrCat("float samples need full scale to be [-1, 1], got ", value,
                                         " at sample ", i, "; send integers as PCM_S16LE"));
    }
    samples[i] = kFullScale * value;
  }
  return samples;
}

}  // namespace leapstream
