#include "base/quoted.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leapstream {
namespace {

TEST(QuotedTest, CutsBetweenCharacters) {
  EXPECT_EQ(Quoted("a\"b\n"), "\"a\\\"b\\n\"");
  EXPECT_EQ(Quoted("für"), "\"für\"");
  const std::string text = std::string(99, 'a') + "ü" + "bcd";
  EXPECT_EQ(Quoted(text), "\"" + std::string(99, 'a') + "...\" (104 bytes)");
  EXPECT_EQ(Quoted("a\\b"), "\"a\\\\b\"");
  EXPECT_EQ(Quoted("abcdef", 3), "\"abc...\" (6 bytes)");
}

TEST(QuotedTest, NothingIsDisguised) {
  EXPECT_EQ(Quoted("a\x1b[1A\u202eb\u0085\U000e0041"), "\"a\\x1b[1A\\u202eb\\u0085\\U000e0041\"");
  EXPECT_EQ(Quoted("\xff\xc3"), "\"\\xff\\xc3\"");
  EXPECT_EQ(OneLine("a\r\n\tb", 100), "a\\r\\n\\tb");
  EXPECT_EQ(OneLine("aüb", 2), "a... (4 bytes)");
}

}  // namespace
}  // namespace leapstream
