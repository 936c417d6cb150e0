#ifndef LEAPSTREAM_SERVER_CALLER_H_
#define LEAPSTREAM_SERVER_CALLER_H_

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/token_file.h"

namespace leapstream {

// The client of a call, as far as it is known.
struct Caller {
  std::string principal;    // That of its token, or else of its certificate; empty: anybody.
  std::string token_entry;  // See TokenFile::Holder; empty: the server wants no token.
  std::string peer;         // Such as "ipv4:127.0.0.1:4711"; the proxy, if there is one.
  std::string trace_id;     // 32 hex digits of the call's `traceparent`, or empty.
};

// Reads `authorization` and `traceparent` of the call's metadata, and the client's certificate if
// `tokens` is null. A call of this process's own gateway says in its metadata which client it is
// of, and knows the GatewaySecret(); nobody else is believed. UNAUTHENTICATED: `tokens` is not null, and the call has no token or a wrong
// one. The refusal is logged, without the token.
absl::StatusOr<Caller> IdentifyCaller(const grpc::ServerContextBase& context, TokenFile* tokens);

// The gateway of this process sends this with its calls, to be believed. Random; empty: there are no
// random numbers, and nobody is believed.
const std::string& GatewaySecret();

// The trace id of a W3C Trace Context header; empty: `traceparent` is no such header.
std::string TraceIdOf(absl::string_view traceparent);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_CALLER_H_
