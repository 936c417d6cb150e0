#ifndef LEAPSTREAM_SERVER_PCM_H_
#define LEAPSTREAM_SERVER_PCM_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "streaming/session.h"

namespace leapstream {

enum class PcmEncoding { kS16Le, kF32Le };

// The samples of a chunk of audio, as 16-bit integers as numbers: floats of [-1, 1] times 32768.
// INVALID_ARGUMENT: not whole samples, or a float that is not finite or far outside [-1, 1].
absl::StatusOr<AudioSamples> DecodePcm(absl::string_view bytes, PcmEncoding encoding);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_PCM_H_
