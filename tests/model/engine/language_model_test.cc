// Language models, from their checkpoints to scores and texts: what fairseq-eval-lm and
// fairseq-interactive compute with them (tests/golden/language_models).
#include <cmath>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "model/api/language_model.h"
#include "model/engine/load_model.h"
#include "model/fairseq/export.h"
#include "streaming/scheduler.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/random_model.h"
#include "tests/testing/test_device.h"

namespace leapstream {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr double kNearTie = 1e-4;    // As in golden_test.cc.
constexpr double kTolerance = 5e-5;  // The reference's own forms differ by 1.5e-5.

std::string GoldenPath(const std::string& name) {
  return absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/tests/golden/language_models/", name);
}

std::vector<json> Lines(const std::string& name) {
  std::ifstream file(GoldenPath("traces/" + name + ".jsonl"));
  EXPECT_TRUE(file.good()) << name;
  std::vector<json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
  return lines;
}

// The model of a checkpoint, which is exported and loaded once.
std::shared_ptr<const Model> ModelOf(const std::string& name) {
  static auto* const models = new std::map<std::string, std::shared_ptr<const Model>>();
  std::shared_ptr<const Model>& model = (*models)[name];
  if (model != nullptr) return model;
  ExportOptions options;
  options.checkpoints = {GoldenPath("checkpoints/" + name + ".pt")};
  const bool translates = name == "lm_mt_leap";
  const std::string data = GoldenPath(translates ? "mt/" : "en/");
  options.source_dictionary = options.target_dictionary = data + "dict.txt";
  options.source_sentencepiece = options.target_sentencepiece = data + "spm.model";
  if (translates) {
    options.separator = "<sep>";
    options.source_language = "en";
    options.target_language = "de";
  }
  options.output = ::testing::TempDir() + "/leapstream-" + name;
  const absl::Status status = ExportModel(options);
  EXPECT_TRUE(status.ok()) << status;
  auto loaded = LoadModel(options.output, OnTestDevice());
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  if (loaded.ok()) model = *loaded;
  return model;
}

const LanguageModel& Network(const Model& model) { return *model.translator->language_model(); }

// The log-probabilities of all tokens behind each of `ids` from `scored_from` on.
using Scores = std::vector<std::vector<float>>;
Scores ExtendBy(const Model& model, SessionState* state, const std::vector<TokenId>& ids,
                size_t scored_from = 0) {
  Scores scores;
  const absl::Status status = Network(model).Extend(
      {TextRows{state, ids, scored_from}}, [&](size_t, size_t, const TokenScores& row) {
        std::vector<float>& all = scores.emplace_back();
        for (size_t id = 0; id < row.logits.size(); ++id) {
          all.push_back(row.log_prob(static_cast<TokenId>(id)));
        }
        return true;
      });
  EXPECT_TRUE(status.ok()) << status;
  return scores;
}

std::unique_ptr<SessionState> NewText(const Model& model) { return *Network(model).NewState(); }

class LanguageModelTest : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, LanguageModelTest,
                         ::testing::Values("lm_leap_adaptive", "lm_dims", "lm_softmax_learned",
                                           "lm_mt_leap"),
                         [](const auto& info) { return std::string(info.param); });

TEST(LanguageModelGoldenTest, RowsScoreAsInFairseqEvalLm) {
  for (const auto& [name, mode] :
       {std::pair("lm_leap_adaptive", "none64ctx48"), {"lm_leap_adaptive", "complete64"},
        {"lm_dims", "none64ctx48"}, {"lm_dims", "eos128"},
        {"lm_softmax_learned", "none64ctx48"}, {"lm_softmax_learned", "complete64"}}) {
    const auto model = ModelOf(name);
    ASSERT_NE(model, nullptr);
    double sum = 0;
    int tokens = 0;
    const std::vector<json> lines = Lines(absl::StrCat("eval.", name, ".", mode));
    for (const json& block : lines) {
      if (block.contains("summary")) {
        const double perplexity = std::exp(-sum / tokens);
        EXPECT_EQ(tokens, block["tokens"].get<int>());
        EXPECT_NEAR(perplexity / block["perplexity"].get<double>(), 1, 2e-5) << name << mode;
        continue;
      }
      const auto ids = block["src_ids"].get<std::vector<TokenId>>();
      const auto start = block["start"].get<size_t>();
      const auto state = NewText(*model);
      const Scores scores = ExtendBy(*model, state.get(), ids, start);
      const auto targets = block["target_ids"].get<std::vector<TokenId>>();
      ASSERT_EQ(scores.size(), targets.size());
      for (size_t i = 0; i < targets.size(); ++i) {
        const float score = scores[i][static_cast<size_t>(targets[i])];
        EXPECT_NEAR(score, block["logprobs"][i].get<double>(), kTolerance)
            << name << " " << mode << " block " << block["block"] << " token " << i;
        sum += score;
        ++tokens;
      }
    }
  }
}

