#include "server/caller.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>
#include <openssl/crypto.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/gateway/gateway.h"
#include "server/resume_token.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

// The value of a header that comes once; empty: the header is missing or comes several times.
absl::string_view Header(const grpc::ServerContextBase& context, const char* name) {
  const auto& metadata = context.client_metadata();
  if (metadata.count(name) != 1) return {};
  const grpc::string_ref value = metadata.find(name)->second;
  return absl::string_view(value.data(), value.size());
}

// A principal for a client whose certificate has no name: the certificate's SHA-256, as `openssl
// x509 -fingerprint` computes it. Empty: there is no certificate.
std::string Fingerprint(const grpc::AuthContext& auth) {
  const std::vector<grpc::string_ref> certificates =
      auth.FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (certificates.empty()) return "";
  std::string base64, der;
  const absl::string_view pem(certificates[0].data(), certificates[0].size());
  for (absl::string_view line : absl::StrSplit(pem, '\n')) {
    if (!absl::StartsWith(line, "-----")) absl::StrAppend(&base64, line);
  }
  if (!absl::Base64Unescape(base64, &der)) der.assign(pem.data(), pem.size());
  return absl::StrCat("sha256:", Sha256(der));
}

bool IsOfGateway(const grpc::ServerContextBase& context) {
  const std::string& secret = GatewaySecret();
  const absl::string_view said = Header(context, gateway::kSecretKey);
  return !secret.empty() && said.size() == secret.size() &&
         CRYPTO_memcmp(said.data(), secret.data(), secret.size()) == 0;
}

bool IsLowerHex(absl::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

}  // namespace

const std::string& GatewaySecret() {
  static const auto* const secret = [] {
    char bytes[16] = {};
    const bool random = getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes);
    return new std::string(bytes, random ? sizeof(bytes) : 0);
  }();
  return *secret;
}

std::string TraceIdOf(absl::string_view traceparent) {
  // The form is version "-" trace-id "-" parent-id "-" flags; later versions may go on after the
  // flags.
  if (traceparent.size() < 55 || traceparent[2] != '-' || traceparent[35] != '-' ||
      traceparent[52] != '-') {
    return "";
  }
  const absl::string_view version = traceparent.substr(0, 2);
  const absl::string_view trace_id = traceparent.substr(3, 32);
  const absl::string_view parent_id = traceparent.substr(36, 16);
  const absl::string_view flags = traceparent.substr(53, 2);
  const auto zero = [](absl::string_view id) {
    return id.find_first_not_of('0') == absl::string_view::npos;
  };
  if (!IsLowerHex(version) || version == "ff" || !IsLowerHex(trace_id) || zero(trace_id) ||
      !IsLowerHex(parent_id) || zero(parent_id) || !IsLowerHex(flags) ||
      (version == "00" && traceparent.size() != 55)) {
    return "";
  }
  return std::string(trace_id);
}

absl::StatusOr<Caller> IdentifyCaller(const grpc::ServerContextBase& context, TokenFile* tokens) {
  Caller caller;
  caller.peer = context.peer();
  const bool from_gateway = IsOfGateway(context);
  if (from_gateway) caller.peer = std::string(Header(context, gateway::kPeerKey));
  caller.trace_id = TraceIdOf(Header(context, "traceparent"));
  if (tokens == nullptr && from_gateway) {
    caller.principal = std::string(Header(context, gateway::kPrincipalKey));
    return caller;
  }
  if (tokens == nullptr) {
    const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
    if (auth != nullptr && auth->IsPeerAuthenticated()) {
      const std::vector<grpc::string_ref> names = auth->GetPeerIdentity();
      if (!names.empty()) caller.principal.assign(names[0].data(), names[0].size());
    }
    if (auth != nullptr && caller.principal.empty()) caller.principal = Fingerprint(*auth);
    return caller;
  }
  constexpr absl::string_view kBearer = "Bearer ";
  const absl::string_view authorization = Header(context, "authorization");
  absl::StatusOr<TokenFile::Holder> holder = WithReason(
      absl::UnauthenticatedError(
          "this server wants a token: send the metadata \"authorization: Bearer TOKEN\""),
      "TOKEN_MISSING");
  if (absl::StartsWithIgnoreCase(authorization, kBearer)) {
    holder = tokens->HolderOf(authorization.substr(kBearer.size()), absl::Now());
  }
  if (!holder.ok()) {
    spdlog::warn("refused {}: {}", caller.peer, std::string(ReasonOf(holder.status())));
    return holder.status();
  }
  caller.principal = std::move(holder->principal);
  caller.token_entry = std::move(holder->entry);
  return caller;
}

}  // namespace leapstream
