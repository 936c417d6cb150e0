// The parts of an evaluation that need no server.
#include <algorithm>
#include <cmath>
#include <regex>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_replace.h"
#include "client/cli/evaluation_report.h"
#include "client/cli/plot.h"
#include "client/evaluation/chart.h"
#include "client/evaluation/instance.h"
#include "client/evaluation/latency_unit.h"
#include "client/evaluation/png.h"
#include "client/evaluation/svg.h"
#include "client/evaluation/svg_parts.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using testing::HasSubstr;

TEST(InstanceTest, WritesSimulEvalsLog) {
  Instance instance;
  instance.index = 7;
  instance.source = "a b";
  instance.reference = "x \"y\" z";
  instance.prediction = "x \xC3\xBC";
  instance.words = {{1, 2}, {1.25, 2.5}, 2, 3};
  const auto json = nlohmann::ordered_json::parse(ToSimulEvalLog(instance));
  EXPECT_EQ(json, nlohmann::ordered_json::parse(R"({
      "index": 7, "prediction": "x ü", "delays": [1, 2], "elapsed": [1.25, 2.5],
      "prediction_length": 2, "reference": "x \"y\" z", "source": "a b", "source_length": 2})"));
  EXPECT_TRUE(json["delays"][0].is_number_integer());
}

TEST(InstanceTest, ScoresHaveAColumnEach) {
  Instance empty;  // Nothing was written: it counts for BLEU, but not for lagging.
  empty.reference = "x";
  Instance instance;
  instance.reference = instance.prediction = "a b c d";
  instance.words = {{1, 2, 3, 4}, {1, 2, 3, 4}, 4, 4};
  const Scores scores = Score({empty, instance});
  EXPECT_DOUBLE_EQ(scores.words.al, 1);
  EXPECT_DOUBLE_EQ(*scores.words.yaal, 1);
  EXPECT_NEAR(scores.bleu.brevity_penalty, 0.7788, 1e-4);  // exp(1 - 5/4)
  EXPECT_EQ(ScoreNames().size(), ScoreValues(scores).size());
  EXPECT_EQ(ScoreNames()[0], "BLEU");
  EXPECT_EQ(ScoreNames({"chrF", "AL"}),
            (std::vector<std::string>{"chrF", "AL", "AL_CA", "AL_pieces", "AL_pieces_CA"}));
  EXPECT_EQ(ScoreValues(scores, {"chrF", "AL"}).size(), 5u);
  EXPECT_EQ(ScoreValues(Score({empty}))[7], "nan");  // YAAL
}

TEST(InstanceTest, TheLogOfPiecesHasThem) {
  Instance instance;
  instance.prediction = "ab c";
  instance.prediction_pieces = {"\u2581a", "b", "\u2581c"};
  instance.words.delays = {1, 1, 2};
  const auto json = nlohmann::json::parse(ToSimulEvalLog(instance));
  EXPECT_EQ(json["prediction_spm"], nlohmann::json({"\u2581a", "b", "\u2581c"}));
  EXPECT_EQ(json["prediction_length"], 3);
}

TEST(TargetScoringTest, FollowsFromHowTheReferencesAreWritten) {
  using metrics::BleuTokenizer;
  const auto choose = [](const TargetScoring& asked, const std::string& reference) {
    const TargetScoring chosen = ChooseScoring(asked, {reference});
    return std::make_tuple(*chosen.unit, *chosen.tokenizer,
                           ScoringNote(asked, chosen, {reference}));
  };
  const auto [word, western, nothing] = choose({}, "Das ist ein Satz.");
  EXPECT_EQ(word, LatencyUnit::kWord);
  EXPECT_EQ(western, BleuTokenizer::k13a);
  EXPECT_EQ(nothing, "");
  const auto [chinese_unit, chinese, said] = choose({}, "这是一句很长的话，iPhone 15。");
  EXPECT_EQ(chinese_unit, LatencyUnit::kChar);
  EXPECT_EQ(chinese, BleuTokenizer::kZh);
  EXPECT_THAT(said, HasSubstr("--eval-latency-unit char --sacrebleu-tokenizer zh"));
  for (const char* reference :
       {"これは文です。", "นี่คือประโยค", "ນີ້ແມ່ນປະໂຫຍກ", "ဒါက စာကြောင်းပါ", "នេះជាប្រយោគ"}) {
    const auto [unit, tokenizer, note] = choose({}, reference);
    EXPECT_EQ(unit, LatencyUnit::kChar) << reference;
    EXPECT_EQ(tokenizer, BleuTokenizer::kChar) << reference;
    EXPECT_THAT(note, HasSubstr("--sacrebleu-tokenizer char")) << reference;
  }
  // The scoring that was asked for is done, and a note says what it means.
  const auto [asked_unit, zh, warned] = choose({LatencyUnit::kWord, {}}, "这是一句话。");
  EXPECT_EQ(asked_unit, LatencyUnit::kWord);
  EXPECT_EQ(zh, BleuTokenizer::kZh);
  EXPECT_THAT(warned, HasSubstr("almost no spaces"));
  const auto [spm, asked_13a, warned_too] =
      choose({LatencyUnit::kSpm, BleuTokenizer::k13a}, "这是一句话。");
  EXPECT_EQ(spm, LatencyUnit::kSpm);
  EXPECT_EQ(asked_13a, BleuTokenizer::k13a);
  EXPECT_THAT(warned_too, HasSubstr("almost no spaces"));
  const auto all_asked = choose({LatencyUnit::kChar, BleuTokenizer::kChar}, "这是一句话。");
  EXPECT_EQ(std::get<2>(all_asked), "");
}

