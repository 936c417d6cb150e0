// Runs `leapstream evaluate` and `leapstream simuleval-bridge` on the embedded model, and compares
// the results with those that SimulEval recorded when it drove the bridge.
#include <httplib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/client/raw_request.h"

namespace leapstream {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr char kGolden[] = LEAPSTREAM_SOURCE_DIR "/tests/golden/simuleval/";
constexpr char kModel[] = LEAPSTREAM_SOURCE_DIR "/model/pretrained/en-de";
constexpr absl::Duration kPatience = absl::Minutes(2);
// A setting of the programs' own servers: the most source tokens of a segment.
constexpr char kMostSource[] = "LEAPSTREAM_MAX_SOURCE_TOKENS_PER_SEGMENT";

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<Json> ReadJsonLines(const fs::path& path) {
  std::vector<Json> rows;
  for (const absl::string_view line : absl::StrSplit(ReadFile(path), '\n', absl::SkipEmpty())) {
    rows.push_back(Json::parse(std::string(line)));
  }
  return rows;
}

// The first row of scores.tsv, keyed by column.
std::map<std::string, std::string> FirstScores(const std::string& tsv) {
  const std::vector<std::string> lines = absl::StrSplit(tsv, '\n');
  const std::vector<std::string> names = absl::StrSplit(lines.at(0), '\t');
  const std::vector<std::string> values = absl::StrSplit(lines.at(1), '\t');
  EXPECT_EQ(names.size(), values.size());
  std::map<std::string, std::string> scores;
  for (size_t i = 0; i < names.size(); ++i) scores[names[i]] = values.at(i);
  return scores;
}

// Expects the scores that SimulEval gave to a run; see the golden's README.
void ExpectScores(const std::map<std::string, std::string>& scores, const std::string& run) {
  const Json simuleval =
      Json::parse(ReadFile(absl::StrCat(kGolden, "remote_eval.", run, ".scores.json")));
  ASSERT_EQ(simuleval.size(), 6u);
  for (const auto& [name, value] : simuleval.items()) {
    ASSERT_EQ(scores.count(name), 1u) << name;
    EXPECT_EQ(scores.at(name), value) << name;
  }
}

class EvaluationProgramTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string folder = testing::TempDir() + "leapstream_evaluation.XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    golden_ = ReadJsonLines(absl::StrCat(kGolden, "remote_eval.k3.stop.jsonl"));
    ASSERT_EQ(golden_.size(), 20u);
  }
  void TearDown() override {
    if (pid_ > 0) kill(pid_, SIGKILL);
    fs::remove_all(folder_);
  }

  // Output and messages go to files of the test's folder.
  void Start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), LEAPSTREAM_BINARY_DIR "/bin/leapstream");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const std::string out = folder_ / "out", err = folder_ / "err";
    pid_ = fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      if (freopen(out.c_str(), "w", stdout) == nullptr) _exit(126);
      if (freopen(err.c_str(), "w", stderr) == nullptr) _exit(126);
      execv(argv[0], argv.data());
      _exit(127);
    }
  }
  int Wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int Run(const std::vector<std::string>& arguments) {
    Start(arguments);
    return Wait();
  }
  std::string Errors() const { return ReadFile(folder_ / "err"); }

  fs::path folder_;
  std::vector<Json> golden_;
  pid_t pid_ = 0;
};

