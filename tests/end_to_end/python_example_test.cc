// client/examples/python against real servers that are killed, with the commands of
// docs/protocol.md.
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/end_to_end/processes.h"
#include "tests/end_to_end/speaker.h"

namespace leapstream {
namespace {

int RunShell(const std::string& command) {
  return std::system(absl::StrCat("cd " LEAPSTREAM_SOURCE_DIR " && PATH=" LEAPSTREAM_BINARY_DIR
                                  "/bin:$PATH && ",
                                  command)
                         .c_str());
}

// The first shell commands of the page after `mark`.
std::string CommandsOf(const std::string& page, const std::string& mark) {
  const std::string text = ReadFile(absl::StrCat(LEAPSTREAM_SOURCE_DIR "/docs/", page));
  const size_t start = text.find(mark);
  if (start == std::string::npos) return "false";
  const size_t begin = text.find("```sh\n", start) + 6;
  return text.substr(begin, text.find("```", begin) - begin);
}

TEST(PythonExampleTest, GoesOnWhenServersAreKilled) {
  ASSERT_EQ(RunShell("/usr/bin/python3 -c 'import grpc, google.protobuf'"), 0)
      << "python3-grpcio is not installed; ./dev setup does it";
  TestFolder folder;
  ASSERT_EQ(RunShell(absl::StrCat("STUBS=", folder / "stubs", "\n",
                                  CommandsOf("protocol.md", "<!-- python stubs -->"))),
            0);
  ServerProcess a(folder, "a", {"--resume-key-file", WriteResumeKey(folder)});
  ServerProcess b(folder, "b", {"--resume-key-file", folder / "resume_key"});
  a.StartAndWait();
  b.StartAndWait();
  std::ofstream input(folder / "input");
  const std::vector<Sentence> sentences = ReadSentences();
  for (int i = 0; i < 40; ++i) input << sentences[i].source << "\n";
  input.close();
  ASSERT_EQ(RunShell(absl::StrCat("leapstream translate --early-end read-on --server ", a.address(), " < ",
                                  folder / "input", " > ", folder / "expected")),
            0);
  Process program;
  program.Start({"bash", "-c",
                 absl::StrCat("set -o pipefail; while read -r line; do echo \"$line\"; sleep 0.12; "
                              "done | PYTHONPATH=",
                              folder / "stubs",
                              " /usr/bin/python3 " LEAPSTREAM_SOURCE_DIR
                              "/client/examples/python/translate.py ",
                              a.address(), ",", b.address(), " > ", folder / "output")},
                folder / "errors", folder / "input");
  absl::SleepFor(absl::Milliseconds(1200));
  for (ServerProcess* server : {&a, &b}) {
    absl::SleepFor(absl::Milliseconds(700));
    server->Kill();
    server->StartAndWait();
  }
  EXPECT_EQ(program.Wait(), 0) << ReadFile(folder / "errors");
  EXPECT_EQ(ReadFile(folder / "output"), ReadFile(folder / "expected"));
  EXPECT_THAT(ReadFile(folder / "errors"), testing::HasSubstr("going on elsewhere"));
}

}  // namespace
}  // namespace leapstream