TEST(TargetScoringTest, KnowsTheLanguages) {
  for (const char* language :
       {"zh", "zh-TW", "ZH_cn", "zho_Hans", "ja", "th-TH", "lo", "my", "km"}) {
    EXPECT_TRUE(IsWrittenWithoutSpaces(language)) << language;
  }
  for (const char* language : {"", "de", "ko", "vi", "z", "zha", "thx"}) {
    EXPECT_FALSE(IsWrittenWithoutSpaces(language)) << language;
  }
  EXPECT_TRUE(IsChinese("yue"));
  EXPECT_FALSE(IsChinese("ja"));
}

std::string OneChart(const std::string& title, const std::vector<Curve>& curves) {
  return ChartsSvg(title, {{{"x", "y", curves}}});
}

TEST(ProgressTextTest, FitsIntoTheTerminal) {
  EXPECT_EQ(ProgressText("wait-k:3", 50, 100, 12.4, 120),
            "wait-k:3 [###############...............] 50/100 sentences, 12 s left");
  EXPECT_EQ(ProgressText("wait-k:3", 50, 100, 12.4, 60),
            "wait-k:3 [##########..........] 50/100 sentences, 12 s left");
  EXPECT_EQ(ProgressText("wait-k:3", 50, 100, 12.4, 45),
            "wait-k:3 [##...] 50/100 sentences, 12 s left");
  EXPECT_EQ(ProgressText("wait-k:3", 50, 100, 12.4, 40), "wait-k:3 50/100 sentences, 12 s left");
  for (int columns = 1; columns < 200; ++columns) {
    EXPECT_LT(ProgressText("la:2+read-words=2", 1, 1000, 3600, columns).size(),
              static_cast<size_t>(std::max(columns, 2)))
        << columns;
  }
}

TEST(ChartTest, DrawsEveryPointAndEscapesText) {
  const std::string svg =
      OneChart("a < b & \"c\"", {{"AL", {{1, 10, "k=1"}, {3, 12, "k=3"}}}, {"LAAL", {}}});
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; &quot;c&quot;"));
  EXPECT_THAT(svg, HasSubstr(">k=1</text>"));
  EXPECT_THAT(svg, HasSubstr(">k=3</text>"));
  EXPECT_THAT(svg, testing::EndsWith("</svg>\n"));
  for (const auto& points : std::vector<std::vector<CurvePoint>>{{}, {{2, 2, "one"}}}) {
    const std::string chart = OneChart("t", {{"c", points}});
    EXPECT_THAT(chart, testing::Not(HasSubstr("nan")));
    EXPECT_THAT(chart, testing::Not(HasSubstr("inf")));
  }
  EXPECT_EQ(XmlText("a\x01\n"), "a  ");
}

// Curves of one name look the same in each chart, and the legend has the name once.
TEST(ChartTest, ChartsStandSideBySide) {
  const std::vector<CurvePoint> points = {{1, 2, "3"}};
  const Chart left{"AL", "BLEU", {{"la", points}, {"hold", points}}};
  const Chart right{"LAAL", "BLEU", {{"hold", points}, {"adaptive", points}}};
  const std::string svg = ChartsSvg("t", {{left, right}, {left}});
  const auto count = [&](const std::string& text) {
    int found = 0;
    for (size_t at = 0; (at = svg.find(text, at)) != std::string::npos; ++at) ++found;
    return found;
  };
  EXPECT_THAT(svg, HasSubstr("width=\"1440.0\" height=\"900.0\""));
  EXPECT_EQ(count("<g transform"), 3);
  EXPECT_THAT(svg, HasSubstr("translate(720.0 60.0)"));
  EXPECT_THAT(svg, HasSubstr("translate(0.0 480.0)"));
  for (const char* name : {">la</text>", ">hold</text>", ">adaptive</text>"}) {
    EXPECT_EQ(count(name), 1) << name;
  }
  // Each curve has a line, a marker and, once for the name, both in the legend.
  EXPECT_EQ(count("stroke=\"#D55E00\""), 3 + 1) << "hold";
  EXPECT_EQ(count("stroke=\"#009E73\""), 1 + 1) << "adaptive";
}

