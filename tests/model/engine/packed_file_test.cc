#include "model/engine/packed_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/engine/kernels/simd.h"
#include "model/engine/load_model.h"
#include "model/engine/transformer.h"
#include "tests/bench/bench_model.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string Bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// A small network with odd sizes and an embedding for all sides.
ModelConfig SmallConfig() {
  ModelConfig config = *ShapeConfig("base");
  for (SideConfig* side : {&config.encoder, &config.decoder}) {
    side->embed_dim = side->input_dim = side->output_dim = 24;
    side->ffn_embed_dim = 37;
    side->layers = 2;
    side->attention_heads = 4;
    side->vocabulary_size = 6001;
  }
  return config;
}

// The decisions of a few steps after a few tokens.
std::vector<ScoredToken> Decisions(const Translator& translator) {
  std::vector<ScoredToken> result;
  auto state = *translator.NewState();
  SessionState* const one = state.get();
  for (const TokenId token : {17, 200, 5, 300}) {
    const SourceRows rows{one, absl::MakeConstSpan(&token, 1)};
    EXPECT_TRUE(translator.Read({rows}).ok());
    Decision decision;
    EXPECT_TRUE(translator.Decide({one}, absl::MakeSpan(&decision, 1)).ok());
    result.push_back(decision.best);
    result.push_back(decision.second);
    one->Commit(decision.best.id);
  }
  return result;
}

void ExpectSame(const std::vector<ScoredToken>& a, const std::vector<ScoredToken>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].id, b[i].id) << i;
    EXPECT_EQ(a[i].log_prob, b[i].log_prob) << i;
  }
}

class PackedFileTest : public testing::Test {
 protected:
  PackedFileTest() {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  ~PackedFileTest() override { fs::remove_all(directory_); }

  // Loads the model directory, whose weights are as good as large.
  absl::StatusOr<std::shared_ptr<const Model>> Load() const {
    LoadOptions options;
    options.compute_type = "int8";
    options.packed_from_bytes = 0;
    return LoadModel(directory_, options);
  }
  void WriteModel() const {
    ASSERT_TRUE(WriteRandomModel(SmallConfig(), directory_,
                                 LEAPSTREAM_SOURCE_DIR "/model/pretrained/en-de")
                    .ok());
  }

  const std::string directory_ = testing::TempDir() + "packed_file_test";
  const std::string packed_ = directory_ + "/packed.int8." + Simd().name;
  const PackedKey key_ = {"a model", "int8", "some kernels"};
};

TEST_F(PackedFileTest, PackedWeightsGiveTheSameToTheBit) {
  const ModelConfig config = SmallConfig();
  for (const TensorType stored : {TensorType::kFloat32, TensorType::kFloat16}) {
    const std::string weights = directory_ + "/" + (stored == TensorType::kFloat16 ? "16" : "32");
    ASSERT_TRUE(WriteRandomWeights(config, weights, stored).ok());
    for (const ComputeType type :
         {ComputeType::kFloat32, ComputeType::kBfloat16, ComputeType::kInt8}) {
      Weights read = *Weights::Load(weights, type);
      const std::shared_ptr<PackedMemory> memory = read.packed();
      const auto translator = *Transformer::Create(config, std::move(read));
      ASSERT_TRUE(WritePackedFile(packed_, key_, "then", *memory).ok());
      auto packed = OpenPackedFile(packed_, key_);
      ASSERT_TRUE(packed.ok()) << packed.status();
      EXPECT_EQ(packed->stamp, "then");
      auto again = Transformer::Create(config, Weights::Packed(packed->memory, type));
      ASSERT_TRUE(again.ok()) << again.status();
      ExpectSame(Decisions(*translator), Decisions(**again));
    }
  }
}

TEST_F(PackedFileTest, ASharedEmbeddingIsThereOnceAndInItsType) {
  const ModelConfig config = SmallConfig();
  ASSERT_TRUE(WriteRandomWeights(config, directory_ + "/w", TensorType::kFloat16).ok());
  Weights weights = *Weights::Load(directory_ + "/w", ComputeType::kInt8);
  const std::shared_ptr<PackedMemory> memory = weights.packed();
  ASSERT_TRUE(Transformer::Create(config, std::move(weights)).ok());
  const size_t table = (6001 * 24 * 2 + 63) / 64 * 64;
  int tables = 0;
  for (const absl::string_view array : memory->arrays()) tables += array.size() == table ? 1 : 0;
  EXPECT_EQ(tables, 1);
}

TEST_F(PackedFileTest, NoChangedByteIsTrusted) {
  PackedMemory memory;
  for (int i = 0; i < 1000; ++i) memory.Take<int32_t>(3)[i % 3] = i;
  ASSERT_TRUE(WritePackedFile(packed_, key_, "then", memory).ok());
  ASSERT_TRUE(OpenPackedFile(packed_, key_).ok());
  const std::string good = Bytes(packed_);
  for (size_t at = 0; at < good.size(); at += at < 400 ? 1 : 997) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    WriteBytes(packed_, bad);
    EXPECT_TRUE(absl::IsFailedPrecondition(OpenPackedFile(packed_, key_).status())) << at;
  }
  for (const size_t size : {size_t{0}, size_t{7}, size_t{4096}, good.size() - 1}) {
    WriteBytes(packed_, good.substr(0, size));
    EXPECT_TRUE(absl::IsFailedPrecondition(OpenPackedFile(packed_, key_).status())) << size;
  }
  WriteBytes(packed_, good + "x");
  EXPECT_TRUE(absl::IsFailedPrecondition(OpenPackedFile(packed_, key_).status()));
  WriteBytes(packed_, good);
  for (const PackedKey& other : {PackedKey{"another", key_.compute_type, key_.kernels},
                                 PackedKey{key_.model_json, "float32", key_.kernels},
                                 PackedKey{key_.model_json, key_.compute_type, "other"}}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(OpenPackedFile(packed_, other).status()));
  }
  EXPECT_TRUE(absl::IsNotFound(OpenPackedFile(packed_ + "x", key_).status()));
}

