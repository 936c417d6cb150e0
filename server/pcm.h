#ifndef LEAPSTREAM_SERVER_PCM_H_
#define LEAPSTREAM_SERVER_PCM_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "streaming/session.h"

namespace leapstream {

enum class PcmEncoding { kS16Le, kF32Le };

// The samples of a chunk of audio, on the scale of 16-bit integers: floats of [-1, 1] are
// multiplied by 32768. INVALID_ARGUMENT: the bytes are not whole samples, or a float is not finite
// or far outside [-1, 1].
absl::StatusOr<AudioSamples> DecodePcm(absl::string_view bytes, PcmEncoding encoding);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_PCM_H_
