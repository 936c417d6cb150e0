// Tests each kind of attention that model.json may name, from a model directory to the output of a
// session.
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "model/api/frame.h"
#include "model/api/model_directory.h"
#include "model/api/safetensors.h"
#include "model/engine/attention/kinds.h"
#include "model/engine/load_model.h"
#include "model/engine/model_family.h"
#include "tests/model/engine/clones.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;

// Writes a small model of this kind of attention: the embedded model's text files, random weights.
void WriteModel(const std::string& kind, const fs::path& directory) {
  const fs::path embedded = fs::path(LEAPSTREAM_SOURCE_DIR) / "model/pretrained/en-de";
  auto config = ReadModelDirectory(embedded);
  ASSERT_TRUE(config.ok()) << config.status();
  for (SideConfig* side : {&config->encoder, &config->decoder}) {
    side->embed_dim = side->input_dim = side->output_dim = 16;
    side->ffn_embed_dim = 24;
    side->layers = 2;
    side->attention_heads = 2;
    side->self_attention = side->cross_attention = kind;
  }
  fs::remove_all(directory);
  fs::copy(embedded, directory);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, TensorView> views;
  for (const TensorSpec& spec : ListTensors(*config)) {
    int64_t count = 1;
    for (const int64_t size : spec.shape) count *= size;
    const float scale = spec.shape.size() == 2 ? 1 / std::sqrt(float(spec.shape[1])) : 0.3f;
    std::vector<float>& w = values[spec.name];
    for (int64_t i = 0; i < count; ++i) w.push_back(scale * normal(random));
    views[spec.name] = {
        TensorType::kFloat32, spec.shape,
        absl::string_view(reinterpret_cast<const char*>(w.data()), w.size() * sizeof(float))};
  }
  ASSERT_TRUE(WriteSafetensors(directory / kWeightsFile, views).ok());
  ASSERT_TRUE(WriteModelJson(directory, *config).ok());
}

class ServedKindTest : public ::testing::TestWithParam<const AttentionEntry*> {
 protected:
  void SetUp() override {
    const std::string directory = absl::StrCat(::testing::TempDir(), "/kind_", GetParam()->name);
    WriteModel(GetParam()->name, directory);
    auto model = LoadModel(directory);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    sizes_.source_vocabulary = model_->source_vocabulary.size();
    sizes_.target_vocabulary = model_->target_vocabulary.size();
  }

  std::shared_ptr<const Model> model_;
  ModelSizes sizes_;
};

TEST_P(ServedKindTest, ABatchGivesWhatItsMembersGiveAlone) {
  constexpr int kSessions = 5, kSteps = 30;
  const Translator& translator = *model_->translator;
  std::vector<Decided> together(kSessions), alone(kSessions);
  for (const bool batch : {true, false}) {
    std::vector<std::unique_ptr<SessionState>> states;
    std::vector<SessionState*> pointers;
    for (int s = 0; s < kSessions; ++s) {
      states.push_back(*translator.NewState());
      pointers.push_back(states.back().get());
    }
    for (int t = 0; t < kSteps; ++t) {
      std::vector<TokenId> tokens;
      for (int s = 0; s < kSessions; ++s) tokens.push_back(4 + (t * 131 + s * 17) % 5000);
      std::vector<SourceRows> rows;
      for (int s = 0; s < kSessions; ++s) {
        rows.push_back({pointers[s], absl::MakeConstSpan(&tokens[s], 1)});
      }
      std::vector<Decision> decisions(kSessions);
      const int size = batch ? kSessions : 1;
      for (int s = 0; s < kSessions; s += size) {
        ASSERT_TRUE(translator.Read(absl::MakeSpan(rows).subspan(s, size)).ok());
        ASSERT_TRUE(translator
                        .Decide(absl::MakeSpan(pointers).subspan(s, size),
                                absl::MakeSpan(decisions).subspan(s, size))
                        .ok());
      }
      for (int s = 0; s < kSessions; ++s) {
        (batch ? together : alone)[s].push_back(
            {decisions[s].best.id, decisions[s].best.log_prob});
        pointers[s]->Commit(4 + (t * 37 + s) % 5000);
      }
    }
  }
  EXPECT_EQ(together, alone) << "to the bit";
}

// A frame with several tokens at each of its places.
Frame LongFrame() {
  Frame frame;
  frame.source_lead = {10, 11};
  frame.source_tail = {kEndOfSentence, 12};
  frame.start = 13;
  frame.forced = {14, 15};
  frame.end = 16;
  return frame;
}

// The source token number `t`, of a source that no frame's tokens are in.
TokenId SourceAt(int t) { return 100 + (t * 131) % 3000; }

absl::StatusOr<Decision> DecideOne(const Translator& translator, SessionState* state) {
  Decision decision;
  const absl::Status status = translator.Decide({state}, absl::MakeSpan(&decision, 1));
  if (!status.ok()) return status;
  return decision;
}

