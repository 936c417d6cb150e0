#ifndef LEAPSTREAM_CLIENT_CLI_OUTPUT_H_
#define LEAPSTREAM_CLIENT_CLI_OUTPUT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace leapstream::client {

// Flushes standard output, and says whether all that was printed until now has arrived, also what
// the C library wrote by itself when its buffer was full. DATA_LOSS: nobody reads it any more.
// INTERNAL: it could not be written, with the system's reason; every later call says so again.
absl::Status FlushOutput();

// Writes all of `text` to standard output, past the C library's buffer. Waits for a slow reader,
// but not for ever. CANCELLED: a signal ended the wait; see signals::CancelWanted().
// DATA_LOSS: nobody reads it any more. INTERNAL: it could not be written, with the system's reason.
absl::Status WriteOutput(absl::string_view text);

// Makes `path` a file of these bytes, or replaces it. INTERNAL: not all bytes could be written, and
// the file is gone. INVALID_ARGUMENT: the file cannot be opened. Both have the system's reason.
absl::Status WriteFile(const std::string& path, absl::string_view bytes);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_OUTPUT_H_
