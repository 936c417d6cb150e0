// `leapstream pull` from a hub on 127.0.0.1 to a model that leapstream-server takes.
#include <filesystem>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "tests/client/fake_hub.h"
#include "tests/end_to_end/processes.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::map<std::string, std::string> FilesOf(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& file : fs::directory_iterator(folder)) {
    files[file.path().filename().string()] = ReadFile(file.path().string());
  }
  return files;
}

TEST(PullProgramTest, FetchesExportsAndSaysWhatComesNext) {
  const TestFolder folder;
  FakeHub hub(FilesOf(LEAPSTREAM_SOURCE_DIR "/tests/golden/hugging_face/checkpoints/marian"));
  const std::string output = folder / "models/marian";
  const std::vector<std::string> pull = {LEAPSTREAM_BINARY_DIR "/bin/leapstream",
                                         "pull",
                                         "org/model",
                                         "--endpoint",
                                         hub.url(),
                                         "--cache",
                                         folder / "cache",
                                         "--output",
                                         output};
  Process process;
  process.Start(pull, folder / "log");
  ASSERT_EQ(process.Wait(), 0) << ReadFile(folder / "log");
  const std::string said = ReadFile(folder / "log");
  EXPECT_THAT(said, HasSubstr(absl::StrCat("org/model at ", kHubCommit)));
  EXPECT_THAT(said, HasSubstr("licence: cc-by-4.0"));
  EXPECT_THAT(said, HasSubstr(absl::StrCat("leapstream-server --model ", output)));
  Process check;
  check.Start({LEAPSTREAM_BINARY_DIR "/bin/leapstream-server", "--model", output, "--check-config"},
              folder / "check");
  EXPECT_EQ(check.Wait(), 0) << ReadFile(folder / "check");

  process.Start(pull, folder / "again");
  EXPECT_NE(process.Wait(), 0);
  EXPECT_THAT(ReadFile(folder / "again"), HasSubstr("is there already"));
  hub.Stop();
  std::vector<std::string> offline = pull;
  offline.back() = folder / "models/again";
  offline.push_back("--offline");
  process.Start(offline, folder / "offline");
  EXPECT_EQ(process.Wait(), 0) << ReadFile(folder / "offline");
}

}  // namespace
}  // namespace leapstream
