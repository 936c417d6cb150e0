#ifndef LEAPSTREAM_CLIENT_CLI_READ_LINES_H_
#define LEAPSTREAM_CLIENT_CLI_READ_LINES_H_

#include <fstream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace leapstream::client {

// Opens a file to read. INVALID_ARGUMENT: it cannot be read, with the system's reason.
absl::StatusOr<std::ifstream> OpenFile(const std::string& path);

// A descriptor to poll() and read, of a file, a pipe or a device. Does not wait for a pipe's
// writer, as open() does, for which a program that has taken over signals could not be ended:
// poll() waits for it. INVALID_ARGUMENT: it cannot be read.
absl::StatusOr<int> OpenToPoll(const std::string& path);

// The lines of a file, without their ends and a byte order mark. INVALID_ARGUMENT: it cannot be
// read, or is not UTF-8.
absl::StatusOr<std::vector<std::string>> ReadLines(const std::string& path);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_READ_LINES_H_
