#include "client/servers.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> AddressesOf(Servers& servers) {
  std::vector<std::string> addresses;
  for (const auto& server : servers.All()) addresses.push_back(server->address);
  return addresses;
}

TEST(ServersTest, EachAddressThatWasGivenIsAServer) {
  ClientOptions options;
  options.address = "127.0.0.1:1, [::1]:2,,unix:/run/x";
  const auto servers = Servers::Create(options);
  ASSERT_TRUE(servers.ok()) << servers.status();
  EXPECT_THAT(AddressesOf(**servers), ElementsAre("127.0.0.1:1", "[::1]:2", "unix:/run/x"));
  EXPECT_EQ((*servers)->addresses(), "127.0.0.1:1, [::1]:2, unix:/run/x");
  for (const auto& server : (*servers)->All()) {
    EXPECT_NE(server->channel, nullptr);
    EXPECT_NE(server->stub, nullptr);
    EXPECT_EQ(server->note, "");
  }
}

TEST(ServersTest, AServerStaysTheSameWhileItsAddressDoes) {
  ClientOptions options;
  options.address = "127.0.0.1:1";
  const auto servers = Servers::Create(options);
  ASSERT_TRUE(servers.ok()) << servers.status();
  EXPECT_EQ((*servers)->All(), (*servers)->All());
}

TEST(ServersTest, AMissingOrMalformedAddressIsRefused) {
  for (const char* address : {"", " , ", "127.0.0.1:x"}) {
    ClientOptions options;
    options.address = address;
    EXPECT_EQ(Servers::Create(options).status().code(), absl::StatusCode::kInvalidArgument)
        << address;
    EXPECT_FALSE(ParseServerAddresses(options).ok()) << address;
  }
}

TEST(ServersTest, SecurityIsCheckedBeforeAnyServerIsCalled) {
  ClientOptions options;
  options.address = "127.0.0.1:1";
  options.security.certificate_file = "client.pem";
  EXPECT_THAT(std::string(Servers::Create(options).status().message()), HasSubstr("TLS"));
  options.security.tls = true;
  EXPECT_THAT(std::string(Servers::Create(options).status().message()), HasSubstr("its key"));
  options.security = Security();
  options.security.token_file = "/no/such/file";
  EXPECT_FALSE(Servers::Create(options).ok());
}

}  // namespace
}  // namespace leapstream::client
