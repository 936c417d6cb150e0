#include "client/hypotheses/hypothesis_format.h"

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client/cli/hypothesis_input.h"
#include "client/hypotheses/hypothesis_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// Shows a hypothesis as "text", "text [2]" (stable words), "text." (final) or "text. |" (a pause).
std::string Shown(const SourceHypothesis& hypothesis) {
  std::string shown = absl::StrCat(
      hypothesis.text, hypothesis.final ? "." : "", hypothesis.pause ? " |" : "",
      hypothesis.stable_words > 0 ? absl::StrCat(" [", hypothesis.stable_words, "]") : "");
  if (hypothesis.begin.has_value())
    absl::StrAppend(&shown, " ", absl::FormatDuration(*hypothesis.begin));
  if (hypothesis.end.has_value())
    absl::StrAppend(&shown, " ", absl::FormatDuration(*hypothesis.end));
  return shown;
}

struct Read {
  std::vector<std::string> hypotheses;
  absl::Status status;
};

Read ReadAll(HypothesisFormat format, const std::vector<std::string>& chunks) {
  HypothesisReader reader(format);
  std::vector<SourceHypothesis> hypotheses;
  Read read;
  for (const std::string& chunk : chunks) {
    if (read.status.ok()) read.status = reader.Append(chunk, hypotheses);
  }
  if (read.status.ok()) read.status = reader.Finish(hypotheses);
  for (const SourceHypothesis& hypothesis : hypotheses) {
    read.hypotheses.push_back(Shown(hypothesis));
  }
  return read;
}

std::vector<std::string> Hypotheses(HypothesisFormat format, const std::string& bytes) {
  const Read read = ReadAll(format, {bytes});
  EXPECT_TRUE(read.status.ok()) << read.status;
  return read.hypotheses;
}

constexpr char kVosk[] = R"({
  "partial" : "one"
}
{
  "partial" : "one zero",
  "partial_result" : [{"conf" : 1.0, "start" : 0.1, "end" : 0.4, "word" : "one"}]
}
{
  "result" : [{"conf" : 1.0, "end" : 0.9, "start" : 0.1, "word" : "one"}],
  "text" : "one zero \"two"
}
{"partial" : ""}
{"alternatives" : [{"confidence" : 231.5, "text" : "three"}, {"confidence" : 2, "text" : "tree"}]}
)";

constexpr char kGoogle[] =
    R"({"results":[{"alternatives":[{"transcript":"to be"}],"stability":0.01}]}
{"results":[{"alternatives":[{"transcript":"to be or"}],"stability":0.9},{"alternatives":[{"transcript":" not two"}],"stability":0.01}],"requestId":"4"}
{"results":[{"alternatives":[{"transcript":"to be or not to be","confidence":0.98}],"isFinal":true,"resultEndTime":"4.5s"},{"alternatives":[{"transcript":"that"}],"stability":0.01}]}
{"speechEventType":"END_OF_SINGLE_UTTERANCE"}
{"results":[{"alternatives":[{"transcript":"that is "}],"stability":1.0,"is_final":false},{"alternatives":[],"stability":0}],"id":{"value":"riva"}}
)";

constexpr char kAzure[] =
    R"({"Id":"1","Text":"this is","Offset":100000,"Duration":600000}
{"Id":"1","RecognitionStatus":"Success","DisplayText":"This is.","Offset":100000,"Duration":900000}
{"RecognitionStatus":"InitialSilenceTimeout","Offset":0,"Duration":100}
{"type":"sessionStarted","sessionId":"5"}
{"type":"recognizing","text":"hello"}
{"event":"Recognized","result":{"text":"Hello.","reason":"RecognizedSpeech"}}
{"reason":"ResultReason.RecognizingSpeech","text":"good"}
{"reason":3,"text":"Good."}
{"RecognitionStatus":0,"NBest":[{"Confidence":0.9,"Display":"Best."}]}
)";

