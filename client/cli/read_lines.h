#ifndef LEAPSTREAM_CLIENT_CLI_READ_LINES_H_
#define LEAPSTREAM_CLIENT_CLI_READ_LINES_H_

#include <fstream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace leapstream::client {

// Opens a file to read. INVALID_ARGUMENT: it cannot be read, with the system's reason.
absl::StatusOr<std::ifstream> OpenFile(const std::string& path);

// The lines of a file, without their ends and a byte order mark. INVALID_ARGUMENT: the file cannot
// be read, or is not UTF-8.
absl::StatusOr<std::vector<std::string>> ReadLines(const std::string& path);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_READ_LINES_H_
