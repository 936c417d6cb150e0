#ifndef LEAPSTREAM_CLIENT_CLI_EARLY_END_FLAG_H_
#define LEAPSTREAM_CLIENT_CLI_EARLY_END_FLAG_H_

#include <string>

#include "CLI/CLI.hpp"
#include "client/types.h"

namespace leapstream::client {

// Adds --early-end to `command`. `early_end` keeps its value if the flag is not given. It must live
// until the command line is parsed.
void AddEarlyEndFlag(CLI::App* command, const std::string& help, EarlyEnd& early_end);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_EARLY_END_FLAG_H_