// Two curves that lie close together and turn, as AL and LAAL do.
TEST(ChartTest, LabelsCoverNeitherCurvesNorEachOther) {
  std::vector<CurvePoint> al, laal;
  for (const auto& [x, x_right, y, name] :
       std::vector<std::tuple<double, double, double, std::string>>{{2.29, 2.93, 15.2, "k=1"},
                                                                    {3.76, 4.11, 17.9, "k=3"},
                                                                    {5.13, 5.38, 16.9, "k=5"},
                                                                    {6.40, 6.56, 13.7, "k=7"},
                                                                    {7.59, 7.68, 12.1, "k=9"}}) {
    al.push_back({x, y, name});
    laal.push_back({x_right, y, name});
  }
  const std::string svg = OneChart("t", {{"AL", al}, {"LAAL", laal}});

  struct Place {
    double x, y;
  };
  std::vector<Place> labels, drawn;
  const std::regex label("<text x=\"([0-9.]+)\" y=\"([0-9.]+)\" [^>]*>k=[0-9]</text>");
  for (std::sregex_iterator i(svg.begin(), svg.end(), label), end; i != end; ++i) {
    labels.push_back({std::stod((*i)[1]), std::stod((*i)[2]) - 4});  // The middle of the letters.
  }
  ASSERT_EQ(labels.size(), 10u);
  const std::regex curve("<polyline points=\"([^\"]+)\"");
  for (std::sregex_iterator i(svg.begin(), svg.end(), curve), end; i != end; ++i) {
    std::istringstream points((*i)[1]);
    char comma;
    Place last = {}, next;
    for (bool first = true; points >> next.x >> comma >> next.y; first = false, last = next) {
      for (int part = 0; part <= 100 && !first; ++part) {
        drawn.push_back(
            {last.x + (next.x - last.x) * part / 100, last.y + (next.y - last.y) * part / 100});
      }
    }
  }
  ASSERT_EQ(drawn.size(), 808u);
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto near = [&](const Place& p, double width, double height) {
      return std::abs(p.x - labels[i].x) < width && std::abs(p.y - labels[i].y) < height;
    };
    for (size_t j = 0; j < i; ++j) EXPECT_FALSE(near(labels[j], 22, 11)) << i << " and " << j;
    for (const Place& p : drawn) ASSERT_FALSE(near(p, 11, 5)) << i;
  }
}

// The size of a PNG, from its first chunk.
std::pair<int, int> PngSize(const std::string& png) {
  const auto number = [&](size_t at) {
    int value = 0;
    for (size_t i = at; i < at + 4; ++i) value = value * 256 + static_cast<unsigned char>(png[i]);
    return value;
  };
  if (png.size() < 24 || png.compare(0, 8, "\x89PNG\r\n\x1A\n") != 0) return {0, 0};
  return {number(16), number(20)};
}

TEST(PngTest, IsThePictureOfTheSvgAtTwiceItsSize) {
  const auto png = SvgToPng(OneChart("ü", {{"AL", {{1, 10, "k=1"}, {3, 12, "k=3"}}}}));
  ASSERT_TRUE(png.ok()) << png.status();
  EXPECT_EQ(PngSize(*png), std::make_pair(1440, 960));
  EXPECT_NE(*png, *SvgToPng(OneChart("ü", {{"AL", {{1, 10, "k=1"}, {3, 14, "k=3"}}}})));
}

TEST(PngTest, RefusesWhatIsNoPicture) {
  for (const std::string svg :
       {"", "x", "<svg/>",
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"99999\"/>"}) {
    EXPECT_EQ(SvgToPng(svg).status().code(), absl::StatusCode::kInvalidArgument) << svg;
  }
}

// The rows of a comparison; only their figures of words and their quality are set.
std::vector<PolicyScores> Rows(const std::vector<std::string>& texts) {
  std::vector<PolicyScores> rows;
  for (const std::string& text : texts) {
    PolicyScores& row = rows.emplace_back();
    row.policy = *ParsePolicy(text);
    row.scores.bleu.score = 20 + static_cast<double>(rows.size());
    row.scores.words.al = 3.5;
    row.scores.words.laal = 4.25;
    row.seconds = 1.25;
  }
  return rows;
}

