// The cost of long or odd source for a real server, and its treatment: no text is lost in silence,
// and no memory is taken beyond the limits.
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "httplib.h"
#include "tests/end_to_end/measure.h"
#include "tests/end_to_end/exported_model.h"
#include "tests/end_to_end/processes.h"
#include "tests/end_to_end/speaker.h"
#include "tests/testing/metrics_page.h"

namespace leapstream {
namespace {

using client::Client;
using ::testing::HasSubstr;

std::string Program() { return LEAPSTREAM_BINARY_DIR "/bin/leapstream"; }

// Text as a recogniser writes it: lower case, no marks.
std::string Unpunctuated(size_t words) {
  std::string text;
  size_t count = 0;
  for (const Sentence& sentence : ReadSentences()) {
    for (const absl::string_view word : absl::StrSplit(sentence.source, ' ', absl::SkipEmpty())) {
      std::string plain;
      for (const char c : word) {
        if (absl::ascii_isalnum(static_cast<unsigned char>(c))) plain += absl::ascii_tolower(c);
      }
      if (plain.empty()) continue;
      absl::StrAppend(&text, count == 0 ? "" : " ", plain);
      if (++count == words) return text;
    }
  }
  return text;
}

size_t Words(const std::string& text) {
  return std::vector<std::string>(absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty()))
      .size();
}

class CostsTest : public testing::Test {
 protected:
  void Start(std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--metrics-listen", "127.0.0.1:0"});
    server_ = std::make_unique<ServerProcess>(folder_, "server", flags);
    ASSERT_NO_FATAL_FAILURE(server_->StartAndWait());
  }
  double Metric(const std::string& name) {
    httplib::Client http("127.0.0.1", server_->port_of("metrics"));
    const auto page = http.Get("/metrics");
    return page ? MetricIn(page->body, name) : -1;
  }
  struct Result {
    int status = 0;
    std::string out, err;
  };
  Result Translate(const std::string& text, const std::vector<std::string>& flags) {
    std::ofstream(folder_ / "in") << text;
    std::string command = absl::StrCat(Program(), " translate --server ", server_->address());
    for (const std::string& flag : flags) absl::StrAppend(&command, " ", flag);
    absl::StrAppend(&command, " < ", folder_ / "in", " > ", folder_ / "out", " 2> ",
                    folder_ / "err");
    Result result;
    result.status = WEXITSTATUS(std::system(command.c_str()));
    result.out = ReadFile(folder_ / "out");
    result.err = ReadFile(folder_ / "err");
    return result;
  }

  TestFolder folder_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(CostsTest, TextWithoutPunctuationIsTranslatedToItsEnd) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const std::string text = Unpunctuated(480);
  for (const char* segment : {"sentence", "line", "explicit"}) {
    SCOPED_TRACE(segment);
    const Result result = Translate(text + "\n", {"--segment", segment});
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_GT(Words(result.out), 480u / 4) << result.out;
    if (std::string(segment) == "line") {
      EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 1) << "a line is a line";
    }
  }
  // A client that does not ask for it is told.
  const Result read_on = Translate(text + "\n", {"--early-end", "read-on"});
  EXPECT_EQ(read_on.status, 0);
  EXPECT_THAT(read_on.err, HasSubstr("the translation ended long before its source did"));
  EXPECT_GT(Metric("leapstream_source_tokens_untranslated_total{model=\"en-de\"}"), 100);
  const Result stop = Translate(text + "\n", {"--early-end", "stop"});
  EXPECT_EQ(stop.status, 0);
  EXPECT_THAT(stop.err, HasSubstr("bytes of source came after"));
  EXPECT_GT(Metric("leapstream_source_dropped_bytes_total{model=\"en-de\"}"), 100);
  EXPECT_GE(Metric("leapstream_segments_cut_total{model=\"en-de\",reason=\"early_end\"}"), 1);
}

// A pasted paragraph: its sentences are translated as if each stood on a line of its own.
TEST_F(CostsTest, RunningTextIsTranslatedSentenceBySentence) {
  ASSERT_NO_FATAL_FAILURE(Start());
  std::string paragraph, lines;
  for (int i = 0; i < 5; ++i) {
    for (const std::string& line :
         {"You can only modify Presentation Styles.",
          "Is there a new empty Album, e.g. Mr. Smith's?",
          "Enter the text that you want to use as a separator."}) {
      absl::StrAppend(&paragraph, paragraph.empty() ? "" : " ", line);
      absl::StrAppend(&lines, line, "\n");
    }
  }
  const Result apart = Translate(lines, {"--segment", "line"});
  EXPECT_EQ(std::count(apart.out.begin(), apart.out.end(), '\n'), 15);
  const Result by_default = Translate(paragraph + "\n", {});
  const std::string one_line =
      absl::StrReplaceAll(absl::StripSuffix(apart.out, "\n"), {{"\n", " "}});
  EXPECT_EQ(by_default.out, one_line + "\n");
  EXPECT_EQ(Translate(paragraph, {"--segment", "sentence"}).out, apart.out);
  const std::string file = folder_ / "paragraph";
  std::ofstream(file) << paragraph << "\n";
  EXPECT_EQ(Translate("", {"--file", file}).out, by_default.out);
}

