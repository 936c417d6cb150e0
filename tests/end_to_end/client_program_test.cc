// The program `leapstream` on people's machines: names with several addresses, proxies in the
// environment, malformed addresses. The servers are real, and names are looked up by the system.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/end_to_end/processes.h"

namespace leapstream {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kClient[] = LEAPSTREAM_BINARY_DIR "/bin/leapstream";

struct Ran {
  int status = 0;
  std::string output;  // Standard output and standard error.
};

class ClientProgramTest : public testing::Test {
 protected:
  // Runs `command` in a shell.
  Ran Run(const std::string& command) {
    Process shell;
    const std::string output = folder_ / absl::StrCat("output", ++runs_);
    shell.Start({"bash", "-c", command}, output);
    const int status = shell.Wait();
    return {status, ReadFile(output)};
  }
  // Returns the beginning of a command that runs with this file as /etc/hosts.
  static std::string WithHosts(const std::string& hosts) {
    return absl::StrCat("exec unshare --map-root-user --mount bash -c 'mount --bind ", hosts,
                        " /etc/hosts && exec \"$@\"' - ");
  }
  // Writes into the same file, since that one is mounted.
  static void Write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::trunc) << text;
  }
  bool HasNamespaces() {
    Write(folder_ / "hosts", "127.0.0.1 leapstream.test\n");
    return Run(WithHosts(folder_ / "hosts") + "getent hosts leapstream.test").status == 0;
  }
  // Starts a server on another address of loopback, with the port of `first`.
  void StartBeside(const ServerProcess& first, const std::string& host, Process& server,
                   std::vector<std::string> flags) {
    const std::string port_file = folder_ / (host + ".port");
    unlink(port_file.c_str());
    flags.insert(flags.begin(),
                 {LEAPSTREAM_BINARY_DIR "/bin/leapstream-server", "--model", kEmbeddedModel,
                  "--listen", absl::StrCat(host, ":", first.port()), "--port-file", port_file});
    server.Start(flags, folder_ / (host + ".log"));
    const absl::Time deadline = absl::Now() + absl::Minutes(1);
    while (access(port_file.c_str(), F_OK) != 0 && server.running() && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(5));
    }
    ASSERT_EQ(access(port_file.c_str(), F_OK), 0) << ReadFile(folder_ / (host + ".log"));
  }

  TestFolder folder_;
  int runs_ = 0;
};

TEST_F(ClientProgramTest, OneNameIsAllItsServers) {
  if (!HasNamespaces()) GTEST_SKIP() << "no namespaces for a /etc/hosts of our own";
  ServerProcess first(folder_, "first", {"--max-sessions", "2"});
  ASSERT_NO_FATAL_FAILURE(first.StartAndWait());
  Process second;
  ASSERT_NO_FATAL_FAILURE(StartBeside(first, "127.0.0.2", second, {"--max-sessions", "2"}));
  Write(folder_ / "hosts", "127.0.0.1 leapstream.test\n127.0.0.2 leapstream.test\n");
  for (const char* form : {"leapstream.test:", "dns:///leapstream.test:"}) {
    const Ran load = Run(absl::StrCat(
        WithHosts(folder_ / "hosts"), kClient, " load --server ", form, first.port(), " --source ",
        LEAPSTREAM_SOURCE_DIR, "/docs/demo.en --sessions 4 --rate 1 --seconds 2"));
    EXPECT_EQ(load.status, 0) << load.output;
    EXPECT_THAT(load.output, Not(HasSubstr("failed sessions"))) << load.output;
  }
}

