// Runs the program `leapstream` against a fake server.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/cli/source_words.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/client/fake_service.h"

namespace leapstream {
namespace {

class Program {
 public:
  explicit Program(std::vector<std::string> arguments) {
    int in[2], out[2], err[2];
    EXPECT_EQ(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
    arguments.insert(arguments.begin(), LEAPSTREAM_BINARY_DIR "/bin/leapstream");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      dup2(err[1], 2);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    in_ = in[1];
    out_ = out[0];
    err_ = err[0];
  }
  ~Program() {
    CloseInput();
    CloseOutput();
    close(err_);
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }

  void Type(const std::string& text) {
    ASSERT_EQ(write(in_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void CloseInput() { Close(in_); }
  void CloseOutput() { Close(out_); }
  void Signal(int signal) { kill(pid_, signal); }
  // Whether it has taken over the signal.
  bool Catches(int signal) const {
    std::ifstream status(absl::StrCat("/proc/", pid_, "/status"));
    for (std::string line; std::getline(status, line);) {
      if (!absl::StartsWith(line, "SigCgt:")) continue;
      return (std::stoull(line.substr(7), nullptr, 16) >> (signal - 1) & 1) != 0;
    }
    return false;
  }

  // Returns output up to and with `end`; if that does not come, all output of 10 s.
  std::string OutputUntil(const std::string& end) { return Until(out_, end); }
  std::string ErrorsUntil(const std::string& end) { return Until(err_, end); }
  bool IsQuiet(int milliseconds) {
    pollfd fd = {out_, POLLIN, 0};
    return poll(&fd, 1, milliseconds) == 0;
  }

  // Closes the input and waits for the end.
  int Exit() {
    CloseInput();
    if (out_ >= 0) output = ReadAll(out_);
    errors = ReadAll(err_);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  std::string output, errors;

 private:
  static std::string Until(int file, const std::string& end) {
    std::string text;
    char c;
    pollfd fd = {file, POLLIN, 0};
    while (!absl::EndsWith(text, end) && poll(&fd, 1, 10000) > 0 && read(file, &c, 1) == 1) {
      text += c;
    }
    return text;
  }
  static void Close(int& fd) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  static std::string ReadAll(int fd) {
    std::string text;
    char buffer[4096];
    for (ssize_t size; (size = read(fd, buffer, sizeof(buffer))) > 0;) text.append(buffer, size);
    return text;
  }

  pid_t pid_ = 0;
  int in_ = -1, out_ = -1, err_ = -1;
};

TEST(CliTest, TranslatesPipedLines) {
  FakeService service;
  Program program({"translate", "--server", service.address(), "--k", "4", "--early-end", "stop"});
  program.Type("gute nacht\n\n  liebe  welt ");
  EXPECT_EQ(program.Exit(), 0);
  EXPECT_EQ(program.output, "GUTE NACHT\n\nLIEBE WELT\n");
  EXPECT_EQ(program.errors, "");
  EXPECT_EQ(service.source(), "gute nacht||liebe welt |");
  EXPECT_EQ(service.config().policy().wait_k().k(), 4);
  EXPECT_EQ(service.config().policy().early_end(), v1::EARLY_END_STOP);
}

TEST(CliTest, LeavesOutAByteOrderMark) {
  FakeService service;
  Program program({"translate", "--server", service.address()});
  program.Type("\xEF\xBB\xBFgute nacht\n\xEF\xBB\xBFja\n");
  EXPECT_EQ(program.Exit(), 0);
  // Only the first U+FEFF is a byte order mark.
  EXPECT_EQ(service.source(), "gute nacht|\xEF\xBB\xBFja|");
}

TEST(CliTest, SendsWordsTheMomentTheyAreComplete) {
  FakeService service;
  Program program({"translate", "--server", service.address()});
  program.Type("gu");
  EXPECT_TRUE(program.IsQuiet(200));
  program.Type("te na");
  EXPECT_EQ(program.OutputUntil("GUTE"), "GUTE");
  EXPECT_EQ(service.source(), "gute ");
  program.Type("cht\n");
  EXPECT_EQ(program.OutputUntil("\n"), " NACHT\n");
  EXPECT_EQ(program.Exit(), 0);
}

// Input, output and errors of the program are one terminal.
class TerminalProgram {
 public:
  explicit TerminalProgram(const std::string& address) {
    winsize size = {};
    size.ws_col = 70;
    size.ws_row = 24;
    pid_ = forkpty(&terminal_, nullptr, nullptr, &size);
    if (pid_ == 0) {
      setenv("TERM", "xterm", 1);
      setenv("NO_COLOR", "1", 1);
      execl(LEAPSTREAM_BINARY_DIR "/bin/leapstream", "leapstream", "translate", "--server",
            address.c_str(), nullptr);
      _exit(127);
    }
  }
  ~TerminalProgram() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(terminal_);
  }
  void Type(const std::string& keys) {
    ASSERT_EQ(write(terminal_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  // Returns the bytes sent to the terminal, up to and with `end`; if that does not come, all bytes
  // of 10 s.
  std::string ShownUntil(const std::string& end) {
    std::string text;
    char c;
    pollfd fd = {terminal_, POLLIN, 0};
    while (!absl::EndsWith(text, end) && poll(&fd, 1, 10000) > 0 && read(terminal_, &c, 1) == 1) {
      text += c;
    }
    return text;
  }
  // Whether the terminal shows and edits lines by itself.
  bool EditsLines() const {
    termios mode = {};
    tcgetattr(terminal_, &mode);
    return (mode.c_lflag & ECHO) != 0 && (mode.c_lflag & ICANON) != 0;
  }
  void Signal(int signal) { kill(pid_, signal); }
  int Exit() {
    shown = ShownUntil("never");
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  std::string shown;  // All bytes, once the program has ended.

 private:
  pid_t pid_ = 0;
  int terminal_ = -1;
};

TEST(CliTest, WhatIsTypedIntoATerminalIsDrawnInLanes) {
  FakeService service;
  TerminalProgram program(service.address());
  program.ShownUntil("typing  ");
  EXPECT_FALSE(program.EditsLines());
  program.Type("gutr");
  EXPECT_TRUE(absl::EndsWith(program.ShownUntil("gutr"), "typing  gutr"));
  EXPECT_EQ(service.source(), "");
  program.Type(
      "\x08"
      "e ");  // Backspace.
  EXPECT_THAT(program.ShownUntil("GUTE"), testing::HasSubstr("source  gute"));
  EXPECT_EQ(service.source(), "gute ");
  program.Type("nacht\nleben\x04");  // Ctrl-D.
  EXPECT_EQ(program.Exit(), 0);
  EXPECT_EQ(service.source(), "gute nacht|leben|");
  EXPECT_THAT(program.shown, testing::HasSubstr("LEBEN"));
  EXPECT_TRUE(program.EditsLines()) << "the terminal is not as it was before";
}

TEST(CliTest, TheTerminalIsAsItWasAfterASignalToo) {
  FakeService service;
  TerminalProgram program(service.address());
  program.ShownUntil("typing  ");
  program.Type("gute nacht");
  program.ShownUntil("nacht");
  program.Type("\x03");  // Ctrl-C: the word is complete, and nothing follows.
  EXPECT_EQ(program.Exit(), 0);
  EXPECT_EQ(service.source(), "gute nacht|");
  EXPECT_TRUE(program.EditsLines());

  TerminalProgram other(service.address());
  other.ShownUntil("typing  ");
  other.Signal(SIGTERM);
  EXPECT_EQ(other.Exit(), 5);
  EXPECT_TRUE(other.EditsLines());
}

TEST(CliTest, WritesJson) {
  FakeService service;
  Program program({"translate", "--server", service.address(), "--json"});
  program.Type("ja\n");
  EXPECT_EQ(program.Exit(), 0);
  std::vector<std::string> events;
  for (const auto& line : absl::StrSplit(program.output, '\n', absl::SkipEmpty())) {
    const auto json = nlohmann::json::parse(std::string(line));
    events.push_back(json["event"]);
    if (json["event"] == "target") {
      EXPECT_EQ(json["text"], "JA");
    }
    if (json["event"] == "segment") {
      EXPECT_EQ(json["finish_reason"], "FINISH_REASON_END_OF_SENTENCE");
      EXPECT_EQ(json["stats"]["average_lagging"], 2.5);
      EXPECT_TRUE(json["stats"].contains("average_proportion"));
    }
    if (json["event"] == "summary") {  // Only figures that are defined for a session.
      EXPECT_EQ(json["totals"]["average_lagging"], 2.5);
      EXPECT_FALSE(json["totals"].contains("average_proportion"));
      EXPECT_FALSE(json["totals"].contains("start_offset"));
    }
  }
  EXPECT_THAT(events, testing::ElementsAre("started", "target", "segment", "summary"));
}

TEST(CliTest, PacesWordsAndReportsLagging) {
  FakeService service;
  Program program({"translate", "--server", service.address(), "--pace", "10/s"});
  const absl::Time start = absl::Now();
  program.Type("a b c\nd\n");
  EXPECT_EQ(program.Exit(), 0);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(300));  // Three pauses of the pace.
  EXPECT_EQ(program.output, "A B C\nD\n");
  EXPECT_THAT(program.errors, testing::HasSubstr("source: a b c\nsource: d\n"));
  EXPECT_THAT(program.errors, testing::HasSubstr("mean AL 2.50"));
}

TEST(CliTest, RefusesInputThatIsNotUtf8) {
  FakeService service;
  Program program({"translate", "--server", service.address()});
  program.Type("ja\n gr\xFC\xDF dich\n");
  EXPECT_EQ(program.Exit(), 4);
  EXPECT_EQ(program.output, "JA\n");  // The text before the error is not lost.
  EXPECT_THAT(program.errors, testing::HasSubstr("not at byte 6, line 2"));
}

TEST(CliTest, SaysThatALineWasCutShort) {
  FakeService service;
  Program program({"translate", "--server", service.address(), "--model", "short"});
  program.Type("ja nein\n");
  EXPECT_EQ(program.Exit(), 0);
  EXPECT_EQ(program.output, "JA NEIN\n");
  EXPECT_EQ(program.errors,
            "leapstream: segment 1 was cut short: its translation has as many tokens as it may "
            "(--max-target-tokens)\n");
}

// Source was dropped: text is lost, unlike in the test above.
TEST(CliTest, FailsIfSourceWasDropped) {
  FakeService service;
  Program program({"translate", "--server", service.address(), "--model", "long"});
  program.Type("ja\nnein\n");
  EXPECT_EQ(program.Exit(), 4);
  EXPECT_EQ(program.output, "JA\nNEIN\n");
  EXPECT_THAT(program.errors, testing::StartsWith("leapstream: segment 1 was cut short: its source "
                                                  "is longer than the server takes"));
  EXPECT_THAT(program.errors, testing::EndsWith("leapstream: source was dropped in 2 segments\n"));
}

// The server finds the sentences of running text, whose lines are joined; the client ends segments
// at empty lines.
TEST(CliTest, LetsTheServerCutRunningTextIntoSentences) {
  FakeService service;
  const std::string file = testing::TempDir() + "leapstream_talk.txt";
  std::ofstream(file) << "It was Mr. Smith.\nHe said\nnothing. Then he\nleft\n\nThe end";
  Program program(
      {"translate", "--server", service.address(), "--segment", "sentence", "--from-file", file});
  EXPECT_EQ(program.Exit(), 0);
  EXPECT_EQ(service.source(), "It was Mr. Smith. He said nothing. Then he left |The end |");
  EXPECT_EQ(service.config().text_segmentation(), v1::TEXT_SEGMENTATION_SENTENCES);
  Program by_default({"translate", "--server", service.address(), "--from-file", file});
  EXPECT_EQ(by_default.Exit(), 0);
  EXPECT_EQ(service.source(),
            "It was Mr. Smith.|He said|nothing. Then he|left||The end|");
  EXPECT_EQ(service.config().text_segmentation(), v1::TEXT_SEGMENTATION_SENTENCES);
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{"--segment", "line"}, {"--segment", "explicit"},
        {"--early-end", "stop"}}) {
    std::vector<std::string> arguments = {"translate", "--server", service.address(),
                                          "--from-file", file};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    Program whole(arguments);
    EXPECT_EQ(whole.Exit(), 0);
    EXPECT_EQ(service.config().text_segmentation(), v1::TEXT_SEGMENTATION_UNSPECIFIED) << flags[1];
  }
  Program missing({"translate", "--server", service.address(), "--from-file", "/nowhere"});
  EXPECT_EQ(missing.Exit(), 2);
}

TEST(CliTest, WarnsOfOfflineWithAModelThatWritesWhileItReads) {
  FakeService service;
  Program program({"translate", "--server", service.address(), "--model", "tiny-de-en",
                   "--offline"});
  program.Type("gute nacht\n");
  EXPECT_EQ(program.Exit(), 0);
  EXPECT_EQ(program.output, "GUTE NACHT\n");
  EXPECT_THAT(program.errors, testing::HasSubstr("model tiny-de-en was trained to write while it "
                                                 "reads, with k = 3, and may translate badly"));
}

// A source that revises itself: what is sent stays, and what is revised later is counted.
TEST(CliTest, TranslatesHypotheses) {
  FakeService service;
  Program program({"translate", "--server", service.address(), "--hypotheses", "json", "--json"});
  program.Type("{\"text\": \"gute\"}\n{\"text\": \"gute nacht\"}\n{\"text\": \"gute nach");
  program.Type("t liebe\"}\n{\"text\": \"Gute Nacht, liebe Welt\"}\n");
  program.Type("{\"text\": \"Gut, Nacht, liebe Welt.\", \"final\": true}\n{\"text\": \"Und\"}");
  EXPECT_EQ(program.Exit(), 0);
  EXPECT_EQ(service.source(), "gute Nacht, liebe Welt. |Und |");
  const std::vector<std::string> lines =
      absl::StrSplit(absl::StripSuffix(program.output, "\n"), '\n');
  EXPECT_EQ(lines.back(),
            R"({"event":"hypotheses","hypotheses":6,"finals":1,"words":5,"repairs":1,)"
            R"("repaired_words":1})");
  EXPECT_THAT(program.errors, testing::HasSubstr("1 repair (the recogniser revised 1 word "));
}

TEST(CliTest, SegmentsHypothesesAtPauses) {
  FakeService service;
  Program program({"translate", "--server", service.address(), "--hypotheses", "vosk", "--segment",
                   "pause", "--verbose"});
  program.Type("{\"partial\": \"gute\"}\n{\n  \"text\": \"gute nacht\"\n}\n{\"text\": \"ja\"}\n");
  EXPECT_EQ(program.Exit(), 0);
  EXPECT_EQ(program.output, "GUTE NACHT\nJA\n");
  EXPECT_EQ(service.source(), "gute nacht |ja |");
  EXPECT_THAT(program.errors, testing::HasSubstr("need not be sentences (--segment pause)"));
  EXPECT_THAT(program.errors,
              testing::HasSubstr("hypotheses: 3, 2 of them final; 3 words sent, 0 repairs"));
}

TEST(CliTest, RefusesADamagedLineOfHypotheses) {
  FakeService service;
  Program program({"translate", "--server", service.address(), "--hypotheses", "vosk"});
  program.Type("{\"text\": \"gute nacht\"}\n{\"txt\": \"ja\"}\n{\"text\": \"ja\"}\n");
  EXPECT_EQ(program.Exit(), 4);
  EXPECT_EQ(program.output, "GUTE NACHT\n");
  EXPECT_THAT(program.errors, testing::HasSubstr("line 2 of the hypotheses: want Vosk's"));
  for (const char* segment : {"line", "explicit"}) {
    Program wrong({"translate", "--hypotheses", "vosk", "--segment", segment});
    EXPECT_EQ(wrong.Exit(), 2);
    EXPECT_THAT(wrong.errors, testing::HasSubstr("want sentence or pause with --hypotheses"));
  }
  Program alone({"translate", "--segment", "pause"});
  EXPECT_EQ(alone.Exit(), 2);
  EXPECT_THAT(alone.errors, testing::HasSubstr("without --hypotheses, got pause"));
}

TEST(CliTest, ReplaysATrace) {
  FakeService service;
  const std::string trace = testing::TempDir() + "leapstream_trace.jsonl";
  Program program({"translate", "--server", service.address(), "--trace", trace});
  program.Type("gute nacht\nja\n");
  EXPECT_EQ(program.Exit(), 0);
  std::ifstream file(trace);
  std::vector<std::string> events;
  double before = 0;
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    events.push_back(json["event"]);
    EXPECT_GE(json["time"], before);
    before = json["time"];
  }
  EXPECT_THAT(events, testing::IsSupersetOf(
                          {"source", "source_end", "started", "target", "segment", "summary"}));
  Program replay({"replay", trace, "--speed", "10"});
  EXPECT_EQ(replay.Exit(), 0);
  EXPECT_EQ(replay.output, "GUTE NACHT\nJA\n");
  Program overwriting(
      {"translate", "--server", service.address(), "--from-file", trace, "--trace", trace});
  EXPECT_EQ(overwriting.Exit(), 4);
  EXPECT_THAT(overwriting.errors, testing::HasSubstr("a --trace file that is not the input"));
  EXPECT_TRUE(std::ifstream(trace).peek() == '{');
  Program wrong({"replay", "-"});
  wrong.Type("{\"event\":\"target\"}\n");
  EXPECT_EQ(wrong.Exit(), 4);
  EXPECT_THAT(wrong.errors, testing::HasSubstr("line 1: want an event"));
  Program empty({"replay", "-"});
  empty.Type("\n");
  EXPECT_EQ(empty.Exit(), 4);
  EXPECT_THAT(empty.errors, testing::HasSubstr("want a trace, events as"));
}

TEST(CliTest, ReplaysWhatOtherToolsPrint) {
  Program replay({"replay", "-", "--speed", "100"});
  replay.Type(R"({"target": {"segment": "1", "text": "Gute", "tokens": [
      {"piece": "▁Gute", "sourceTokensRead": 1, "emitOffset": "0.5s"}]}}
{"target": {"segment": "1", "text": " Nacht"}}
{"segment_completed": {"segment": "1", "stats": {"target_tokens": 2}}}
)");
  EXPECT_EQ(replay.Exit(), 0) << replay.errors;
  EXPECT_EQ(replay.output, "Gute Nacht\n");
  for (const char* line :
       {R"({"target": {"tokens": [{"emitOffset": "soon"}]}})", R"({"event":"started","time":-1})",
        R"({"event":"started","time":1e300})", R"({"event":"target","tokens":1,"time":"x"})"}) {
    Program wrong({"replay", "-"});
    wrong.Type(line);
    EXPECT_EQ(wrong.Exit(), 4) << line;
    EXPECT_THAT(wrong.errors, testing::HasSubstr("line 1: want an event")) << line;
  }
}

// Runs the program on a terminal, which util-linux's `script` provides.
std::string OnATerminal(const std::string& environment, const std::string& arguments) {
  const std::string output = testing::TempDir() + "leapstream_terminal.txt";
  const std::string command = absl::StrCat("script -qec \"env TERM=xterm ", environment,
                                           " " LEAPSTREAM_BINARY_DIR "/bin/leapstream ", arguments,
                                           "\" ", output, " < /dev/null > /dev/null 2>&1");
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::ifstream file(output);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

TEST(CliTest, DrawsLanesOnATerminal) {
  FakeService service;
  const std::string file = testing::TempDir() + "leapstream_lanes.txt";
  std::ofstream(file) << "gute nacht\n\n";  // An empty line has no lagging.
  const std::string trace = testing::TempDir() + "leapstream_lanes.jsonl";
  const std::string arguments = absl::StrCat("translate --server ", service.address(),
                                             " --from-file ", file, " --trace ", trace);
  const std::string plain = OnATerminal("NO_COLOR=1", arguments);
  EXPECT_THAT(plain, testing::HasSubstr("2 segments; mean AL 2.50 of 1"));
  EXPECT_THAT(OnATerminal("NO_COLOR=1", absl::StrCat("replay ", trace)),
              testing::HasSubstr("2 segments; mean AL 2.50 of 1"));
  EXPECT_THAT(plain, testing::HasSubstr("source  gute"));
  EXPECT_THAT(plain, testing::HasSubstr("target "));
  EXPECT_THAT(plain, testing::HasSubstr("mean AL 2.50 of 1"));
  EXPECT_THAT(plain, testing::Not(testing::ContainsRegex("\x1b\\[[0-9]*m")));
  EXPECT_THAT(OnATerminal("NO_COLOR=", arguments), testing::ContainsRegex("\x1b\\[2m"));
  EXPECT_THAT(OnATerminal("TERM=dumb", arguments), testing::Not(testing::HasSubstr("\x1b")));
}

TEST(CliTest, CompletesInBash) {
  Program program({"completion", "bash"});
  EXPECT_EQ(program.Exit(), 0);
  const std::string script = testing::TempDir() + "leapstream_completion.bash";
  std::ofstream(script) << program.output;
  const auto complete = [&](const std::string& words, int at) {
    FILE* const bash =
        popen(absl::StrCat("bash -c '. ", script, " && COMP_WORDS=(leapstream ", words,
                           ") COMP_CWORD=", at, " && _leapstream && echo ${COMPREPLY[*]}'")
                  .c_str(),
              "r");
    char line[1000] = "";
    EXPECT_NE(fgets(line, sizeof(line), bash), nullptr);
    EXPECT_EQ(pclose(bash), 0);
    return std::string(line);
  };
  EXPECT_EQ(complete("tr", 1), "translate\n");
  EXPECT_EQ(complete("translate --se", 2), "--server --segment\n");
  EXPECT_EQ(complete("translate --segment s", 3), "sentence\n");
  EXPECT_EQ(complete("completion z", 2), "zsh\n");
  EXPECT_EQ(complete("translate --past f", 3), "frozen\n");
  EXPECT_EQ(complete("admin s", 2), "sessions stats\n");
  EXPECT_EQ(complete("admin sessions --se", 3), "--server\n");
}

TEST(CliTest, WrongUsageSaysWhatMayBeMeant) {
  for (const auto& [arguments, message] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"tranlate", "--server", "a:1"},
            "leapstream: unknown command \"tranlate\"; is translate meant?\n"},
           {{"translate", "--kk", "3"},
            "leapstream translate: unknown flag \"--kk\"; is --k meant?\n"},
           {{"translate", "--kk=3"},
            "leapstream translate: unknown flag \"--kk\"; is --k meant?\n"},
           {{"translate", "--xylophone"}, "leapstream translate: unknown flag \"--xylophone\"\n"},
           {{"translate", "hello.txt"},
            "leapstream translate: want no argument, got \"hello.txt\"; --from-file reads a file, "
            "and so does <\n"}}) {
    Program program(arguments);
    EXPECT_EQ(program.Exit(), 2);
    EXPECT_THAT(program.errors, testing::StartsWith(message));
  }
}

TEST(CliTest, ATokenFileHasAToken) {
  FakeService service;
  const std::string file = testing::TempDir() + "leapstream_empty_token";
  std::ofstream(file) << "\n";
  Program program({"models", "--server", service.address(), "--token-file", file});
  EXPECT_EQ(program.Exit(), 4);
  EXPECT_THAT(program.errors, testing::HasSubstr("must have a token, and is empty"));
}

TEST(CliTest, ExitCodes) {
  FakeService service;
  const auto run = [&](std::vector<std::string> arguments) { return Program(arguments).Exit(); };
  const std::string at = absl::StrCat("--server=", service.address());
  EXPECT_EQ(run({"--help"}), 0);
  EXPECT_EQ(run({}), 2);
  Program misspelt({"translat"});
  EXPECT_EQ(misspelt.Exit(), 2);
  EXPECT_THAT(misspelt.errors, testing::HasSubstr("translat"));
  EXPECT_EQ(run({"translate", "--k", "x"}), 2);
  EXPECT_EQ(run({"translate", "--pace", "0"}), 2);
  EXPECT_EQ(run({"translate", "--pace", "0/s"}), 2);
  EXPECT_EQ(run({"translate", "--pace", "3"}), 2);
  // These flags would be ignored.
  EXPECT_EQ(run({"translate", "--audio", "-", "--pace", "3/s"}), 2);
  EXPECT_EQ(run({"translate", "--audio", "-", "--trace", "x"}), 2);
  EXPECT_EQ(run({"translate", "--audio", "-", "--segment", "sentence"}), 2);
  EXPECT_EQ(run({"translate", "--sample-rate", "8000"}), 2);
  Program refused({"translate", "--server", "127.0.0.1:1"});
  EXPECT_EQ(refused.Exit(), 3);
  EXPECT_THAT(refused.errors, testing::HasSubstr("no server answers at 127.0.0.1:1; "));
  EXPECT_THAT(refused.errors, testing::HasSubstr("Connection refused\n"));
  for (const char* address : {"", ",", " ,,", "localhost", "127.0.0.1:1,localhost"}) {
    Program wrong({"translate", "--server", address});
    EXPECT_EQ(wrong.Exit(), 2) << address;
    EXPECT_THAT(wrong.errors, testing::HasSubstr("--server: want host:port of a server"))
        << address;
  }
  EXPECT_EQ(run({"models", "--server", "127.0.0.1:1", "--server", service.address() + ","}), 0);
  EXPECT_EQ(run({"probe", "--server", "127.0.0.1:1", "--timeout", "300ms"}), 3);
  EXPECT_EQ(run({"probe", at}), 0);
  EXPECT_EQ(run({"translate", at, "--model", "missing"}), 4);
  EXPECT_EQ(run({"translate", at, "--model", "silent", "--deadline", "200ms"}), 6);
  service.ReleaseSilent();
  Program broken({"translate", at, "--model", "broken"});
  broken.Type("ja nein ");
  EXPECT_EQ(broken.Exit(), 1);
  EXPECT_EQ(broken.output, "JA\n");
  EXPECT_EQ(broken.errors, "leapstream: it broke\n");
}

TEST(CliTest, ListsModels) {
  FakeService service;
  Program table({"models", "--server", service.address()});
  EXPECT_EQ(table.Exit(), 0);
  EXPECT_THAT(table.output, testing::HasSubstr("tiny-de-en"));
  Program verbose({"models", "--server", service.address(), "--verbose"});
  EXPECT_EQ(verbose.Exit(), 0);
  for (const char* shown :
       {"2 languages", "en fr", "policies wait-k la", "CC0-1.0", "not stated"}) {
    EXPECT_THAT(verbose.output, testing::HasSubstr(shown));
  }
  Program json({"models", "--server", service.address(), "--json"});
  EXPECT_EQ(json.Exit(), 0);
  const auto listed = nlohmann::json::parse(json.output)["models"][1];
  EXPECT_EQ(listed["name"], "big-de-en");
  EXPECT_EQ(listed["policies"], nlohmann::json({"wait-k", "la"}));
}

// Every flag of a policy goes to the server, and flags that do not go together are refused.
TEST(CliTest, AsksForPolicies) {
  FakeService service;
  const auto asked = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"translate", "--server", service.address(), "--verbose"});
    Program program(flags);
    program.Type("ja\n");
    EXPECT_EQ(program.Exit(), 0) << program.errors;
    return program.errors.substr(0, program.errors.find('\n'));
  };
  const std::string session = "leapstream: session s1, model fake, policy ";
  EXPECT_EQ(asked({}), session + "default");
  EXPECT_EQ(asked({"--k", "3"}), session + "wait-k:3");
  EXPECT_EQ(asked({"--k", "3", "--count-words"}), session + "wait-k:3+count-words");
  EXPECT_EQ(asked({"--offline"}), session + "offline");
  EXPECT_EQ(asked({"--policy", "la:2:20", "--read-words", "3", "--past", "refreshed",
                   "--prefix-end", "off"}),
            session + "la:2:20+read-words=3+past=refreshed+prefix-end=off");
  const v1::DecodingPolicy policy = service.config().policy();
  EXPECT_EQ(policy.local_agreement().max_lag(), 20);
  EXPECT_EQ(policy.read_words(), 3);
  EXPECT_EQ(policy.past(), v1::PAST_REFRESHED);
  EXPECT_TRUE(policy.has_prefix_end());
  EXPECT_EQ(asked({"--policy", "adaptive:1-9:0.9:0.4+read-tokens=2", "--read-words", "3"}),
            session + "adaptive:1-9:0.9:0.4+read-tokens=2");  // The text comes first.

  const auto refusal = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"translate", "--server", service.address()});
    Program program(flags);
    EXPECT_EQ(program.Exit(), 2);
    return program.errors;
  };
  EXPECT_THAT(refusal({"--policy", "la=2"}), testing::HasSubstr("want wait-k:K, la:N"));
  EXPECT_THAT(refusal({"--policy", "la:2", "--count-words"}), testing::HasSubstr("want wait-k"));
  refusal({"--policy", "la:2", "--k", "3"});
  refusal({"--policy", "la:2", "--offline"});
  refusal({"--policy", "la:2", "--policy", "hold:2"});
  refusal({"--read-words", "2", "--read-tokens", "2"});
  refusal({"--read-words", "0"});
  refusal({"--past", "warm"});
}

