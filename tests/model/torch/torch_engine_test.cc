// Compares the engine of LibTorch's operations with leapstream's own kernels, on random models of
// every kind. Goldens that both pass are in tests/model/engine, with leapstream_device_test().
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "model/api/language_model.h"
#include "model/api/model_directory.h"
#include "model/api/safetensors.h"
#include "model/api/vocabulary.h"
#include "model/engine/attention/kinds.h"
#include "model/engine/load_model.h"
#include "streaming/sampling.h"
#include "streaming/segment_search.h"
#include "tests/model/engine/clones.h"
#include "tests/testing/random_model.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

// Log-probabilities are differences of float32 sums of some hundred terms of magnitude 10 or less,
// through two layers, in another order.
constexpr double kTolerance = 2e-4;

struct Network {
  std::string name;
  std::function<void(ModelConfig&)> edit;
};

void PrintTo(const Network& network, std::ostream* out) { *out << network.name; }

std::vector<Network> Networks() {
  std::vector<Network> networks;
  for (const AttentionEntry* entry : AttentionEntries()) {
    const std::string kind = entry->name;
    for (const bool causal : {true, false}) {
      networks.push_back(
          {absl::StrCat(kind, causal ? "_causal" : "_whole"), [=](ModelConfig& config) {
             config.causal_encoder = causal;
             if (causal) config.simul_type = "waitk";
             for (SideConfig* side : {&config.encoder, &config.decoder}) {
               side->self_attention = side->cross_attention = kind;
               side->normalize_before = causal;
             }
           }});
    }
  }
  networks.push_back({"leap_with_softmax", [](ModelConfig& config) {
                        config.causal_encoder = true;
                        config.simul_type = "waitk";
                        config.cross_normaliser = "softmax";
                        config.mass_preservation = false;
                        config.decoder.cross_attention = "leap";
                      }});
  networks.push_back({"shared_encoder_layers", [](ModelConfig& config) {
                        config.causal_encoder = false;
                        config.encoder.layers = 3;
                        config.encoder.shared_layers = {1, 3};
                      }});
  for (const char* policy : {"hard_aligned", "infinite_lookback"}) {
    for (const char* kind : {"softmax", "leap"}) {
      networks.push_back({absl::StrCat(policy, "_", kind), [=](ModelConfig& config) {
                            config.causal_encoder = true;
                            config.simul_type = policy;
                            config.energy_bias = true;
                            config.decoder.cross_attention = kind;
                          }});
    }
  }
  for (const char* positions : {"absolute", "relative", "rotary"}) {
    networks.push_back({absl::StrCat("conformer_", positions), [=](ModelConfig& config) {
                          SpeechConfig& speech = config.speech.emplace();
                          speech.front_end = "conv1d";
                          speech.cmvn = "none";
                          speech.conv_channels = 16;
                          speech.conv_kernels = {5, 5};
                          speech.conformer.emplace();
                          speech.conformer->positions = positions;
                          speech.conformer->depthwise_kernel = 7;
                          config.share_all_embeddings = false;
                          config.encoder.layernorm_embedding = false;
                          config.encoder.vocabulary_size = 0;
                          config.encoder.input_dim = config.encoder.embed_dim;
                          config.encoder.positions = std::string(positions) == "absolute"
                                                         ? PositionKind::kSinusoidal
                                                         : PositionKind::kNone;
                          config.max_source_positions = 6000;
                        }});
  }
  return networks;
}

class TorchEngineTest : public ::testing::TestWithParam<Network> {
 protected:
  void SetUp() override {
    // Each network is loaded once.
    static auto* const loaded = new std::map<std::string, std::shared_ptr<const Model>>();
    directory_ = absl::StrCat(testing::TempDir(), "/torch_", GetParam().name);
    for (const char* device : {"cpu", "torch-cpu"}) {
      std::shared_ptr<const Model>& model = (*loaded)[GetParam().name + device];
      if (model == nullptr) {
        WriteRandomModel(absl::StrCat("torch_", GetParam().name), GetParam().edit);
        model = Load(device);
      }
      ASSERT_NE(model, nullptr);
      (std::string(device) == "cpu" ? own_ : torch_) = model;
    }
    if (own_->info.speech.has_value()) {
      sizes_.samples_per_read = 4321;
    } else {
      sizes_.source_vocabulary = own_->source_vocabulary.size();
    }
    sizes_.target_vocabulary = own_->target_vocabulary.size();
  }
  std::shared_ptr<const Model> Load(const std::string& device, const std::string& type = "") {
    LoadOptions options;
    options.device = device;
    options.compute_type = type;
    auto model = LoadModel(directory_, options);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *model : nullptr;
  }
  static std::unique_ptr<SessionState> NewState(const Model& model, int k) {
    auto state = *model.translator->NewState();
    state->SetWaitK(k, 1);
    if (model.info.shows_attention) state->ShowAttention();
    return state;
  }

