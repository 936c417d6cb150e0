#include "client/address.h"

#include <cstdlib>
#include <string>

#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

using testing::HasSubstr;

TEST(ServerAddressTest, TakesTheFormsOfGrpc) {
  const struct {
    const char* given;
    const char* host;
    int port;
    const char* target;
    const char* authority;
    bool of_this_machine;
  } kForms[] = {
      {"localhost:50051", "localhost", 50051, "dns:///localhost:50051", "localhost:50051", true},
      {" a.b:1 ", "a.b", 1, "dns:///a.b:1", "a.b:1", false},
      {"dns:///a.b:1", "a.b", 1, "dns:///a.b:1", "a.b:1", false},
      {"dns:a.b:1", "a.b", 1, "dns:///a.b:1", "a.b:1", false},
      {"dns:50051", "dns", 50051, "dns:///dns:50051", "dns:50051", false},
      {"dns://127.0.0.1:53/a.b:1", "", 1, "dns://127.0.0.1:53/a.b:1", "a.b:1", false},
      {"10.0.0.1:80", "10.0.0.1", 80, "ipv4:10.0.0.1:80", "10.0.0.1:80", false},
      {"127.9.9.9:80", "127.9.9.9", 80, "ipv4:127.9.9.9:80", "127.9.9.9:80", true},
      {"127.1:80", "127.0.0.1", 80, "ipv4:127.0.0.1:80", "127.0.0.1:80", true},
      {"0.0.0.0:80", "0.0.0.0", 80, "ipv4:0.0.0.0:80", "0.0.0.0:80", true},
      {"ipv4:127.0.0.1:80", "127.0.0.1", 80, "ipv4:127.0.0.1:80", "127.0.0.1:80", true},
      {"[::1]:80", "::1", 80, "ipv6:[::1]:80", "[::1]:80", true},
      {"ipv6:[::1]:80", "::1", 80, "ipv6:[::1]:80", "[::1]:80", true},
      {"[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80, "ipv6:[::ffff:127.0.0.1]:80",
       "[::ffff:127.0.0.1]:80", true},
      {"[fe80::1%eth0]:80", "fe80::1%eth0", 80, "ipv6:[fe80::1%25eth0]:80", "[fe80::1%eth0]:80",
       false},
      {"unix:/run/x", "", 0, "unix:/run/x", "", true},
      {"unix:x", "", 0, "unix:x", "", true},
      {"unix:///run/x", "", 0, "unix:///run/x", "", true},
      {"unix-abstract:x", "", 0, "unix-abstract:x", "", true},
      {"xds:///service", "", 0, "xds:///service", "", false},
      {"127.evil.example:80", "127.evil.example", 80, "dns:///127.evil.example:80",
       "127.evil.example:80", false},
  };
  for (const auto& form : kForms) {
    const auto address = ParseServerAddress(form.given, /*tls=*/false);
    ASSERT_TRUE(address.ok()) << form.given << ": " << address.status();
    EXPECT_EQ(address->host, form.host) << form.given;
    EXPECT_EQ(address->port, form.port) << form.given;
    EXPECT_EQ(address->target, form.target) << form.given;
    EXPECT_EQ(address->authority, form.authority) << form.given;
    EXPECT_EQ(address->of_this_machine, form.of_this_machine) << form.given;
  }
  const auto encrypted = ParseServerAddress("a.b", /*tls=*/true);
  ASSERT_TRUE(encrypted.ok()) << encrypted.status();
  EXPECT_EQ(encrypted->port, 443);
  EXPECT_EQ(encrypted->authority, "a.b");
}