TEST_F(ClientProgramTest, AChangedAddressIsFound) {
  if (!HasNamespaces()) GTEST_SKIP() << "no namespaces for a /etc/hosts of our own";
  const std::vector<std::string> flags = {"--resume-key-file", WriteResumeKey(folder_)};
  ServerProcess first(folder_, "first", flags);
  ASSERT_NO_FATAL_FAILURE(first.StartAndWait());
  Process second;
  ASSERT_NO_FATAL_FAILURE(StartBeside(first, "127.0.0.2", second, flags));
  const std::string text = "This is one sentence.\nAnd another one comes after it.\n";
  Write(folder_ / "text", text);
  const std::string translate = absl::StrCat(kClient, " translate --k 3 --server ");
  const Ran alone = Run(absl::StrCat(translate, first.address(), " < ", folder_ / "text"));
  ASSERT_EQ(alone.status, 0) << alone.output;

  Write(folder_ / "hosts", "127.0.0.1 leapstream.test\n");
  ASSERT_EQ(mkfifo((folder_ / "typed").c_str(), 0600), 0);
  Process program;
  program.Start({"bash", "-c",
                 absl::StrCat(WithHosts(folder_ / "hosts"), translate, "leapstream.test:",
                              first.port(), " 2> ", folder_ / "errors")},
                folder_ / "translated", folder_ / "typed");
  std::ofstream typed(folder_ / "typed");
  typed << text.substr(0, text.find('\n') + 1) << std::flush;
  const absl::Time deadline = absl::Now() + absl::Minutes(1);
  const auto wait_for = [&](const std::string& file, const std::string& what) {
    while (ReadFile(file).find(what) == std::string::npos) {
      ASSERT_LT(absl::Now(), deadline) << ReadFile(folder_ / "errors");
      absl::SleepFor(absl::Milliseconds(10));
    }
  };
  wait_for(folder_ / "translated", "\n");
  first.Kill();
  wait_for(folder_ / "errors", "trying again");
  Write(folder_ / "hosts", "127.0.0.2 leapstream.test\n");
  wait_for(folder_ / "errors", absl::StrCat("going on at 127.0.0.2:", first.port()));
  typed << text.substr(text.find('\n') + 1);
  typed.close();
  EXPECT_EQ(program.Wait(), 0) << ReadFile(folder_ / "errors");
  EXPECT_EQ(ReadFile(folder_ / "translated"), alone.output);
}

TEST_F(ClientProgramTest, NoProxyIsAskedForThisMachine) {
  ServerProcess server(folder_, "server", {"--admin-listen", "127.0.0.1:0"});
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  const std::string proxies =
      "export http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 "
      "grpc_proxy=http://127.0.0.1:9 all_proxy=http://127.0.0.1:9; unset no_proxy no_grpc_proxy; ";
  const std::string at = absl::StrCat(" --server localhost:", server.port());
  const std::string demo = LEAPSTREAM_SOURCE_DIR "/docs/demo.en";
  for (const std::string& command :
       {absl::StrCat("head -2 ", demo, " | ", kClient, " translate", at),
        absl::StrCat(kClient, " probe --timeout 20s", at),
        absl::StrCat(kClient, " models --server 127.0.0.1:", server.port()),
        absl::StrCat(kClient, " load --sessions 1 --rate 3 --seconds 2 --source ", demo, at),
        absl::StrCat(kClient, " admin stats --server localhost:", server.port_of("admin")),
        absl::StrCat(kClient, " evaluate --source ", demo, " --target ", demo, " --output ",
                     folder_ / "scores", at)}) {
    const Ran ran = Run(proxies + command);
    EXPECT_EQ(ran.status, 0) << command << "\n" << ran.output;
  }
  // `evaluate` starts a server of its own.
  const Ran own = Run(absl::StrCat(proxies, kClient, " evaluate --source ", demo, " --target ",
                                   demo, " --output ", folder_ / "own", " --model ",
                                   kEmbeddedModel));
  EXPECT_EQ(own.status, 0) << own.output;
  const Ran elsewhere =
      Run(absl::StrCat(proxies, kClient, " translate --server 192.0.2.1:50051 < ", demo));
  EXPECT_EQ(elsewhere.status, 3);
  EXPECT_THAT(elsewhere.output, HasSubstr("asked through http://127.0.0.1:9, the proxy that the "
                                          "environment's grpc_proxy names"));
  const Ran probe = Run(absl::StrCat(
      proxies, kClient, " probe --timeout 500ms --server 192.0.2.1:50051"));
  EXPECT_EQ(probe.status, 3);
  EXPECT_THAT(probe.output, HasSubstr("grpc_proxy"));
}

