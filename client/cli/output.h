#ifndef LEAPSTREAM_CLIENT_CLI_OUTPUT_H_
#define LEAPSTREAM_CLIENT_CLI_OUTPUT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace leapstream::client {

// Whether all that was printed on standard output until now has arrived, also what the C library
// wrote by itself when its buffer was full. DATA_LOSS: nobody reads it any more. INTERNAL: it could
// not be written, with the system's reason; said again by every later call.
absl::Status FlushOutput();

// Makes `path` a file of these bytes, or replaces one. INTERNAL: not all of it could be written.
// INVALID_ARGUMENT: it cannot be opened. Both with the system's reason.
absl::Status WriteFile(const std::string& path, absl::string_view bytes);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_OUTPUT_H_
