#include "client/web/public_url.h"

#include "client/gateway/origin.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

using gateway::HostName;
using gateway::IsAddress;

TEST(PublicUrlTest, TakesUrlsApart) {
  const auto url = ParsePublicUrl("https://Talks.example.org:443/live/");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(url->origin, "https://talks.example.org");
  EXPECT_EQ(url->name, "talks.example.org");
  EXPECT_EQ(url->path, "/live");
  const auto plain = ParsePublicUrl("http://[::1]:8080");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->origin, "http://[::1]:8080");
  EXPECT_EQ(plain->name, "::1");
  EXPECT_EQ(plain->path, "");
}

TEST(PublicUrlTest, RefusesWhatABrowserWouldNotSend) {
  for (const char* given : {"", "talks.example.org", "ftp://a", "https://", "https:///live",
                            "https://a b/", "https://a/live?x=1", "https://a/(live)"}) {
    EXPECT_EQ(ParsePublicUrl(given).status().code(), absl::StatusCode::kInvalidArgument) << given;
  }
}

TEST(PublicUrlTest, HostsAreNamedWithoutTheirPorts) {
  EXPECT_EQ(HostName("LocalHost:8080"), "localhost");
  EXPECT_EQ(HostName("https://a.b:1"), "a.b");
  EXPECT_EQ(HostName("[::1]:80"), "::1");
  EXPECT_EQ(HostName("[::1"), "");
  EXPECT_TRUE(IsAddress("127.0.0.1"));
  EXPECT_TRUE(IsAddress("::1"));
  EXPECT_FALSE(IsAddress("localhost"));
}

}  // namespace
}  // namespace leapstream::client
