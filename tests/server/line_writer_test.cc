#include "server/line_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "absl/time/time.h"

namespace leapstream {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The disk is full for a while: a part of one line is written, and nothing of the next one.
TEST(LineWriterTest, WhatFollowsACutLineBeginsANewOne) {
  signal(SIGXFSZ, SIG_IGN);
  const std::string path = testing::TempDir() + "/line_writer_test";
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ASSERT_GE(file, 0);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit full = before;
  full.rlim_cur = 3;
  LineWriter writer(file, 1 << 10,
                    [](int64_t /*lines*/) { return std::string("some are missing\n"); });
  setrlimit(RLIMIT_FSIZE, &full);
  writer.Write("first line\n");
  EXPECT_TRUE(writer.Flush(absl::Seconds(20)));
  writer.Write("second line\n");
  EXPECT_TRUE(writer.Flush(absl::Seconds(20)));
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(writer.dropped(), 2);
  writer.Write("third line\n");
  EXPECT_TRUE(writer.Flush(absl::Seconds(20)));
  EXPECT_EQ(ReadFile(path), "fir\nthird line\nsome are missing\n");
  close(file);
}

}  // namespace
}  // namespace leapstream
