#include "client/cli/event_printer.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "absl/strings/cord.h"
#include "absl/strings/str_split.h"

namespace leapstream::client {
namespace {

using testing::HasSubstr;
using testing::Not;

Event Text(const std::string& text) {
  Delta delta;
  delta.segment = 1;
  delta.text = text;
  return delta;
}

SegmentCompleted Completed(const std::string& text) {
  SegmentCompleted completed;
  completed.segment = 1;
  completed.text = text;
  completed.reason = FinishReason::kEndOfSentence;
  completed.stats.emplace();
  completed.stats->source_tokens = 4;
  completed.stats->target_tokens = 3;
  completed.stats->average_lagging = 2;
  completed.stats->length_adaptive_average_lagging = 1.5;
  completed.stats->first_token = absl::Milliseconds(40);
  completed.stats->compute = absl::Milliseconds(7);
  completed.stats->source_audio_ms = 1500;
  return completed;
}

Event Session() {
  Started started;
  started.session_id = "s1";
  started.model = "en-de";
  started.applied.policy.rule = WaitK{3};
  return started;
}

Event End(int64_t segments = 1) {
  Summary summary;
  summary.segments = segments;
  summary.source_tokens = 4;
  summary.target_tokens = 3;
  return summary;
}

struct Output {
  std::string out, err;
  absl::Status status;  // EventPrinter::status() at the end.
};

// Prints the events of a run whose output goes to two files.
Output Print(const EventPrinterOptions& options, const std::vector<Event>& events) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  EventPrinter printer(options);
  for (const Event& event : events) EXPECT_TRUE(printer.Print(event).ok());
  EXPECT_TRUE(printer.Finish().ok());
  Output output;
  output.status = printer.status();
  output.out = testing::internal::GetCapturedStdout();
  output.err = testing::internal::GetCapturedStderr();
  return output;
}

TEST(EventPrinterTest, ASegmentIsALineAndNothingElseIsSaid) {
  const Output output = Print({}, {Session(), Text("ein"), Text(""), Text(" Wort"),
                                   Completed("ein Wort"), Completed(""), Text("zwei"),
                                   Completed("zwei"), End(3)});
  EXPECT_EQ(output.out, "ein Wort\n\nzwei\n");
  EXPECT_EQ(output.err, "");
  EXPECT_TRUE(output.status.ok());
}

TEST(EventPrinterTest, ALineThatNobodyEndsIsEnded) {
  EXPECT_EQ(Print({}, {Text("ein")}).out, "ein\n");
}

TEST(EventPrinterTest, ASegmentThatGoesOnStaysInItsLineUnlessSentencesHaveLines) {
  SegmentCompleted part = Completed("ein");
  part.continues = true;
  EventPrinterOptions options;
  const std::vector<Event> events = {Text("ein"), part, Text("Wort"), Completed("Wort")};
  EXPECT_EQ(Print(options, events).out, "ein Wort\n");
  options.segmentation = Segmentation::kSentence;
  EXPECT_EQ(Print(options, events).out, "ein\nWort\n");
  SegmentCompleted empty = Completed("");
  empty.continues = true;
  EXPECT_EQ(Print(options, {empty, Text("Wort"), Completed("Wort")}).out, "Wort\n");
}

TEST(EventPrinterTest, VerboseTellsTheSessionAndTheFiguresOfTheRun) {
  EventPrinterOptions options;
  options.verbose = true;
  const Output output = Print(options, {Session(), Text("ein"), Completed("ein"), End()});
  EXPECT_EQ(output.out, "ein\n");
  EXPECT_EQ(output.err,
            "leapstream: session s1, model en-de, policy wait-k:3\n"
            "leapstream: 1 segment, 4 source tokens, 3 target tokens; mean AL 2.00, LAAL 1.50 "
            "source tokens, first token 40 ms\n");
}

TEST(EventPrinterTest, VerboseNamesThePolicy) {
  EventPrinterOptions options;
  options.verbose = true;
  Started started;
  started.applied.policy.rule = Offline();
  EXPECT_THAT(Print(options, {started}).err, HasSubstr(", policy offline\n"));
  started.applied.policy.rule = LocalAgreement{2, 12};
  started.applied.policy.read_words = 3;
  EXPECT_THAT(Print(options, {started}).err, HasSubstr(", policy la:2:12+read-words=3\n"));
}

TEST(EventPrinterTest, AServerThatFindsNoSentencesIsTold) {
  EventPrinterOptions options;
  options.sentences = true;
  Started started;
  EXPECT_THAT(Print(options, {started}).err, HasSubstr("older than the program"));
  started.applied.sentences = true;
  EXPECT_EQ(Print(options, {started}).err, "");
}

TEST(EventPrinterTest, SpeechHasTheFiguresOfEachSegmentAndNoneOfTheRun) {
  EventPrinterOptions options;
  options.verbose = options.speech = true;
  SegmentCompleted completed = Completed("ein");
  completed.stats->average_lagging = 320;
  completed.stats->computation_aware.emplace().average_lagging = 350;
  const Output output = Print(options, {Session(), Text("ein"), completed, End()});
  EXPECT_EQ(output.out, "ein\n");
  EXPECT_EQ(output.err,
            "leapstream: session s1, model en-de, policy wait-k:3\n"
            "leapstream: 1.50 s of audio, 3 target tokens, AL 320 ms, LAAL 2 ms, "
            "computation-aware AL 350 ms, compute 7 ms\n");
}

TEST(EventPrinterTest, JsonHasAnObjectForEachEventAndNoText) {
  EventPrinterOptions options;
  options.json = true;
  const std::vector<Event> events = {Session(), Text("ein"), Completed("ein"), End()};
  const Output output = Print(options, events);
  const std::vector<std::string> lines = absl::StrSplit(output.out, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), events.size()) << output.out;
  for (const std::string& line : lines) {
    EXPECT_TRUE(nlohmann::json::parse(line, nullptr, false).is_object()) << line;
  }
  EXPECT_EQ(nlohmann::json::parse(lines[1])["text"], "ein");
  EXPECT_EQ(output.err, "");
}

