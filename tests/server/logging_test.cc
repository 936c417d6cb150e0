#include "server/logging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/quoted.h"
#include "base/utf8.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(LoggingTest, EachJsonLineIsAnObject) {
  const auto before = spdlog::default_logger();
  testing::internal::CaptureStderr();
  SetUpLogging("info", LogFormat::kJson);
  spdlog::warn("a \"quoted\" {}\n{}", "line", "\xff");
  LogEvent(
      "session",
      {{"session", "abc"}, {"trace_id", ""}, {"peer", "a\"b"}, {"tokens", 3}, {"seconds", 1.5}});
  spdlog::debug("not this");
  FlushOutput();
  const std::string log = testing::internal::GetCapturedStderr();
  const std::vector<std::string> lines = absl::StrSplit(log, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 2u) << log;
  const auto first = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(first["level"], "warning");
  EXPECT_THAT(first["message"].get<std::string>(), HasSubstr("a \"quoted\" line\n"));
  const auto second = nlohmann::json::parse(lines[1]);
  EXPECT_EQ(second["message"], "session");
  EXPECT_EQ(second["session"], "abc");
  EXPECT_EQ(second["peer"], "a\"b");
  EXPECT_EQ(second["tokens"], 3);
  EXPECT_EQ(second["seconds"], 1.5);
  EXPECT_FALSE(second.contains("trace_id"));
  absl::Time time;
  EXPECT_TRUE(
      absl::ParseTime(absl::RFC3339_full, second["time"].get<std::string>(), &time, nullptr));
  testing::internal::CaptureStderr();
  SetUpLogging("info", LogFormat::kText);
  LogEvent("session", {{"session", "a\nb"}, {"trace_id", ""}, {"tokens", 3}});
  FlushOutput();
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("session session=a\\nb tokens=3\n"));
  spdlog::set_default_logger(before);
}

TEST(LoggingTest, OneLineOfAKindPassesInTenSeconds) {
  LineRate rate;
  const SteadyTime start(absl::Hours(1));
  const absl::Duration almost = absl::Milliseconds(9999);
  EXPECT_TRUE(rate.Passes(start));
  EXPECT_FALSE(rate.Passes(start));
  EXPECT_FALSE(rate.Passes(start + almost));
  EXPECT_TRUE(rate.Passes(start + absl::Seconds(11)));
  EXPECT_FALSE(rate.Passes(start + absl::Seconds(11) + almost));
}

// No value can be taken for another line, another field or other text.
TEST(LoggingTest, NothingFromOutsideLooksLikeAnotherLine) {
  const std::string values[] = {
      "x\n[2026-01-01 00:00:00.000] [leapstream] [info] session principal=alice",
      "x\r\x1b[2K\x1b[1Aalice",
      "x principal=alice status=OK",
      "x\" principal=alice",
      "abc\u202ecba\u2066x\u2028y\u0085z\u200b\ufeff",
      "\xff\xfe\xc3",
      std::string(1 << 20, 'a'),
  };
  const auto before = spdlog::default_logger();
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    for (const std::string& value : values) {
      testing::internal::CaptureStderr();
      SetUpLogging("info", format);
      LogEvent("session", {{"principal", value}, {"model", "m"}, {"status", "OK"}});
      spdlog::warn("refused {}", value);
      FlushOutput();
      const std::string log = testing::internal::GetCapturedStderr();
      const std::vector<std::string> lines = absl::StrSplit(log, '\n', absl::SkipEmpty());
      ASSERT_EQ(lines.size(), 2u) << log;
      for (const std::string& line : lines) {
        EXPECT_LE(line.size(), 20000u);
        for (size_t at = 0; at < line.size();) {
          size_t length = 0;
          char32_t character = 0;
          ASSERT_EQ(ReadUtf8(absl::string_view(line).substr(at), &length, &character),
                    Utf8::kCharacter)
              << line;
          EXPECT_FALSE(IsDisguise(character)) << line;
          at += length;
        }
      }
      if (format == LogFormat::kJson) {
        EXPECT_EQ(nlohmann::json::parse(lines[0])["status"], "OK");
      } else {
        EXPECT_THAT(lines[0], Not(HasSubstr("x principal=alice status=OK model")));
        EXPECT_THAT(lines[0], testing::EndsWith(" model=m status=OK"));
      }
    }
  }
  spdlog::set_default_logger(before);
}

}  // namespace
}  // namespace leapstream
