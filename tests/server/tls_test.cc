// TLS, client certificates, and files that are replaced.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <future>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "tests/server/operations_fixture.h"
#include "tests/testing/web_socket.h"

namespace leapstream {
namespace {

template <typename T, void (*Free)(T*)>
using Owned = std::unique_ptr<T, std::integral_constant<void (*)(T*), Free>>;
using Key = Owned<EVP_PKEY, EVP_PKEY_free>;
using Certificate = Owned<X509, X509_free>;

Key NewKey() { return Key(EVP_EC_gen("P-256")); }

std::string Pem(EVP_PKEY* key) {
  const Owned<BIO, BIO_vfree> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return std::string(bytes, static_cast<size_t>(size));
}
std::string Pem(X509* certificate) {
  const Owned<BIO, BIO_vfree> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return std::string(bytes, static_cast<size_t>(size));
}

// Issues a certificate signed by `issuer`. If `issuer` is null, the certificate is signed with its
// own key and is that of a CA.
Certificate Issue(const char* name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
  static std::atomic<long> serial{1};
  Certificate certificate(X509_new());
  X509* const x = certificate.get();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x), 3600);
  if (*name != '\0') {
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  }
  X509_set_issuer_name(x, X509_get_subject_name(issuer == nullptr ? x : issuer));
  X509_set_pubkey(x, key);
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer == nullptr ? x : issuer, x, nullptr, nullptr, 0);
  const auto extend = [&](int nid, const std::string& value) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
  };
  extend(NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (issuer != nullptr && *name != '\0') {
    extend(NID_subject_alt_name, absl::StrCat("DNS:", name));
  }
  X509_sign(x, issuer == nullptr ? key : issuer_key, EVP_sha256());
  return certificate;
}

class TlsTest : public TokenTest {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "OpenSSL is not instrumented: all that comes through it looks like a race";
#endif
    TokenTest::SetUp();
    ca_key_ = NewKey();
    ca_ = Issue("test CA", ca_key_.get(), nullptr, nullptr);
    options_.tls.certificate = testing::TempDir() + "/operations_test.crt";
    options_.tls.key = testing::TempDir() + "/operations_test.key";
    IssueServer();
  }
  void IssueServer() {
    const Key key = NewKey();
    const Certificate certificate = Issue("localhost", key.get(), ca_.get(), ca_key_.get());
    server_pem_ = Pem(certificate.get());
    WriteFile(options_.tls.certificate, server_pem_);
    WriteFile(options_.tls.key, Pem(key.get()));
  }
  std::shared_ptr<grpc::ChannelCredentials> Trusting(X509* ca, const std::string& key = "",
                                                     const std::string& certificate = "") {
    return grpc::SslCredentials({Pem(ca), key, certificate});
  }

  ServerOptions options_;
  Key ca_key_;
  Certificate ca_;
  std::string server_pem_;
};

TEST_F(TlsTest, OnlyThoseWhoTrustTheServerTalkToIt) {
  Start(options_);
  EXPECT_EQ(Translate().error_code(), grpc::StatusCode::UNAVAILABLE) << "without TLS";
  Connect(Trusting(ca_.get()));
  EXPECT_TRUE(Translate().ok());
  const Key other_key = NewKey();
  const Certificate other = Issue("other CA", other_key.get(), nullptr, nullptr);
  Connect(Trusting(other.get()));
  EXPECT_EQ(Translate().error_code(), grpc::StatusCode::UNAVAILABLE) << "another CA";
}

TEST_F(TlsTest, CertificatesAreReadAgain) {
  Start(options_);
  Connect(Trusting(ca_.get()));
  ASSERT_TRUE(Translate().ok());
  ca_key_ = NewKey();
  ca_ = Issue("new CA", ca_key_.get(), nullptr, nullptr);
  IssueServer();
  EXPECT_TRUE(Eventually([&] {
    Connect(Trusting(ca_.get()));
    return Translate().ok();
  }));
}

// While an operator replaces the files, they may not fit together. Clients are served all the same.
TEST_F(TlsTest, FilesThatDoNotFitChangeNothing) {
  Start(options_);
  const Key other = NewKey();
  WriteFile(options_.tls.key, Pem(other.get()));
  for (int i = 0; i < 6; ++i) {
    absl::SleepFor(absl::Milliseconds(500));
    Connect(Trusting(ca_.get()));
    ASSERT_TRUE(Translate().ok()) << i;
  }
}

