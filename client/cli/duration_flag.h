#ifndef LEAPSTREAM_CLIENT_CLI_DURATION_FLAG_H_
#define LEAPSTREAM_CLIENT_CLI_DURATION_FLAG_H_

#include <string>

#include "CLI/CLI.hpp"
#include "absl/time/time.h"

namespace leapstream::client {

// The check of a flag whose value is a positive duration, such as 500ms.
CLI::Validator IsDuration();

// The duration that passed the check; infinite if `text` is empty, which stands for no limit.
absl::Duration ParseDuration(const std::string& text);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_DURATION_FLAG_H_
