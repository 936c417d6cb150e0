#include "client/channel.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/small_file.h"
#include "base/status.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/client_interceptor.h"

namespace leapstream::client {
namespace {

// Adds the header to each call. Call credentials would do so only over TLS, and a proxy on this
// machine may be what speaks TLS for us.
class Authorizer final : public grpc::experimental::Interceptor {
 public:
  explicit Authorizer(const std::string& authorization) : authorization_(authorization) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            grpc::experimental::InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace("authorization", authorization_);
    }
    methods->Proceed();
  }

 private:
  const std::string authorization_;
};

class AuthorizerFactory final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit AuthorizerFactory(std::string authorization)
      : authorization_(std::move(authorization)) {}
  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo* /*info*/) override {
    return new Authorizer(authorization_);  // gRPC frees it.
  }

 private:
  const std::string authorization_;
};

}  // namespace

absl::StatusOr<ChannelMaker> ChannelMaker::Create(const Security& security) {
  ChannelMaker maker;
  maker.tls_ = security.tls;
  if (!security.tls && !(security.ca_file.empty() && security.certificate_file.empty() &&
                         security.key_file.empty())) {
    return absl::InvalidArgumentError("certificates are part of TLS; ask for that, too");
  }
  if (security.certificate_file.empty() != security.key_file.empty()) {
    return absl::InvalidArgumentError("a client certificate and its key go together");
  }
  const std::pair<const std::string*, std::string*> files[] = {
      {&security.ca_file, &maker.ca_},
      {&security.certificate_file, &maker.certificate_},
      {&security.key_file, &maker.key_},
      {&security.token_file, &maker.authorization_}};
  for (const auto& file : files) {
    if (file.first->empty()) continue;
    LEAPSTREAM_ASSIGN_OR_RETURN(*file.second, ReadSmallFile(*file.first));
  }
  if (!security.token_file.empty()) {
    const absl::string_view token = absl::StripAsciiWhitespace(maker.authorization_);
    if (token.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(security.token_file, " must have a token, and is empty"));
    }
    for (const char c : token) {
      if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) {
        return absl::InvalidArgumentError(
            absl::StrCat(security.token_file, " must have nothing but a token, on one line"));
      }
    }
    maker.authorization_ = absl::StrCat("Bearer ", token);
  }
  return maker;
}

absl::Status ChannelMaker::MaySendToken(const ServerAddress& address) const {
  if (authorization_.empty() || tls_ || address.of_this_machine) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a token for ", address.given, " needs TLS: anybody on the way could read it"));
}

std::shared_ptr<grpc::Channel> ChannelMaker::Make(const std::string& target,
                                                  const grpc::ChannelArguments& arguments) const {
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (tls_) credentials = grpc::SslCredentials({ca_, key_, certificate_});
  if (authorization_.empty()) return grpc::CreateCustomChannel(target, credentials, arguments);
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(std::make_unique<AuthorizerFactory>(authorization_));
  return grpc::experimental::CreateCustomChannelWithInterceptors(target, credentials, arguments,
                                                                 std::move(interceptors));
}

}  // namespace leapstream::client