TEST_F(PackedFileTest, WeightsOfAnotherNetworkAreRefused) {
  ModelConfig config = SmallConfig();
  ASSERT_TRUE(WriteRandomWeights(config, directory_ + "/w").ok());
  Weights weights = *Weights::Load(directory_ + "/w", ComputeType::kInt8);
  const std::shared_ptr<PackedMemory> memory = weights.packed();
  ASSERT_TRUE(Transformer::Create(config, std::move(weights)).ok());
  ASSERT_TRUE(WritePackedFile(packed_, key_, "", *memory).ok());
  for (const int layers : {1, 3}) {
    config.decoder.layers = layers;
    auto packed = OpenPackedFile(packed_, key_);
    const auto refused =
        Transformer::Create(config, Weights::Packed(packed->memory, ComputeType::kInt8));
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInternal) << layers;
  }
}

TEST_F(PackedFileTest, ALargeModelIsPackedOnceAndADamagedFileAgain) {
  WriteModel();
  const auto first = Load();
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string good = Bytes(packed_);
  ASSERT_GT(good.size(), 4096u);
  const auto written = fs::last_write_time(packed_);
  const auto second = Load();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(fs::last_write_time(packed_), written);
  ExpectSame(Decisions(*(*first)->translator), Decisions(*(*second)->translator));

  std::string bad = good;
  bad[good.size() / 2] = static_cast<char>(bad[good.size() / 2] ^ 1);
  fs::remove(packed_);  // The models that are loaded keep their map.
  WriteBytes(packed_, bad);
  const auto third = Load();
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_EQ(Bytes(packed_), good);
  ExpectSame(Decisions(*(*first)->translator), Decisions(*(*third)->translator));
}

TEST_F(PackedFileTest, WhereNothingCanBeWrittenAModelIsPackedEachTime) {
  WriteModel();
  fs::create_directories(packed_ + "/in the way");
  const auto model = Load();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT((*model)->notes, testing::Contains(HasSubstr("packed weights cannot be kept")));
  for (const auto& entry : fs::directory_iterator(directory_)) {
    EXPECT_EQ(entry.path().filename().string().find(".new."), std::string::npos) << entry.path();
  }
  fs::remove_all(packed_);
  ExpectSame(Decisions(*(*model)->translator), Decisions(*(*Load())->translator));
}

TEST_F(PackedFileTest, WeightsThatWereChangedAreNoticed) {
  WriteModel();
  ASSERT_TRUE(Load().ok());
  const std::string weights = directory_ + "/" + kWeightsFile;
  std::string bytes = Bytes(weights);
  fs::last_write_time(weights, fs::last_write_time(weights) + std::chrono::seconds(5));
  EXPECT_TRUE(Load().ok());  // Touched, but the same.
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  WriteBytes(weights, bytes);
  EXPECT_TRUE(absl::IsFailedPrecondition(Load().status()));
}

}  // namespace
}  // namespace leapstream