TEST(EventPrinterTest, ABreakIsAlwaysTold) {
  const Output output =
      Print({}, {Interrupted{absl::UnavailableError("refused")},
                 Resumed{"10.0.0.1:50051", absl::Milliseconds(1250)}});
  EXPECT_EQ(output.err,
            "leapstream: no server at the moment (refused); trying again\n"
            "leapstream: going on at 10.0.0.1:50051 after 1.25 s; nothing was lost\n");
}

TEST(EventPrinterTest, AQuotaIsNoServerThatIsLost) {
  absl::Status used_up = absl::ResourceExhaustedError("you may use 9 characters; go on in 40s");
  // A google.rpc.ErrorInfo, of a reason and a domain.
  used_up.SetPayload("type.googleapis.com/google.rpc.ErrorInfo",
                     absl::Cord("\x0a\x0eQUOTA_EXCEEDED\x12\x0aleapstream"));
  EXPECT_EQ(Print({}, {Interrupted{used_up}}).err,
            "leapstream: waiting (you may use 9 characters; go on in 40s)\n");
}

TEST(EventPrinterTest, AServersDepartureIsANoteForWhoWantsNotes) {
  const GoingAway away = {absl::Milliseconds(4200), "GOING_AWAY_REASON_DRAINING"};
  EXPECT_EQ(Print({}, {away}).err, "");
  EventPrinterOptions options;
  options.verbose = true;
  EXPECT_EQ(Print(options, {away}).err,
            "leapstream: the server closes this stream within 5s: it is being stopped\n");
}

TEST(EventPrinterTest, ADepartureIsToldBeforeTheBreakAndNotWhenItIsOver) {
  const GoingAway away = {absl::Seconds(30), "GOING_AWAY_REASON_DRAINING"};
  const std::string told =
      "leapstream: the server closes this stream within 30s: it is being stopped\n";
  const Interrupted broken = {absl::UnavailableError("refused")};
  EventPrinterOptions options;
  options.verbose = true;
  EXPECT_EQ(Print(options, {away, broken}).err,
            told + "leapstream: no server at the moment (refused); trying again\n");
  EXPECT_THAT(Print(options, {away, Resumed{"10.0.0.1:50051", absl::Milliseconds(10)}}).err,
              Not(HasSubstr("closes this stream")))
      << "the stream has moved";
  EXPECT_THAT(Print(options, {away, Text("ein"), Completed("ein"), End()}).err,
              Not(HasSubstr("closes this stream")))
      << "the stream is complete";
}