TEST(LanguageModelGoldenTest, LeapGoesOnBeyondTheTrainedLength) {
  const auto model = ModelOf("lm_leap_adaptive");
  ASSERT_NE(model, nullptr);
  const json text = Lines("long.lm_leap_adaptive")[0];
  const auto ids = text["ids"].get<std::vector<TokenId>>();
  const auto state = NewText(*model);
  const int64_t bytes = state->bytes();
  for (size_t begin = 0; begin + 1 < ids.size(); begin += 100) {
    const std::vector<TokenId> part(ids.begin() + begin,
                                    ids.begin() + std::min(begin + 100, ids.size() - 1));
    const Scores scores = ExtendBy(*model, state.get(), part);
    for (size_t i = 0; i < part.size(); ++i) {
      EXPECT_NEAR(scores[i][static_cast<size_t>(ids[begin + i + 1])],
                  text["logprobs"][begin + i].get<double>(), kTolerance);
    }
  }
  EXPECT_EQ(state->source_read(), 2000);
  EXPECT_EQ(state->bytes(), bytes) << "a state of LeaP must not grow";
}

TEST(LanguageModelGoldenTest, LearnedPositionsEnd) {
  const auto model = ModelOf("lm_softmax_learned");
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->info.max_source_tokens, 128);
  const auto state = NewText(*model);
  const std::vector<TokenId> ids(128, kUnknown);
  const auto none = [](size_t, size_t, const TokenScores&) { return true; };
  ASSERT_TRUE(Network(*model).Extend({TextRows{state.get(), ids, 127}}, none).ok());
  const TokenId one_more = kUnknown;
  const absl::Status status =
      Network(*model).Extend({TextRows{state.get(), {&one_more, 1}}}, none);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("128 tokens, got 129"));
}

// The slow twin of a prefill feeds one token at a time. Its scores are the same, to the bit, in a
// batch with other texts, too.
TEST_P(LanguageModelTest, PrefillIsStepsToTheBitInAnyBatch) {
  const auto model = ModelOf(GetParam());
  ASSERT_NE(model, nullptr);
  std::vector<std::vector<TokenId>> texts(3);
  for (int t = 0; t < 3; ++t) {
    for (int i = 0; i < 40 + 30 * t; ++i) texts[t].push_back((7 * i * i + 13 * t + i) % 500 + 4);
  }
  std::vector<Scores> slow(3);
  for (int t = 0; t < 3; ++t) {
    const auto state = NewText(*model);
    for (const TokenId token : texts[t]) {
      slow[t].push_back(ExtendBy(*model, state.get(), {token})[0]);
    }
  }
  std::vector<std::unique_ptr<SessionState>> states;
  std::vector<TextRows> rows;
  for (int t = 0; t < 3; ++t) {
    states.push_back(NewText(*model));
    rows.push_back({states.back().get(), texts[t], t == 1 ? size_t{5} : size_t{0}});
  }
  size_t seen = 0;
  ASSERT_TRUE(Network(*model)
                  .Extend(rows,
                          [&](size_t text, size_t row, const TokenScores& scores) {
                            ++seen;
                            for (size_t id = 0; id < scores.logits.size(); ++id) {
                              EXPECT_EQ(scores.log_prob(static_cast<TokenId>(id)),
                                        slow[text][row][id]);
                            }
                            return true;
                          })
                  .ok());
  EXPECT_EQ(seen, 40 + 65 + 100u);
}