constexpr char kAws[] =
    R"({"Transcript":{"Results":[{"Alternatives":[{"Items":[{"Content":"Well","Stable":true,"Type":"pronunciation"},{"Content":",","Stable":true,"Type":"punctuation"},{"Content":"I","Stable":true},{"Content":"think","Stable":false}],"Transcript":"Well, I think"}],"IsPartial":true,"ResultId":"a"}]}}
{"TranscriptEvent":{"Transcript":{"Results":[{"Alternatives":[{"Transcript":"Well, I thought.","Items":[]}],"IsPartial":false}]}}}
{"Results":[]}
{"transcript":{"results":[{"alternatives":[{"transcript":"今天天气","items":[{"content":"今天","stable":true},{"content":"天气","stable":false}]}],"is_partial":true}]}}
)";

constexpr char kDeepgram[] =
    R"({"type":"Metadata","request_id":"7"}
{"type":"Results","start":0.5,"duration":1.5,"is_final":false,"speech_final":false,"channel":{"alternatives":[{"transcript":"another big","confidence":0.9,"words":[]}]}}
{"type":"Results","start":0.5,"duration":2.5,"is_final":true,"speech_final":false,"channel":{"alternatives":[{"transcript":"Another big problem"}]}}
{"type":"Results","start":3,"duration":1,"is_final":true,"speech_final":true,"channel":{"alternatives":[{"transcript":""}]}}
{"type":"UtteranceEnd","last_word_end":3.1}
)";

constexpr char kWhisper[] =
    "2691.4399 300 1380 Chairman, thank you.\n"
    "\n"
    "6914.5501 1940 4940  If the debate today had a\r\n"
    "9019.0277 5160 7160 the subject";

constexpr char kSimul[] =
    R"({"start": 0.1, "end": 1.2, "text": " Good mor", "tokens": [1, 2], "words": [{"text": " Good"}], "is_final": false, "emission_time": 1.3}
{"start": 1.2, "end": 1.5, "text": "ning every", "is_final": false, "emission_time": 2.0}
{"start": 1.6, "end": 1.9, "text": "one.", "is_final": true, "emission_time": 2.2}
{"emission_time": 3.0, "is_final": true}
4000.5000 3000 3500  And
4100.5000 3500 3600 roid phones
{"status": "COMPLETE", "text": "", "unconfirmed_text": "x"}
{"text": "今天"}
{"text": "天气"}
)";

TEST(HypothesisFormatTest, Json) {
  EXPECT_THAT(Hypotheses(HypothesisFormat::kJson,
                         "\xEF\xBB\xBF{\"text\": \"a b\", \"stable_words\": 1, \"start\": 0.5}\n\n"
                         "{\"text\": \"a b c\"} {\"text\": \"A b, c.\", \"final\": true, "
                         "\"start\": 0.5, \"end\": 2}"),
              ElementsAre("a b [1] 500ms", "a b c", "A b, c.. | 500ms 2s"));
  EXPECT_THAT(Hypotheses(HypothesisFormat::kJson, ""), ElementsAre());
  EXPECT_THAT(Hypotheses(HypothesisFormat::kJson,
                         "{\"text\":\"\", \"stable_words\": 99999999999, \"start\": 1e300}"),
              ElementsAre(" [1073741824]"));
}

TEST(HypothesisFormatTest, MessagesMayBeOneArray) {
  EXPECT_THAT(Hypotheses(HypothesisFormat::kJson,
                         "[\n  {\"text\": \"a\"},\n  {\"text\": \"a b\", \"is_final\": true}\n]\n"),
              ElementsAre("a", "a b. |"));
}

