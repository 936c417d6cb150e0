#include "client/load/capacity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace leapstream::client {
namespace {

TEST(CapacityTest, FindsTheBorderToATwentiethFromAnyBeginning) {
  for (const int border : {0, 1, 2, 3, 7, 8, 31, 100, 999, 5000}) {
    for (const int first : {1, 3, 32, 5000}) {
      std::vector<int> tried;
      const auto found = FindCapacity(first, 5000, [&](int n) -> absl::StatusOr<bool> {
        tried.push_back(n);
        return n <= border;
      });
      SCOPED_TRACE(testing::Message() << "border " << border << ", first " << first);
      ASSERT_TRUE(found.ok());
      EXPECT_LE(found->most, border);
      if (border == 5000) {
        EXPECT_EQ(found->most, 5000);
        EXPECT_EQ(found->least, 0);
      } else {
        EXPECT_GT(found->least, border);
        EXPECT_LE(found->least - found->most, found->most / 20 + 1);
      }
      EXPECT_THAT(tried, testing::Each(testing::AllOf(testing::Ge(1), testing::Le(5000))));
      EXPECT_LE(tried.size(), 24u);
    }
  }
}

TEST(CapacityTest, AnErrorEndsTheSearch) {
  int tries = 0;
  const auto found = FindCapacity(4, 100, [&](int) -> absl::StatusOr<bool> {
    if (++tries == 2) return absl::UnavailableError("gone");
    return true;
  });
  EXPECT_EQ(found.status(), absl::UnavailableError("gone"));
  EXPECT_EQ(tries, 2);
}

}  // namespace
}  // namespace leapstream::client