TEST_P(LanguageModelTest, CopiesAndSavedStatesGoOnToTheBit) {
  const auto model = ModelOf(GetParam());
  ASSERT_NE(model, nullptr);
  for (const int length : {1, 5, 41, 97}) {  // As rows, and folded into sums.
    std::vector<TokenId> ids;
    for (int i = 0; i < length; ++i) ids.push_back((11 * i) % 400 + 4);
    const std::vector<TokenId> more = {9, 30, 57, 4};
    const auto state = NewText(*model);
    ExtendBy(*model, state.get(), ids, ids.size());
    const std::string bytes = Network(*model).Save(*state);
    const auto restored = Network(*model).Restore(bytes);
    ASSERT_TRUE(restored.ok()) << restored.status();
    EXPECT_EQ((*restored)->source_read(), length);
    const auto copy = *state->Clone();
    const Scores scores = ExtendBy(*model, state.get(), more);
    EXPECT_EQ(ExtendBy(*model, copy.get(), more), scores);
    EXPECT_EQ(ExtendBy(*model, restored->get(), more), scores);
    EXPECT_EQ(Network(*model).Save(**restored), Network(*model).Save(*state));
    // Bytes from outside: each way to cut them, and some numbers in them, are refused or read.
    for (size_t cut = 0; cut < bytes.size(); cut += 1 + bytes.size() / 50) {
      EXPECT_TRUE(absl::IsInvalidArgument(
          Network(*model).Restore(bytes.substr(0, cut)).status()));
    }
    EXPECT_FALSE(Network(*model).Restore(bytes + "x").ok());
    for (size_t at = 0; at < 24 && at < bytes.size(); ++at) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(0xFF);
      const auto odd = Network(*model).Restore(changed);
      EXPECT_TRUE(odd.ok() || absl::IsInvalidArgument(odd.status()));
    }
  }
}

TEST(LanguageModelStateTest, ALeapStateHasAFixedSize) {
  const auto model = ModelOf("lm_leap_adaptive");
  ASSERT_NE(model, nullptr);
  const auto state = NewText(*model);
  size_t size = 0;
  for (int part = 0; part < 5; ++part) {
    ExtendBy(*model, state.get(), std::vector<TokenId>(100, 50), 100);
    const size_t bytes = Network(*model).Save(*state).size();
    if (part == 0) size = bytes;
    EXPECT_EQ(bytes, size);
  }
  EXPECT_LE(static_cast<int64_t>(size), state->bytes());
}

// --- Texts of a scheduler. ---

class Collected final : public GenerationSink {
 public:
  void OnPromptScore(ScoredToken token) override { prompt.push_back(token); }
  void OnToken(GeneratedToken token) override {
    ids.push_back(token.token.id);
    log_probs.push_back(token.token.log_prob);
    text += token.text;
  }
  void OnEnd(GeneratedText ended) override {
    text += ended.text;
    end = std::move(ended);
  }
  void OnFinished(absl::Status why) override {
    status = std::move(why);
    finished.Notify();
  }

  std::vector<ScoredToken> prompt;
  std::vector<TokenId> ids;
  std::vector<float> log_probs;
  std::string text;
  GeneratedText end;
  absl::Status status;
  absl::Notification finished;
};

void Generate(Scheduler& scheduler, GenerationRequest request, Collected* sink) {
  const auto session = scheduler.Open(std::move(request), sink);
  ASSERT_TRUE(session.ok()) << session.status();
  (*session)->Start();
  sink->finished.WaitForNotification();
  EXPECT_TRUE(sink->status.ok()) << sink->status;
}

TEST_P(LanguageModelTest, GreedyTextsAreThoseOfFairseqInteractive) {
  const auto model = ModelOf(GetParam());
  ASSERT_NE(model, nullptr);
  Scheduler scheduler(model);
  for (const json& line : Lines(absl::StrCat("greedy.", GetParam()))) {
    const auto prompt = line["prompt_ids"].get<std::vector<TokenId>>();
    const auto expected = line["ids"].get<std::vector<TokenId>>();
    const int room = line["max_len"].get<int>() - static_cast<int>(prompt.size());
    if (room < 1) continue;  // fairseq cuts such a prompt.
    GenerationRequest request;
    request.prompt = prompt;
    request.scored_from = 0;
    request.max_tokens = room;
    Collected sink;
    Generate(scheduler, request, &sink);
    ASSERT_EQ(sink.prompt.size(), prompt.size());
    for (size_t i = 0; i < prompt.size(); ++i) {
      EXPECT_NEAR(sink.prompt[i].log_prob, line["logprobs"][i].get<double>(), kTolerance);
    }
    const bool cut = line["end"] == "max_len";  // fairseq then adds </s>.
    ASSERT_EQ(sink.ids.size() + (cut ? 1 : 0), expected.size() - prompt.size()) << line["id"];
    for (size_t i = 0; i < sink.ids.size(); ++i) {
      const json& margin = line["margins"][i];
      if (margin.is_number() && margin.get<double>() < kNearTie) break;
      ASSERT_EQ(sink.ids[i], expected[prompt.size() + i]) << line["id"] << " " << i;
      EXPECT_NEAR(sink.log_probs[i], line["logprobs"][prompt.size() + i].get<double>(), kTolerance);
    }
    EXPECT_EQ(sink.end.end, cut ? TextEnd::kMaxTokens : TextEnd::kEndOfSentence);
    // After a prompt, a word's space is part of the text.
    std::string text = sink.text;
    if (!prompt.empty() && absl::StartsWith(text, " ")) text.erase(0, 1);
    if (!absl::StrContains(line["text_out"].get<std::string>(), "\xE2\x81\x87")) {
      EXPECT_EQ(text, line["text_out"].get<std::string>()) << line["id"];
    }
  }
}