  std::string directory_;
  std::shared_ptr<const Model> own_, torch_;
  ModelSizes sizes_;
};

INSTANTIATE_TEST_SUITE_P(Networks, TorchEngineTest, ::testing::ValuesIn(Networks()),
                         [](const auto& info) { return info.param.name; });

TEST_P(TorchEngineTest, DecidesAsOurKernels) {
  EXPECT_EQ(own_->info.shows_attention, torch_->info.shows_attention);
  EXPECT_EQ(own_->info.bidirectional_encoder, torch_->info.bidirectional_encoder);
  for (const int seed : {1, 2}) {
    const auto own = NewState(*own_, 2);
    const auto torch = NewState(*torch_, 2);
    for (int segment = 0; segment < 2; ++segment) {  // The second one takes the memory again.
      const Decided expected = Drive(*own_->translator, sizes_, own.get(), seed, 50);
      const Decided got = Drive(*torch_->translator, sizes_, torch.get(), seed, 50);
      ASSERT_EQ(expected.size(), got.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(expected[i].first < 0, got[i].first < 0) << i;
        ASSERT_NEAR(expected[i].second, got[i].second, kTolerance) << i;
      }
      own->Reset();
      torch->Reset();
    }
  }
}

// The kinds of a past: sums, caches and heads that move.
TEST_P(TorchEngineTest, ClonesGoOnByThemselves) {
  if (GetParam().name.find("linear") == 0 || GetParam().name.find("cosformer") == 0) return;
  ExpectClonesGoOnByThemselves(*torch_->translator, sizes_);
}

// Sessions of several lengths in one batch, some of which have rows that others do not have.
TEST_P(TorchEngineTest, ABatchGivesWhatOurKernelsGiveAlone) {
  if (own_->info.speech.has_value()) return;  // It has no tokens.
  constexpr int kSessions = 5;
  std::vector<std::unique_ptr<SessionState>> own, torch;
  for (int s = 0; s < kSessions; ++s) {
    own.push_back(NewState(*own_, 1 + s));
    torch.push_back(NewState(*torch_, 1 + s));
    Frame frame;
    frame.source_lead.assign(static_cast<size_t>(s % 3), 20);
    frame.forced.assign(static_cast<size_t>(s % 2), 21);
    own[s]->SetFrame(frame);
    torch[s]->SetFrame(frame);
  }
  std::mt19937 random(7);
  for (int round = 0; round < 12; ++round) {
    std::vector<std::vector<TokenId>> tokens(kSessions);
    std::vector<SourceRows> rows;
    std::vector<SessionState*> states;
    for (int s = 0; s < kSessions; ++s) {
      for (int i = static_cast<int>(random() % (1 + 20 * s)); i >= 0; --i) {
        tokens[s].push_back(30 + static_cast<TokenId>(random() % 2000));
      }
      ASSERT_TRUE(own_->translator->Read({SourceRows{own[s].get(), tokens[s]}}).ok());
      rows.push_back({torch[s].get(), tokens[s]});
      states.push_back(torch[s].get());
    }
    ASSERT_TRUE(torch_->translator->Read(rows).ok());
    std::vector<Decision> got(kSessions);
    ASSERT_TRUE(torch_->translator->Decide(states, absl::MakeSpan(got)).ok());
    for (int s = 0; s < kSessions; ++s) {
      Decision expected;
      ASSERT_TRUE(own_->translator->Decide({own[s].get()}, absl::MakeSpan(&expected, 1)).ok());
      ASSERT_EQ(expected.wants_source, got[s].wants_source);
      EXPECT_EQ(expected.attended, got[s].attended);
      ASSERT_NEAR(expected.best.log_prob, got[s].best.log_prob, kTolerance) << round << " " << s;
      ASSERT_NEAR(expected.second.log_prob, got[s].second.log_prob, kTolerance);
      if (expected.wants_source) continue;
      own[s]->Commit(40 + round);
      torch[s]->Commit(40 + round);
    }
  }
}

// Some sessions are so long that the others are not read with them.
TEST_P(TorchEngineTest, LongSessionsAreBesideShortOnes) {
  if (own_->info.speech.has_value() || own_->info.bidirectional_encoder) return;
  constexpr int kSessions = 45;
  std::vector<std::unique_ptr<SessionState>> own, torch;
  for (int s = 0; s < kSessions; ++s) {
    own.push_back(NewState(*own_, 1));
    torch.push_back(NewState(*torch_, 1));
  }
  std::mt19937 random(8);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::vector<TokenId>> tokens(kSessions);
    std::vector<SourceRows> rows;
    std::vector<SessionState*> alone, states;
    for (int s = 0; s < kSessions; ++s) {
      const int count = round == 0 && (s == 20 || s == 41) ? 900 : 1 + s % 4;
      for (int i = 0; i < count; ++i) {
        tokens[s].push_back(30 + static_cast<TokenId>(random() % 2000));
      }
      ASSERT_TRUE(own_->translator->Read({SourceRows{own[s].get(), tokens[s]}}).ok());
      rows.push_back({torch[s].get(), tokens[s]});
      alone.push_back(own[s].get());
      states.push_back(torch[s].get());
    }
    ASSERT_TRUE(torch_->translator->Read(rows).ok());
    std::vector<Decision> expected(kSessions), got(kSessions);
    ASSERT_TRUE(own_->translator->Decide(alone, absl::MakeSpan(expected)).ok());
    ASSERT_TRUE(torch_->translator->Decide(states, absl::MakeSpan(got)).ok());
    for (int s = 0; s < kSessions; ++s) {
      ASSERT_EQ(expected[s].wants_source, got[s].wants_source) << round << " " << s;
      EXPECT_EQ(expected[s].attended, got[s].attended) << round << " " << s;
      ASSERT_NEAR(expected[s].best.log_prob, got[s].best.log_prob, kTolerance) << round << " " << s;
      if (expected[s].wants_source) continue;
      own[s]->Commit(40 + round);
      torch[s]->Commit(40 + round);
    }
  }
}

