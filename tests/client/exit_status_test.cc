#include "client/cli/exit_status.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

TEST(ExitStatusTest, EachKindOfErrorHasItsNumber) {
  EXPECT_EQ(ExitStatus(absl::OkStatus()), 0);
  EXPECT_EQ(ExitStatus(absl::InternalError("")), kExitError);
  EXPECT_EQ(ExitStatus(absl::DataLossError("")), kExitError);
  EXPECT_EQ(ExitStatus(absl::UnavailableError("")), kExitUnavailable);
  EXPECT_EQ(ExitStatus(absl::NotFoundError("")), kExitRefused);
  EXPECT_EQ(ExitStatus(absl::InvalidArgumentError("")), kExitRefused);
  EXPECT_EQ(ExitStatus(absl::ResourceExhaustedError("")), kExitRefused);
  EXPECT_EQ(ExitStatus(absl::CancelledError("")), kExitCancelled);
  EXPECT_EQ(ExitStatus(absl::DeadlineExceededError("")), kExitDeadline);
}

TEST(ExitStatusTest, TheHelpListsEachNumber) {
  for (const int number : {0, kExitError, kExitUsage, kExitUnavailable, kExitRefused,
                           kExitCancelled, kExitDeadline}) {
    EXPECT_THAT(std::string(kExitStatusHelp),
                testing::HasSubstr(absl::StrCat("\n  ", number, "  ")));
  }
}

TEST(ExitStatusTest, TheMessageNamesTheError) {
  EXPECT_EQ(ErrorLine(absl::UnavailableError("no server")), "leapstream: no server");
  EXPECT_EQ(ErrorLine(absl::DeadlineExceededError("Deadline Exceeded")),
            "leapstream: the deadline passed");
}

TEST(ExitStatusTest, SuccessAndAReaderThatLeftAreNotTalkedAbout) {
  EXPECT_EQ(ErrorLine(absl::OkStatus()), "");
  EXPECT_EQ(ErrorLine(absl::DataLossError("nobody reads the output")), "");
}

}  // namespace
}  // namespace leapstream::client