TEST_F(EvaluationProgramTest, EvaluateRecordsAndScoresAsSimulEval) {
  const fs::path output = folder_ / "run";
  ASSERT_EQ(Run({"evaluate", "--model", kModel, "--k", "3,1", "--early-end", "stop", "--source",
                 absl::StrCat(kGolden, "test20.en"), "--target", absl::StrCat(kGolden, "test20.de"),
                 "--output", output.string()}),
            0)
      << Errors();
  EXPECT_EQ(Errors(), "");  // Without a terminal there is no progress.
  EXPECT_THAT(
      ReadFile(folder_ / "out"),
      testing::HasSubstr("BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"));
  const std::vector<Json> rows = ReadJsonLines(output / "k3" / "instances.log");
  ASSERT_EQ(rows.size(), golden_.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    for (const auto& [field, value] : golden_[i].items()) EXPECT_EQ(rows[i].at(field), value) << i;
    EXPECT_EQ(rows[i].at("elapsed").size(), rows[i].at("delays").size());
  }
  EXPECT_TRUE(fs::exists(output / "k1" / "config.yaml"));
  EXPECT_THAT(ReadFile(output / "curve.svg"), testing::HasSubstr("k=1"));
  EXPECT_THAT(ReadFile(output / "curve.png"), testing::StartsWith("\x89PNG"));

  const std::string tsv = ReadFile(output / "scores.tsv");
  EXPECT_EQ(std::count(tsv.begin(), tsv.end(), '\n'), 3);
  std::map<std::string, std::string> scores = FirstScores(tsv);
  EXPECT_EQ(scores["policy"], "wait-k:3");
  ExpectScores(scores, "k3.stop");
  EXPECT_EQ(scores["sentences"], "20");
}

// The delays are the reference agent's; the scores are those that SimulEval 1.1.4 gives the log.
TEST_F(EvaluationProgramTest, EvaluatesSpeechAsSimulEval) {
  const std::string golden = LEAPSTREAM_SOURCE_DIR "/tests/golden/speech/";
  const std::string model = folder_ / "model";
  const std::string data = golden + "data/spm_unigram400_st";
  const std::string command =
      absl::StrCat(LEAPSTREAM_BINARY_DIR "/bin/leapstream-export --checkpoint ", golden,
                   "checkpoints/speech_leap.pt --config-yaml ", golden,
                   "data/config_st.yaml --target-dict ", data, ".txt --target-spm ", data,
                   ".model --source-lang en --target-lang de --output ", model);
  ASSERT_EQ(std::system(command.c_str()), 0);
  const std::vector<Json> traces = ReadJsonLines(golden + "traces/speech_leap.k2.jsonl");
  std::ofstream list(folder_ / "list"), references(folder_ / "references");
  for (const Json& row : traces) {
    list << golden << row["wav"].get<std::string>() << "\n";
    references << row["reference"].get<std::string>() << "\n";
  }
  list.close();
  references.close();
  const fs::path output = folder_ / "run";
  ASSERT_EQ(
      Run({"evaluate", "--model", model, "--k", "2", "--early-end", "stop", "--audio",
           folder_ / "list", "--target", folder_ / "references", "--output", output.string()}),
      0)
      << Errors();

  const std::vector<Json> rows = ReadJsonLines(output / "instances.log");
  ASSERT_EQ(rows.size(), traces.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i]["source_length"], traces[i]["source_ms"]);
    for (size_t word = 0; word < rows[i]["delays"].size(); ++word) {
      EXPECT_GT(rows[i]["elapsed"][word].get<double>(), rows[i]["delays"][word].get<double>());
    }
    // The reference glues words that a limit cut short, and takes any file for 16 kHz.
    if (traces[i]["id"] == "e-exact" || traces[i]["id"] == "e-22k") continue;
    if (traces[i]["id"] == "e-silence") {  // The server does not ask the model about silence.
      EXPECT_EQ(rows[i]["prediction"], "");
      continue;
    }
    std::vector<std::string> words = traces[i]["simuleval_hypos"];
    std::vector<double> delays = traces[i]["simuleval_delays"];
    if (!words.empty() && words.back() == "</s>") {
      words.pop_back();
      delays.pop_back();
    }
    EXPECT_EQ(rows[i]["prediction"], absl::StrJoin(words, " ")) << traces[i]["id"];
    EXPECT_EQ(rows[i]["delays"], Json(delays)) << traces[i]["id"];
  }
  EXPECT_EQ(ReadFile(output / "config.yaml"), "source_type: speech\ntarget_type: text\n");

  std::map<std::string, std::string> scores = FirstScores(ReadFile(output / "scores.tsv"));
  EXPECT_EQ(scores["BLEU"], "29.132");  // These scores are SimulEval's; see the golden's README.
  EXPECT_EQ(scores["LAAL"], "1630.109");
  EXPECT_EQ(scores["AL"], "211.405");
  EXPECT_EQ(scores["AP"], "2.811");
  EXPECT_EQ(scores["DAL"], "1714.391");
  EXPECT_EQ(scores["ATD"], "1319.846");
  EXPECT_EQ(scores["StartOffset"], "1564.533");
  EXPECT_GT(std::stod(scores["AL_CA"]), 211.405);

  std::ofstream(folder_ / "list") << folder_.string() << "/none.wav\n";
  std::ofstream(folder_ / "references") << "x\n";
  EXPECT_EQ(Run({"evaluate", "--model", model, "--audio", folder_ / "list", "--target",
                 folder_ / "references", "--output", folder_ / "missing"}),
            4);
  EXPECT_THAT(Errors(), testing::HasSubstr("none.wav: No such file"));
  EXPECT_EQ(Run({"evaluate", "--target", folder_ / "references", "--output", output.string()}), 2);
  EXPECT_THAT(Errors(), testing::HasSubstr("--source or --audio is required"));
}

