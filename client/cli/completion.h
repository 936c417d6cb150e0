#ifndef LEAPSTREAM_CLIENT_CLI_COMPLETION_H_
#define LEAPSTREAM_CLIENT_CLI_COMPLETION_H_

#include <string>

#include "CLI/CLI.hpp"

namespace leapstream::client {

// A script that lets a shell complete the subcommands, options and values of `app`. `shell`: bash,
// zsh or fish.
std::string CompletionScript(const CLI::App& app, const std::string& shell);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_COMPLETION_H_