TEST(CliTest, FirstInterruptEndsTheInputSecondCancels) {
  FakeService service;
  Program program({"translate", "--server", service.address()});
  program.Type("gute na");
  EXPECT_EQ(program.OutputUntil("GUTE"), "GUTE");
  program.Signal(SIGINT);  // The input is still open.
  EXPECT_EQ(program.OutputUntil("\n"), " NA\n");
  EXPECT_EQ(program.Exit(), 0);

  Program silent({"translate", "--server", service.address(), "--model", "silent", "--json"});
  EXPECT_NE(silent.OutputUntil("\n"), "");
  silent.Type("eins\nzwei\ndrei\n");
  silent.Signal(SIGINT);
  // It goes on, and says so.
  EXPECT_THAT(silent.ErrorsUntil("\n"), testing::HasSubstr("still being translated; Ctrl-C again "
                                                           "ends that\n"));
  EXPECT_TRUE(silent.IsQuiet(0));
  silent.Signal(SIGINT);
  EXPECT_EQ(silent.Exit(), 5);
  service.ReleaseSilent();
}

// The whole input has been read by the time of the signal, and waits for its time.
TEST(CliTest, FirstInterruptEndsThePacedInputToo) {
  FakeService service;
  const std::string file = testing::TempDir() + "leapstream_paced.txt";
  std::ofstream(file) << "gute nacht\nliebe welt\n";
  Program program(
      {"translate", "--server", service.address(), "--pace", "0.2/s", "--from-file", file});
  EXPECT_EQ(program.OutputUntil("GUTE"), "GUTE");
  program.Signal(SIGINT);
  EXPECT_EQ(program.OutputUntil("\n"), "\n");
  EXPECT_EQ(program.Exit(), 0);
  EXPECT_EQ(program.output, "");
  EXPECT_EQ(service.source(), "gute ");
}

