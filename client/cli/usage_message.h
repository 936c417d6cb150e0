#ifndef LEAPSTREAM_CLIENT_CLI_USAGE_MESSAGE_H_
#define LEAPSTREAM_CLIENT_CLI_USAGE_MESSAGE_H_

#include <string>

#include "CLI/CLI.hpp"

namespace leapstream::client {

// Says what was wrong with the command line that `app` has refused with `error`, and what to write.
std::string UsageMessage(CLI::App& app, const CLI::ParseError& error);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_USAGE_MESSAGE_H_
