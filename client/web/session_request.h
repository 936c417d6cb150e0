#ifndef LEAPSTREAM_CLIENT_WEB_SESSION_REQUEST_H_
#define LEAPSTREAM_CLIENT_WEB_SESSION_REQUEST_H_

#include "absl/status/statusor.h"
#include "client/types.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {

// The options of the stream that the body of POST /api/sessions asks for; see Gateway.
// INVALID_ARGUMENT: a member has a wrong type or value, or two do not go together.
absl::StatusOr<StreamOptions> ReadSessionRequest(const nlohmann::ordered_json& body);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_WEB_SESSION_REQUEST_H_