TEST(EventPrinterTest, DroppedSourceIsToldAndIsTheStatus) {
  SegmentCompleted cut = Completed("ein");
  cut.reason = FinishReason::kSourceLimit;
  const Output output = Print({}, {Text("ein"), cut, End()});
  EXPECT_THAT(output.err, HasSubstr("segment 1 was cut short: its source is longer"));
  EXPECT_EQ(output.status.code(), absl::StatusCode::kResourceExhausted);
}

TEST(EventPrinterTest, ATranslationThatEndedLongBeforeItsSourceIsTold) {
  SegmentCompleted early = Completed("ein");
  early.stats->source_tokens = 60;
  early.stats->target_tokens = 30;
  early.untranslated_source_tokens = 40;
  EXPECT_THAT(Print({}, {Text("ein"), early, End()}).err,
              HasSubstr("segment 1: the translation ended long before its source did, and 40 of 60 "
                        "source tokens are not translated"));
  SegmentCompleted tiny = Completed("ein");
  tiny.stats->source_tokens = 60;
  tiny.stats->source_audio_ms = 0;
  EXPECT_THAT(Print({}, {Text("ein"), tiny, End()}).err,
              HasSubstr("segment 1: the translation is much shorter than its source (3 tokens of "
                        "60), so it may have stopped long before its end"));
  tiny.continues = true;  // The rest follows.
  EXPECT_EQ(Print({}, {Text("ein"), tiny, End()}).err, "");
  tiny.continues = false;
  tiny.stats->source_tokens = 19;
  EXPECT_EQ(Print({}, {Text("ein"), tiny, End()}).err, "");
  tiny.stats->source_tokens = 60;
  tiny.stats->source_audio_ms = 2400;  // Speech, in which nobody may speak.
  EXPECT_EQ(Print({}, {Text("ein"), tiny, End()}).err, "");
}

TEST(EventPrinterTest, PacedSourceStandsOnStandardError) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  EventPrinterOptions options;
  options.paced = true;
  EventPrinter printer(options);
  printer.Source("one ");
  printer.Source("word");
  printer.SourceEnd();
  printer.Source("two");
  EXPECT_TRUE(printer.Finish().ok());
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "source: one word\nsource: two\n");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

// Standard output and standard error are one file, as on a terminal: their lines do not run into
// each other.
TEST(EventPrinterTest, OnOneScreenEachHasItsLines) {
  const std::string path = testing::TempDir() + "/event_printer_test";
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  ASSERT_GE(file, 0);
  const int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
  dup2(file, STDOUT_FILENO);
  dup2(file, STDERR_FILENO);
  {
    EventPrinterOptions options;
    options.paced = true;
    EventPrinter printer(options);
    printer.Source("one");
    EXPECT_TRUE(printer.Print(Text("ein")).ok());
    printer.Source("word");
    EXPECT_TRUE(printer.Print(Interrupted{absl::UnavailableError("refused")}).ok());
    EXPECT_TRUE(printer.Print(Text(" Wort")).ok());
    EXPECT_TRUE(printer.Finish().ok());
  }
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  for (const int fd : {file, out, err}) close(fd);
  std::ifstream written(path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(written), {}),
            "source: one\n"
            "ein\n"
            "source: word\n"
            "leapstream: no server at the moment (refused); trying again\n"
            " Wort\n");
}

TEST(EventPrinterTest, SubtitlesOfSpeechHaveThePlacesInItsAudio) {
  EventPrinterOptions options;
  options.speech = true;
  options.subtitles = SubtitleFormat::kSrt;
  const auto delta = [](const std::string& text, double ms) {
    Delta delta;
    delta.segment = 1;
    delta.text = text;
    delta.audio_offset_ms = ms;
    return delta;
  };
  SegmentCompleted completed = Completed("Eins zwei.");
  completed.audio_start_ms = 61000;
  completed.audio_end_ms = 64000;
  const Output output =
      Print(options, {Session(), delta("Eins", 61560), delta(" zwei.", 62400), completed, End()});
  EXPECT_EQ(output.out, "1\n00:01:01,560 --> 00:01:02,560\nEins zwei.\n\n");
}

}  // namespace
}  // namespace leapstream::client