// gRPC itself would wait until somebody writes into the pipe, and the end of the server would wait
// for gRPC.
TEST_F(TlsTest, APipeInTheirPlaceHoldsNothingUp) {
  Start(options_);
  Connect(Trusting(ca_.get()));
  ASSERT_TRUE(Translate().ok());
  ASSERT_EQ(unlink(options_.tls.key.c_str()), 0);
  ASSERT_EQ(mkfifo(options_.tls.key.c_str(), 0600), 0);
  absl::SleepFor(absl::Seconds(4));  // The server has looked at the pipe meanwhile.
  Connect(Trusting(ca_.get()));
  EXPECT_TRUE(Translate().ok());
  ca_key_ = NewKey();
  ca_ = Issue("new CA", ca_key_.get(), nullptr, nullptr);
  IssueServer();
  EXPECT_TRUE(Eventually([&] {
    Connect(Trusting(ca_.get()));
    return Translate().ok();
  }));
  unlink(options_.tls.key.c_str());
  ASSERT_EQ(mkfifo(options_.tls.key.c_str(), 0600), 0);
  absl::SleepFor(absl::Seconds(4));
  auto ended = std::async(std::launch::async, [&] { server_.reset(); });
  const bool in_time = ended.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  EXPECT_TRUE(in_time);
  if (!in_time) std::ofstream(options_.tls.key) << "\n";  // The server then ends after all.
  ended.wait();
  unlink(options_.tls.key.c_str());
}

TEST_F(TlsTest, ClientsNeedACertificateOfTheCa) {
  options_.tls.client_ca = testing::TempDir() + "/operations_test_clients.crt";
  options_.max_sessions_per_principal = 1;
  const Key clients_key = NewKey();
  const Certificate clients = Issue("clients' CA", clients_key.get(), nullptr, nullptr);
  WriteFile(options_.tls.client_ca, Pem(clients.get()));
  Start(options_);
  Connect(Trusting(ca_.get()));
  EXPECT_EQ(Translate().error_code(), grpc::StatusCode::UNAVAILABLE) << "no certificate";
  const Key key = NewKey();
  const Certificate wrong = Issue("mallory", key.get(), ca_.get(), ca_key_.get());
  Connect(Trusting(ca_.get(), Pem(key.get()), Pem(wrong.get())));
  EXPECT_EQ(Translate().error_code(), grpc::StatusCode::UNAVAILABLE) << "of another CA";
  const Certificate good = Issue("captioner", key.get(), clients.get(), clients_key.get());
  Connect(Trusting(ca_.get(), Pem(key.get()), Pem(good.get())));
  ASSERT_TRUE(Translate().ok());

  // The certificate's name is the principal, with a quota.
  grpc::ClientContext context;
  ASSERT_TRUE(Eventually([&] { return Metric("leapstream_slots_used") == 0; }));
  auto stream = Open(&context);
  Response response;
  ASSERT_TRUE(stream->Read(&response));
  grpc::ClientContext list;
  admin::v1::ListSessionsResponse sessions;
  ASSERT_TRUE(admin_->ListSessions(&list, {}, &sessions).ok());
  ASSERT_EQ(sessions.sessions_size(), 1);
  EXPECT_EQ(sessions.sessions(0).principal(), "captioner");
  EXPECT_EQ(Reason(Translate()), "QUOTA_EXCEEDED");
  EXPECT_TRUE(Finish(stream.get()).ok());
}

// The certificate's fingerprint stands for the name. Otherwise the holder would have no quota.
TEST_F(TlsTest, ACertificateWithoutANameHasAQuotaOfItsOwn) {
  options_.tls.client_ca = testing::TempDir() + "/operations_test_clients.crt";
  options_.max_sessions_per_principal = 1;
  const Key clients_key = NewKey();
  const Certificate clients = Issue("clients' CA", clients_key.get(), nullptr, nullptr);
  WriteFile(options_.tls.client_ca, Pem(clients.get()));
  Start(options_);
  std::vector<std::string> principals;
  for (int i = 0; i < 2; ++i) {
    const Key key = NewKey();
    const Certificate nameless = Issue("", key.get(), clients.get(), clients_key.get());
    Connect(Trusting(ca_.get(), Pem(key.get()), Pem(nameless.get())));
    grpc::ClientContext context;
    auto stream = Open(&context);
    Response response;
    ASSERT_TRUE(stream->Read(&response)) << stream->Finish().error_message();
    const grpc::Status status = Translate();
    EXPECT_EQ(Reason(status), "QUOTA_EXCEEDED") << status.error_message();
    principals.push_back(Find<google::rpc::QuotaFailure>(status).violations(0).subject());
    EXPECT_THAT(principals.back(), testing::MatchesRegex("sha256:[0-9a-f]{64}"));
    EXPECT_TRUE(Finish(stream.get()).ok());
  }
  EXPECT_NE(principals[0], principals[1]);
}

