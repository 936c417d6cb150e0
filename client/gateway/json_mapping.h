#ifndef LEAPSTREAM_CLIENT_GATEWAY_JSON_MAPPING_H_
#define LEAPSTREAM_CLIENT_GATEWAY_JSON_MAPPING_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/gateway/http_server.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/status.h"

namespace leapstream::gateway {

// Protobuf's own mapping of messages and JSON: names in lowerCamelCase (those of the proto are read,
// too), 64-bit numbers and durations as texts, bytes in base64, fields without a value left out.
std::string ToJson(const google::protobuf::Message& message);
// INVALID_ARGUMENT: `json` is no JSON, nested too deeply, not of this message, or has a field that
// the message does not have.
absl::Status FromJson(absl::string_view json, google::protobuf::Message* message);

grpc::ByteBuffer ToBytes(const google::protobuf::Message& message);
bool FromBytes(grpc::ByteBuffer* bytes, google::protobuf::Message* message);

// An error as clients of HTTP get it.
struct GatewayError {
  int code = 500;             // The HTTP status.
  int grpc_code = 13;         // The code of gRPC.
  std::string status;         // The name of the gRPC code, such as "INVALID_ARGUMENT".
  std::string reason;         // As in docs/protocol.md; empty: no server has sent the error.
  std::string message;
  absl::Duration retry_delay;  // 0: the server did not say.

  // {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": …, "reason": …}}
  std::string json() const;
  HttpResponse response() const;
};

// The error of a call that ended with `status`, with what its details say.
GatewayError ErrorOf(const grpc::Status& status);
// An error that the gateway itself finds. `http` of 0 stands for the usual one of the code.
GatewayError ErrorOf(absl::StatusCode code, absl::string_view reason, absl::string_view message,
                     int http = 0);

}  // namespace leapstream::gateway

#endif  // LEAPSTREAM_CLIENT_GATEWAY_JSON_MAPPING_H_
