#ifndef LEAPSTREAM_CLIENT_EVALUATION_AUDIO_CONTAINER_H_
#define LEAPSTREAM_CLIENT_EVALUATION_AUDIO_CONTAINER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace leapstream::client {

// The bytes at the beginning that tell a container from raw samples.
inline constexpr size_t kContainerBytes = 4096;

// The kind of file that begins with `head`, such as "WAV" or "FLAC"; "": no known kind, so these
// may be raw samples. `head` has kContainerBytes, or is all there is.
absl::string_view ContainerOf(absl::string_view head);
// Whether ContainerOf() of `head` and more bytes may differ from that of `head` alone.
bool NeedsMore(absl::string_view head);

// Bytes to be read instead of those of a file.
struct Patch {
  int64_t at = 0;
  std::string bytes;
};

// Reads up to `size` bytes at `at`; fewer only at the end.
using ReadAt = std::function<std::string(int64_t at, size_t size)>;

// Corrections of the sizes in the header of a recording of `size` bytes: those that its writer
// never filled in, or that are more than what is there. Knows WAV, RF64, AU, AIFF, W64, CAF and
// FLAC.
std::vector<Patch> MendSizes(const ReadAt& read, int64_t size);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_AUDIO_CONTAINER_H_
