#include "server/status_mapping.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "streaming/session.h"

namespace leapstream {
namespace {

constexpr char kDomain[] = "leapstream";
constexpr char kReasonPayload[] = "leapstream/reason";
constexpr char kRetryPayload[] = "leapstream/retry_ms";
constexpr char kRetrySincePayload[] = "leapstream/retry_since_ns";
constexpr char kQuotaPayload[] = "leapstream/quota";  // A serialized QuotaFailure.

// The number that a payload has, if there is one.
std::optional<int64_t> NumberIn(const absl::Status& status, const char* payload) {
  int64_t number = 0;
  const auto text = status.GetPayload(payload);
  if (!text.has_value() || !absl::SimpleAtoi(std::string(*text), &number)) return std::nullopt;
  return number;
}

}  // namespace

absl::Status WithReason(absl::Status status, absl::string_view reason) {
  if (!status.ok() && !status.GetPayload(kReasonPayload).has_value()) {
    status.SetPayload(kReasonPayload, absl::Cord(reason));
  }
  return status;
}

std::string ReasonOf(const absl::Status& status) {
  if (status.ok()) return "";
  const absl::optional<absl::Cord> reason = status.GetPayload(kReasonPayload);
  return reason.has_value() ? std::string(*reason) : absl::StatusCodeToString(status.code());
}

absl::Status InvalidRequest(absl::string_view reason, absl::string_view message) {
  return WithReason(absl::InvalidArgumentError(message), reason);
}

absl::Status WithRetryDelay(absl::Status status, absl::Duration delay,
                            std::optional<SteadyTime> since) {
  status.SetPayload(kRetryPayload, absl::Cord(absl::StrCat(absl::ToInt64Milliseconds(delay))));
  if (since.has_value()) {
    status.SetPayload(kRetrySincePayload, absl::Cord(absl::StrCat(since->nanoseconds())));
  }
  return status;
}

absl::Status WithQuotaViolation(absl::Status status, absl::string_view subject,
                                absl::string_view description) {
  google::rpc::QuotaFailure failure;
  google::rpc::QuotaFailure::Violation& violation = *failure.add_violations();
  violation.set_subject(std::string(subject));
  violation.set_description(std::string(description));
  status.SetPayload(kQuotaPayload, absl::Cord(failure.SerializeAsString()));
  return status;
}

grpc::Status ToGrpcStatus(const absl::Status& status, SteadyTime now) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::ErrorInfo error_info;
  error_info.set_domain(kDomain);
  error_info.set_reason(ReasonOf(status));
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(std::string(status.message()));
  details.add_details()->PackFrom(error_info);
  if (auto retry_ms = NumberIn(status, kRetryPayload); retry_ms.has_value()) {
    if (const auto since = NumberIn(status, kRetrySincePayload); since.has_value()) {
      // A delay of 0 would say that there is none.
      retry_ms = std::max<int64_t>(*retry_ms - (now.nanoseconds() - *since) / 1000000, 1);
    }
    google::rpc::RetryInfo retry_info;
    retry_info.mutable_retry_delay()->set_seconds(*retry_ms / 1000);
    retry_info.mutable_retry_delay()->set_nanos(static_cast<int>(*retry_ms % 1000 * 1000000));
    details.add_details()->PackFrom(retry_info);
  }
  google::rpc::QuotaFailure quota_failure;
  if (const auto quota = status.GetPayload(kQuotaPayload);
      quota.has_value() && quota_failure.ParseFromString(std::string(*quota))) {
    details.add_details()->PackFrom(quota_failure);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
                      details.SerializeAsString());
}

absl::Status WithSessionReason(absl::Status status, const std::string& session_id) {
  if (status.code() == absl::StatusCode::kInternal) {
    spdlog::error("session {}: {}", session_id, std::string(status.message()));
    return WithReason(absl::InternalError(absl::StrCat(
                          "internal error, see the server's log; session ", session_id)),
                      "INTERNAL");
  }
  if (status.code() == absl::StatusCode::kInvalidArgument) {
    const bool committed = status.GetPayload(kCommittedTargetPayload).has_value();
    return WithReason(std::move(status), committed ? "RESUME_TARGET_INVALID" : "INVALID_SOURCE");
  }
  // Only the scheduler ends a session with RESOURCE_EXHAUSTED and no reason.
  const bool of_scheduler = ReasonOf(status) == absl::StatusCodeToString(status.code());
  if (absl::IsResourceExhausted(status) && of_scheduler) {
    return WithReason(std::move(status), "STATE_MEMORY_EXHAUSTED");
  }
  return status;
}

}  // namespace leapstream
