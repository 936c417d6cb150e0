// The client library and the program with servers that want TLS, a client's certificate or a token.
#include <httplib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/end_to_end/processes.h"

namespace leapstream {
namespace {

using client::Client;
using client::ClientOptions;
using testing::HasSubstr;

constexpr char kServer[] = LEAPSTREAM_BINARY_DIR "/bin/leapstream-server";
constexpr char kClient[] = LEAPSTREAM_BINARY_DIR "/bin/leapstream";

class SecureClientTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(Shell("command -v openssl > /dev/null"), 0)
        << "openssl is not installed; ./dev setup does it";
    for (const char* name : {"server", "client", "stranger"}) {
      ASSERT_EQ(
          Shell(absl::StrCat("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
                             "-nodes -days 2 -subj /CN=",
                             name, " -addext subjectAltName=IP:127.0.0.1 -keyout ", folder_ / name,
                             ".key -out ", folder_ / name, ".crt 2> /dev/null")),
          0);
    }
  }
  // Writes the token to the file "token". Returns the file of tokens that a server accepts.
  std::string MakeToken() {
    // The server prints the token, then its line.
    EXPECT_EQ(Shell(absl::StrCat(kServer, " --new-token alice > ", folder_ / "new")), 0);
    const std::vector<std::string> printed =
        absl::StrSplit(ReadFile(folder_ / "new"), '\n', absl::SkipEmpty());
    if (printed.empty()) return "";
    std::ofstream(folder_ / "accepted") << printed.back() << "\n";
    const std::vector<std::string> words = absl::StrSplit(printed.front(), ' ');
    std::ofstream(folder_ / "token") << words.back() << "\n";
    return folder_ / "accepted";
  }
  static int Shell(const std::string& command) { return std::system(command.c_str()); }

  absl::Status Translate(const ClientOptions& options) {
    auto client = Client::Connect(options);
    if (!client.ok()) return client.status();
    client::StreamOptions impatient;
    impatient.resume_timeout = absl::ZeroDuration();
    auto stream = (*client)->StartStream(impatient);
    EXPECT_TRUE(stream->PushText("a word").ok());
    EXPECT_TRUE(stream->CloseSource().ok());
    return stream->Wait();
  }

  TestFolder folder_;
};

TEST_F(SecureClientTest, TlsAndTokens) {
  std::ofstream(folder_ / "wrong_token") << std::string(64, 'a') << "\n";
  std::ofstream(folder_ / "no_token") << "two words\n";
  ServerProcess server(folder_, "server",
                       {"--tls-certificate-file", folder_ / "server.crt", "--tls-key-file",
                        folder_ / "server.key", "--auth-tokens-file", MakeToken()});
  server.StartAndWait();

  ClientOptions options;
  options.address = server.address();
  options.security.tls = true;
  options.security.ca_file = folder_ / "server.crt";
  options.security.token_file = folder_ / "token";
  EXPECT_TRUE(Translate(options).ok()) << Translate(options);
  auto client = Client::Connect(options);
  ASSERT_TRUE(client.ok());
  EXPECT_TRUE((*client)->ListModels().ok());
  EXPECT_TRUE((*client)->Probe(absl::Seconds(10)).ok());

  options.security.token_file = folder_ / "wrong_token";
  EXPECT_EQ(Translate(options).code(), absl::StatusCode::kUnauthenticated);
  options.security.token_file = "";
  EXPECT_EQ(client::ErrorReason(Translate(options)), "TOKEN_MISSING");
  options.security.token_file = folder_ / "no_token";
  EXPECT_EQ(Translate(options).code(), absl::StatusCode::kInvalidArgument);
  options.security.token_file = folder_ / "nowhere";
  EXPECT_EQ(Translate(options).code(), absl::StatusCode::kNotFound);
  // A pipe that nobody writes into is not waited for.
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  for (std::string client::Security::*file :
       {&client::Security::token_file, &client::Security::ca_file}) {
    ClientOptions piped = options;
    piped.security.token_file = "";
    piped.security.*file = folder_ / "pipe";
    EXPECT_THAT(std::string(Client::Connect(piped).status().message()),
                HasSubstr("pipe: this pipe is empty, and nobody writes into it"));
  }
  options.security.token_file = folder_ / "token";
  options.security.ca_file = folder_ / "stranger.crt";
  EXPECT_EQ(Translate(options).code(), absl::StatusCode::kUnavailable);
  options.security.tls = false;
  options.security.ca_file = "";
  EXPECT_EQ(Translate(options).code(), absl::StatusCode::kUnavailable);  // This client has no TLS.

  const std::string program = absl::StrCat(
      "echo a word | ", kClient, " translate --server ", server.address(), " --tls --tls-ca ",
      folder_ / "server.crt", " > ", folder_ / "out", " 2> ", folder_ / "err");
  EXPECT_EQ(Shell(absl::StrCat(program, " --token-file ", folder_ / "token")), 0);
  EXPECT_NE(ReadFile(folder_ / "out"), "\n");
  EXPECT_EQ(Shell(absl::StrCat("bash -c '", program, " --token-file <(cat ", folder_ / "token",
                               ")'")),
            0)
      << ReadFile(folder_ / "err");
  EXPECT_NE(ReadFile(folder_ / "out"), "\n");
  EXPECT_EQ(Shell(program), 4 << 8);
  EXPECT_THAT(ReadFile(folder_ / "err"), HasSubstr("TOKEN_MISSING"));
}