TEST(HypothesisFormatTest, Recognisers) {
  EXPECT_THAT(Hypotheses(HypothesisFormat::kVosk, kVosk),
              ElementsAre("one", "one zero", "one zero \"two. |", "", "three. |"));
  EXPECT_THAT(
      Hypotheses(HypothesisFormat::kGoogle, kGoogle),
      ElementsAre("to be", "to be or not two", "to be or not to be. |", "that", "that is  [2]"));
  EXPECT_THAT(Hypotheses(HypothesisFormat::kAzure, kAzure),
              ElementsAre("this is", "This is.. |", ". |", "hello", "Hello.. |", "good", "Good.. |",
                          "Best.. |"));
  EXPECT_THAT(Hypotheses(HypothesisFormat::kAws, kAws),
              ElementsAre("Well, I think [2]", "Well, I thought.. |", "今天天气"));
  EXPECT_THAT(Hypotheses(HypothesisFormat::kDeepgram, kDeepgram),
              ElementsAre("another big 500ms 2s", "Another big problem. 500ms 3s", ". | 3s 4s"));
  EXPECT_THAT(Hypotheses(HypothesisFormat::kWhisperStreaming, kWhisper),
              ElementsAre("Chairman, thank you.. 300ms 1.38s",
                          " If the debate today had a. 1.94s 4.94s", "the subject. 5.16s 7.16s"));
}

// Its texts are appended to each other, and one that begins without a space goes on within a word.
TEST(HypothesisFormatTest, SimulStreaming) {
  EXPECT_THAT(Hypotheses(HypothesisFormat::kSimulStreaming, kSimul),
              ElementsAre(" Good. 100ms 1.2s", " morning. 100ms 1.5s", " everyone.. | 1.2s 1.9s",
                          ". |", " Android. 3s 3.6s", " phones今天. 3.5s", "天气."));
}

TEST(HypothesisFormatTest, AnyChunkingGivesTheSame) {
  std::mt19937 random(7);
  const std::pair<HypothesisFormat, std::string> streams[] = {
      {HypothesisFormat::kVosk, kVosk},           {HypothesisFormat::kGoogle, kGoogle},
      {HypothesisFormat::kAzure, kAzure},         {HypothesisFormat::kAws, kAws},
      {HypothesisFormat::kDeepgram, kDeepgram},   {HypothesisFormat::kWhisperStreaming, kWhisper},
      {HypothesisFormat::kSimulStreaming, kSimul}};
  for (const auto& [format, stream] : streams) {
    for (int round = 0; round < 60; ++round) {
      std::string bytes = stream;
      if (round % 2 == 1) bytes[random() % bytes.size()] = static_cast<char>(random());
      std::vector<std::string> chunks;
      for (size_t at = 0; at < bytes.size(); at += chunks.back().size()) {
        chunks.push_back(bytes.substr(at, 1 + random() % 200));
      }
      const Read whole = ReadAll(format, {bytes});
      const Read cut = ReadAll(format, chunks);
      ASSERT_EQ(whole.hypotheses, cut.hypotheses) << bytes;
      ASSERT_EQ(whole.status, cut.status) << bytes;
    }
  }
}

