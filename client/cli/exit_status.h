#ifndef LEAPSTREAM_CLIENT_CLI_EXIT_STATUS_H_
#define LEAPSTREAM_CLIENT_CLI_EXIT_STATUS_H_

#include <string>

#include "absl/status/status.h"

namespace leapstream::client {

constexpr int kExitError = 1;
constexpr int kExitUsage = 2;
constexpr int kExitUnavailable = 3;
constexpr int kExitRefused = 4;
constexpr int kExitCancelled = 5;
constexpr int kExitDeadline = 6;

// The part of --help that lists these numbers.
extern const char kExitStatusHelp[];

// The number with which the program ends after `status`; 0: OK.
int ExitStatus(const absl::Status& status);

// The program's message about `status`, without a line feed; "": there is none. A reader of
// standard output that left (DATA_LOSS) knows that itself.
std::string ErrorLine(const absl::Status& status);

// Prints the error line, if there is one, and returns the exit status.
int Report(const absl::Status& status);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_EXIT_STATUS_H_
