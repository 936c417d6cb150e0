#include "server/caller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leapstream {
namespace {

using ::testing::IsEmpty;

TEST(TraceTest, OnlyATraceParentHasAnId) {
  const std::string id = "4bf92f3577b34da6a3ce929d0e0e4736";
  EXPECT_EQ(TraceIdOf("00-" + id + "-00f067aa0ba902b7-01"), id);
  EXPECT_EQ(TraceIdOf("cc-" + id + "-00f067aa0ba902b7-01-future"), id);
  for (const std::string& bad :
       {std::string(), id, "00-" + id + "-00f067aa0ba902b7-01x",
        "ff-" + id + "-00f067aa0ba902b7-01", "00-" + std::string(32, '0') + "-00f067aa0ba902b7-01",
        "00-" + id + "-0000000000000000-01",
        std::string("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01")}) {
    EXPECT_THAT(TraceIdOf(bad), IsEmpty()) << bad;
  }
}

}  // namespace
}  // namespace leapstream