TEST(HypothesisFormatTest, DamagedLinesAreErrorsWithTheirNumber) {
  const auto error = [](HypothesisFormat format, const std::string& bytes) {
    const Read read = ReadAll(format, {bytes});
    EXPECT_EQ(read.status.code(), absl::StatusCode::kInvalidArgument) << bytes;
    return std::string(read.status.message());
  };
  EXPECT_EQ(error(HypothesisFormat::kJson, "{\"text\": \"a\"}\n\n{\"txt\": \"a\"}\n"),
            "line 3 of the hypotheses: want {\"text\": TEXT, \"final\": BOOL, \"stable_words\": "
            "NUMBER}, of which \"text\" must be there, got \"{\\\"txt\\\":\\\"a\\\"}\"");
  EXPECT_THAT(error(HypothesisFormat::kJson, "hello\n"),
              HasSubstr("line 1 of the hypotheses: want a JSON object, got \"hello\""));
  EXPECT_THAT(error(HypothesisFormat::kJson, "[1]\n"), HasSubstr("want a JSON object"));
  EXPECT_THAT(error(HypothesisFormat::kJson, "{\"text\": \"a\nb\"}\n"),
              HasSubstr("want a JSON object"));
  EXPECT_THAT(error(HypothesisFormat::kJson, "{\"text\": 5}\n"), HasSubstr("TEXT"));
  EXPECT_THAT(error(HypothesisFormat::kJson, "{\"text\": \"\", \"final\": 1}\n"),
              HasSubstr("BOOL"));
  EXPECT_THAT(error(HypothesisFormat::kJson, "{\"text\": \"\", \"stable_words\": -1}\n"),
              HasSubstr("NUMBER"));
  EXPECT_THAT(error(HypothesisFormat::kJson, "{\"text\": \"a\"}\n{\n\"text\":\n"),
              AllOf(HasSubstr("line 2"), HasSubstr("the input ends within")));
  EXPECT_THAT(error(HypothesisFormat::kJson, "{\"text\": \"\xff\"}"),
              HasSubstr("line 1 of the hypotheses: want UTF-8"));
  EXPECT_THAT(error(HypothesisFormat::kJson, "{\"text\": \"\\ud800\"}"),
              HasSubstr("want a JSON object"));
  EXPECT_THAT(error(HypothesisFormat::kJson, std::string(2 << 20, ' ')),
              HasSubstr("bytes at most"));
  EXPECT_THAT(error(HypothesisFormat::kJson, absl::StrCat("{\"a\":", std::string(40, '['),
                                                          std::string(40, ']'), ",\"text\":\"\"}")),
              HasSubstr("depth"));
  std::string lines = "{\n";
  for (int i = 0; i < 300000; ++i) absl::StrAppend(&lines, "\"a\": [],\n");
  EXPECT_THAT(error(HypothesisFormat::kJson, lines), HasSubstr("want an object of"));
  EXPECT_THAT(error(HypothesisFormat::kVosk, "{\"error\": \"no model\"}"), HasSubstr("Vosk's"));
  EXPECT_THAT(error(HypothesisFormat::kGoogle, "{\"error\": {\"code\": 11}}"),
              HasSubstr("StreamingRecognizeResponse"));
  EXPECT_THAT(error(HypothesisFormat::kGoogle, "{\"results\": [5]}"),
              HasSubstr("StreamingRecognizeResponse"));
  // The wrong format must not look like silence.
  EXPECT_THAT(error(HypothesisFormat::kGoogle, "{\"partial\": \"one\"}"),
              HasSubstr("is --hypotheses the recogniser's format?"));
  EXPECT_THAT(error(HypothesisFormat::kAzure, "{\"partial\": \"one\"}"), HasSubstr("recognizing"));
  EXPECT_THAT(error(HypothesisFormat::kAws, "{\"BadRequestException\": {}}"),
              HasSubstr("TranscriptEvent"));
  EXPECT_THAT(error(HypothesisFormat::kAws, "{\"Results\": [{\"Alternatives\": []}]}"),
              HasSubstr("IsPartial"));
  EXPECT_THAT(error(HypothesisFormat::kDeepgram, "{\"type\": \"Error\", \"description\": \"x\"}"),
              HasSubstr("Deepgram's"));
  for (const char* line : {"300 1380 thank you", "nan 1 2 x", "1 2", "1 2 1e99 x", "a b c d"}) {
    EXPECT_THAT(error(HypothesisFormat::kWhisperStreaming, line),
                HasSubstr("emission begin end text"));
  }
  EXPECT_THAT(error(HypothesisFormat::kSimulStreaming, "{\"end\": 1}"), HasSubstr("is_final"));
}

TEST(HypothesisFormatTest, NamesAreThoseOfTheFlag) {
  for (const std::string& name : HypothesisFormatNames())
    EXPECT_TRUE(HypothesisFormatOf(name).has_value()) << name;
  EXPECT_FALSE(HypothesisFormatOf("").has_value());
}