// The translator does of itself what a caller would do who reads the lead, and decides and commits
// the forced tokens. A first step that was not committed leaves no trace.
TEST_P(ServedKindTest, AFrameIsReadAndFedAsByHand) {
  const Translator& translator = *model_->translator;
  const Frame frame = LongFrame();
  auto framed = *translator.NewState(), by_hand = *translator.NewState();
  framed->SetFrame(frame);
  Frame start_only;
  start_only.start = frame.start;
  by_hand->SetFrame(start_only);
  const auto read = [&](SessionState* state, const std::vector<TokenId>& tokens) {
    ASSERT_TRUE(translator.Read({{state, tokens}}).ok());
  };
  read(by_hand.get(), frame.source_lead);
  for (int segment = 0; segment < 2; ++segment) {
    for (int t = 0; t < 9; ++t) {
      const TokenId token = SourceAt(t + segment);
      read(framed.get(), {token});
      read(by_hand.get(), {token});
      EXPECT_EQ(framed->source_read(), t + 1) << "the lead does not count";
      if (t < 2) continue;
      if (t < 5) {  // These steps are decided and not committed.
        ASSERT_TRUE(DecideOne(translator, framed.get()).ok());
        continue;
      }
      if (t == 5) {
        for (const TokenId forced : frame.forced) {
          ASSERT_TRUE(DecideOne(translator, by_hand.get()).ok());
          by_hand->Commit(forced);
        }
      }
      const absl::StatusOr<Decision> one = DecideOne(translator, framed.get());
      const absl::StatusOr<Decision> other = DecideOne(translator, by_hand.get());
      ASSERT_TRUE(one.ok() && other.ok()) << one.status() << other.status();
      EXPECT_EQ(one->best.id, other->best.id) << t;
      EXPECT_EQ(one->best.log_prob, other->best.log_prob) << "to the bit, " << t;
      framed->Commit(200 + t);
      by_hand->Commit(200 + t);
      EXPECT_EQ(framed->target_written(), t - 4) << "forced tokens do not count";
    }
    read(framed.get(), frame.source_tail);
    read(by_hand.get(), frame.source_tail);
    EXPECT_EQ(framed->source_read(), 10) << "the end is one token";
    EXPECT_EQ(DecideOne(translator, framed.get())->best.log_prob,
              DecideOne(translator, by_hand.get())->best.log_prob);
    framed->Reset();
    by_hand->Reset();
    read(by_hand.get(), frame.source_lead);
  }
}

TEST_P(ServedKindTest, AReplayWithAFrameIsStepsByTurns) {
  const Translator& translator = *model_->translator;
  if (!translator.can_replay()) return;
  const Frame frame = LongFrame();
  auto by_turns = *translator.NewState(), replayed = *translator.NewState();
  for (SessionState* state : {by_turns.get(), replayed.get()}) {
    state->SetFrame(frame);
    state->SetWaitK(3, 1);
  }
  std::vector<TokenId> source, target;
  std::vector<int> source_read;
  const auto read = [&](const std::vector<TokenId>& tokens) {
    ASSERT_TRUE(translator.Read({{by_turns.get(), tokens}}).ok());
    source.insert(source.end(), tokens.begin(), tokens.end());
  };
  for (int t = 0; t < 12; ++t) {
    read({SourceAt(t)});
    if (t < 2) continue;
    ASSERT_TRUE(DecideOne(translator, by_turns.get()).ok());
    target.push_back(300 + t);
    source_read.push_back(by_turns->source_read());
    by_turns->Commit(target.back());
  }
  read(frame.source_tail);
  for (int t = 0; t < 2; ++t) {
    ASSERT_TRUE(DecideOne(translator, by_turns.get()).ok());
    target.push_back(400 + t);
    source_read.push_back(by_turns->source_read());
    by_turns->Commit(target.back());
  }
  EXPECT_EQ(source_read.back(), 13);
  // In two calls: the second one goes on within the target.
  const auto span = absl::MakeConstSpan(target);
  const auto reads = absl::MakeConstSpan(source_read);
  const auto words = absl::MakeConstSpan(source);
  ASSERT_TRUE(translator
                  .Replay({{replayed.get(), words.subspan(0, 5), span.subspan(0, 3),
                            reads.subspan(0, 3)}},
                          [] {})
                  .ok());
  EXPECT_EQ(replayed->source_read(), 5);
  ASSERT_TRUE(translator
                  .Replay({{replayed.get(), words.subspan(5), span.subspan(3), reads.subspan(3)}},
                          [] {})
                  .ok());
  EXPECT_EQ(replayed->source_read(), by_turns->source_read());
  EXPECT_EQ(replayed->target_written(), by_turns->target_written());
  const absl::StatusOr<Decision> one = DecideOne(translator, by_turns.get());
  const absl::StatusOr<Decision> other = DecideOne(translator, replayed.get());
  ASSERT_TRUE(one.ok() && other.ok()) << one.status() << other.status();
  EXPECT_EQ(one->best.id, other->best.id);
  EXPECT_EQ(one->best.log_prob, other->best.log_prob) << "to the bit";
  // A source_read beyond the source's end is refused, though there are rows for it.
  auto refused = *translator.NewState();
  refused->SetFrame(frame);
  const std::vector<TokenId> one_token = {5};
  const std::vector<int> beyond = {14};
  EXPECT_TRUE(absl::IsInvalidArgument(
      translator.Replay({{refused.get(), source, one_token, beyond}}, [] {})));
}

TEST_P(ServedKindTest, ClonesGoOnByThemselves) {
  ExpectClonesGoOnByThemselves(*model_->translator, sizes_);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ServedKindTest, ::testing::ValuesIn(AttentionEntries().begin(),
                                                                    AttentionEntries().end()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace leapstream