// A pipe that nobody writes into is waited for, but not for ever.
TEST(CliTest, ASignalEndsTheWaitForAPipesWriter) {
  FakeService service;
  const std::string pipe = absl::StrCat(testing::TempDir(), "leapstream_pipe.", getpid());
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const char* flag : {"--from-file", "--audio"}) {
    Program program({"translate", "--server", service.address(), flag, pipe});
    for (int tries = 0; tries < 1000 && !program.Catches(SIGTERM); ++tries) program.IsQuiet(10);
    EXPECT_TRUE(program.IsQuiet(200)) << flag;  // It waits now.
    program.Signal(SIGTERM);
    EXPECT_EQ(program.OutputUntil("never"), "") << flag;
    program.Signal(SIGKILL);  // If it has not ended.
    EXPECT_EQ(program.Exit(), 5) << flag;
  }
  unlink(pipe.c_str());
}

class EvaluateTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string folder = testing::TempDir() + "leapstream_evaluate.XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    std::ofstream(folder_ / "lines") << "\xEF\xBB\xBFja\nnein\n";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::vector<std::string> Arguments(const FakeService& service, const std::string& model) const {
    return {"evaluate",     "--server",        service.address(), "--model-name",    model,
            "--source",     folder_ / "lines", "--target",        folder_ / "lines", "--output",
            folder_ / "out"};
  }

  std::filesystem::path folder_;
};

