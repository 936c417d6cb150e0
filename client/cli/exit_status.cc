#include "client/cli/exit_status.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/types.h"

namespace leapstream::client {

const char kExitStatusHelp[] = R"(Exit status:
  0  done
  1  another error, or nobody reads the output any more
  2  wrong usage
  3  no server answers, or it is not available
  4  the request was refused (unknown model, bad argument, no permission, limit reached), source
     was dropped at a limit, or a file or the input is not what it should be or cannot be opened
  5  cancelled
  6  the deadline passed
)";

int ExitStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kUnavailable:
      return kExitUnavailable;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnimplemented:
      return kExitRefused;
    case absl::StatusCode::kCancelled:
      return kExitCancelled;
    case absl::StatusCode::kDeadlineExceeded:
      return kExitDeadline;
    default:
      return kExitError;
  }
}

std::string ErrorLine(const absl::Status& status) {
  if (status.ok() || absl::IsDataLoss(status)) return "";
  const std::string reason = ErrorReason(status);
  return absl::StrCat(
      "leapstream: ",
      absl::IsDeadlineExceeded(status) ? "the deadline passed" : status.message(),
      reason.empty() ? "" : absl::StrCat(" (", reason, ")"));
}

int Report(const absl::Status& status) {
  const std::string line = ErrorLine(status);
  if (!line.empty()) absl::FPrintF(stderr, "%s\n", line);
  return ExitStatus(status);
}

}  // namespace leapstream::client