TEST_F(EvaluationProgramTest, SaysWhatIsWrongWithItsFiles) {
  const auto evaluate = [&](const std::string& source, const std::string& target) {
    return Run({"evaluate", "--server", "127.0.0.1:1", "--source", source, "--target", target,
                "--output", (folder_ / "run").string()});
  };
  const std::string two = folder_ / "two", one = folder_ / "one", latin = folder_ / "latin";
  std::ofstream(two) << "a\nb\n";
  std::ofstream(one) << "a\n";
  std::ofstream(latin) << "a\n\xFC\n";
  EXPECT_EQ(evaluate(two, one), 4);
  EXPECT_THAT(Errors(), testing::HasSubstr("as many lines"));
  EXPECT_EQ(evaluate(two, latin), 4);
  EXPECT_THAT(Errors(), testing::HasSubstr("line 2 of"));
  EXPECT_EQ(evaluate(folder_, one), 4);
  EXPECT_EQ(evaluate(one, "/nowhere"), 4);
  EXPECT_EQ(evaluate(one, one), 3);  // Nobody serves there.
  for (const char* k : {"0", "", "x", "1,", "1,,3", "1,1", "1 3", "3,2000000"}) {
    EXPECT_EQ(Run({"evaluate", "--k", k, "--source", one, "--target", one, "--output", one}), 2);
    EXPECT_THAT(Errors(), testing::HasSubstr("want different numbers")) << k;
  }
  // Files that another run left could be taken for this one's.
  fs::create_directories(folder_ / "run" / "k9");
  EXPECT_EQ(evaluate(one, one), 4);
  EXPECT_THAT(Errors(), testing::HasSubstr("run with k9 in it; empty it, or name another"));
  fs::remove(folder_ / "run" / "k9");
  // Our own server is on this machine and speaks no TLS.
  EXPECT_EQ(Run({"evaluate", "--model", folder_, "--tls", "--source", one, "--target", one,
                 "--output", (folder_ / "run").string()}),
            2);
  // Scores of a source that the server has not read to its end would mean nothing.
  std::ofstream(folder_ / "long") << "a\n" << std::string(400, 'w') << "\n";
  setenv(kMostSource, "200", /*overwrite=*/1);
  EXPECT_EQ(Run({"evaluate", "--model", kModel, "--source", folder_ / "long", "--target", two,
                 "--output", (folder_ / "run").string()}),
            4);
  unsetenv(kMostSource);
  EXPECT_THAT(Errors(), testing::HasSubstr("line 2 of the sources is longer than"));
  // A folder that holds no model: the server's own words are passed on.
  EXPECT_EQ(Run({"evaluate", "--model", folder_, "--source", one, "--target", one, "--output",
                 (folder_ / "run").string()}),
            4);
  EXPECT_THAT(Errors(), testing::HasSubstr("its log ends with"));
}

