// Compares the models of speech that were trained offline with their goldens: features, encoders,
// greedy and beam output and test-time wait-k, as the reference implementation computed them for
// checkpoints that it wrote itself (tests/golden/offline_speech/README.md has commits, commands,
// formulas and tolerances). LEAPSTREAM_OFFLINE_SPEECH names another folder of the same form.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "model/api/model_directory.h"
#include "model/api/safetensors.h"
#include "model/engine/load_model.h"
#include "model/engine/model_family.h"
#include "model/engine/speech/feature_normaliser.h"
#include "model/engine/transformer.h"
#include "streaming/scheduler.h"
#include "streaming/segment_search.h"
#include "tests/model/engine/clones.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/offline_speech.h"
#include "tests/testing/wav_file.h"

namespace leapstream {
namespace {

using nlohmann::json;

// README.md: features of nearly silent frames differ by up to 0.1 before CMVN from those in double;
// log-probabilities by 2.6e-4 for that reason.
constexpr double kLogProbTolerance = 6e-4;
constexpr double kNearTie = 2e-3;
// Rows differ as much as the features do: in nearly silent frames by up to 0.1 before CMVN, and on
// the mean by far less.
constexpr double kFeatureTolerance = 5e-2;
constexpr double kRowTolerance = 6e-3;
constexpr double kMeanTolerance = 3e-4;

// The target languages of a model that has tags for them; otherwise one that is empty.
std::vector<std::string> Languages(const std::string& name) {
  if (absl::StrContains(name, "lang")) return {"de", "en"};
  return {""};
}

std::string TracePath(const std::string& kind, const std::string& name, const std::string& language,
                      const std::string& suffix = "") {
  return OfflineSpeechPath(absl::StrCat("traces/", kind, ".", name, language.empty() ? "" : ".",
                                        language, suffix, ".jsonl"));
}

// The traces of test-time wait-k; those of the rule that </s> waits for the source's end are in a
// file of their own.
std::vector<json> WaitKRows(const std::string& name, const std::string& language) {
  std::vector<json> rows = JsonLines(TracePath("waitk", name, language));
  const std::string masked = TracePath("waitk", name, language, ".noeos");
  if (std::ifstream(masked).is_open()) {
    for (json& row : JsonLines(masked)) rows.push_back(std::move(row));
  }
  rows.erase(std::remove_if(rows.begin(), rows.end(),
                            [](const json& row) { return row["id"] == "e-silence"; }),
             rows.end());
  return rows;
}

std::string NameOf(const json& row) {
  return absl::StrCat(row["id"].get<std::string>(), " ", row["lang"].dump(), " ",
                      row["step_ms"].get<int>(), " k ", row["k"].get<int>(),
                      row["mask_eos"].get<bool>() ? " noeos" : "");
}

SpeechInput InputWithSteps(const Model& model, int step_ms) {
  SpeechInput input = *model.info.speech;
  input.pre_decision_ratio = step_ms / input.MillisecondsPerState();
  return input;
}

// Tensors of the file are float32 or int64.
class Tensors {
 public:
  explicit Tensors(const std::string& path) {
    auto file = MappedFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    if (!file.ok()) return;
    file_ = *std::move(file);
    auto views = ParseSafetensors(file_->bytes(), path);
    EXPECT_TRUE(views.ok()) << views.status();
    if (views.ok()) views_ = *std::move(views);
  }
  const std::map<std::string, TensorView>& views() const { return views_; }
  template <typename T>
  std::vector<T> Get(const std::string& name) const {
    const absl::string_view bytes = views_.at(name).bytes;
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

 private:
  std::unique_ptr<const MappedFile> file_;
  std::map<std::string, TensorView> views_;
};

void ExpectClose(const std::vector<float>& got, const std::vector<float>& expected,
                 const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  size_t worst = 0;
  double sum = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(got[i] - expected[i]);
    sum += difference;
    if (difference > std::abs(got[worst] - expected[worst])) worst = i;
  }
  EXPECT_NEAR(got[worst], expected[worst],
              what == "features" ? kFeatureTolerance : kRowTolerance)
      << what << " differs most at " << worst;
  EXPECT_LE(sum, kMeanTolerance * static_cast<double>(got.size())) << what;
}

std::vector<float> Transposed(const std::vector<float>& values, int64_t rows) {
  const auto width = static_cast<int64_t>(values.size()) / rows;
  std::vector<float> result(values.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < width; ++c) result[c * rows + r] = values[r * width + c];
  }
  return result;
}

class OfflineSpeechTest : public ::testing::TestWithParam<std::string> {};

// Every stage that the goldens have, and the decoder over the golden target.
TEST_P(OfflineSpeechTest, RowsAreTheReferences) {
  const Tensors golden(OfflineSpeechPath(absl::StrCat("tensors/", GetParam(), ".safetensors")));
  const auto config = ReadModelDirectory(ExportedOfflineSpeech(GetParam()));
  ASSERT_TRUE(config.ok()) << config.status();
  auto weights = Weights::Load(absl::StrCat(ExportedOfflineSpeech(GetParam()), "/", kWeightsFile));
  ASSERT_TRUE(weights.ok()) << weights.status();
  auto transformer = Transformer::Create(*config, *std::move(weights));
  ASSERT_TRUE(transformer.ok()) << transformer.status();
  std::map<std::string, std::vector<float>> seen;  // "NAME@ROW" goes on from that row.
  (*transformer)->ObserveForTest([&](absl::string_view what, const Tensor& rows) {
    const std::vector<absl::string_view> parts = absl::StrSplit(what, '@');
    int64_t first = 0;
    ASSERT_TRUE(parts.size() == 1 || absl::SimpleAtoi(parts[1], &first)) << what;
    std::vector<float>& all = seen[std::string(parts[0])];
    all.resize(first * rows.size(1));
    all.insert(all.end(), rows.data(), rows.data() + rows.count());
  });
  const std::vector<float> samples = ReadSamples(OfflineSpeechPath("wav/test-1.wav"));
  const auto state = *(*transformer)->NewState();
  ASSERT_TRUE((*transformer)->Read({SourceRows{state.get(), {}, samples}}).ok());
  Decision decision;
  SessionState* const one = state.get();
  ASSERT_TRUE((*transformer)->Decide({one}, absl::MakeSpan(&decision, 1)).ok());
  int compared = 0;
  for (const auto& [name, view] : golden.views()) {
    const std::string what = name.substr(name.find('/') + 1);
    if (absl::StartsWith(what, "sim.") || absl::StartsWith(what, "dec.") || what == "fbank" ||
        what == "prev_ids" || what == "logits") {
      continue;
    }
    std::vector<float> expected = golden.Get<float>(name);
    // Convolutions are [channels, time] there, and [S, channels, bins] if they are of two
    // dimensions.
    if (absl::StartsWith(what, "conv.")) expected = Transposed(expected, view.shape[0]);
    if (what == "conv") {
      const size_t row = view.shape[1] * view.shape[2];
      for (int64_t s = 0; s < view.shape[0]; ++s) {
        const auto begin = expected.begin() + s * row;
        const std::vector<float> bins = Transposed({begin, begin + row}, view.shape[1]);
        std::copy(bins.begin(), bins.end(), begin);
      }
    }
    ExpectClose(seen[what], expected, what);
    ++compared;
  }
  EXPECT_GE(compared, 2);
  if (golden.views().count("test-1/logits") == 0) return;
  const auto fed = golden.Get<int64_t>("test-1/prev_ids");
  std::vector<float> logits = seen["logits"];
  for (size_t t = 1; t < fed.size(); ++t) {
    one->Commit(static_cast<TokenId>(fed[t]));
    ASSERT_TRUE((*transformer)->Decide({one}, absl::MakeSpan(&decision, 1)).ok());
    logits.insert(logits.end(), seen["logits"].begin(), seen["logits"].end());
  }
  ExpectClose(logits, golden.Get<float>("test-1/logits"), "logits");
}

// The log-probabilities of the best hypotheses, with beams of 1 and 5.
TEST_P(OfflineSpeechTest, SearchesFindTheReferencesHypotheses) {
  const auto model = LoadedOfflineSpeech(GetParam());
  int compared = 0;
  for (const std::string& language : Languages(GetParam())) {
    const auto frame = model->FrameOf({"en", language.empty() ? "de" : language});
    ASSERT_TRUE(frame.ok()) << frame.status();
    for (const json& row : JsonLines(TracePath("offline", GetParam(), language))) {
      if (row["id"] == "e-silence") continue;
      SCOPED_TRACE(absl::StrCat(row["id"].get<std::string>(), " ", language, " beam ",
                                row["beam"].get<int>()));
      auto state = *model->translator->NewState();
      state->SetFrame(*frame);
      ASSERT_TRUE(model->translator->Read({SourceRows{state.get(), {}, SamplesOf(row)}}).ok());
      EXPECT_EQ(state->source_read(), row["states"].get<int>());
      BeamOptions options;
      options.beam = options.n_best = row["beam"];
      options.max_length_b = row["max_len_b"];
      BeamTask task;
      task.vocabulary_size = model->target_vocabulary.size();
      task.forced = frame->forced;
      state->LeaveForced();
      auto search = SegmentSearch::Begin(*state, options, task);
      ASSERT_TRUE(search.ok()) << search.status();
      while (!(*search)->done()) {
        const auto take = [&](size_t r, const TokenScores& scores) {
          return (*search)->Take(r, scores);
        };
        ASSERT_TRUE(model->translator->Score((*search)->rows(), take).ok());
        ASSERT_TRUE((*search)->Advance().ok());
      }
      const std::vector<BeamHypothesis> found = (*search)->search().Result();
      ASSERT_EQ(found.size(), row["hypotheses"].size());
      for (size_t h = 0; h < found.size(); ++h) {
        const json& expected = row["hypotheses"][h];
        EXPECT_EQ(found[h].ids, expected["ids"].get<std::vector<TokenId>>()) << h;
        EXPECT_NEAR(found[h].score, expected["score"].get<double>(), kLogProbTolerance) << h;
      }
      ++compared;
    }
  }
  EXPECT_GE(compared, 8);
}

// Test-time wait-k as README.md has it, on the engine.
TEST_P(OfflineSpeechTest, WaitKDoesWhatTheReferenceDoes) {
  const auto model = LoadedOfflineSpeech(GetParam());
  int compared = 0;
  double worst = 0;
  for (const std::string& language : Languages(GetParam())) {
    const Frame frame = *model->FrameOf({"en", language.empty() ? "de" : language});
    for (const json& row : WaitKRows(GetParam(), language)) {
      SCOPED_TRACE(NameOf(row));
      const SpeechInput input = InputWithSteps(*model, row["step_ms"]);
      const std::vector<float> samples = SamplesOf(row);
      auto state = *model->translator->NewState();
      state->SetFrame(frame);
      size_t given = 0, w = 0;
      std::vector<int> read_states;
      bool same = true, finished = false;
      for (const char action : row["actions"].get<std::string>()) {
        if (action == 'R') {
          const size_t count =
              std::min<size_t>(input.SamplesPerRead(), samples.size() - given);
          const auto part = absl::MakeConstSpan(samples).subspan(given, count);
          ASSERT_TRUE(model->translator->Read({SourceRows{state.get(), {}, part}}).ok());
          given += count;
          finished = count == 0;
          read_states.push_back(state->source_read());
          continue;
        }
        Decision decision;
        SessionState* const one = state.get();
        ASSERT_TRUE(model->translator->Decide({one}, absl::MakeSpan(&decision, 1)).ok());
        const bool masked =
            row["mask_eos"] && !finished && decision.best.id == kEndOfSentence;
        const ScoredToken token = masked ? decision.second : decision.best;
        if (token.id != row["target_ids"][w]) {
          EXPECT_LT(row["margins"][w].get<double>(), kNearTie) << "at W " << w;
          same = false;
          break;  // After a near tie the rest is another translation.
        }
        const double difference =
            std::abs(token.log_prob - row["logprobs"][w].get<double>());
        worst = std::max(worst, difference);
        EXPECT_LE(difference, kLogProbTolerance) << "at W " << w;
        state->Commit(token.id);
        ++w;
      }
      if (same) {
        EXPECT_EQ(read_states, row["read_states"].get<std::vector<int>>());
      }
      ++compared;
    }
  }
  EXPECT_GE(compared, 8);
  RecordProperty("worst_log_prob_difference", absl::StrCat(worst));
}

struct Outcome {
  std::vector<TokenId> ids;
  std::vector<double> delays_ms;
  std::string text;

