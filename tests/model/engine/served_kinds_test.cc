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
#include "absl/strings/str_cat.h"
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
    // A model that a LibTorch device cannot compute is refused before the device is looked for.
    LoadOptions torch;
    torch.device = "cuda:0";
    EXPECT_EQ(CheckModel(directory, torch).ok(), GetParam()->in_libtorch);
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

TEST_P(ServedKindTest, ClonesGoOnByThemselves) {
  ExpectClonesGoOnByThemselves(*model_->translator, sizes_);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ServedKindTest, ::testing::ValuesIn(AttentionEntries().begin(),
                                                                    AttentionEntries().end()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace leapstream
