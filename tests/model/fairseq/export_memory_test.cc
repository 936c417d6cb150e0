// Measures the exporter's memory beside the mapped checkpoints: it runs with a limit on its own
// data of 1.3 times the largest tensor.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/engine/model_family.h"
#include "tests/model/fairseq/checkpoint_writer.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kHidden = 1 << 17;
constexpr int64_t kLargestBytes = kHidden * 64 * 4;  // That of fc1 and of fc2 of each layer.

// The exit status of the exporter with `limit` bytes for its heap, stack and other private memory.
// Pages of mapped files do not count.
int RunExporter(const std::vector<std::string>& arguments, rlim_t limit) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit data = {limit, limit};
    setrlimit(RLIMIT_DATA, &data);
    std::vector<char*> argv = {const_cast<char*>("leapstream-export")};
    for (const std::string& each : arguments) argv.push_back(const_cast<char*>(each.c_str()));
    argv.push_back(nullptr);
    execv(LEAPSTREAM_BINARY_DIR "/bin/leapstream-export", argv.data());
    _exit(127);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class ExportMemoryTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    root_ = new fs::path(fs::path(testing::TempDir()) / "export_memory_test");
    fs::remove_all(*root_);
    fs::create_directories(*root_);
    CheckpointContents contents = ReadContents(GoldenPath("checkpoints/offline.pt"));
    const int64_t width = contents.parameters["encoder.layers.0.fc1.weight"].shape[1];
    ASSERT_EQ(width, 64);
    for (auto& [name, parameter] : contents.parameters) {
      if (absl::EndsWith(name, "fc1.weight")) parameter.shape = {kHidden, width};
      if (absl::EndsWith(name, "fc1.bias")) parameter.shape = {kHidden};
      if (absl::EndsWith(name, "fc2.weight")) parameter.shape = {width, kHidden};
      int64_t count = 1;
      for (const int64_t size : parameter.shape) count *= size;
      parameter.values.resize(count, 0.5f);
    }
    for (const char* side : {"encoder", "decoder"}) {
      contents.options[absl::StrCat(side, "_ffn_embed_dim")] = absl::StrCat(kHidden);
    }
    WriteAll(Path("zip.pt"), WriteCheckpoint(contents, {}));
    CheckpointForm old;
    old.old = true;
    WriteAll(Path("old.pt"), WriteCheckpoint(contents, old));
  }
  static void TearDownTestSuite() { fs::remove_all(*root_); }
  static std::string Path(const std::string& name) { return (*root_ / name).string(); }

  // Exports within the limit.
  void Export(std::vector<std::string> arguments) {
    for (const auto& [flag, file] : {std::pair("--source-dict", "data/joint/dict.en.txt"),
                                     {"--target-dict", "data/joint/dict.de.txt"},
                                     {"--source-spm", "data/joint/spm.model"},
                                     {"--target-spm", "data/joint/spm.model"}}) {
      arguments.insert(arguments.end(), {flag, GoldenPath(file)});
    }
    arguments.insert(arguments.end(), {"--output", Path("model")});
    ASSERT_EQ(RunExporter(arguments, kLargestBytes * 13 / 10), 0);
    const auto config = ReadModelDirectory(Path("model"));
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->encoder.ffn_embed_dim, kHidden);
  }

  static fs::path* root_;
};
fs::path* ExportMemoryTest::root_ = nullptr;

TEST_F(ExportMemoryTest, TheLargestTensorIsMuchSmallerThanTheFile) {
  EXPECT_GT(fs::file_size(Path("zip.pt")), 5 * kLargestBytes);
  EXPECT_NE(RunExporter({"--checkpoint", Path("zip.pt"), "--inspect"}, 1 << 20), 0);
}

TEST_F(ExportMemoryTest, BothFormatsFitIntoALittleMoreThanTheLargestTensor) {
  Export({"--checkpoint", Path("zip.pt")});
  Export({"--checkpoint", Path("old.pt"), "--dtype", "float16"});
}

TEST_F(ExportMemoryTest, TheMeanOfSeveralFitsToo) {
  Export({"--checkpoint", Path("zip.pt"), Path("old.pt"), Path("zip.pt"), "--average"});
}

TEST_F(ExportMemoryTest, LookingInsideFitsToo) {
  EXPECT_EQ(RunExporter({"--checkpoint", Path("zip.pt"), "--inspect"}, kLargestBytes * 13 / 10), 0);
}

}  // namespace
}  // namespace leapstream