// Standard input that cannot be read, for example since it is closed, and an output that takes
// nothing.
TEST_F(ClientProgramTest, SubtitlesKeepTheirTimes) {
  ServerProcess server(folder_, "server", {});
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  const std::string translate =
      absl::StrCat(kClient, " translate --server ", server.address(), " ");
  Write(folder_ / "in.srt",
        "1\n00:00:01,000 --> 00:00:02,500\n<i>You can only</i>\n\n"
        "2\n00:00:02,600 --> 00:00:04,000\nmodify Presentation Styles.\n\n");
  const Ran done = Run(absl::StrCat(translate, "--srt ", folder_ / "in.srt", " --output ",
                                    folder_ / "out.vtt && cat ", folder_ / "out.vtt"));
  EXPECT_EQ(done.status, 0) << done.output;
  EXPECT_THAT(done.output,
              testing::MatchesRegex("WEBVTT\n\n00:00:01.000 --> 00:00:02.500\n[A-Za-zäöü ]+\n\n"
                                    "00:00:02.600 --> 00:00:04.000\n[A-Za-zäöü ]+\\.\n\n"));
  // A sentence over both is translated as one.
  const Ran whole = Run(absl::StrCat("echo 'You can only modify Presentation Styles.' > ",
                                     folder_ / "whole", " && ", translate, "--file ",
                                     folder_ / "whole"));
  std::string words;
  for (const char* cue : {"02.500\n", "04.000\n"}) {
    const size_t begin = done.output.find(cue) + 7;
    absl::StrAppend(&words, done.output.substr(begin, done.output.find('\n', begin) - begin),
                    cue[1] == '2' ? " " : "\n");
  }
  EXPECT_EQ(words, whole.output);

  const Ran live = Run(absl::StrCat("echo 'Open the file.' | ", translate, "--format srt"));
  EXPECT_EQ(live.status, 0) << live.output;
  EXPECT_THAT(live.output, HasSubstr("1\n00:00:00,"));
  const Ran wrong = Run(absl::StrCat(translate, "--srt ", folder_ / "whole"));
  EXPECT_EQ(wrong.status, 4) << wrong.output;
  EXPECT_THAT(wrong.output, HasSubstr("want SubRip or WebVTT"));
  const Ran same = Run(
      absl::StrCat(translate, "--srt ", folder_ / "in.srt", " --output ", folder_ / "in.srt"));
  EXPECT_THAT(same.output, HasSubstr("which would be lost"));
}

TEST_F(ClientProgramTest, AHyphenIsStandardOutput) {
  ServerProcess server(folder_, "a");
  server.StartAndWait();
  Write(folder_ / "in", "Open the file.\n");
  const std::string translate =
      absl::StrCat("cd ", folder_ / "", " && ", kClient, " translate --server ", server.address(),
                   " --file in");
  const Ran plain = Run(translate), hyphen = Run(translate + " --output -");
  EXPECT_EQ(plain.status, 0) << plain.output;
  EXPECT_NE(plain.output, "");
  EXPECT_EQ(hyphen.output, plain.output);
  EXPECT_NE(access((folder_ / "-").c_str(), F_OK), 0);
}

TEST_F(ClientProgramTest, BrokenInputAndOutputAreSaid) {
  ServerProcess server(folder_, "server");
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  const std::string translate =
      absl::StrCat("timeout 60 ", kClient, " translate --server ", server.address(), " ");
  for (const char* input : {"0> /dev/null", "<&-"}) {
    const Ran text = Run(translate + input);
    EXPECT_EQ(text.status, 4) << input << text.output;
    EXPECT_THAT(text.output, HasSubstr("standard input, which is closed")) << input;
    const Ran audio = Run(translate + "--audio - " + input);
    EXPECT_EQ(audio.status, 1) << input << audio.output;
    EXPECT_THAT(audio.output, HasSubstr("cannot read the input")) << input;
  }
  for (const char* command : {"translate", "translate --json"}) {
    const Ran full = Run(absl::StrCat("echo A word. | timeout 60 ", kClient, " ", command,
                                      " --server ", server.address(), " > /dev/full"));
    EXPECT_EQ(full.status, 1) << full.output;
    EXPECT_THAT(full.output, HasSubstr("cannot write the output: No space left on device"));
    const Ran left = Run(absl::StrCat("set -o pipefail; (echo A word.; sleep 1; echo Another.) | "
                                      "timeout 60 ", kClient, " ", command, " --server ",
                                      server.address(), " | head -c 0"));
    EXPECT_EQ(left.status, 1) << left.output;
  }
}

TEST_F(ClientProgramTest, AMalformedAddressIsSaidByEveryCommand) {
  for (const char* command :
       {"translate", "translate --audio -", "models", "probe", "load --source /dev/null",
        "evaluate --source /dev/null --target /dev/null --output /nowhere", "simuleval-bridge",
        "web", "admin stats", "admin sessions", "admin drain", "admin reload"}) {
    for (const auto& [given, remedy] : std::vector<std::pair<const char*, const char*>>{
             {"http://localhost:50051", "leave out http://: localhost:50051"},
             {"::1:50051", "[::1]:50051"},
             {":50051", "localhost:50051"},
             {"localhost", "add the port"},
             {"localhost:0", "from 1 to 65535"},
             {"localhost:99999", "from 1 to 65535"},
             {"local host:50051", "without white space"},
             {"localhost:50051/", "leave out \"/\""}}) {
      const Ran ran = Run(absl::StrCat(kClient, " ", command, " --server '", given, "'"));
      EXPECT_EQ(ran.status, 2) << command << " " << given << "\n" << ran.output;
      EXPECT_THAT(ran.output, HasSubstr(remedy)) << command << " " << given;
    }
  }
}

}  // namespace
}  // namespace leapstream
