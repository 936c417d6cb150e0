#ifndef LEAPSTREAM_SERVER_CALLER_H_
#define LEAPSTREAM_SERVER_CALLER_H_

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/token_file.h"

namespace leapstream {

// Who makes a call, as far as is known.
struct Caller {
  std::string principal;    // Of its token, or else of its certificate; empty: anybody.
  std::string token_entry;  // See TokenFile::Holder; empty: it needs no token.
  std::string peer;         // Such as "ipv4:127.0.0.1:4711"; a proxy's, if there is one.
  std::string trace_id;     // 32 hex digits of its `traceparent`, or empty.
};

// Reads `authorization` and `traceparent` of the call's metadata. UNAUTHENTICATED: `tokens` is not
// null, and the call has no token or a wrong one; that is logged, without the token.
absl::StatusOr<Caller> IdentifyCaller(const grpc::ServerContextBase& context, TokenFile* tokens);

// The trace id of a W3C Trace Context header, or nothing if it is not one.
std::string TraceIdOf(absl::string_view traceparent);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_CALLER_H_