// Returns the segments that the source gets, with " / " for the end of each.
std::string Source(HypothesisFormat format, Segmentation segmentation,
                   const std::vector<std::string>& chunks) {
  HypothesisInput input({format, 2}, segmentation);
  std::deque<SourceItem> items;
  for (const std::string& chunk : chunks) EXPECT_TRUE(input.Append(chunk, items).ok());
  EXPECT_TRUE(input.Finish(items).ok());
  std::string source;
  for (const SourceItem& item : items)
    absl::StrAppend(&source, item.text, item.ends_line ? "/ " : "");
  return source;
}

TEST(HypothesisInputTest, AFinalIsNoEndOfASentence) {
  EXPECT_EQ(
      Source(
          HypothesisFormat::kJson, Segmentation::kSentence,
          {R"({"text": "The first sentence goes", "final": true})"
           R"({"text": "on here. And Dr.", "final": true})"
           R"({"text": "Smith came. 今天。天气", "final": true} {"text": "好。 So", "final": true})"}),
      "The first sentence goes on here. / And Dr. Smith came. / 今天。/ 天气好。 / So / ");
}

// The end of a sentence is told at once if the recogniser knows that the speaker paused.
TEST(HypothesisInputTest, ASentenceThatEndsAtAPauseIsEndedAtOnce) {
  HypothesisInput input({HypothesisFormat::kJson, 2}, Segmentation::kSentence);
  std::deque<SourceItem> items;
  EXPECT_TRUE(input.Append("{\"text\": \"It is done.\", \"final\": true}\n", items).ok());
  ASSERT_EQ(items.size(), 4u);
  EXPECT_TRUE(items.back().ends_line);
  EXPECT_TRUE(input.has_sentences());
  EXPECT_TRUE(input.Append("{\"text\": \"By Dr.\", \"final\": true}\n", items).ok());
  EXPECT_FALSE(items.back().ends_line);
}

TEST(HypothesisInputTest, TextWithoutMarksIsCutAtPausesAndByLength) {
  EXPECT_EQ(
      Source(HypothesisFormat::kVosk, Segmentation::kPause,
             {R"({"partial": "one two"} {"text": "one two three"} {"text": ""} {"text": "four"})"}),
      "one two three / four / ");
  // Nothing says that the speaker paused but the times.
  EXPECT_EQ(Source(HypothesisFormat::kWhisperStreaming, Segmentation::kPause,
                   {"1 0 1000 one two\n2 1100 2000 three\n3 2600 3000 four\n"}),
            "one two three / four / ");
  std::string text;
  for (int i = 0; i < 120; ++i) absl::StrAppend(&text, i == 44 ? "word, " : "word ");
  const std::string source = Source(HypothesisFormat::kJson, Segmentation::kPause,
                                    {absl::StrCat("{\"text\": \"", text, "\", \"final\": true}")});
  EXPECT_EQ(std::count(source.begin(), source.end(), '/'), 3);
  std::string unspaced;
  for (int i = 0; i < 250; ++i) absl::StrAppend(&unspaced, "天");
  const std::string characters =
      Source(HypothesisFormat::kJson, Segmentation::kPause,
             {absl::StrCat("{\"text\": \"", unspaced, "\", \"final\": true}")});
  EXPECT_GE(std::count(characters.begin(), characters.end(), '/'), 1);
}

TEST(HypothesisInputTest, WhatStandsBeforeADamagedLineIsTranslated) {
  HypothesisInput input({HypothesisFormat::kJson, 2}, Segmentation::kSentence);
  std::deque<SourceItem> items;
  EXPECT_FALSE(
      input.Append("{\"text\": \"one two\"}\n{\"text\": \"one two three\"}\noops\n", items).ok());
  EXPECT_FALSE(input.Append("{\"text\": \"one two three four\"}\n", items).ok());
  EXPECT_FALSE(input.Finish(items).ok());
  std::string source;
  for (const SourceItem& item : items)
    absl::StrAppend(&source, item.text, item.ends_line ? "/ " : "");
  EXPECT_EQ(source, "one two three / ");
}

}  // namespace
}  // namespace leapstream::client