// Sessions whose segments go on in the next ones, and those whose sentences the server finds,
// survive their server, wherever it dies.
TEST_F(CostsTest, SegmentsThatGoOnAreResumedToTheByte) {
  std::mt19937_64 random(RandomSeed());
  ASSERT_NO_FATAL_FAILURE(Start({"--resume-key-file", WriteResumeKey(folder_)}));
  const std::string unpunctuated = Unpunctuated(480);
  std::string running;
  for (const Sentence& sentence : ReadSentences()) {
    absl::StrAppend(&running, sentence.source, " ");
    if (running.size() > unpunctuated.size()) break;
  }
  const auto translate = [&](bool kills, bool sentences) {
    const std::string& text = sentences ? running : unpunctuated;
    auto client = Client::Connect({server_->address(), absl::Seconds(10)});
    EXPECT_TRUE(client.ok()) << client.status();
    client::StreamOptions options;
    options.policy.rule = client::WaitK{3};
    options.next_segments = true;
    options.sentences = sentences;
    auto stream = (*client)->StartStream(options);
    std::vector<std::string> segments;
    for (int line = 0; line < 2; ++line) {
      for (size_t at = 0; at < text.size();) {
        const size_t size = 1 + random() % 40;
        EXPECT_TRUE(stream->PushText(text.substr(at, size)).ok());
        at += size;
      }
      EXPECT_TRUE(stream->EndSegment().ok());
      EXPECT_TRUE(stream->EndSegment().ok());  // An empty line: its segment is empty, too.
    }
    EXPECT_TRUE(stream->CloseSource().ok());
    int killed = 0;
    size_t deltas = 0;
    while (const auto event = stream->Next()) {
      if (const auto* completed = std::get_if<client::SegmentCompleted>(&*event)) {
        segments.push_back(absl::StrCat(completed->text, completed->continues ? "" : "\n"));
      }
      if (!std::holds_alternative<client::Delta>(*event) || !kills || killed == 6) continue;
      if (++deltas % 25 != 0) continue;
      ++killed;
      server_->Kill();
      server_->StartAndWait();
    }
    EXPECT_TRUE(stream->Wait().ok()) << stream->Wait();
    if (kills) EXPECT_GT(killed, 2);
    return segments;
  };
  for (const bool sentences : {false, true}) {
    const std::vector<std::string> undisturbed = translate(false, sentences);
    // Two lines that go on once at least, and an empty one behind each.
    EXPECT_GE(undisturbed.size(), 6u);
    EXPECT_EQ(std::count_if(undisturbed.begin(), undisturbed.end(),
                            [](const std::string& text) { return absl::EndsWith(text, "\n"); }),
              4)
        << "an end_segment is one end";
    EXPECT_EQ(translate(true, sentences), undisturbed);
  }
}

// Soft-max attention keeps all of its past. Sessions within all their limits must not get the
// server killed: the largest one ends, and the others are served.
TEST_F(CostsTest, StatesThatGrowStayWithinTheirMemory) {
  constexpr int64_t kStates = 24 << 20;
  ASSERT_NO_FATAL_FAILURE(
      Start({"--model", ExportSoftmaxModel(folder_), "--max-state-bytes", absl::StrCat(kStates)}));
  EXPECT_EQ(Metric("leapstream_state_bytes_limit"), kStates);
  auto client = Client::Connect({server_->address(), absl::Seconds(10)});
  ASSERT_TRUE(client.ok()) << client.status();
  client::StreamOptions options;
  options.early_end = client::EarlyEnd::kSuppress;
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "a file and a page ";
  const int64_t before = ResidentMemory(server_->pid());
  std::vector<std::unique_ptr<client::Stream>> streams;
  for (int i = 0; i < 8; ++i) {
    streams.push_back((*client)->StartStream(options));
    ASSERT_TRUE(streams.back()->PushText(text).ok());
  }
  auto small = (*client)->StartStream(options);
  ASSERT_TRUE(small->PushText("a file").ok());
  int ended = 0;
  for (size_t i = 0; i < streams.size(); ++i) {
    if (ended == 0 && i + 1 == streams.size()) break;
    // At least one of the remaining sessions must end before all have read their source.
    while (true) {
      const auto event = streams[i]->Next();
      if (!event.has_value()) break;
      if (std::holds_alternative<client::Delta>(*event) &&
          std::get<client::Delta>(*event).source_tokens_read > 4000) {
        break;
      }
    }
    if (!streams[i]->finished()) continue;
    const absl::Status status = streams[i]->Wait();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(client::ErrorReason(status), "STATE_MEMORY_EXHAUSTED");
    ++ended;
  }
  EXPECT_GT(ended, 0);
  EXPECT_LE(Metric("leapstream_state_bytes{model=\"en-de\"}"), kStates + (1 << 20));
  const int64_t grown = (ResidentMemory(server_->pid()) - before) << 10;
  absl::PrintF("%d of 8 sessions ended; the server grew by %d MiB, its states may have %d MiB\n",
               ended, grown >> 20, kStates >> 20);
  EXPECT_TRUE(!kMeasures || grown < 3 * kStates) << grown;
  ASSERT_TRUE(small->CloseSource().ok());
  EXPECT_TRUE(small->Wait().ok()) << small->Wait();
  for (auto& stream : streams) stream->Cancel();
  EXPECT_TRUE(server_->running());
}

}  // namespace
}  // namespace leapstream
