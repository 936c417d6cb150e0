#ifndef LEAPSTREAM_SERVER_STATUS_MAPPING_H_
#define LEAPSTREAM_SERVER_STATUS_MAPPING_H_

#include <grpcpp/support/status.h>

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace leapstream {

// Returns `status` with the reason (upper snake case) that its google.rpc.ErrorInfo will have. A
// status that has a reason keeps it, and OK stays OK.
absl::Status WithReason(absl::Status status, absl::string_view reason);

// The reason that WithReason() has set, or else the name of the code; empty for OK.
std::string ReasonOf(const absl::Status& status);

// INVALID_ARGUMENT with a reason.
absl::Status InvalidRequest(absl::string_view reason, absl::string_view message);

// Returns `status` with a google.rpc.RetryInfo, which comes after the ErrorInfo. If the delay ends
// at a certain time, `since` is when it began: the client gets what is left of it.
absl::Status WithRetryDelay(absl::Status status, absl::Duration delay,
                            std::optional<SteadyTime> since = std::nullopt);

// Returns `status` with a google.rpc.QuotaFailure of one violation, which comes after the
// ErrorInfo.
absl::Status WithQuotaViolation(absl::Status status, absl::string_view subject,
                                absl::string_view description);

// The status that the client gets for an error of a call. It has the same code and message. Its
// grpc-status-details-bin has an ErrorInfo of the domain "leapstream" with ReasonOf(status), then
// the RetryInfo and the QuotaFailure if there are any. `now`: when the client gets it.
grpc::Status ToGrpcStatus(const absl::Status& status, SteadyTime now = SteadyNow());

// Gives the status that a session ended with the reason that its client gets. The text of an
// internal error goes to the log, and the client gets the session's id instead.
absl::Status WithSessionReason(absl::Status status, const std::string& session_id);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_STATUS_MAPPING_H_