TEST_F(SecureClientTest, ThePageTranslatesThroughASecureServer) {
  ServerProcess server(folder_, "server",
                       {"--tls-certificate-file", folder_ / "server.crt", "--tls-key-file",
                        folder_ / "server.key", "--auth-tokens-file", MakeToken()});
  server.StartAndWait();
  const std::vector<std::string> program = {
      kClient, "web", "--server", server.address(), "--listen", "127.0.0.1:0", "--port-file"};
  const auto models_status = [&](const std::string& name, std::vector<std::string> flags) {
    const std::string port_file = folder_ / name;
    std::vector<std::string> arguments = program;
    arguments.push_back(port_file);
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    Process web;
    web.Start(arguments, folder_ / "web.log");
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (access(port_file.c_str(), F_OK) != 0 && web.running() && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(5));
    }
    if (access(port_file.c_str(), F_OK) != 0) return 0;
    httplib::Client http("127.0.0.1", std::stoi(ReadFile(port_file)));
    http.set_read_timeout(30);
    const auto answer = http.Get("/v1/models");
    return answer ? answer->status : 0;
  };
  const std::vector<std::string> secure = {"--tls", "--tls-ca", folder_ / "server.crt"};
  std::vector<std::string> known = secure;
  known.insert(known.end(), {"--token-file", folder_ / "token"});
  EXPECT_EQ(models_status("known", known), 200) << ReadFile(folder_ / "web.log");
  EXPECT_GE(models_status("unknown", secure), 400) << ReadFile(folder_ / "web.log");
}

TEST_F(SecureClientTest, ClientCertificates) {
  ServerProcess server(folder_, "server",
                       {"--tls-certificate-file", folder_ / "server.crt", "--tls-key-file",
                        folder_ / "server.key", "--tls-client-ca-file", folder_ / "client.crt"});
  server.StartAndWait();
  ClientOptions options;
  options.address = server.address();
  options.security.tls = true;
  options.security.ca_file = folder_ / "server.crt";
  options.security.certificate_file = folder_ / "client.crt";
  EXPECT_EQ(Translate(options).code(), absl::StatusCode::kInvalidArgument);  // The key is missing.
  options.security.key_file = folder_ / "client.key";
  EXPECT_TRUE(Translate(options).ok()) << Translate(options);
  options.security.certificate_file = folder_ / "stranger.crt";
  options.security.key_file = folder_ / "stranger.key";
  EXPECT_EQ(Translate(options).code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace leapstream