// A temporary folder that is no folder, or cannot be written to, gives one line and status 1.
TEST_F(EvaluationProgramTest, SaysThatItHasNoTemporaryFolder) {
  const std::string one = folder_ / "one";
  std::ofstream(one) << "a\n";
  const std::vector<std::string> evaluate = {"evaluate", "--model", kModel,     "--source", one,
                                             "--target", one,       "--output", ""};
  const std::string long_name(5000, 'x');
  for (const std::string& folder : {std::string("/nonexistent"), one, std::string("/proc"),
                                    "/" + long_name, std::string("/proc/self/mem/x")}) {
    std::vector<std::string> arguments = evaluate;
    arguments.back() = (folder_ / "run").string();
    setenv("TMPDIR", folder.c_str(), /*overwrite=*/1);
    const int status = Run(arguments);
    const int bridge = Run({"simuleval-bridge", "--model", kModel, "--port", "0"});
    unsetenv("TMPDIR");
    EXPECT_EQ(bridge, 1) << folder;
    EXPECT_EQ(status, 1) << folder << Errors();
    EXPECT_THAT(Errors(), testing::HasSubstr("that can be written to in TMPDIR\n"));
    EXPECT_THAT(Errors(), testing::Not(testing::HasSubstr("terminate"))) << folder;
  }
}

// Standard output that takes nothing is an error, but only after everything else has been written.
TEST_F(EvaluationProgramTest, WhatWasComputedIsKeptWhenItCannotBePrinted) {
  const std::string source = folder_ / "source", target = folder_ / "target";
  std::ofstream(source) << "A house.\nA tree.\n";
  std::ofstream(target) << "Ein Haus.\nEin Baum.\n";
  const auto evaluate = [&](const std::string& redirected, const std::string& output) {
    const std::string command = absl::StrCat(
        LEAPSTREAM_BINARY_DIR "/bin/leapstream evaluate --model ", kModel, " --k 1,3 --source ",
        source, " --target ", target, " --output ", output, " 2> ", (folder_ / "err").string(), " ",
        redirected);
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  };
  int runs = 0;
  for (const char* redirected : {"> /dev/full", ">&-", "| true"}) {
    const std::string output = (folder_ / absl::StrCat("run", ++runs)).string();
    const int status = evaluate(redirected, output);
    if (redirected[0] == '>') {  // The status of a pipe is that of its reader.
      EXPECT_EQ(status, 1) << redirected << Errors();
      EXPECT_THAT(Errors(), testing::HasSubstr("cannot write all of the output")) << redirected;
    }
    EXPECT_EQ(ReadJsonLines(fs::path(output) / "k1" / "instances.log").size(), 2u) << redirected;
    EXPECT_EQ(ReadJsonLines(fs::path(output) / "k3" / "instances.log").size(), 2u) << redirected;
    const std::string tsv = ReadFile(fs::path(output) / "scores.tsv");
    EXPECT_EQ(std::count(tsv.begin(), tsv.end(), '\n'), 3) << redirected;
    EXPECT_TRUE(fs::exists(fs::path(output) / "curve.png")) << redirected;
  }
}