TEST_F(TlsTest, ThePortForHttpHasTheSame) {
  options_.http_listen = "127.0.0.1:0";
  options_.tls.client_ca = testing::TempDir() + "/operations_test_clients.crt";
  options_.max_sessions_per_principal = 1;
  const Key clients_key = NewKey();
  const Certificate clients = Issue("clients' CA", clients_key.get(), nullptr, nullptr);
  WriteFile(options_.tls.client_ca, Pem(clients.get()));
  Start(options_);
  WebSocketOptions options;
  options.port = server_->http_port();
  EXPECT_FALSE(WebSocket::Open(options)->open()) << "without TLS";
  options.tls = true;
  // With TLS 1.3 a client learns of its refusal when it reads.
  EXPECT_FALSE(WebSocket::Open(options)->open()) << "without a certificate";
  options.certificate_file = testing::TempDir() + "/operations_test_client.crt";
  options.key_file = testing::TempDir() + "/operations_test_client.key";
  for (const char* name : {"captioner", ""}) {
    const Key key = NewKey();
    const Certificate good = Issue(name, key.get(), clients.get(), clients_key.get());
    WriteFile(options.certificate_file, Pem(good.get()));
    WriteFile(options.key_file, Pem(key.get()));
    const auto socket = WebSocket::Open(options);
    ASSERT_TRUE(socket->open());
    socket->Send(R"({"config":{}})");
    EXPECT_THAT(socket->Read().value_or(""), HasSubstr("started"));
    // Over gRPC the same client has the same name, and so the same quota.
    Connect(Trusting(ca_.get(), Pem(key.get()), Pem(good.get())));
    EXPECT_EQ(Reason(Translate()), "QUOTA_EXCEEDED") << name;
    grpc::ClientContext list;
    admin::v1::ListSessionsResponse sessions;
    ASSERT_TRUE(admin_->ListSessions(&list, {}, &sessions).ok());
    ASSERT_EQ(sessions.sessions_size(), 1);
    EXPECT_THAT(sessions.sessions(0).peer(), testing::StartsWith("ipv4:127.0.0.1:"));
    if (*name != '\0') {
      EXPECT_EQ(sessions.sessions(0).principal(), name);
    }
    socket->Send(R"({"endSession":{}})");
    while (socket->Read().has_value()) continue;
    EXPECT_EQ(socket->close_code(), 1000);
    EXPECT_TRUE(Eventually([&] { return Metric("leapstream_slots_used") == 0; }));
  }
}

TEST_F(TlsTest, TokensWorkOverIt) {
  options_.auth_tokens_file = path_;
  Start(options_);
  Connect(Trusting(ca_.get()));
  EXPECT_TRUE(Translate(Of("alice")).ok());
  EXPECT_EQ(Reason(Translate()), "TOKEN_MISSING");
}

TEST_F(TlsTest, TheClientLibrarySpeaksTlsAndSendsItsToken) {
  options_.auth_tokens_file = path_;
  Start(options_);
  const std::string folder = testing::TempDir();
  WriteFile(folder + "/operations_test_ca.crt", Pem(ca_.get()));
  WriteFile(folder + "/operations_test_token", tokens_["alice"] + "\n");
  client::ClientOptions options;
  options.address = absl::StrCat("localhost:", server_->port());
  options.security.tls = true;
  options.security.ca_file = folder + "/operations_test_ca.crt";
  options.security.token_file = folder + "/operations_test_token";
  auto good = client::Client::Connect(options);
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_TRUE((*good)->ListModels().ok());
  EXPECT_TRUE((*good)->Probe(absl::Seconds(5)).ok());
  auto stream = (*good)->StartStream({});
  EXPECT_TRUE(stream->PushText(kText).ok());
  EXPECT_TRUE(stream->CloseSource().ok());
  while (stream->Next().has_value()) continue;
  EXPECT_TRUE(stream->Wait().ok()) << stream->Wait();

  options.security.token_file.clear();
  auto nobody = client::Client::Connect(options);
  ASSERT_TRUE(nobody.ok()) << nobody.status();
  const absl::Status refused = (*nobody)->ListModels().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(client::ErrorReason(refused), "TOKEN_MISSING");

  options.security = {};
  options.security.token_file = folder + "/operations_test_token";
  options.address = "example.org:50051";
  EXPECT_EQ(client::Client::Connect(options).status().code(), absl::StatusCode::kInvalidArgument)
      << "no token leaves this machine without TLS";
  options.security.token_file = folder;
  EXPECT_EQ(client::Client::Connect(options).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(TlsTest, BadFilesAreErrorsAtStart) {
  const auto start = [&] {
    ServerOptions options = options_;
    options.listen = "localhost:0";
    return Server::Start(options, {FakeModel()}).status();
  };
  EXPECT_TRUE(start().ok());
  const Key other = NewKey();
  WriteFile(options_.tls.key, Pem(other.get()));
  EXPECT_THAT(std::string(start().message()), HasSubstr("is not the private key"));
  WriteFile(options_.tls.certificate, "no PEM");
  EXPECT_THAT(std::string(start().message()), HasSubstr("is no certificate chain"));
  options_.tls.certificate = testing::TempDir();
  EXPECT_THAT(std::string(start().message()), HasSubstr("Is a directory"));
}

}  // namespace
}  // namespace leapstream