TEST_P(LanguageModelTest, ATextInPartsIsTheTextAtOnceWhateverTheChoice) {
  const auto model = ModelOf(GetParam());
  ASSERT_NE(model, nullptr);
  Scheduler scheduler(model);
  Scheduler other(model);
  for (const double temperature : {0.0, 1.3}) {
    GenerationRequest request;
    for (int i = 0; i < 21; ++i) request.prompt.push_back(10 + 3 * i);
    request.scored_from = request.prompt.size();
    request.max_tokens = 24;
    request.min_tokens = 24;
    request.sampling = {temperature, 40, 0.95, 17};
    Collected whole;
    Generate(scheduler, request, &whole);
    ASSERT_EQ(whole.ids.size(), 24u);
    // In three parts, and the prompt in two, by turns on two schedulers.
    GenerationRequest part = request;
    part.prompt.resize(9);
    part.scored_from = 9;
    part.max_tokens = 0;
    part.saves = true;
    std::vector<TokenId> ids;
    std::string text;
    for (int i = 0; i < 4; ++i) {
      Collected sink;
      Generate(i % 2 == 0 ? other : scheduler, part, &sink);
      ids.insert(ids.end(), sink.ids.begin(), sink.ids.end());
      text += sink.text;
      ASSERT_TRUE(sink.end.saved.has_value());
      part.from = *sink.end.saved;
      part.prompt.clear();
      if (i == 0) part.prompt.assign(request.prompt.begin() + 9, request.prompt.end());
      part.scored_from = part.prompt.size();
      part.max_tokens = part.min_tokens = 8;
    }
    EXPECT_EQ(ids, whole.ids);
    EXPECT_EQ(text, whole.text);
  }
}

// Nearly all tokens are alike at this temperature, and the seed draws the second of those that may
// be drawn: </s>, if it were one.
TEST(GenerationTest, AnEmptyTextDoesNotEndAtOnce) {
  const auto model = ModelOf("lm_leap_adaptive");
  ASSERT_NE(model, nullptr);
  Scheduler scheduler(model);
  GenerationRequest request;
  request.max_tokens = 1;
  request.sampling.temperature = 1000;
  const double tokens = model->target_vocabulary.size() - 1;  // Without <pad>.
  const auto draws_end = [&](uint64_t seed, int64_t place) {
    return std::abs(UniformAt(seed, place) * tokens - 1.5) < 0.2;
  };
  while (!draws_end(request.sampling.seed, 1)) ++request.sampling.seed;
  Collected sink;
  Generate(scheduler, request, &sink);
  ASSERT_EQ(sink.ids.size(), 1u);
  EXPECT_NE(sink.ids[0], kEndOfSentence);
  // A text with a token may end.
  request.prompt = {10};
  request.scored_from = 1;
  while (!draws_end(request.sampling.seed, 2)) ++request.sampling.seed;
  Collected ends;
  Generate(scheduler, request, &ends);
  ASSERT_EQ(ends.ids.size(), 1u);
  EXPECT_EQ(ends.ids[0], kEndOfSentence);
}

TEST(GenerationTest, StopSequencesEndATextBeforeThem) {
  const auto model = ModelOf("lm_leap_adaptive");
  ASSERT_NE(model, nullptr);
  Scheduler scheduler(model);
  GenerationRequest request;
  request.max_tokens = request.min_tokens = 30;
  Collected whole;
  Generate(scheduler, request, &whole);
  ASSERT_GT(whole.text.size(), 20u);
  request.stop = {"no such text", whole.text.substr(9, 4)};
  Collected cut;
  Generate(scheduler, request, &cut);
  EXPECT_EQ(cut.end.end, TextEnd::kStopSequence);
  EXPECT_EQ(cut.text, whole.text.substr(0, whole.text.find(request.stop[1])));
}

