#ifndef LEAPSTREAM_CLIENT_CLI_TERM_FLAGS_H_
#define LEAPSTREAM_CLIENT_CLI_TERM_FLAGS_H_

#include "CLI/CLI.hpp"
#include "client/types.h"

namespace leapstream::client {

// Adds --glossary and --keep-markup to `command`. `stream` must live until the command line is
// parsed; a glossary that cannot be read ends the parsing with CLI::ValidationError.
void AddTermFlags(CLI::App* command, StreamOptions& stream);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_TERM_FLAGS_H_