// --model is a name for all commands. For those that start a server of their own it may also be a
// folder.
TEST_F(EvaluateTest, AModelIsANameOrAFolder) {
  FakeService service;
  std::vector<std::string> arguments = Arguments(service, "short");
  arguments[3] = "--model";
  Program named(arguments);
  EXPECT_EQ(named.Exit(), 0) << named.errors;
  EXPECT_EQ(service.config().model(), "short");
  arguments[4] = folder_;
  Program folder(arguments);
  EXPECT_EQ(folder.Exit(), 2);
  EXPECT_THAT(folder.errors, testing::HasSubstr("a directory, excludes --server"));
  arguments[4] = folder_ / "none";
  Program none(arguments);
  EXPECT_EQ(none.Exit(), 2);
  EXPECT_THAT(none.errors, testing::HasSubstr("--model: there is no directory "));
  Program translate({"translate", "--server", service.address(), "--model", folder_});
  EXPECT_EQ(translate.Exit(), 2);
  EXPECT_THAT(translate.errors,
              testing::HasSubstr(absl::StrCat("got the folder ", folder_.string(),
                                              "; leapstream-server --model ", folder_.string(),
                                              " serves it")));
}

// A part of a file must not be taken for all of it.
TEST_F(EvaluateTest, AFileThatDoesNotFitIsTakenAway) {
  FakeService service;
  std::string command = "trap '' XFSZ; ulimit -f 4; exec " LEAPSTREAM_BINARY_DIR "/bin/leapstream";
  for (const std::string& argument : Arguments(service, "fake")) {
    absl::StrAppend(&command, " ", argument);
  }
  // Files of 4 KiB fit, and so not the pictures.
  const std::string errors = folder_ / "errors";
  const int status = std::system(
      absl::StrCat("bash -c '", absl::StrReplaceAll(command, {{"'", "'\\''"}}), "' > /dev/null 2> ",
                   errors).c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  std::ifstream file(errors);
  const std::string said(std::istreambuf_iterator<char>(file), {});
  EXPECT_THAT(said, testing::HasSubstr("cannot write all of "));
  EXPECT_THAT(said, testing::HasSubstr("File too large; the file was removed"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out" / "curve.svg"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out" / "scores.tsv"));
}

TEST_F(EvaluateTest, NamesTranslationsThatWereCut) {
  FakeService service;
  Program program(Arguments(service, "short"));
  EXPECT_EQ(program.Exit(), 0);
  EXPECT_EQ(program.errors,
            "leapstream: 2 translations cut at the limit of length, and so scored: line 1, "
            "2\n");
  std::ifstream log(folder_ / "out" / "instances.log");
  std::string line;
  std::getline(log, line);
  const auto instance = nlohmann::json::parse(line);  // The byte order mark is no part of it.
  EXPECT_EQ(instance["source"], "ja");
  EXPECT_EQ(instance["reference"], "ja");
}

TEST_F(EvaluateTest, ComparesPolicies) {
  FakeService service;
  std::vector<std::string> arguments = Arguments(service, "");
  arguments.insert(arguments.end(), {"--policies", "wait-k:3,5", "la:2", "offline", "adaptive:1-9",
                                     "--read-words", "2", "--past", "frozen"});
  Program program(arguments);
  EXPECT_EQ(program.Exit(), 0) << program.errors;
  const auto policy = service.config().policy();  // The last one's.
  EXPECT_EQ(policy.adaptive_wait_k().max_k(), 9);
  EXPECT_EQ(policy.read_words(), 2);
  const auto read = [&](const char* name) {
    std::ifstream file(folder_ / "out" / name);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  for (const char* name :
       {"k3+read-words-2+past-frozen", "k5+read-words-2+past-frozen",
        "la2+read-words-2+past-frozen", "offline", "adaptive1-9+read-words-2+past-frozen"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ / "out" / name / "instances.log")) << name;
  }
  const std::vector<std::string> lines = absl::StrSplit(read("scores.tsv"), '\n');
  ASSERT_EQ(lines.size(), 7u);
  EXPECT_THAT(lines[0], testing::StartsWith("policy\tBLEU\tchrF\t"));
  EXPECT_THAT(lines[1], testing::StartsWith("wait-k:3+read-words=2+past=frozen\t"));
  EXPECT_THAT(lines[4], testing::StartsWith("offline\t"));
  EXPECT_THAT(read("curve.svg"), testing::HasSubstr(">la+past=frozen</text>"));
  EXPECT_THAT(program.output, testing::HasSubstr("\n| policy | BLEU | chrF | AL | LAAL |"));
  EXPECT_THAT(program.output, testing::HasSubstr("\n| `la:2+read-words=2+past=frozen` |"));

  // The folder is not empty now, but the command line is looked at first.
  for (const char* wrong : {"la:2,x", "hold=3", "wait-k"}) {
    std::vector<std::string> flags = Arguments(service, "");
    flags.insert(flags.end(), {"--policies", "la:2", wrong});
    Program refused(flags);
    EXPECT_EQ(refused.Exit(), 2);
    EXPECT_THAT(refused.errors, testing::HasSubstr("want ")) << wrong;
  }
  std::vector<std::string> flags = Arguments(service, "");
  flags.insert(flags.end(), {"--policies", "la:2,3", "la:3"});
  Program twice(flags);
  EXPECT_EQ(twice.Exit(), 2);
  EXPECT_THAT(twice.errors, testing::HasSubstr("want different policies, got la:3"));
}

// A server that does not know a policy takes another one, whose scores must not be taken for those
// that were asked for.
TEST_F(EvaluateTest, AnOldServersPolicyIsNotScoredForAnother) {
  FakeService service;
  std::vector<std::string> arguments = Arguments(service, "old");
  arguments.insert(arguments.end(), {"--policies", "wait-k:3", "la:2"});
  Program program(arguments);
  EXPECT_EQ(program.Exit(), 4);
  EXPECT_THAT(program.errors, testing::HasSubstr("want a server that knows the policy la, got one "
                                                 "that took wait-k:3 instead"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out" / "k3"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out" / "la2"));
}

TEST_F(EvaluateTest, ASignalCancels) {
  for (const int signal : {SIGINT, SIGTERM}) {
    FakeService service;
    Program program(Arguments(service, "silent"));
    const absl::Time deadline = absl::Now() + absl::Seconds(10);
    while (service.config().model() != "silent" && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(10));
    }
    program.Signal(signal);
    EXPECT_EQ(program.Exit(), 5);
    EXPECT_EQ(program.errors, "leapstream: cancelled\n");
    EXPECT_TRUE(std::filesystem::is_empty(folder_ / "out"));
    service.ReleaseSilent();
  }
}

