#include "server/status_mapping.h"

#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace leapstream {
namespace {

constexpr char kDomain[] = "leapstream";
constexpr char kReasonPayload[] = "leapstream/reason";
constexpr char kRetryPayload[] = "leapstream/retry_ms";

}  // namespace

absl::Status WithReason(absl::Status status, absl::string_view reason) {
  if (!status.ok() && !status.GetPayload(kReasonPayload).has_value()) {
    status.SetPayload(kReasonPayload, absl::Cord(reason));
  }
  return status;
}

absl::Status InvalidRequest(absl::string_view reason, absl::string_view message) {
  return WithReason(absl::InvalidArgumentError(message), reason);
}

absl::Status WithRetryDelay(absl::Status status, absl::Duration delay) {
  status.SetPayload(kRetryPayload, absl::Cord(absl::StrCat(absl::ToInt64Milliseconds(delay))));
  return status;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::ErrorInfo error_info;
  error_info.set_domain(kDomain);
  const absl::optional<absl::Cord> reason = status.GetPayload(kReasonPayload);
  error_info.set_reason(reason.has_value() ? std::string(*reason)
                                           : absl::StatusCodeToString(status.code()));
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(std::string(status.message()));
  details.add_details()->PackFrom(error_info);
  int64_t retry_ms = 0;
  if (const auto retry = status.GetPayload(kRetryPayload);
      retry.has_value() && absl::SimpleAtoi(std::string(*retry), &retry_ms)) {
    google::rpc::RetryInfo retry_info;
    retry_info.mutable_retry_delay()->set_seconds(retry_ms / 1000);
    retry_info.mutable_retry_delay()->set_nanos(static_cast<int>(retry_ms % 1000 * 1000000));
    details.add_details()->PackFrom(retry_info);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
                      details.SerializeAsString());
}

}  // namespace leapstream