TEST(ServerAddressTest, SaysWhatToWriteInstead) {
  const struct {
    const char* given;
    const char* remedy;
  } kForms[] = {
      {"", "got \"\""},
      {"http://localhost:50051", "leave out http://: localhost:50051"},
      {"https://a.b:443/x", "leave out https:// and add --tls: a.b:443"},
      {"grpc://a:1", "leave out grpc://: a:1"},
      {"localhost:50051/", "leave out \"/\""},
      {"localhost:50051/leapstream", "leave out \"/leapstream\""},
      {"localhost", "add the port: localhost:50051"},
      {"10.0.0.1", "add the port: 10.0.0.1:50051"},
      {"localhost:", "the port is missing"},
      {"localhost:0", "a number from 1 to 65535"},
      {"localhost:99999", "a number from 1 to 65535"},
      {"localhost:-1", "a number from 1 to 65535"},
      {"localhost:+1", "a number from 1 to 65535"},
      {"localhost:grpc", "a number from 1 to 65535"},
      {"localhost:4294967297", "a number from 1 to 65535"},
      {":50051", "localhost:50051"},
      {"::1:50051", "[::1]:50051"},
      {"::1", "[::1]:50051"},
      {"fe80::1", "[fe80::1]:50051"},
      {"[::1]", "add the port: [::1]:50051"},
      {"[::1", "the closing bracket is missing"},
      {"[::1]50051", "comes a colon"},
      {"[localhost]:50051", "an IPv6 address, and nothing else"},
      {"a:1:2", "one colon"},
      {"a:1 b:2", "with commas between several"},
      {"a: 1", "without white space"},
      {"a:1;b:2", "commas separate several"},
      {"user@a:1", "--token-file"},
      {"\"a:1\"", "is in no host name"},
      {"*:1", "is in no host name"},
      {"300.0.0.1:1", "four numbers up to 255"},
      {"1.2.3.4.5:1", "four numbers up to 255"},
      {"ipv4:localhost:1", "ipv4:127.0.0.1:50051"},
      {"ipv4:[::1]:1", "ipv4:127.0.0.1:50051"},
      {"ipv6:127.0.0.1:1", "ipv6:[::1]:50051"},
      {"ipv6:::1:1", "[::1]:1"},
      {"dns://a:1", "dns:///a:1"},
      {"unix:", "a path comes after unix:"},
      {"unix://x/y", "unix:///x/y"},
  };
  for (const auto& form : kForms) {
    const absl::Status status = ParseServerAddress(form.given, /*tls=*/false).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << form.given;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("want host:port of a server, such as localhost:50051, got \""))
        << form.given;
    EXPECT_THAT(std::string(status.message()), HasSubstr(form.remedy)) << form.given;
  }
  EXPECT_FALSE(ParseServerAddress("unix:/" + std::string(200, 'x'), false).ok());
  ClientOptions options;
  options.address = "localhost:1, [::1]:2,";
  EXPECT_TRUE(CheckServerAddresses(options).ok());
  options.address = "localhost:1,http://b:2";
  EXPECT_THAT(std::string(CheckServerAddresses(options).message()), HasSubstr("http://b:2"));
}

class ProxyTest : public testing::Test {
 protected:
  void SetUp() override { Clear(); }
  void TearDown() override { Clear(); }
  static void Clear() {
    for (const char* name : {"grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy",
                             "no_proxy"}) {
      unsetenv(name);
    }
  }
};

TEST_F(ProxyTest, IsThatOfGrpc) {
  EXPECT_FALSE(ProxyFor("a.b").has_value());
  setenv("http_proxy", "http://name:secret@proxy:3128", 1);
  ASSERT_TRUE(ProxyFor("a.b").has_value());
  EXPECT_EQ(ProxyFor("a.b")->variable, "http_proxy");
  EXPECT_EQ(ProxyFor("a.b")->value, "http://proxy:3128");  // The secret is in no message.
  setenv("no_proxy", "x.y, .b", 1);
  EXPECT_FALSE(ProxyFor("a.b").has_value());
  EXPECT_TRUE(ProxyFor("a.c").has_value());
  setenv("grpc_proxy", "", 1);  // No proxy, whatever the others say.
  EXPECT_FALSE(ProxyFor("a.c").has_value());
}

TEST(LookUpTest, KnowsThisMachine) {
  const auto addresses = LookUp("localhost");
  ASSERT_TRUE(addresses.ok()) << addresses.status();
  EXPECT_THAT(*addresses, testing::Contains("127.0.0.1"));
  for (const std::string& address : *addresses) EXPECT_TRUE(IsOfThisMachine(address)) << address;
  EXPECT_FALSE(IsOfThisMachine("192.0.2.1"));  // An address for documentation.
  EXPECT_FALSE(LookUp("no-such-name.invalid").ok());
}

}  // namespace
}  // namespace leapstream::client
