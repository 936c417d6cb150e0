#ifndef LEAPSTREAM_CLIENT_CLI_PORT_FILE_H_
#define LEAPSTREAM_CLIENT_CLI_PORT_FILE_H_

#include <string>

#include "absl/status/status.h"

namespace leapstream::client {

// Writes `port` to the file `path`, which appears only once it is complete. INVALID_ARGUMENT: it
// cannot be written.
absl::Status WritePortFile(const std::string& path, int port);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_PORT_FILE_H_