// Drafts, some of whose tokens are decided otherwise, are steps one by one.
TEST_P(TorchEngineTest, VerifiesAsItSteps) {
  if (own_->info.learned_policy || own_->info.speech.has_value()) return;
  const Translator& translator = *torch_->translator;
  std::vector<std::unique_ptr<SessionState>> fast, slow;
  for (int b = 0; b < 3; ++b) {
    fast.push_back(NewState(*torch_, 2));
    slow.push_back(NewState(*torch_, 2));
    if (b > 0 && torch_->info.bidirectional_encoder) {
      fast[b]->RefreshPast();
      slow[b]->RefreshPast();
    }
  }
  std::mt19937 random(5);
  const auto token = [&] { return 30 + static_cast<TokenId>(random() % 2000); };
  for (int round = 0; round < 10; ++round) {
    std::vector<std::vector<TokenId>> given(3);
    std::vector<std::vector<Decision>> decisions(3);
    std::vector<GivenRows> rows;
    for (int b = 0; b < 3; ++b) {
      const std::vector<TokenId> source = {token(), token()};
      ASSERT_TRUE(translator.Read({SourceRows{fast[b].get(), source}}).ok());
      ASSERT_TRUE(translator.Read({SourceRows{slow[b].get(), source}}).ok());
      const auto guess = *slow[b]->Clone();
      const auto forced = static_cast<int>(random() % 2);
      const auto right = static_cast<int>(random() % 4);
      for (int i = 0; i < forced + right; ++i) {
        Decision decision;
        ASSERT_TRUE(translator.Decide({guess.get()}, absl::MakeSpan(&decision, 1)).ok());
        given[b].push_back(i < forced ? token() : decision.best.id);
        guess->Commit(given[b].back());
      }
      if (random() % 2 == 0) given[b].push_back(token());
      decisions[b].resize(given[b].size() + 1);
      rows.push_back(
          {fast[b].get(), given[b], forced, /*decides=*/true, absl::MakeSpan(decisions[b])});
      Decision unused;  // A step that is given up leaves no trace.
      ASSERT_TRUE(translator.Decide({fast[b].get()}, absl::MakeSpan(&unused, 1)).ok());
    }
    ASSERT_TRUE(translator.Verify(rows).ok());
    for (int b = 0; b < 3; ++b) {
      for (size_t i = 0; i <= given[b].size(); ++i) {
        Decision expected;
        ASSERT_TRUE(translator.Decide({slow[b].get()}, absl::MakeSpan(&expected, 1)).ok());
        if (static_cast<int>(i) >= rows[b].forced) {
          ASSERT_NEAR(decisions[b][i].best.log_prob, expected.best.log_prob, kTolerance);
          EXPECT_EQ(decisions[b][i].attended, expected.attended);
        }
        if (i == given[b].size()) break;
        if (static_cast<int>(i) >= rows[b].forced && expected.best.id != given[b][i]) break;
        slow[b]->Commit(given[b][i]);
      }
      ASSERT_EQ(fast[b]->target_written(), slow[b]->target_written());
      fast[b]->Commit(25);  // The step after the draft is open.
      slow[b]->Commit(25);
    }
  }
}

// Numbers of b bits round by 2^-(b + 1). Activations behind a layer norm are of magnitude one, and
// a log-probability has about ten roundings of the size of one behind it, in any order: errors have
// a deviation of sqrt(10) 2^-(b + 1), 0.006 for the eight bits of bfloat16. Five of those are
// enough for twenty decisions.
void ExpectNear(const Decided& expected, const Decided& got, int bits) {
  ASSERT_EQ(expected.size(), got.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    // A learned policy may read more or less, and then sees another text.
    if ((expected[i].first < 0) != (got[i].first < 0)) break;
    ASSERT_NEAR(expected[i].second, got[i].second, 5 * std::sqrt(10) / std::pow(2, bits + 1)) << i;
  }
}

