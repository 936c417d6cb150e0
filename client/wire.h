#ifndef LEAPSTREAM_CLIENT_WIRE_H_
#define LEAPSTREAM_CLIENT_WIRE_H_

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/types.h"
#include "google/protobuf/duration.pb.h"
#include "grpcpp/support/status.h"
#include "leapstream/v1/simultaneous_translation.pb.h"

// Conversions between the wire's messages and the library's types. Private to the library.
namespace leapstream::client {

namespace pb = ::leapstream::v1;

// Keeps the details as payloads.
absl::Status ToStatus(const grpc::Status& status);
// Whether a leapstream server sent `status`, and not gRPC or a proxy: it has an ErrorInfo of ours.
bool IsFromServer(const absl::Status& status);
// Returns the same code and payloads with another message.
absl::Status WithMessage(const absl::Status& status, absl::string_view message);
// Returns `status` with Server::note after the message, if it did not come from a server.
absl::Status WithNote(const absl::Status& status, absl::string_view note);
absl::Duration RetryDelay(const absl::Status& status);  // From its RetryInfo; 0: it has none.

absl::Duration FromProto(const google::protobuf::Duration& duration);
pb::SessionConfig ToProto(const StreamOptions& options);
pb::BeamSearch ToProto(const BeamSearch& beam);
// Writes the policy's rule and options to the message, and leaves its other fields.
void SetPolicy(const Policy& policy, pb::DecodingPolicy* message);
void SetGlossary(const std::vector<Term>& terms, pb::Glossary* message);
TextTranslation FromProto(pb::TranslateResponse response);
// Returns nullopt for an event that the user of this library need not see.
std::optional<Event> FromProto(const pb::StreamTranslateResponse& response);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_WIRE_H_