// Runs the program with its output redirected by `output`, such as "> /dev/full", and without
// input.
int StatusWithOutput(const std::string& arguments, const std::string& output, std::string* errors) {
  const std::string file = testing::TempDir() + "leapstream_output_errors.txt";
  const std::string command = absl::StrCat(LEAPSTREAM_BINARY_DIR "/bin/leapstream ", arguments,
                                           " < /dev/null 2> ", file, " ", output);
  const int status = std::system(command.c_str());
  std::ifstream stream(file);
  errors->assign(std::istreambuf_iterator<char>(stream), {});
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(CliTest, OutputThatCannotBeWrittenIsAnError) {
  FakeService service;
  const std::string at = absl::StrCat(" --server ", service.address());
  const std::string text = testing::TempDir() + "leapstream_output.txt";
  const std::string events = testing::TempDir() + "leapstream_output.jsonl";
  std::ofstream(text) << "gute nacht\n";
  std::ofstream(events)
      << R"({"time":0,"event":"target","segment":1,"text":"a",)"
      << R"("tokens":[{"piece":"a","source_tokens_read":1}]})";
  std::string errors;
  for (const std::string& arguments :
       {std::string("--help"), std::string("--version"), std::string("translate --help"),
        std::string("completion bash"), std::string("completion fish"), "models" + at,
        "models --json" + at, "translate --from-file " + text + at,
        "translate --json --from-file " + text + at, "plot " + events, "plot -o - " + events,
        "replay " + events}) {
    EXPECT_EQ(StatusWithOutput(arguments, "> /dev/full", &errors), 1) << arguments;
    EXPECT_THAT(errors, testing::HasSubstr("cannot write")) << arguments;
    EXPECT_EQ(StatusWithOutput(arguments, ">&-", &errors), 1) << arguments;
    EXPECT_THAT(errors, testing::HasSubstr("cannot write")) << arguments;
    EXPECT_EQ(StatusWithOutput(arguments, "> /dev/null", &errors), 0) << arguments << errors;
  }
  for (const char* file : {"a.svg", "a.png"}) {
    const std::string full = testing::TempDir() + "leapstream_full_" + file;
    std::filesystem::remove(full);
    std::filesystem::create_symlink("/dev/full", full);
    EXPECT_EQ(StatusWithOutput(absl::StrCat("plot ", events, " -o ", full), "", &errors), 1);
    EXPECT_THAT(errors, testing::HasSubstr("No space left on device"));
  }
  EXPECT_EQ(StatusWithOutput(
                absl::StrCat("translate --trace /dev/full --from-file ", text, at), "> /dev/null",
                &errors),
            1);
  EXPECT_THAT(errors, testing::HasSubstr("could not write all of the trace"));
}

TEST(CliTest, EndsQuietlyWhenNobodyReads) {
  FakeService service;
  Program program({"translate", "--server", service.address()});
  program.Type("ja ");
  EXPECT_EQ(program.OutputUntil("JA"), "JA");
  program.CloseOutput();
  program.Type("nein ");
  EXPECT_EQ(program.Exit(), 1);
  EXPECT_EQ(program.errors, "");
}

TEST(SourceWordsTest, AnyChunkingGivesTheSameItems) {
  const std::string text =
      "\xEF\xBB\xBF  f\xC3\xBCr\xE3\x80\x80"
      "dich \r\n\n\xE2\x82\xAC\xC2\xA0x";
  const auto items_of = [&](size_t step) {
    client::SourceWords words;
    std::string got;
    std::vector<client::SourceItem> items;
    for (size_t i = 0; i < text.size(); i += step) {
      EXPECT_TRUE(words.Append(text.substr(i, step), items).ok());
    }
    EXPECT_TRUE(words.Finish(items).ok());
    for (const auto& item : items) {
      absl::StrAppend(&got, "[", item.text, item.ends_line ? "]\n" : "]");
    }
    return got;
  };
  for (size_t step = 1; step <= text.size(); ++step) {
    EXPECT_EQ(items_of(step), "[f\xC3\xBCr ][dich ][]\n[]\n[\xE2\x82\xAC ][x]\n") << step;
  }
}

}  // namespace
}  // namespace leapstream
