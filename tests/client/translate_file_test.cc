#include "client/cli/translate_file.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

using ::testing::HasSubstr;

TEST(FormatLineTest, AnOutputLineHasNoLineFeedWithinIt) {
  TextTranslation translation;
  translation.text = "one\ntwo";
  EXPECT_EQ(FormatLine(1, translation, false), "one two\n");
  EXPECT_EQ(FormatLine(7, translation, true), "7\tnan\tone two\n");
  translation.segments = {{{"one", -0.25}, {"two", -1.5}}};
  EXPECT_EQ(FormatLine(7, translation, true), "7\t-0.250000\tone\n7\t-1.500000\ttwo\n");
  translation.segments.push_back({{"more", -1}});  // The line was two segments.
  EXPECT_EQ(FormatLine(7, translation, true), "7\tnan\tone two\n");
}

TEST(FindDoneTest, ALineWithoutItsEndIsMadeAgain) {
  const auto done = [](const char* output) { return *FindDone(output, false); };
  EXPECT_EQ(done("").lines, 0u);
  EXPECT_EQ(done("ab").bytes, 0u);
  EXPECT_EQ(done("ab\n").lines, 1u);
  EXPECT_EQ(done("ab\n\ncd").lines, 2u);
  EXPECT_EQ(done("ab\n\ncd").bytes, 4u);
}

TEST(FindDoneTest, TheLastHypothesesAreMadeAgain) {
  const std::string output = "1\t-1\ta\n1\t-2\tb\n2\t-1\tc\n2\t-1";
  const auto done = FindDone(output, true);
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->lines, 1u);
  EXPECT_EQ(done->bytes, output.find("2\t-1\tc"));
  EXPECT_EQ(FindDone("1\t-1\ta\n", true)->bytes, 0u);
  for (const char* wrong : {"a translation\n", "2\t-1\ta\n", "1\t-1\ta\n3\t-1\tb\n", "1\ta\n"}) {
    const auto status = FindDone(wrong, true).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << wrong;
    EXPECT_THAT(std::string(status.message()), HasSubstr("a number, a score and a text"));
  }
}

TEST(ProgressBarTest, FitsItsColumns) {
  EXPECT_EQ(ProgressBar({0, 4, 0, absl::Seconds(3)}, 30), "0/4 lines [                  ]");
  const std::string half = ProgressBar({2, 4, 2, absl::Seconds(4)}, 50);
  EXPECT_EQ(half.size(), 50u);
  EXPECT_THAT(half, HasSubstr("0.5 lines/s, 4s left"));
  EXPECT_EQ(ProgressBar({0, 0, 0, absl::ZeroDuration()}, 20).size(), 20u);
  EXPECT_EQ(ProgressBar({1, 2, 1, absl::Seconds(1)}, 5).size(), 5u);
}

}  // namespace
}  // namespace leapstream::client