TEST(GenerationTest, AModelThatTranslatesRefusesByNameAndTheOtherWayRound) {
  const auto model = ModelOf("lm_leap_adaptive");
  ASSERT_NE(model, nullptr);
  Scheduler scheduler(model);
  CollectingSink sink;
  const absl::Status refused = scheduler.Open(SessionOptions{}, &sink).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("LanguageModelService/Generate"));
  EXPECT_THAT(std::string(refused.message()), HasSubstr(model->info.name));
  Model translator;
  translator.info.name = "en-de";
  const absl::Status other = CheckGeneration({}, translator);
  EXPECT_TRUE(absl::IsInvalidArgument(other));
  EXPECT_THAT(std::string(other.message()), HasSubstr("model en-de translates"));
  GenerationRequest odd;
  odd.prompt = {100000};
  EXPECT_TRUE(absl::IsInvalidArgument(CheckGeneration(odd, *model)));
  odd.prompt.clear();
  odd.stop = {""};
  EXPECT_TRUE(absl::IsInvalidArgument(CheckGeneration(odd, *model)));
  odd.stop.clear();
  odd.sampling.top_p = 2;
  EXPECT_TRUE(absl::IsInvalidArgument(CheckGeneration(odd, *model)));
}

// A decoder alone that was trained on `source <sep> target` translates offline.
TEST(DecoderOnlyTranslationTest, TranslatesAsFairseqInteractiveGoesOn) {
  const auto model = ModelOf("lm_mt_leap");
  ASSERT_NE(model, nullptr);
  EXPECT_TRUE(model->info.translates);
  Scheduler scheduler(model);
  SessionOptions options;
  options.policy = WaitK{3};
  CollectingSink refused;
  EXPECT_THAT(std::string(scheduler.Open(options, &refused).status().message()),
              HasSubstr("ask for the policy offline"));
  options.policy = Offline();
  for (const json& line : Lines("greedy.lm_mt_leap")) {
    const auto prompt = line["prompt_ids"].get<std::vector<TokenId>>();
    auto expected = line["new_ids"].get<std::vector<TokenId>>();
    options.max_target_tokens = line["max_len"].get<int>() - static_cast<int>(prompt.size());
    CollectingSink sink;
    const auto session = scheduler.Open(options, &sink);
    ASSERT_TRUE(session.ok()) << session.status();
    (*session)->Push(std::vector<TokenId>(prompt.begin(), prompt.end() - 1));
    (*session)->EndSegment();
    (*session)->EndSource();
    sink.Wait();
    expected.pop_back();  // </s>
    std::vector<TokenId> ids;
    for (const TargetToken& token : sink.tokens) ids.push_back(token.id);
    EXPECT_EQ(ids, expected) << line["id"];
  }
}

// A text whose activations overflow ends alone.
TEST(TextOverflowTest, ATextEndsAlone) {
  constexpr TokenId kHuge = 33;
  const std::string directory = WriteRandomModel("overflow_text", [](ModelConfig& config) {
    config.causal_encoder = true;
    config.language_model.emplace();
    config.encoder = SideConfig();
    config.decoder.self_attention = "leap";
    config.share_decoder_input_output_embed = false;
    config.share_all_embeddings = false;
  });
  MakeTokenOverflow(directory, kHuge, "decoder.embedding");
  const auto model = LoadModel(directory, LoadOptions());
  ASSERT_TRUE(model.ok()) << model.status();
  Scheduler scheduler(*model);
  const std::vector<std::vector<TokenId>> prompts = {{40, 41}, {40, kHuge}, {40, 41}};
  std::vector<Collected> sinks(prompts.size());
  std::vector<std::shared_ptr<Generation>> texts;
  for (size_t i = 0; i < prompts.size(); ++i) {
    GenerationRequest request;
    request.prompt = prompts[i];
    request.max_tokens = request.min_tokens = 5;
    auto text = scheduler.Open(std::move(request), &sinks[i]);
    ASSERT_TRUE(text.ok()) << text.status();
    texts.push_back(*std::move(text));
  }
  for (const auto& text : texts) text->Start();
  for (Collected& sink : sinks) sink.finished.WaitForNotification();
  EXPECT_TRUE(absl::IsInternal(sinks[1].status)) << sinks[1].status;
  EXPECT_THAT(std::string(sinks[1].status.message()), HasSubstr("not finite"));
  EXPECT_TRUE(sinks[0].status.ok()) << sinks[0].status;
  EXPECT_EQ(sinks[0].ids.size(), 5u);
  EXPECT_EQ(sinks[0].ids, sinks[2].ids);
}

}  // namespace
}  // namespace leapstream
