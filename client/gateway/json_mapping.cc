#include "client/gateway/json_mapping.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "google/protobuf/util/json_util.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "nlohmann/json.hpp"

namespace leapstream::gateway {
namespace {

constexpr char kDomain[] = "leapstream";

// As google.rpc.Code says.
int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kAlreadyExists:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message) {
  std::string json;
  // The only error would be text that is not UTF-8, which no message has that was parsed.
  if (!google::protobuf::util::MessageToJsonString(message, &json).ok()) return "{}";
  return json;
}

absl::Status FromJson(absl::string_view json, google::protobuf::Message* message) {
  const auto status = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(json.data(), json.size()), message);
  if (status.ok()) return absl::OkStatus();
  const std::string why(status.message().data(), status.message().size());
  return absl::InvalidArgumentError(
      absl::StrCat("want a ", message->GetDescriptor()->name(), " as JSON: ", OneLine(why, 300)));
}

grpc::ByteBuffer ToBytes(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  (void)grpc::SerializationTraits<google::protobuf::Message>::Serialize(message, &bytes, &own);
  return bytes;
}

bool FromBytes(grpc::ByteBuffer* bytes, google::protobuf::Message* message) {
  return grpc::SerializationTraits<google::protobuf::Message>::Deserialize(bytes, message).ok();
}

std::string GatewayError::json() const {
  nlohmann::ordered_json error = {{"code", code}, {"status", status}, {"message", message}};
  if (!reason.empty()) error["reason"] = reason;
  if (retry_delay > absl::ZeroDuration()) {
    error["retryDelay"] = absl::StrCat(absl::ToDoubleSeconds(retry_delay), "s");
  }
  return nlohmann::ordered_json{{"error", error}}.dump(
      -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

HttpResponse GatewayError::response() const {
  HttpResponse response;
  response.status = code;
  response.body = json() + "\n";
  if (code == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (code == 503 || code == 429) {
    const int64_t seconds =
        absl::ToInt64Seconds(absl::Ceil(retry_delay, absl::Seconds(1)));
    response.headers.emplace_back("Retry-After", absl::StrCat(std::max<int64_t>(seconds, 1)));
  }
  return response;
}

GatewayError ErrorOf(absl::StatusCode code, absl::string_view reason, absl::string_view message,
                     int http) {
  GatewayError error;
  error.code = http > 0 ? http : HttpStatusOf(code);
  error.grpc_code = static_cast<int>(code);
  error.status = absl::StatusCodeToString(code);
  error.reason = std::string(reason);
  error.message = std::string(message);
  return error;
}

GatewayError ErrorOf(const grpc::Status& status) {
  GatewayError error = ErrorOf(static_cast<absl::StatusCode>(status.error_code()), "",
                               status.error_message());
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return error;
  for (const auto& any : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::RetryInfo retry;
    if (any.UnpackTo(&info) && info.domain() == kDomain) error.reason = info.reason();
    if (any.UnpackTo(&retry)) {
      error.retry_delay = absl::Seconds(retry.retry_delay().seconds()) +
                          absl::Nanoseconds(retry.retry_delay().nanos());
    }
  }
  return error;
}

}  // namespace leapstream::gateway
