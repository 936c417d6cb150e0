#include "base/small_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

using testing::HasSubstr;

constexpr size_t kMebibyte = 1 << 20;

// A pipe as the shell's <(command) makes it: it has no name but that of its descriptor.
class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0); }
  ~Pipe() {
    close(ends_[0]);
    CloseWriter();
  }
  std::string path() const { return absl::StrCat("/dev/fd/", ends_[0]); }
  void Write(const std::string& bytes) const {
    size_t at = 0;
    while (at < bytes.size()) {
      const ssize_t count = write(ends_[1], bytes.data() + at, bytes.size() - at);
      if (count < 0) return;
      at += static_cast<size_t>(count);
    }
  }
  void CloseWriter() {
    if (ends_[1] >= 0) close(ends_[1]);
    ends_[1] = -1;
  }

 private:
  int ends_[2] = {-1, -1};
};

std::string Message(const absl::StatusOr<std::string>& bytes) {
  return std::string(bytes.status().message());
}

TEST(SmallFileTest, AFileIsReadWhole) {
  const std::string path = testing::TempDir() + "/small_file_test";
  for (const size_t size : {size_t{0}, size_t{1}, size_t{70000}, kMebibyte}) {
    std::ofstream(path) << std::string(size, 'x');
    const auto bytes = ReadSmallFile(path);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_EQ(*bytes, std::string(size, 'x'));
  }
  std::ofstream(path) << std::string(kMebibyte + 1, 'x');
  EXPECT_EQ(ReadSmallFile(path).status().code(), absl::StatusCode::kInvalidArgument);
  std::remove(path.c_str());
  EXPECT_EQ(ReadSmallFile(path).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(ReadSmallFile(path)), HasSubstr(path + ": No such file"));
}

TEST(SmallFileTest, APipeIsReadToItsEnd) {
  Pipe pipe;
  const std::string text(kMebibyte, 'x');  // More than a pipe holds, so the writer waits for us.
  std::thread writer([&] {
    pipe.Write("token");
    pipe.Write(text.substr(5));
    pipe.CloseWriter();
  });
  const auto bytes = ReadSmallFile(pipe.path());
  writer.join();
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(*bytes, "token" + text.substr(5));
  // Nothing is left for a second time, which is an error and not an empty file.
  EXPECT_THAT(Message(ReadSmallFile(pipe.path())), HasSubstr("this pipe is empty"));
}

TEST(SmallFileTest, APipeHasNoMoreBytesThanAFile) {
  Pipe pipe;
  std::thread writer([&] {
    pipe.Write(std::string(kMebibyte + 1, 'x'));
    pipe.CloseWriter();
  });
  EXPECT_EQ(ReadSmallFile(pipe.path()).status().code(), absl::StatusCode::kInvalidArgument);
  writer.join();
}

TEST(SmallFileTest, AWriterThatDoesNotEndIsNotWaitedForLong) {
  Pipe pipe;
  EXPECT_THAT(Message(ReadSmallFile(pipe.path(), absl::Milliseconds(20))),
              HasSubstr("has not ended in time"));
  pipe.Write("token");  // It may be a part of more.
  EXPECT_THAT(Message(ReadSmallFile(pipe.path(), absl::Milliseconds(20))),
              HasSubstr("has not ended in time"));
}

TEST(SmallFileTest, WithoutPatienceNoPipeIsRead) {
  Pipe pipe;
  pipe.Write("token");
  pipe.CloseWriter();
  EXPECT_THAT(Message(ReadSmallFile(pipe.path(), absl::ZeroDuration())),
              HasSubstr("a pipe is read once"));
  EXPECT_EQ(*ReadSmallFile(pipe.path()), "token");  // The refusal took nothing.
}

TEST(SmallFileTest, ANamedPipeNeedsAWriter) {
  const std::string path = testing::TempDir() + "/small_file_test_pipe";
  unlink(path.c_str());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_THAT(Message(ReadSmallFile(path)), HasSubstr("nobody writes into it"));
  // A descriptor for both ends opens at once; a writer alone would wait for its reader.
  const int writer = open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(writer, 0);
  ASSERT_EQ(write(writer, "token", 5), 5);
  EXPECT_THAT(Message(ReadSmallFile(path, absl::Milliseconds(20))),
              HasSubstr("has not ended in time"));
  close(writer);
  unlink(path.c_str());
}

TEST(SmallFileTest, DevicesAndFoldersAreRefused) {
  for (const std::string& path : {std::string("/dev/zero"), std::string("/dev/null"),
                                  std::string("/dev/tty"), testing::TempDir()}) {
    EXPECT_EQ(ReadSmallFile(path).status().code(), absl::StatusCode::kNotFound) << path;
  }
}

}  // namespace
}  // namespace leapstream