TEST_F(EvaluationProgramTest, EvaluatesTheLinesAndMetricsThatAreAskedFor) {
  const auto evaluate = [&](std::vector<std::string> more, const std::string& name) {
    std::vector<std::string> arguments = {
        "evaluate", "--model",  kModel,     "--k",
        "3",        "--early-end", "stop",     "--source",
        absl::StrCat(kGolden, "test20.en"), "--target", absl::StrCat(kGolden, "test20.de"),
        "--output", (folder_ / name).string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  };
  ASSERT_EQ(evaluate({"--start-index", "5", "--end-index", "8", "--latency-metrics", "AL", "DAL",
                      "--quality-metrics", "chrF"},
                     "part"),
            0)
      << Errors();
  const std::vector<Json> rows = ReadJsonLines(folder_ / "part" / "instances.log");
  ASSERT_EQ(rows.size(), 3u);
  for (size_t i = 0; i < rows.size(); ++i) {
    for (const auto& [field, value] : golden_[5 + i].items()) EXPECT_EQ(rows[i].at(field), value);
    EXPECT_EQ(rows[i].at("index"), 5 + i);
  }
  EXPECT_THAT(ReadFile(folder_ / "part" / "scores.tsv"),
              testing::StartsWith("policy\tchrF\tAL\tDAL\tAL_CA\tDAL_CA\tAL_pieces\tDAL_pieces\t"));
  EXPECT_THAT(ReadFile(folder_ / "out"), testing::Not(testing::HasSubstr("BLEU")));
  EXPECT_THAT(ReadFile(folder_ / "out"), testing::Not(testing::HasSubstr("LAAL")));

  ASSERT_EQ(evaluate({"--no-scoring", "--start-index", "19"}, "unscored"), 0) << Errors();
  EXPECT_EQ(ReadJsonLines(folder_ / "unscored" / "instances.log").size(), 1u);
  EXPECT_FALSE(fs::exists(folder_ / "unscored" / "scores.tsv"));
  EXPECT_THAT(ReadFile(folder_ / "out"), testing::Not(testing::HasSubstr("BLEU")));

  ASSERT_EQ(evaluate({"--eval-latency-unit", "spm", "--joined-vocabulary"}, "spm"), 0) << Errors();
  EXPECT_EQ(Errors(), "");
  std::map<std::string, std::string> scores = FirstScores(ReadFile(folder_ / "spm" / "scores.tsv"));
  ExpectScores(scores, "spm.k3.stop");

  EXPECT_EQ(evaluate({"--start-index", "20"}, "none"), 4);
  EXPECT_THAT(Errors(), testing::HasSubstr("want a --start-index below"));
  EXPECT_EQ(evaluate({"--end-index", "21"}, "none"), 4);
  EXPECT_EQ(evaluate({"--start-index", "3", "--end-index", "3"}, "none"), 4);
  EXPECT_EQ(evaluate({"--start-index", "-1"}, "none"), 2);
  EXPECT_EQ(evaluate({"--latency-metrics", "XL"}, "none"), 2);
  EXPECT_EQ(evaluate({"--eval-latency-unit", "syllable"}, "none"), 2);
  for (const char* name : {"ja-mecab", "ko-mecab", "spm", "flores101", "flores200", "spBLEU-1K"}) {
    EXPECT_EQ(evaluate({"--sacrebleu-tokenizer", name}, "none"), 2);
    EXPECT_THAT(Errors(), testing::HasSubstr(absl::StrCat("sacrebleu --tokenize ", name)));
  }
  EXPECT_EQ(evaluate({"--sacrebleu-tokenizer", "14b"}, "none"), 2);
  EXPECT_THAT(Errors(), testing::HasSubstr("want 13a, zh, char, intl or none, got 14b"));
  EXPECT_FALSE(fs::exists(folder_ / "none"));
}

TEST_F(EvaluationProgramTest, PlotsWhatItCanAndRefusesTheRest) {
  const std::string events = folder_ / "events";
  std::ofstream(events)
      << R"({"event":"target","segment":1,"tokens":[{"piece":"a","source_tokens_read":1}]})";
  EXPECT_EQ(Run({"plot", events, "-o", folder_ / "a.svg"}), 0);
  EXPECT_THAT(ReadFile(folder_ / "a.svg"), testing::StartsWith("<svg"));
  EXPECT_EQ(Run({"plot", events, "-o", folder_ / "a.PNG"}), 0);
  EXPECT_THAT(ReadFile(folder_ / "a.PNG"), testing::StartsWith("\x89PNG"));
  EXPECT_EQ(Run({"plot", events}), 0);
  EXPECT_THAT(ReadFile(folder_ / "out"), testing::StartsWith("<svg"));
  for (const char* name : {"a.pdf", "a", ""}) {
    EXPECT_EQ(Run({"plot", events, "-o", name}), 2) << name;
  }
  EXPECT_THAT(Errors(), testing::HasSubstr("ends in .svg or .png"));
  EXPECT_EQ(Run({"plot", events, "-o", folder_ / "none" / "a.svg"}), 4);
  EXPECT_EQ(Run({"plot", folder_}), 4);
  EXPECT_THAT(Errors(), testing::HasSubstr("Is a directory"));
}

// A model whose target has no spaces. The golden is SimulEval's record of it, with its scores.
class UnspacedTargetTest : public EvaluationProgramTest {
 protected:
  void SetUp() override {
    EvaluationProgramTest::SetUp();
    model_ = (folder_ / "zh").string();
    const std::string command =
        absl::StrCat("python3 " LEAPSTREAM_SOURCE_DIR "/tests/testing/chinese_model.py ", kModel,
                     " ", model_);
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  int Evaluate(std::vector<std::string> more, const std::string& name) {
    std::vector<std::string> arguments = {
        "evaluate", "--model",  model_,     "--k",
        "3",        "--early-end", "stop",     "--source",
        absl::StrCat(kGolden, "test20.en"), "--target", absl::StrCat(kGolden, "test20.zh"),
        "--output", (folder_ / name).string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  }
  // Drives the bridge as simuleval/evaluator/remote.py does, and returns its output.
  void Drive(httplib::Client& http, const std::string& source, bool pieces, std::string* prediction,
             std::vector<int>* delays) {
    ASSERT_TRUE(http.Post("/reset"));
    const std::vector<std::string> words = absl::StrSplit(source, ' ', absl::SkipEmpty());
    size_t step = 0;
    for (bool finished = false; !finished;) {
      Json segment = {{"content", Json::array()}, {"finished", true}};
      if (step < words.size()) {
        segment["content"] = words[step++];
        segment["finished"] = step == words.size();
      }
      const auto put = http.Put("/input", segment.dump(), "text/plain");
      ASSERT_TRUE(put && put->status == 200);
      const auto get = http.Get("/output");
      ASSERT_TRUE(get && get->status == 200);
      const Json output = Json::parse(get->body);
      finished = output.at("finished");
      const std::string content = output.at("content");
      if (pieces) {
        for (const absl::string_view piece : absl::StrSplit(content, ' ', absl::SkipEmpty())) {
          absl::StrAppend(prediction, piece);
          delays->push_back(static_cast<int>(step));
        }
        continue;
      }
      for (const char c : content) {
        if (c == ' ') continue;
        *prediction += c;
        // The first byte of a character.
        if ((c & 0xC0) != 0x80) delays->push_back(static_cast<int>(step));
      }
    }
  }
  int BridgePort() {
    const fs::path port_file = folder_ / "port";
    const absl::Time deadline = absl::Now() + kPatience;
    while (!fs::exists(port_file) && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(20));
    EXPECT_TRUE(fs::exists(port_file)) << Errors();
    return fs::exists(port_file) ? std::stoi(ReadFile(port_file)) : 0;
  }

  std::string model_;
};

TEST_F(UnspacedTargetTest, IsEvaluatedByItsCharacters) {
  const std::vector<Json> golden =
      ReadJsonLines(absl::StrCat(kGolden, "remote_eval.zh.k3.stop.jsonl"));
  ASSERT_EQ(golden.size(), 20u);
  ASSERT_EQ(Evaluate({}, "run"), 0) << Errors();  // Nobody needs to name the unit.
  EXPECT_THAT(Errors(),
              testing::HasSubstr("--eval-latency-unit char --sacrebleu-tokenizer zh\n"));
  EXPECT_THAT(ReadFile(folder_ / "out"), testing::HasSubstr("|tok:zh|"));
  EXPECT_THAT(ReadFile(folder_ / "out"), testing::HasSubstr("in source words, per character: "));
  const std::vector<Json> rows = ReadJsonLines(folder_ / "run" / "instances.log");
  ASSERT_EQ(rows.size(), golden.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    for (const auto& [field, value] : golden[i].items()) EXPECT_EQ(rows[i].at(field), value) << i;
    EXPECT_EQ(rows[i].at("elapsed").size(), rows[i].at("delays").size());
  }
  std::map<std::string, std::string> scores = FirstScores(ReadFile(folder_ / "run" / "scores.tsv"));
  ExpectScores(scores, "zh.k3.stop");

  // Scored as words, as before this was known, it says so.
  ASSERT_EQ(Evaluate({"--eval-latency-unit", "word", "--sacrebleu-tokenizer", "13a"}, "words"), 0);
  EXPECT_THAT(Errors(), testing::HasSubstr("almost no spaces"));

  ASSERT_EQ(Evaluate({"--eval-latency-unit", "spm", "--joined-vocabulary"}, "pieces"), 0);
  const std::vector<Json> pieces = ReadJsonLines(folder_ / "pieces" / "instances.log");
  for (size_t i = 0; i < pieces.size(); ++i) {
    const std::vector<std::string> written = pieces[i].at("prediction_spm");
    EXPECT_EQ(absl::StrJoin(written, ""), golden[i].at("prediction"));
    EXPECT_EQ(pieces[i].at("delays"), golden[i].at("delays"));  // A character is a piece.
  }
}

TEST_F(UnspacedTargetTest, BridgeGivesItsCharactersTheMomentTheyAreWritten) {
  const std::vector<Json> golden =
      ReadJsonLines(absl::StrCat(kGolden, "remote_eval.zh.k3.stop.jsonl"));
  const std::vector<std::string> sources =
      absl::StrSplit(ReadFile(absl::StrCat(kGolden, "test20.en")), '\n', absl::SkipEmpty());
  for (const char* unit : {"", "spm"}) {
    std::vector<std::string> arguments = {"simuleval-bridge", "--model", model_, "--k", "3",
                                          "--early-end", "stop", "--port", "0", "--port-file",
                                          (folder_ / "port").string()};
    if (*unit != '\0') arguments.insert(arguments.end(), {"--eval-latency-unit", unit});
    Start(arguments);
    httplib::Client http("127.0.0.1", BridgePort());
    http.set_read_timeout(60);
    for (size_t i = 0; i < sources.size(); ++i) {
      std::string prediction;
      std::vector<int> delays;
      Drive(http, sources[i], *unit != '\0', &prediction, &delays);
      EXPECT_EQ(golden.at(i).at("prediction"), prediction) << i << unit;
      EXPECT_EQ(golden.at(i).at("delays"), Json(delays)) << i << unit;
    }
    EXPECT_THAT(Errors(), testing::HasSubstr(
                              *unit == '\0' ? " --eval-latency-unit char --sacrebleu-tokenizer zh "
                                            : " --eval-latency-unit spm "));
    kill(pid_, SIGTERM);
    EXPECT_EQ(Wait(), 0);
    fs::remove(folder_ / "port");
  }
}

// The requests are those of simuleval/evaluator/remote.py.
TEST_F(EvaluationProgramTest, BridgeGivesTheDelaysThatSimulEvalRecorded) {
  // The bridge refuses at once what its server refuses.
  EXPECT_EQ(Run({"simuleval-bridge", "--model", kModel, "--k", "5000", "--port", "0"}), 4);
  EXPECT_THAT(Errors(), testing::HasSubstr("got 5000"));
  const fs::path port_file = folder_ / "port";
  setenv(kMostSource, "200", /*overwrite=*/1);
  Start({"simuleval-bridge", "--model", kModel, "--k", "3", "--early-end", "stop", "--port", "0",
         "--port-file", port_file.string()});
  unsetenv(kMostSource);
  const absl::Time deadline = absl::Now() + kPatience;
  while (!fs::exists(port_file) && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(20));
  ASSERT_TRUE(fs::exists(port_file)) << Errors();
  httplib::Client http("127.0.0.1", std::stoi(ReadFile(port_file)));
  http.set_read_timeout(60);

  const std::vector<std::string> sources =
      absl::StrSplit(ReadFile(absl::StrCat(kGolden, "test20.en")), '\n', absl::SkipEmpty());
  ASSERT_EQ(sources.size(), golden_.size());
  for (size_t i = 0; i < sources.size(); ++i) {
    ASSERT_TRUE(http.Post("/reset"));
    const std::vector<std::string> words = absl::StrSplit(sources[i], ' ', absl::SkipEmpty());
    std::vector<std::string> prediction;
    std::vector<int> delays;
    size_t step = 0;
    for (bool finished = false; !finished;) {
      const bool over = step == words.size();
      Json segment = {{"index", step},    {"content", Json::array()}, {"finished", true},
                      {"is_empty", over}, {"data_type", nullptr},     {"tgt_lang", nullptr}};
      if (!over) {
        segment["content"] = words[step++];
        segment["finished"] = step == words.size();
        segment["data_type"] = "text";
      }
      const auto put = http.Put("/input", segment.dump(), "text/plain");
      ASSERT_TRUE(put && put->status == 200);
      const auto get = http.Get("/output");
      ASSERT_TRUE(get && get->status == 200);
      const Json output = Json::parse(get->body);
      EXPECT_EQ(output.at("data_type"), "text");
      finished = output.at("finished");
      const std::string content = output.at("content");
      for (const absl::string_view word : absl::StrSplit(content, ' ', absl::SkipEmpty())) {
        prediction.emplace_back(word);
        delays.push_back(static_cast<int>(step));
      }
    }
    EXPECT_EQ(golden_[i].at("prediction"), absl::StrJoin(prediction, " ")) << i;
    EXPECT_EQ(golden_[i].at("delays"), Json(delays)) << i;
  }

  // A body that is no segment is refused, and the bridge goes on.
  for (const char* body : {"", "x", "[1]", "\xFF"}) {
    const auto put = http.Put("/input", body, "text/plain");
    ASSERT_TRUE(put);
    EXPECT_EQ(put->status, 400) << body;
  }
  ASSERT_TRUE(http.Post("/reset"));
  ASSERT_TRUE(http.Put("/input", R"({"content": [], "finished": true})", "text/plain"));
  const auto empty = http.Get("/output");  // The sentence has no word.
  ASSERT_TRUE(empty);
  EXPECT_EQ(Json::parse(empty->body).at("finished"), true);
  EXPECT_EQ(Json::parse(empty->body).at("content"), "");
  ASSERT_TRUE(http.Post("/reset"));
  const Json long_word = {{"content", std::string(400, 'w')}, {"finished", true}};
  ASSERT_TRUE(http.Put("/input", long_word.dump(), "text/plain"));
  const auto cut = http.Get("/output");  // A cut sentence is not scored as if it were whole.
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->status, 500);
  EXPECT_THAT(cut->body, testing::HasSubstr("longer than the server takes"));
  // Other tools send other requests: curl -X POST gives no length, and HEAD must take nothing away.
  const int port = std::stoi(ReadFile(port_file));
  const auto raw = [&](const std::string& head, const std::string& body = "") {
    return RawRequest(port, absl::StrCat(head, "\r\nHost: x\r\nConnection: close\r\n\r\n", body));
  };
  EXPECT_THAT(raw("POST /reset HTTP/1.1"), testing::StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(raw("POST /reset HTTP/1.0"), testing::HasSubstr(" 200 "));
  EXPECT_THAT(raw("PUT /input HTTP/1.1"), testing::HasSubstr("want a segment as a JSON object"));
  EXPECT_THAT(raw("PUT /input HTTP/1.1\r\nTransfer-Encoding: chunked",
                  "f\r\n{\"content\": \"A \r\n15\r\nb\", \"finished\": true}\r\n0\r\n\r\n"),
              testing::StartsWith("HTTP/1.1 200 "));
  const std::string expecting = R"({"content": [], "finished": true})";
  EXPECT_THAT(raw(absl::StrCat("PUT /input HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: ",
                               expecting.size()),
                  expecting),
              testing::StartsWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "));
  EXPECT_THAT(raw("HEAD /output HTTP/1.1"), testing::StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(raw("GET /output HTTP/1.1"), testing::HasSubstr("\"finished\":true"));
  EXPECT_THAT(raw("HEAD / HTTP/1.1"), testing::StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(raw("GET /reset HTTP/1.1"), testing::HasSubstr("Allow: POST\r\n"));
  EXPECT_THAT(raw("POST /input HTTP/1.1"), testing::StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(raw("GET /outputs HTTP/1.1"), testing::StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(raw("GET /outputs HTTP/1.1"), testing::HasSubstr("PUT /input, GET /output"));
  EXPECT_THAT(raw("DELETE / HTTP/1.1"), testing::StartsWith("HTTP/1.1 4"));

  const auto info = http.Get("/");
  ASSERT_TRUE(info);
  EXPECT_THAT(info->body, testing::HasSubstr("leapstream at 127.0.0.1:"));

  kill(pid_, SIGTERM);
  EXPECT_EQ(Wait(), 0);
}

}  // namespace
}  // namespace leapstream
