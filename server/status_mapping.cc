#include "server/status_mapping.h"

#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace leapstream {
namespace {

constexpr char kDomain[] = "leapstream";
constexpr char kReasonPayload[] = "leapstream/reason";

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
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
                      details.SerializeAsString());
}

}  // namespace leapstream
