#ifndef LEAPSTREAM_SERVER_SMALL_FILE_H_
#define LEAPSTREAM_SERVER_SMALL_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace leapstream {

// Reads a file that an operator wrote, such as a configuration or a key. NOT_FOUND: the file cannot
// be read, or is no regular file, such as a pipe, whose writer would have to be waited for.
// INVALID_ARGUMENT: it has more than 1 MiB.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_SMALL_FILE_H_
