#ifndef LEAPSTREAM_SERVER_STATUS_MAPPING_H_
#define LEAPSTREAM_SERVER_STATUS_MAPPING_H_

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace leapstream {

// `status` with the reason (upper snake case) that its google.rpc.ErrorInfo will carry. A status
// that has one keeps it; OK stays OK.
absl::Status WithReason(absl::Status status, absl::string_view reason);

// That reason, or the name of the code; of OK, nothing.
std::string ReasonOf(const absl::Status& status);

// INVALID_ARGUMENT with a reason.
absl::Status InvalidRequest(absl::string_view reason, absl::string_view message);

// `status` with a google.rpc.RetryInfo, after the ErrorInfo.
absl::Status WithRetryDelay(absl::Status status, absl::Duration delay);

// `status` with a google.rpc.QuotaFailure of one violation, after the ErrorInfo.
absl::Status WithQuotaViolation(absl::Status status, absl::string_view subject,
                                absl::string_view description);

// What the client gets: the same code and message, and one ErrorInfo (domain "leapstream") in
// grpc-status-details-bin. Without a reason, that is the name of the code.
grpc::Status ToGrpcStatus(const absl::Status& status);

// The status that a client gets for the one that its session ended with. Internal errors go to the
// log, and the client gets the session's id.
absl::Status WithSessionReason(absl::Status status, const std::string& session_id);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_STATUS_MAPPING_H_
