#ifndef LEAPSTREAM_BASE_SMALL_FILE_H_
#define LEAPSTREAM_BASE_SMALL_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace leapstream {

// The bytes of a file that somebody wrote for a program: a configuration, a key, a token.
// NOT_FOUND: it cannot be read, or is no regular file: a pipe would have to be waited for;
// INVALID_ARGUMENT: more than a mebibyte.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

}  // namespace leapstream

#endif  // LEAPSTREAM_BASE_SMALL_FILE_H_