TEST(EvaluationReportTest, TablesHaveARowForEachPolicy) {
  const auto rows = Rows({"default", "wait-k:3", "la:2+read-words=3"});
  const std::string tsv = ScoresTsv(rows, 20, {"BLEU", "AL"});
  EXPECT_EQ(tsv,
            "policy\tBLEU\tAL\tAL_CA\tAL_pieces\tAL_pieces_CA\tsentences\tseconds\n"
            "default\t21.000\t3.500\t0.000\t0.000\t0.000\t20\t1.25\n"
            "wait-k:3\t22.000\t3.500\t0.000\t0.000\t0.000\t20\t1.25\n"
            "la:2+read-words=3\t23.000\t3.500\t0.000\t0.000\t0.000\t20\t1.25\n");
  EXPECT_EQ(ScoresTable({rows.data() + 1, 2}, {}),
            "| policy | BLEU | chrF | AL | LAAL | AL_CA | LAAL_CA | steps | decoder_rows | "
            "encoder_rows | s |\n"
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
            "| `wait-k:3` | 22.000 | 0.000 | 3.500 | 4.250 | 0.000 | 0.000 | 0.000 | 0.000 | "
            "0.000 | 1.2 |\n"
            "| `la:2+read-words=3` | 23.000 | 0.000 | 3.500 | 4.250 | 0.000 | 0.000 | 0.000 | "
            "0.000 | 0.000 | 1.2 |\n");
  EXPECT_THAT(ScoresTable(rows, {"chrF", "LAAL"}), HasSubstr("| policy | chrF | LAAL | LAAL_CA |"));
}

TEST(EvaluationReportTest, ThePictureHasACurveForEachRule) {
  const std::string svg = ScoresPicture(
      Rows({"wait-k:3", "wait-k:5", "wait-k:5+past=refreshed", "la:2", "la:2+read-words=3",
            "adaptive:1-9:0.9:0.4", "offline"}),
      "test.en", /*speech=*/false);
  EXPECT_THAT(svg, HasSubstr(">Quality over lagging: test.en</text>"));
  for (const char* shown :
       {">wait-k</text>", ">wait-k+past=refreshed</text>", ">la</text>", ">adaptive</text>",
        ">offline</text>", ">k=3</text>", ">k=5</text>", ">2+read-words=3</text>",
        ">1-9:0.9:0.4</text>", ">BLEU</text>", ">chrF</text>", ">AL (source words)</text>",
        ">LAAL (source words)</text>", ">LAAL with computation (source words)</text>"}) {
    EXPECT_THAT(svg, HasSubstr(shown));
  }
  EXPECT_THAT(ScoresPicture(Rows({"la:2"}), "", /*speech=*/true), HasSubstr(">AL (ms)</text>"));
}

TEST(EvaluationReportTest, FoldersHavePlainNames) {
  const auto name = [](const char* text) { return FolderName(*ParsePolicy(text)); };
  EXPECT_EQ(name("wait-k:3"), "k3");
  EXPECT_EQ(name("wait-k:3:2+count-words"), "k3-2+count-words");
  EXPECT_EQ(name("la:2"), "la2");
  EXPECT_EQ(name("la:2:-1+read-words=3"), "la2--1+read-words-3");
  EXPECT_EQ(name("adaptive:1-9:0.9:0.4"), "adaptive1-9-0.9-0.4");
  EXPECT_EQ(name("offline"), "offline");
}

TEST(PlotTest, DrawsAStaircasePerSegment) {
  std::istringstream events(
      R"({"event":"started"})"
      "\n\n"
      R"({"event":"target","segment":1,"tokens":[{"piece":"▁a<","source_tokens_read":2}]})"
      "\n"
      R"({"event":"target","segment":1,"tokens":[{"piece":"b","source_tokens_read":3}]})"
      "\n"
      R"({"event":"segment","segment":1,"stats":{"average_lagging":2.5,"source_tokens":4}})"
      "\n"
      R"({"event":"segment","segment":2})"
      "\n");
  const absl::StatusOr<std::string> svg = PlotEvents(events);
  ASSERT_TRUE(svg.ok()) << svg.status();
  EXPECT_THAT(*svg, HasSubstr("Segment 1: average lagging 2.50"));
  EXPECT_THAT(*svg, HasSubstr("▁a&lt;"));
  EXPECT_THAT(*svg, testing::Not(HasSubstr("Segment 2")));  // The segment has no token.
}

