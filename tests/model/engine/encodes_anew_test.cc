#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "model/engine/transformer.h"
#include "tests/bench/bench_model.h"

namespace leapstream {
namespace {

// The rows of each batch that the encoder has encoded.
class EncodesAnewTest : public testing::Test {
 protected:
  EncodesAnewTest() {
    ModelConfig config = *ShapeConfig("base");
    for (SideConfig* side : {&config.encoder, &config.decoder}) {
      side->embed_dim = side->input_dim = side->output_dim = 16;
      side->ffn_embed_dim = 32;
      side->layers = 1;
      side->attention_heads = 2;
      side->vocabulary_size = 200;
    }
    const std::string path = testing::TempDir() + "encodes_anew.safetensors";
    EXPECT_TRUE(WriteRandomWeights(config, path).ok());
    transformer_ = *Transformer::Create(config, *Weights::Load(path));
    transformer_->ObserveForTest([this](absl::string_view what, const Tensor& rows) {
      if (what == "encoder_out") encoded_.push_back(rows.size(0));
    });
    for (int i = 0; i < 3; ++i) {
      states_.push_back(*transformer_->NewState());
      pointers_.push_back(states_.back().get());
    }
  }
  void Read(size_t state, int tokens) {
    constexpr TokenId kToken = 7;
    for (int t = 0; t < tokens; ++t) {
      const SourceRows rows{pointers_[state], absl::MakeConstSpan(&kToken, 1)};
      ASSERT_TRUE(transformer_->Read({rows}).ok());
    }
  }
  void Decide() {
    std::vector<Decision> decisions(pointers_.size());
    ASSERT_TRUE(transformer_->Decide(pointers_, absl::MakeSpan(decisions)).ok());
  }

  std::unique_ptr<Transformer> transformer_;
  std::vector<std::unique_ptr<SessionState>> states_;
  std::vector<SessionState*> pointers_;
  std::vector<int64_t> encoded_;
};

TEST_F(EncodesAnewTest, AReadEncodesNothingAndAWriteAllSessionsThatHaveReadAtOnce) {
  ASSERT_TRUE(transformer_->encodes_anew());
  Read(0, 3);
  Read(1, 4);
  Read(2, 5);
  EXPECT_TRUE(encoded_.empty());
  Decide();
  EXPECT_EQ(encoded_, std::vector<int64_t>({3 + 4 + 5}));
  for (SessionState* state : pointers_) state->Commit(9);
  Decide();  // Nothing was read in between.
  EXPECT_EQ(encoded_.size(), 1u);
  for (SessionState* state : pointers_) state->Commit(9);
  Read(1, 2);
  Decide();
  EXPECT_EQ(encoded_, std::vector<int64_t>({12, 6}));
}

}  // namespace
}  // namespace leapstream
