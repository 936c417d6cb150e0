#ifndef LEAPSTREAM_CLIENT_CLI_FIND_PROGRAM_H_
#define LEAPSTREAM_CLIENT_CLI_FIND_PROGRAM_H_

#include <string>

#include "absl/status/statusor.h"

namespace leapstream::client {

// The path of another program of leapstream: beside this one, or in PATH. NOT_FOUND: it is in
// neither.
absl::StatusOr<std::string> FindProgram(const std::string& name);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_FIND_PROGRAM_H_
