#ifndef LEAPSTREAM_SERVER_SMALL_FILE_H_
#define LEAPSTREAM_SERVER_SMALL_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace leapstream {

// The bytes of a file that an operator wrote: a configuration, a key. NOT_FOUND: it cannot be read,
// or is no regular file: a pipe would have to be waited for; INVALID_ARGUMENT: more than a mebibyte.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_SMALL_FILE_H_