TEST_P(TorchEngineTest, Bfloat16IsNear) {
  const auto rounded = Load("torch-cpu", "bfloat16");
  ASSERT_NE(rounded, nullptr);
  const auto own = NewState(*own_, 2);
  const auto near = NewState(*rounded, 2);
  ExpectNear(Drive(*own_->translator, sizes_, own.get(), 3, 20),
             Drive(*rounded->translator, sizes_, near.get(), 3, 20), 8);
}

// LibTorch's processor has no float16 in 1.13, and has it in later versions.
TEST_P(TorchEngineTest, Float16IsNearOrRefusedByName) {
  const std::string& name = GetParam().name;
  if (name != "softmax_causal" && name != "leap_causal") return;
  LoadOptions options;
  options.device = "torch-cpu";
  options.compute_type = "float16";
  const auto model = LoadModel(directory_, options);
  if (!model.ok()) {
    EXPECT_TRUE(absl::IsFailedPrecondition(model.status())) << model.status();
    EXPECT_THAT(std::string(model.status().message()), HasSubstr("in float16"));
    return;
  }
  const auto own = NewState(*own_, 2);
  const auto near = NewState(**model, 2);
  ExpectNear(Drive(*own_->translator, sizes_, own.get(), 3, 20),
             Drive(*(*model)->translator, sizes_, near.get(), 3, 20), 11);
}

// The embedded model decides nearly all of its tokens as in float32.
TEST(TorchDeviceTest, Bfloat16DecidesTheSameTokens) {
  LoadOptions options;
  options.device = "torch-cpu";
  const auto exact = LoadModel(EmbeddedModel(), options);
  options.compute_type = "bfloat16";
  const auto rounded = LoadModel(EmbeddedModel(), options);
  ASSERT_TRUE(exact.ok() && rounded.ok()) << exact.status() << rounded.status();
  const ModelSizes sizes = {(*exact)->source_vocabulary.size(), 0,
                            (*exact)->target_vocabulary.size()};
  int same = 0, all = 0;
  for (int seed = 0; seed < 2; ++seed) {
    const auto one = *(*exact)->translator->NewState();
    const auto other = *(*rounded)->translator->NewState();
    const Decided expected = Drive(*(*exact)->translator, sizes, one.get(), seed, 50);
    const Decided got = Drive(*(*rounded)->translator, sizes, other.get(), seed, 50);
    for (size_t i = 0; i < expected.size(); ++i) {
      same += expected[i].first == got[i].first ? 1 : 0;
      ++all;
    }
  }
  EXPECT_GE(same, 0.9 * all) << same << " of " << all;
}

// A state goes on where the other engine left it, and prompts are read in parts of any size.
TEST(TorchTextTest, StatesMoveBetweenTheEngines) {
  for (const char* kind : {"softmax", "leap"}) {
    const std::string directory =
        WriteRandomModel(absl::StrCat("torch_text_", kind), [&](ModelConfig& config) {
          config.causal_encoder = true;
          config.language_model.emplace();
          config.encoder = SideConfig();
          config.decoder.self_attention = kind;
          config.share_decoder_input_output_embed = true;
          config.share_all_embeddings = false;
        });
    LoadOptions options;
    const auto own = LoadModel(directory, options);
    options.device = "torch-cpu";
    const auto torch = LoadModel(directory, options);
    ASSERT_TRUE(own.ok() && torch.ok()) << own.status() << torch.status();
    const LanguageModel* const models[] = {(*own)->translator->language_model(),
                                           (*torch)->translator->language_model()};
    const auto extend = [](const LanguageModel& model, SessionState* state,
                           const std::vector<TokenId>& tokens, size_t from) {
      std::vector<float> scores;
      const absl::Status status = model.Extend({TextRows{state, tokens, from}},
                                               [&](size_t, size_t, const TokenScores& row) {
                                                 scores.push_back(row.log_prob(7));
                                                 scores.push_back(row.log_prob(100));
                                                 return true;
                                               });
      EXPECT_TRUE(status.ok()) << status;
      return scores;
    };
    for (const int length : {1, 20, 300}) {
      std::vector<TokenId> text;
      for (int i = 0; i < length; ++i) text.push_back(10 + 31 * i % 900);
      const std::vector<TokenId> more = {5, 9, 77};
      std::vector<std::vector<float>> scores;
      for (const int from : {0, 1}) {
        const auto state = *models[from]->NewState();
        extend(*models[from], state.get(), text, text.size());
        const std::string bytes = models[from]->Save(*state);
        for (const int to : {0, 1}) {
          const auto moved = models[to]->Restore(bytes);
          ASSERT_TRUE(moved.ok()) << moved.status();
          EXPECT_EQ((*moved)->source_read(), length);
          scores.push_back(extend(*models[to], moved->get(), more, 0));
        }
        EXPECT_FALSE(models[from]->Restore(bytes.substr(1)).ok());
      }
      for (size_t i = 1; i < scores.size(); ++i) {
        ASSERT_EQ(scores[i].size(), scores[0].size());
        for (size_t j = 0; j < scores[i].size(); ++j) {
          EXPECT_NEAR(scores[i][j], scores[0][j], kTolerance) << kind << length;
        }
      }
    }
  }
}