// The answers are in the two forms of grpcurl: with the .proto file, and by reflection.
TEST(PlotTest, DrawsTheAnswersThatOtherToolsPrint) {
  const std::string camel = R"({
  "started": {
    "sessionId": "x",
    "limits": {"maxSessionDuration": "43200s"}
  }
}
{
  "resumePoint": {"resumeToken": "AAAA", "segment": "1"}
}
{
  "target": {
    "sequence": "1",
    "segment": "1",
    "text": "a \" } b",
    "tokens": [
      {"id": 7, "piece": "▁a<", "sourceTokensRead": 2, "emitOffset": "0.012s"},
      {"id": 0, "sourceTokensRead": 3}
    ],
    "sourceTokensRead": 3
  }
}
{"heartbeat": {}}
{"target": {"sequence": "2", "segment": "1", "text": "rest"}}
{
  "segmentCompleted": {
    "segment": "1",
    "stats": {"sourceTokens": 4, "averageLagging": 2.5}
  }
}
{"summary": {"segments": "1"}}
)";
  std::string snake = camel;
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"resumePoint", "resume_point"},           {"sourceTokensRead", "source_tokens_read"},
           {"segmentCompleted", "segment_completed"}, {"sourceTokens", "source_tokens"},
           {"averageLagging", "average_lagging"},     {"emitOffset", "emit_offset"}}) {
    snake = absl::StrReplaceAll(snake, {{"\"" + from + "\"", "\"" + to + "\""}});
  }
  ASSERT_NE(camel, snake);
  std::istringstream with_proto(camel), by_reflection(snake);
  const absl::StatusOr<std::string> svg = PlotEvents(with_proto);
  ASSERT_TRUE(svg.ok()) << svg.status();
  EXPECT_THAT(*svg, HasSubstr("Segment 1: average lagging 2.50"));
  EXPECT_THAT(*svg, HasSubstr("▁a&lt;"));
  const absl::StatusOr<std::string> other = PlotEvents(by_reflection);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(*other, *svg);

  std::istringstream no_tokens(R"({"target": {"segment": "1", "text": "a"}})");
  EXPECT_THAT(std::string(PlotEvents(no_tokens).status().message()),
              HasSubstr("output.token_details"));
}

TEST(PlotTest, ReadsEventsThatShareALine) {
  const std::string first =
      R"({"event":"target","segment":1,"tokens":[{"piece":"a}{","source_tokens_read":2}]})";
  const std::string second = R"({"event":"segment",
      "segment":1,"stats":{"average_lagging":2.5,"source_tokens":4}})";
  std::istringstream apart(first + "\n" + second + "\n");
  const absl::StatusOr<std::string> svg = PlotEvents(apart);
  ASSERT_TRUE(svg.ok()) << svg.status();
  for (const char* between : {"", " ", "\t"}) {
    std::istringstream together(first + between + second + " ");
    const absl::StatusOr<std::string> same = PlotEvents(together);
    ASSERT_TRUE(same.ok()) << same.status();
    EXPECT_EQ(*same, *svg);
  }
  std::istringstream wrong("\n" + first + "x" + second);
  EXPECT_THAT(std::string(PlotEvents(wrong).status().message()), HasSubstr("line 2"));
}

TEST(PlotTest, RefusesWhatIsNoEvent) {
  for (const std::string line :
       {"x", "[1]", "{}", R"({"event":1})", R"({"event":"target"})",
        R"({"event":"target","segment":"1","tokens":[]})", R"({"event":"target","segment":1})",
        R"({"event":"target","segment":1,"tokens":[{}]})",
        R"({"event":"target","segment":1,"tokens":[{"piece":"a","source_tokens_read":-1}]})",
        R"({"event":"target","segment":1,"tokens":[{"piece":"a","source_tokens_read":1e99}]})",
        R"({"target":1})", R"({"target":{"segment":"x"}})", R"({"target":{"tokens":{}}})",
        R"({"target":{"tokens":[1]}})", R"({"target":{"tokens":[{"sourceTokensRead":"-1"}]}})",
        R"({"target":{},"summary":{}})", R"({"text":"of Translate"})", R"({"event":"target")",
        R"({"event":"target)", R"({"target":{}}})", "}", "{\n}"}) {
    std::istringstream events("\n" + line + "\n");
    const absl::Status status = PlotEvents(events).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(status.message()), HasSubstr("line 2")) << line;
  }
  std::istringstream nothing("");
  EXPECT_EQ(PlotEvents(nothing).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace leapstream::client
