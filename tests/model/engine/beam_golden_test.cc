// Compares beam searches with their goldens: the hypotheses, their order and their scores, as the
// reference implementation found them for small checkpoints of its own (tests/golden/beam/README.md
// has commits and the form of the files).
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "model/api/frame.h"
#include "model/api/model_directory.h"
#include "model/api/model_json.h"
#include "model/engine/ensemble.h"
#include "streaming/segment_search.h"
#include "tests/testing/test_device.h"

namespace leapstream {
namespace {

using nlohmann::json;

// Scores are means of float32 log-probabilities, which other orders of summation change by some
// 1e-5; the reference's own page allows this much.
constexpr float kScoreTolerance = 2e-4f;
// Candidates that are closer than this in the reference may change places.
constexpr double kNearTie = 1e-4;

std::string Golden(const std::string& name) {
  return absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/tests/golden/beam/", name);
}

std::string FileText(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::unique_ptr<const Translator> LoadTranslator(const std::string& name, ModelConfig* config) {
  auto parsed = ParseModelJson(FileText(Golden(name + "/model.json")));
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  *config = *std::move(parsed);
  auto weights = Weights::Load(Golden(name + "/weights.safetensors"));
  EXPECT_TRUE(weights.ok()) << weights.status();
  auto translator = MakeOnTestDevice(*config, *std::move(weights));
  EXPECT_TRUE(translator.ok()) << translator.status();
  return *std::move(translator);
}

struct Loaded {
  ModelConfig config;
  std::unique_ptr<const Translator> translator;
};

// The model of a file of goldens; "ensemble": both bpe_offline checkpoints.
Loaded Load(const std::string& name) {
  Loaded loaded;
  if (name != "ensemble") {
    loaded.translator = LoadTranslator(name, &loaded.config);
    return loaded;
  }
  std::vector<std::unique_ptr<const Translator>> members;
  for (const char* member : {"bpe_offline", "bpe_offline_s2"}) {
    members.push_back(LoadTranslator(member, &loaded.config));
  }
  loaded.translator = std::make_unique<Ensemble>(std::move(members),
                                                 loaded.config.decoder.vocabulary_size);
  return loaded;
}

struct GoldenSearch {
  json row;
  std::vector<TokenId> source;
  BeamOptions options;
  BeamTask task;
};

BeamOptions OptionsOf(const json& conf) {
  BeamOptions options;
  options.beam = conf["beam"];
  options.length_penalty = conf["lenpen"];
  options.unnormalized = conf["unnormalized"];
  options.min_length = conf["min_len"];
  options.max_length_a = conf["max_len_a"];
  options.max_length_b = conf["max_len_b"];
  options.match_source_length = conf["match_source_len"];
  options.no_repeat_ngram = conf["no_repeat_ngram_size"];
  options.unknown_penalty = conf["unkpen"];
  options.temperature = conf["temperature"];
  options.n_best = options.beam;
  EXPECT_TRUE(CheckBeamOptions(options).ok()) << CheckBeamOptions(options);
  return options;
}

std::vector<GoldenSearch> ReadSearches(const std::string& file, const ModelConfig& config) {
  const json configs = json::parse(FileText(Golden("configs.json")));
  std::vector<GoldenSearch> searches;
  std::ifstream lines(Golden(file));
  EXPECT_TRUE(lines) << file;
  for (std::string line; std::getline(lines, line);) {
    GoldenSearch search;
    search.row = json::parse(line);
    search.source = search.row["source"].get<std::vector<TokenId>>();
    search.options = OptionsOf(configs[search.row["conf"].get<std::string>()]);
    BeamTask& task = search.task;
    task.start = search.row["start"];
    task.end = search.row["end"];
    task.source_length = static_cast<int>(search.source.size());
    task.source_words = task.source_length -
                        static_cast<int>(absl::c_count(search.source, task.end)) -
                        static_cast<int>(absl::c_count(search.source, kPadding));
    task.vocabulary_size = config.decoder.vocabulary_size;
    task.max_target_tokens = config.max_target_positions - 1;
    task.forced = search.row["forced"].get<std::vector<TokenId>>();
    searches.push_back(std::move(search));
  }
  return searches;
}

Frame StartsWith(TokenId token) {
  Frame frame;
  frame.start = token;
  return frame;
}

std::unique_ptr<SegmentSearch> Begin(const Translator& translator, const GoldenSearch& golden) {
  auto state = *translator.NewState();
  state->SetFrame(StartsWith(golden.task.start));
  EXPECT_TRUE(translator.Read({SourceRows{state.get(), golden.source}}).ok());
  auto search = SegmentSearch::Begin(*state, golden.options, golden.task);
  EXPECT_TRUE(search.ok()) << search.status();
  return *std::move(search);
}

// Makes a step of each search that is not done, as one batch.
void Step(const Translator& translator, absl::Span<const std::unique_ptr<SegmentSearch>> searches) {
  std::vector<ScoreRow> rows;
  std::vector<std::pair<SegmentSearch*, size_t>> owners;
  for (const auto& search : searches) {
    for (size_t r = 0; r < search->rows().size(); ++r) {
      rows.push_back(search->rows()[r]);
      owners.emplace_back(search.get(), r);
    }
  }
  const auto take = [&](size_t row, const TokenScores& scores) {
    return owners[row].first->Take(owners[row].second, scores);
  };
  ASSERT_TRUE(translator.Score(rows, take).ok());
  for (const auto& search : searches) {
    if (search->done()) continue;
    ASSERT_TRUE(search->Advance().ok());
  }
}

void RunAll(const Translator& translator,
            absl::Span<const std::unique_ptr<SegmentSearch>> searches) {
  const auto done = [](const auto& search) { return search->done(); };
  while (!absl::c_all_of(searches, done)) Step(translator, searches);
}

std::vector<BeamHypothesis> RunAlone(const Translator& translator, const GoldenSearch& golden) {
  std::vector<std::unique_ptr<SegmentSearch>> one;
  one.push_back(Begin(translator, golden));
  RunAll(translator, one);
  return one[0]->search().Result();
}

bool SameHypotheses(const json& row, const std::vector<BeamHypothesis>& found) {
  if (row["hyps"].size() != found.size()) return false;
  for (size_t h = 0; h < found.size(); ++h) {
    if (row["hyps"][h]["ids"].get<std::vector<TokenId>>() != found[h].ids) return false;
  }
  return true;
}

void ExpectGolden(const GoldenSearch& golden, const std::vector<BeamHypothesis>& found,
                  int* near_ties) {
  if (!SameHypotheses(golden.row, found)) {
    const bool near = golden.row["margin_cut"] < kNearTie || golden.row["margin_final"] < kNearTie;
    if (near) ++*near_ties;
    EXPECT_TRUE(near) << golden.row.dump();
    return;
  }
  for (size_t h = 0; h < found.size(); ++h) {
    const json& hypothesis = golden.row["hyps"][h];
    EXPECT_NEAR(hypothesis["score"].get<float>(), found[h].score, kScoreTolerance);
    const auto log_probs = hypothesis["positional"].get<std::vector<float>>();
    ASSERT_EQ(log_probs.size(), found[h].log_probs.size());
    for (size_t i = 0; i < log_probs.size(); ++i) {
      // A difference of two sums of up to 200 terms: each is off by as much.
      EXPECT_NEAR(log_probs[i], found[h].log_probs[i], 5 * kScoreTolerance);
    }
  }
}

class BeamGoldenTest : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(BeamGoldenTest, SearchesFindTheReferencesHypotheses) {
  const auto& [file, model] = GetParam();
  const Loaded loaded = Load(model);
  int near_ties = 0;
  for (const GoldenSearch& golden : ReadSearches(file, loaded.config)) {
    SCOPED_TRACE(golden.row["conf"].get<std::string>());
    std::vector<std::unique_ptr<SegmentSearch>> one;
    one.push_back(Begin(*loaded.translator, golden));
    RunAll(*loaded.translator, one);
    const std::vector<BeamHypothesis> found = one[0]->search().Result();
    ExpectGolden(golden, found, &near_ties);
    // fairseq goes on without live rows; then it makes more steps. A search that a near tie led
    // elsewhere has a length of its own.
    if (SameHypotheses(golden.row, found)) {
      EXPECT_LE(one[0]->search().steps(), golden.row["steps"].get<int>());
    }
  }
  EXPECT_LE(near_ties, 2);
}

TEST_P(BeamGoldenTest, ManySearchesInOneBatchFindWhatEachFindsAlone) {
  const auto& [file, model] = GetParam();
  const Loaded loaded = Load(model);
  std::vector<GoldenSearch> goldens = ReadSearches(file, loaded.config);
  goldens.resize(std::min<size_t>(goldens.size(), 25));
  std::vector<std::unique_ptr<SegmentSearch>> together;
  for (const GoldenSearch& golden : goldens) together.push_back(Begin(*loaded.translator, golden));
  RunAll(*loaded.translator, together);
  for (size_t i = 0; i < goldens.size(); ++i) {
    const std::vector<BeamHypothesis> alone = RunAlone(*loaded.translator, goldens[i]);
    const std::vector<BeamHypothesis> found = together[i]->search().Result();
    ASSERT_EQ(alone.size(), found.size());
    for (size_t h = 0; h < alone.size(); ++h) {
      EXPECT_EQ(alone[h].ids, found[h].ids);
      EXPECT_EQ(alone[h].score, found[h].score);
      EXPECT_EQ(alone[h].log_probs, found[h].log_probs);
    }
  }
}

// The slow twin of SegmentSearch: no state is copied or kept; for each row of each step the whole
// source and the row's tokens are run again.
TEST_P(BeamGoldenTest, CopiedStatesGiveWhatFreshOnesGive) {
  const auto& [file, model] = GetParam();
  const Loaded loaded = Load(model);
  const Translator& translator = *loaded.translator;
  const std::vector<GoldenSearch> goldens = ReadSearches(file, loaded.config);
  for (size_t g = 0; g < goldens.size(); g += goldens.size() / 3) {
    const GoldenSearch& golden = goldens[g];
    BeamSearch search(golden.options, golden.task);
    std::vector<std::vector<TokenId>> rows(1);
    while (!search.done()) {
      for (size_t r = 0; r < rows.size(); ++r) {
        auto state = *translator.NewState();
        state->SetFrame(StartsWith(golden.task.start));
        ASSERT_TRUE(translator.Read({SourceRows{state.get(), golden.source}}).ok());
        const auto temperature = static_cast<float>(golden.options.temperature);
        for (const TokenId token : rows[r]) {
          const auto ignore = [](size_t, const TokenScores&) { return true; };
          ASSERT_TRUE(translator.Score({ScoreRow{state.get(), temperature}}, ignore).ok());
          state->Commit(token);
        }
        const auto take = [&](size_t, const TokenScores& scores) { return search.Take(r, scores); };
        ASSERT_TRUE(translator.Score({ScoreRow{state.get(), temperature}}, take).ok());
      }
      search.Advance();
      std::vector<std::vector<TokenId>> next;
      for (const BeamSearch::Row& row : search.rows()) {
        next.push_back(rows[row.parent]);
        next.back().push_back(row.token);
      }
      rows = std::move(next);
    }
    const std::vector<BeamHypothesis> found = RunAlone(translator, golden);
    const std::vector<BeamHypothesis> slow = search.Result();
    ASSERT_EQ(slow.size(), found.size());
    for (size_t h = 0; h < slow.size(); ++h) {
      EXPECT_EQ(slow[h].ids, found[h].ids);
      EXPECT_EQ(slow[h].score, found[h].score);
    }
  }
}

#ifndef LEAPSTREAM_BEAM_GOLDENS
#define LEAPSTREAM_BEAM_GOLDENS                                                       \
  std::pair{"bpe_offline.jsonl", "bpe_offline"}, std::pair{"ensemble.jsonl", "ensemble"}, \
      std::pair{"m2m.en-de.jsonl", "m2m"}, std::pair{"m2m_replacing.en-de.jsonl", "m2m"}, \
      std::pair{"mbart25.jsonl", "mbart25"}
#endif
INSTANTIATE_TEST_SUITE_P(Goldens, BeamGoldenTest, ::testing::Values(LEAPSTREAM_BEAM_GOLDENS));

}  // namespace
}  // namespace leapstream