// --- Scores that are wanted. Their slow twin is the whole row. ---

// A row of scores that outlives its visit.
struct CopiedScores {
  explicit CopiedScores(const TokenScores& scores)
      : copied(scores),
        logits(scores.logits.begin(), scores.logits.end()),
        ids(scores.ids.begin(), scores.ids.end()) {
    copied.logits = logits;
    copied.ids = ids;
  }
  TokenScores copied;
  std::vector<float> logits;
  std::vector<TokenId> ids;
};

// One model of text. With `ties`, each logit is that of many tokens.
std::shared_ptr<const Model> TorchModel(const std::string& name, bool ties, bool generates) {
  const std::string directory = WriteRandomModel(name, [&](ModelConfig& config) {
    config.causal_encoder = true;
    if (!generates) {
      config.simul_type = "waitk";
      return;
    }
    config.language_model.emplace();
    config.encoder = SideConfig();
    config.share_decoder_input_output_embed = true;
    config.share_all_embeddings = false;
  });
  if (ties) RepeatRows(directory, generates ? "decoder.embedding" : "encoder.embedding", 50);
  LoadOptions options;
  options.device = "torch-cpu";
  const auto model = LoadModel(directory, options);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

TEST(TorchScoresTest, WantedScoresAreThoseOfTheWholeRow) {
  for (const bool ties : {false, true}) {
    const auto model = TorchModel("torch_wanted", ties, /*generates=*/false);
    ASSERT_NE(model, nullptr);
    const Translator& translator = *model->translator;
    const std::vector<TokenId> some = {700, 3, 2, 700};
    const WantedScores wants[] = {{},
                                  {1},
                                  {13, some},
                                  {0, some},
                                  {0},
                                  {WantedScores::kAll - 1},
                                  {700},
                                  {16, {}, 0.7},
                                  {100, some, 3},
                                  {0, some, 1.3, 0.4},
                                  {0, {}, 0.2, 0.999}};
    std::vector<std::unique_ptr<SessionState>> states;
    std::vector<ScoreRow> rows, all;
    for (size_t r = 0; r < 2 * std::size(wants); ++r) {
      states.push_back(*translator.NewState());
      states.back()->SetWaitK(1, 1);
      const std::vector<TokenId> source(1 + r % 5, static_cast<TokenId>(40 + 7 * r));
      ASSERT_TRUE(translator.Read({SourceRows{states.back().get(), source}}).ok());
      const float temperature = r % 3 == 0 ? 1.7f : 1.0f;
      rows.push_back({states.back().get(), temperature, wants[r % std::size(wants)]});
      all.push_back({states.back().get(), temperature});
    }
    std::vector<CopiedScores> expected;
    ASSERT_TRUE(translator
                    .Score(all,
                           [&](size_t row, const TokenScores& scores) {
                             EXPECT_EQ(row, expected.size());
                             EXPECT_TRUE(scores.has_all());
                             expected.emplace_back(scores);
                             return true;
                           })
                    .ok());
    size_t next = 0;
    bool again = false;
    const auto visit = [&](size_t row, const TokenScores& scores) {
      EXPECT_EQ(row, next);
      const std::vector<float>& logits = expected[row].logits;
      EXPECT_EQ(scores.most, expected[row].copied.most);
      EXPECT_EQ(scores.log_sum, expected[row].copied.log_sum);
      const WantedScores& wanted = rows[row].wanted;
      const bool whole = again || wanted.best > model->target_vocabulary.size();
      EXPECT_EQ(scores.has_all(), whole) << row;
      if (again || whole) {
        EXPECT_EQ(std::vector<float>(scores.logits.begin(), scores.logits.end()), logits);
      }
      std::vector<bool> here(logits.size());
      for (size_t i = 0; i < scores.logits.size(); ++i) {
        const TokenId id = scores.id(i);
        EXPECT_EQ(scores.logits[i], logits[static_cast<size_t>(id)]);
        EXPECT_TRUE(i == 0 || scores.id(i - 1) < id);
        here[static_cast<size_t>(id)] = true;
      }
      int best = 0;
      for (size_t id = 0; id < logits.size(); ++id) {
        if (!here[id]) {
          EXPECT_LE(logits[id], scores.rest);
        }
        if (here[id] && logits[id] >= scores.rest) ++best;
      }
      if (!whole) {
        EXPECT_GE(best, wanted.best);
        EXPECT_LT(scores.logits.size(), 2 * wanted.best + wanted.tokens.size() + 2);
      }
      for (const TokenId id : wanted.tokens) EXPECT_TRUE(here[static_cast<size_t>(id)]);
      if (!whole && wanted.weight_at > 0) {
        double all = 0, before = 0, with = 0;
        for (TokenId id = 0; id < model->target_vocabulary.size(); ++id) {
          const bool without = absl::c_linear_search(wanted.tokens, id);
          all += without
                     ? 0
                     : std::exp((double{logits[static_cast<size_t>(id)]} - double{scores.most}) /
                                wanted.weight_at);
          if (id < scores.reached) before = all;
          if (id == scores.reached) with = all;
        }
        const double tolerance = all * WantedScores::kWeightTolerance;
        EXPECT_NEAR(scores.weights, all, tolerance);
        EXPECT_EQ(scores.reached >= 0, wanted.part > 0);
        if (wanted.part > 0) {
          EXPECT_NEAR(scores.weights_before, before, tolerance);
          EXPECT_LT(before, wanted.part * all + tolerance);
          EXPECT_GE(with, wanted.part * all - tolerance);
          EXPECT_TRUE(here[static_cast<size_t>(scores.reached)]);
        }
      }
      // Every other row asks for the rest, too.
      const bool enough = again || row % 2 == 0 || whole;
      again = !enough;
      next += enough ? 1 : 0;
      return enough;
    };
    ASSERT_TRUE(translator.Score(rows, visit).ok());
    EXPECT_EQ(next, rows.size());
  }
}

// The hypotheses of a search, whose rows are given as a whole or as they are asked for; and how
// often they were not enough.
std::pair<std::vector<BeamHypothesis>, int> Search(const Model& model, int beam, bool whole) {
  const Translator& translator = *model.translator;
  auto state = *translator.NewState();
  const std::vector<TokenId> source = {100, 207, 301, 402, 509, kEndOfSentence};
  EXPECT_TRUE(translator.Read({SourceRows{state.get(), source}}).ok());
  BeamOptions options;
  options.beam = options.n_best = beam;
  options.max_length_b = 20;
  options.no_repeat_ngram = 2;
  BeamTask task;
  task.source_length = static_cast<int>(source.size());
  task.source_words = task.source_length - 1;
  task.vocabulary_size = model.target_vocabulary.size();
  auto search = *SegmentSearch::Begin(*state, options, task);
  int asked = 0;
  while (!search->done()) {
    std::vector<ScoreRow> rows(search->rows().begin(), search->rows().end());
    for (ScoreRow& row : rows) {
      if (whole) row.wanted = {};
    }
    const auto take = [&](size_t row, const TokenScores& scores) {
      EXPECT_EQ(scores.has_all(), whole || scores.logits.size() > 500);
      const bool enough = search->Take(row, scores);
      asked += enough ? 0 : 1;
      return enough;
    };
    EXPECT_TRUE(translator.Score(rows, take).ok());
    EXPECT_TRUE(search->Advance().ok());
  }
  return {search->search().Result(), asked};
}

TEST(TorchScoresTest, BeamsAreThoseOfWholeRowsAlsoWithEqualLogits) {
  for (const bool ties : {false, true}) {
    const auto model = TorchModel("torch_beams", ties, /*generates=*/false);
    ASSERT_NE(model, nullptr);
    for (const int beam : {1, 5, 20}) {
      const auto [found, asked] = Search(*model, beam, /*whole=*/false);
      const auto [expected, never] = Search(*model, beam, /*whole=*/true);
      EXPECT_EQ(never, 0);
      if (ties) {
        EXPECT_GT(asked, 0);
      } else {
        EXPECT_LT(asked, 5);
      }
      ASSERT_EQ(found.size(), expected.size());
      ASSERT_FALSE(found.empty());
      for (size_t h = 0; h < found.size(); ++h) {
        EXPECT_EQ(found[h].ids, expected[h].ids);
        EXPECT_EQ(found[h].score, expected[h].score);
        EXPECT_EQ(found[h].log_probs, expected[h].log_probs);
      }
    }
  }
}

TEST(TorchScoresTest, DrawnTokensAreThoseOfWholeRowsAlsoWithEqualLogits) {
  const Sampling samplings[] = {
      {}, {1, 40, 1, 0}, {0.7, 0, 0.9, 0}, {0.5, 100, 0.95, 0}, {0.8, 0, 1, 0}};
  for (const bool ties : {false, true}) {
    const auto model = TorchModel("torch_draws", ties, /*generates=*/true);
    ASSERT_NE(model, nullptr);
    const LanguageModel& network = *model->translator->language_model();
    const auto state = *network.NewState();
    const std::vector<TokenId> excluded = {kPadding, kEndOfSentence};
    int enough = 0;
    for (int step = 0; step < 40; ++step) {
      const Sampling& sampling = samplings[step % 5];
      const double uniform = UniformAt(7, step);
      const WantedScores wanted[] = {WantedToChoose(sampling, excluded, uniform)};
      const std::vector<TokenId> token = {10 + 31 * step % 900};
      std::optional<ScoredToken> some;
      const auto take = [&](size_t, size_t, const TokenScores& scores) {
        const auto chosen = ChooseToken(scores, sampling, excluded, uniform);
        if (!scores.has_all()) {
          some = chosen;
          return false;
        }
        EXPECT_TRUE(chosen.has_value());
        if (!some.has_value()) return true;
        ++enough;
        EXPECT_EQ(some->id, chosen->id) << step;
        EXPECT_EQ(some->log_prob, chosen->log_prob) << step;
        return true;
      };
      ASSERT_TRUE(network.Extend({TextRows{state.get(), token, 0, wanted}}, take).ok());
    }
    EXPECT_GT(enough, ties ? 5 : 30);
  }
}

// Numbers that are not finite reach no other session, through the blocks that it lacks neither.
TEST(TorchDeviceTest, AnOverflowStaysInItsSession) {
  constexpr TokenId kHuge = 33;
  const std::string directory = WriteRandomModel("torch_overflow", [](ModelConfig& config) {
    config.causal_encoder = true;
    config.share_all_embeddings = false;  // Otherwise each session's scores were huge.
    config.simul_type = "waitk";
  });
  MakeTokenOverflow(directory, kHuge);
  LoadOptions options;
  options.device = "torch-cpu";
  const auto model = LoadModel(directory, options);
  ASSERT_TRUE(model.ok()) << model.status();
  const Translator& translator = *(*model)->translator;
  const std::vector<std::vector<TokenId>> sources = {
      {kHuge, kHuge}, std::vector<TokenId>(20, 40), {41, 42}};
  std::vector<std::unique_ptr<SessionState>> states;
  for (const std::vector<TokenId>& source : sources) {  // The first one has the first blocks.
    states.push_back(*translator.NewState());
    states.back()->SetWaitK(1, 1);
    ASSERT_TRUE(translator.Read({SourceRows{states.back().get(), source}}).ok());
  }
  std::vector<SessionState*> batch;
  for (const auto& state : states) batch.push_back(state.get());
  std::vector<Decision> decisions(batch.size());
  const absl::Status status = translator.Decide(batch, absl::MakeSpan(decisions));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_FALSE(decisions[0].finite());
  EXPECT_TRUE(decisions[1].finite());
  EXPECT_TRUE(decisions[2].finite());
}

// Numbers of a draft's token that are not finite reach no step before it, and none after it if it
// is rejected.
TEST(TorchDeviceTest, ARejectedOverflowLeavesNoTrace) {
  constexpr TokenId kHuge = 33;
  for (const char* kind : {"softmax", "leap"}) {
    const std::string directory =
        WriteRandomModel(absl::StrCat("torch_rejected_", kind), [&](ModelConfig& config) {
          config.causal_encoder = true;
          config.simul_type = "waitk";
          config.share_all_embeddings = config.share_decoder_input_output_embed = false;
          for (SideConfig* side : {&config.encoder, &config.decoder}) {
            side->self_attention = side->cross_attention = kind;
          }
        });
    MakeTokenOverflow(directory, kHuge, "decoder.embedding");
    LoadOptions options;
    options.device = "torch-cpu";
    const auto model = LoadModel(directory, options);
    ASSERT_TRUE(model.ok()) << model.status();
    const Translator& translator = *(*model)->translator;
    const auto decide = [&](SessionState* state) {
      Decision decision;
      EXPECT_TRUE(translator.Decide({state}, absl::MakeSpan(&decision, 1)).ok());
      return decision;
    };
    std::vector<std::unique_ptr<SessionState>> fast, slow;
    for (TokenId b = 0; b < 3; ++b) {
      const std::vector<TokenId> source(static_cast<size_t>(b) + 2, 40 + b);
      for (auto* states : {&fast, &slow}) {
        states->push_back(*translator.NewState());
        states->back()->SetWaitK(1, 1);
        ASSERT_TRUE(translator.Read({SourceRows{states->back().get(), source}}).ok());
      }
    }
    for (int round = 0; round < 5; ++round) {
      std::vector<std::vector<TokenId>> given;
      std::vector<std::vector<Decision>> expected(3), decisions(3, std::vector<Decision>(4));
      std::vector<GivenRows> rows;
      for (size_t b = 0; b < 3; ++b) {
        expected[b].push_back(decide(slow[b].get()));
        const TokenId right = expected[b][0].best.id;
        slow[b]->Commit(right);
        expected[b].push_back(decide(slow[b].get()));
        given.push_back({right, b == 1 ? 50 : kHuge, 51});
        ASSERT_NE(expected[b][1].best.id, given[b][1]);
      }
      for (size_t b = 0; b < 3; ++b) {
        rows.push_back({fast[b].get(), given[b], 0, true, absl::MakeSpan(decisions[b])});
      }
      ASSERT_TRUE(translator.Verify(rows).ok());
      for (size_t b = 0; b < 3; ++b) {
        for (size_t i = 0; i < 2; ++i) {
          EXPECT_EQ(decisions[b][i].best.id, expected[b][i].best.id) << kind << round;
          EXPECT_NEAR(decisions[b][i].best.log_prob, expected[b][i].best.log_prob, kTolerance);
        }
        ASSERT_EQ(fast[b]->target_written(), slow[b]->target_written()) << kind << round;
        fast[b]->Commit(25);
        slow[b]->Commit(25);
      }
    }
  }
}

// Heads that stand in front of a source token read nothing of it, finite or not.
TEST(TorchDeviceTest, AnOverflowAheadOfHeadsIsNotRead) {
  constexpr TokenId kHuge = 33;
  for (const char* policy : {"hard_aligned", "infinite_lookback"}) {
    for (const char* kind : {"softmax", "leap"}) {
      const std::string directory = WriteRandomModel(
          absl::StrCat("torch_ahead_", policy, "_", kind), [&](ModelConfig& config) {
            config.causal_encoder = true;
            config.simul_type = policy;
            config.energy_bias = config.simul_type == "infinite_lookback";
            config.share_all_embeddings = false;
            config.decoder.cross_attention = kind;
          });
      MakeTokenOverflow(directory, kHuge);
      const auto decisions = [&](const char* device) {
        LoadOptions options;
        options.device = device;
        const auto model = LoadModel(directory, options);
        EXPECT_TRUE(model.ok()) << model.status();
        std::vector<Decision> result;
        for (TokenId token = 40; model.ok() && token < 80; ++token) {
          const Translator& translator = *(*model)->translator;
          const auto state = *translator.NewState();
          for (const TokenId source : {token, token + 1, kHuge}) {
            EXPECT_TRUE(translator.Read({SourceRows{state.get(), {source}}}).ok());
          }
          EXPECT_TRUE(
              translator.Decide({state.get()}, absl::MakeSpan(&result.emplace_back(), 1)).ok());
        }
        return result;
      };
      const std::vector<Decision> own = decisions("cpu"), torch = decisions("torch-cpu");
      ASSERT_EQ(own.size(), torch.size());
      int compared = 0;
      for (size_t i = 0; i < own.size(); ++i) {
        if (own[i].wants_source || !own[i].finite()) continue;
        ++compared;
        EXPECT_FALSE(torch[i].wants_source) << policy << kind;
        EXPECT_NEAR(torch[i].best.log_prob, own[i].best.log_prob, kTolerance) << policy << kind;
      }
      EXPECT_GT(compared, 0) << policy << kind;
    }
  }
}

TEST(TorchDeviceTest, WhatItDoesNotComputeIsRefusedByName) {
  const std::string directory = WriteRandomModel("torch_shared", [](ModelConfig& config) {
    config.decoder.shared_layers = {1, 2};  // Of a decoder, so their past is shared, too.
  });
  LoadOptions options;
  options.device = "cuda:0";  // Whether there is one or not.
  const absl::Status shared = CheckModel(directory, options);
  EXPECT_TRUE(absl::IsUnimplemented(shared)) << shared;
  EXPECT_THAT(std::string(shared.message()), HasSubstr("share"));
  options.compute_type = "int8";
  const absl::Status coarse = CheckModel(EmbeddedModel(), options);
  EXPECT_TRUE(absl::IsUnimplemented(coarse)) << coarse;
  EXPECT_THAT(std::string(coarse.message()), HasSubstr("int8"));
  options.device = "cpu";
  options.compute_type = "float16";
  EXPECT_TRUE(absl::IsInvalidArgument(CheckModel(EmbeddedModel(), options)));
}

TEST(TorchDeviceTest, ClonesOfAStateGoOnByThemselves) {
  LoadOptions load;
  load.device = "torch-cpu";
  const auto model = LoadModel(EmbeddedModel(), load);
  ASSERT_TRUE(model.ok()) << model.status();
  ExpectClonesGoOnByThemselves(*(*model)->translator, {(*model)->source_vocabulary.size(), 0,
                                                       (*model)->target_vocabulary.size()});
}

TEST(TorchDeviceTest, MemoryThatIsNotThereHarmsNoSessionThatIs) {
  LoadOptions load;
  load.device = "torch-cpu";
  const auto model = LoadModel(EmbeddedModel(), load);
  ASSERT_TRUE(model.ok()) << model.status();
  const Translator& translator = *(*model)->translator;
  auto state = translator.NewState();
  ASSERT_TRUE(state.ok());
  const std::vector<TokenId> token = {kUnknown};
  ASSERT_TRUE(translator.Read({SourceRows{state->get(), token}}).ok());
  Decision before, after;
  ASSERT_TRUE(translator.Decide({state->get()}, absl::MakeSpan(&before, 1)).ok());
  // So many states need petabytes, more than there are addresses.
  const absl::Status status = translator.Reserve(std::numeric_limits<int>::max());
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  ASSERT_TRUE(translator.Decide({state->get()}, absl::MakeSpan(&after, 1)).ok());
  EXPECT_EQ(before.best.id, after.best.id);
  EXPECT_EQ(before.best.log_prob, after.best.log_prob);
}

}  // namespace
}  // namespace leapstream
