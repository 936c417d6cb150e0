#ifndef LEAPSTREAM_CLIENT_CLI_CONNECTION_FLAGS_H_
#define LEAPSTREAM_CLIENT_CLI_CONNECTION_FLAGS_H_

#include "CLI/CLI.hpp"
#include "client/types.h"

namespace leapstream::client {

// Adds to `command` the options that name the server, and say how the server and the client trust
// each other. Both arguments must live until the command line is parsed. Returns --server.
CLI::Option* AddConnectionFlags(CLI::App* command, ClientOptions& connection);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_CONNECTION_FLAGS_H_