  bool operator==(const Outcome& other) const {
    return ids == other.ids && delays_ms == other.delays_ms && text == other.text;
  }
};

Outcome RunSession(Scheduler& scheduler, SessionOptions options, const std::vector<float>& samples,
                   size_t largest_chunk) {
  CollectingSink sink;
  auto session = scheduler.Open(options, &sink);
  EXPECT_TRUE(session.ok()) << session.status();
  if (!session.ok()) return {};
  std::mt19937 random(static_cast<unsigned>(samples.size() + largest_chunk));
  for (size_t begin = 0; begin < samples.size();) {
    const size_t count = std::min<size_t>(1 + random() % largest_chunk, samples.size() - begin);
    (*session)->Push(AudioSamples(samples.begin() + begin, samples.begin() + begin + count));
    begin += count;
  }
  (*session)->EndSegment();
  (*session)->EndSource();
  sink.Wait();
  EXPECT_TRUE(sink.status.ok()) << sink.status;
  Outcome outcome;
  for (const TargetToken& token : sink.tokens) {
    outcome.ids.push_back(token.id);
    outcome.delays_ms.push_back(absl::ToDoubleMilliseconds(token.source_audio));
  }
  if (!sink.segments.empty()) outcome.text = sink.segments[0].text;
  return outcome;
}

// Sessions do the same, however their audio is cut, and so do several in one batch.
TEST_P(OfflineSpeechTest, SessionsDoWhatTheReferenceDoes) {
  const auto model = LoadedOfflineSpeech(GetParam());
  Scheduler scheduler(model);
  for (const std::string& language : Languages(GetParam())) {
    for (const json& row : WaitKRows(GetParam(), language)) {
      SCOPED_TRACE(NameOf(row));
      SessionOptions options;
      options.early_end = row["mask_eos"] ? EarlyEnd::kSuppress : EarlyEnd::kStop;
      options.policy = WaitK{row["k"].get<int>()};
      options.read_ms = row["step_ms"];
      options.languages = {"en", language.empty() ? "de" : language};
      options.max_target_tokens = 60;
      Outcome expected;
      for (size_t i = 0; i < row["target_ids"].size(); ++i) {
        if (row["target_ids"][i] == kEndOfSentence) break;
        expected.ids.push_back(row["target_ids"][i]);
        expected.delays_ms.push_back(row["delays_ms"][i]);
      }
      expected.text = row["text_out"];
      const Outcome whole = RunSession(scheduler, options, SamplesOf(row), 8000);
      if (whole.ids != expected.ids) continue;  // A near tie, which the engine's test judges.
      EXPECT_EQ(whole.delays_ms, expected.delays_ms);
      // SentencePiece drops spaces at the end; a session has shown them.
      std::string shown = whole.text;
      while (absl::EndsWith(shown, " ")) shown.pop_back();
      EXPECT_EQ(shown, expected.text);
      EXPECT_TRUE(RunSession(scheduler, options, SamplesOf(row), 333) == whole);
    }
  }
}

TEST_P(OfflineSpeechTest, ClonesGoOnByThemselves) {
  const auto model = LoadedOfflineSpeech(GetParam());
  ModelSizes sizes;
  sizes.samples_per_read = 4321;
  sizes.target_vocabulary = model->target_vocabulary.size();
  ExpectClonesGoOnByThemselves(*model->translator, sizes);
}

TEST_P(OfflineSpeechTest, ABatchGivesWhatItsMembersGiveAlone) {
  const auto model = LoadedOfflineSpeech(GetParam());
  const std::vector<float> samples = ReadSamples(OfflineSpeechPath("wav/test-1.wav"));
  const auto drive = [&](absl::Span<const std::unique_ptr<SessionState>> states,
                         absl::Span<const size_t> shares) {
    std::vector<SourceRows> rows;
    std::vector<SessionState*> deciding;
    for (size_t i = 0; i < states.size(); ++i) {
      rows.push_back({states[i].get(), {}, absl::MakeConstSpan(samples).first(shares[i])});
      deciding.push_back(states[i].get());
    }
    EXPECT_TRUE(model->translator->Read(rows).ok());
    std::vector<std::vector<float>> result(states.size());
    std::vector<Decision> decisions(states.size());
    for (int step = 0; step < 5; ++step) {
      EXPECT_TRUE(model->translator->Decide(deciding, absl::MakeSpan(decisions)).ok());
      for (size_t i = 0; i < states.size(); ++i) {
        result[i].push_back(decisions[i].best.log_prob);
        states[i]->Commit(decisions[i].best.id);
      }
    }
    return result;
  };
  const std::vector<size_t> shares = {5000, 30000, 400, samples.size()};
  std::vector<std::unique_ptr<SessionState>> together;
  for (size_t i = 0; i < shares.size(); ++i) together.push_back(*model->translator->NewState());
  const auto batch = drive(together, shares);
  for (size_t i = 0; i < shares.size(); ++i) {
    std::vector<std::unique_ptr<SessionState>> alone;
    alone.push_back(*model->translator->NewState());
    EXPECT_EQ(drive(alone, {shares[i]})[0], batch[i]) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, OfflineSpeechTest, ::testing::ValuesIn(OfflineSpeechModels()),
                         [](const auto& info) { return info.param; });

// Utterance CMVN: the sums of any chunks are those of the whole, and stored statistics stand only
// for frames that are missing.
TEST(FeatureNormaliserTest, StoredStatisticsFadeAsFramesCome) {
  SpeechConfig config;
  config.mel_bins = 4;
  config.cmvn = "utterance";
  config.cmvn_stored_frames = 10;
  config.cmvn_mean = {1, 2, 3, 4};
  config.cmvn_std = {2, 2, 2, 2};
  const FeatureNormaliser stored(config);
  config.cmvn_stored_frames = 0;
  const FeatureNormaliser pure(config);
  std::vector<float> frames(40);
  for (size_t i = 0; i < frames.size(); ++i) frames[i] = static_cast<float>(i * i % 7);
  for (const int count : {1, 9, 10}) {
    const auto heard = absl::MakeConstSpan(frames).first(4 * count);
    FeatureNormaliser::Sums sums;
    stored.Add(heard, &sums);
    std::vector<float> mixed(heard.begin(), heard.end());
    stored.Apply(sums, absl::MakeSpan(mixed));
    for (int b = 0; b < 4; ++b) {
      const double stored_mean = config.cmvn_mean[b];
      double sum = (10 - count) * stored_mean;
      double squares = (10 - count) * (4 + stored_mean * stored_mean);
      for (int f = 0; f < count; ++f) {
        sum += frames[4 * f + b];
        squares += std::pow(frames[4 * f + b], 2);
      }
      const double mean = sum / 10;
      EXPECT_NEAR(mixed[b], (frames[b] - mean) / std::sqrt(squares / 10 - mean * mean), 1e-4);
    }
    if (count < 10) continue;
    std::vector<float> own(heard.begin(), heard.end());
    pure.Apply(sums, absl::MakeSpan(own));
    EXPECT_EQ(own, mixed);
  }
}

}  // namespace
}  // namespace leapstream
