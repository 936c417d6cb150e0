#ifndef LEAPSTREAM_CLIENT_CLI_CONNECTION_FLAGS_H_
#define LEAPSTREAM_CLIENT_CLI_CONNECTION_FLAGS_H_

#include <string>

#include "CLI/CLI.hpp"
#include "client/types.h"

namespace leapstream::client {

// Adds to `command` the options that name the server, and say how the server and the client trust
// each other. Both arguments must live until the command line is parsed. Returns --server.
CLI::Option* AddConnectionFlags(CLI::App* command, ClientOptions& connection);

// Adds --model, for a command whose server has the model. A folder is refused, with what to do.
CLI::Option* AddModelFlag(CLI::App* command, std::string& model,
                          const std::string& help = "a name that leapstream models lists");
// Adds --source-lang and --target-lang.
void AddLanguageFlags(CLI::App* command, StreamOptions& stream);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_CONNECTION_FLAGS_H_
