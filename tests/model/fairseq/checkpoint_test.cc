#include "model/fairseq/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <limits>

#include "absl/strings/str_cat.h"
#include "model/fairseq/export.h"
#include "model/fairseq/half.h"
#include "tests/model/fairseq/torch_file.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

// A checkpoint with `from` in its pickle replaced by `to`, of the same length, at or after `after`.
std::string Changed(const std::string& name, absl::string_view after, absl::string_view from,
                    absl::string_view to) {
  std::string bytes = ReadAll(GoldenPath("checkpoints/" + name));
  const auto archive = ZipArchive::Parse(bytes, name);
  const std::string entry = *archive->TorchFolder() + "/data.pkl";
  const absl::string_view pickle = *archive->Read(entry);
  const size_t begin = pickle.data() - bytes.data();
  const size_t size = pickle.size();
  const size_t at = pickle.find(from, pickle.find(after));
  EXPECT_NE(at, absl::string_view::npos) << from;
  EXPECT_EQ(from.size(), to.size());
  bytes.replace(begin + at, to.size(), to.data(), to.size());
  FixCrc(entry, begin, size, &bytes);
  return bytes;
}

absl::Status Map(const std::string& bytes) {
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  if (!checkpoint.ok()) return checkpoint.status();
  const auto config = checkpoint->Config();
  if (!config.ok()) return config.status();
  return checkpoint->MapParameters(*config).status();
}

TEST(CheckpointTest, ReadsTheOptions) {
  const std::string bytes = ReadAll(GoldenPath("checkpoints/base.pt"));
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "base.pt");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto config = checkpoint->Config();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "transformer_monotonic");
  EXPECT_EQ(config->source_language, "en");
  EXPECT_EQ(config->target_language, "de");
  EXPECT_EQ(config->encoder.embed_dim, 64);
  EXPECT_EQ(config->encoder.ffn_embed_dim, 128);
  EXPECT_EQ(config->decoder.layers, 2);
  EXPECT_EQ(config->decoder.attention_heads, 4);
  EXPECT_EQ(config->encoder.vocabulary_size, 656);
  EXPECT_TRUE(config->encoder.final_norm);
  EXPECT_TRUE(config->share_all_embeddings);
  EXPECT_EQ(config->waitk_lagging, 3);
  EXPECT_EQ(config->encoder.positions, PositionKind::kSinusoidal);
  const auto map = checkpoint->MapParameters(*config);
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(map->sources.at("decoder.layers.1.cross_attention.key_proportion.out.bias"),
            "decoder.layers.1.encoder_attn.k_LeaP.2.bias");
  EXPECT_EQ(map->sources.at("encoder.layers.0.ffn_norm.weight"),
            "encoder.layers.0.final_layer_norm.weight");
  EXPECT_EQ(map->sources.at("decoder.norm.bias"), "decoder.layer_norm.bias");
  EXPECT_EQ(map->sources.size() + map->ignored.size(), checkpoint->parameters().size());
  EXPECT_THAT(map->ignored, Contains("decoder.layers.0.encoder_attn.q_proj_soft.weight"));
}

TEST(CheckpointTest, ReadsLearnedPositionsAndSeparateDictionaries) {
  const std::string bytes = ReadAll(GoldenPath("checkpoints/learned_gelu_sepdict.pt"));
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto config = checkpoint->Config();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->encoder.positions, PositionKind::kLearned);
  EXPECT_EQ(config->encoder.max_positions, 640);
  EXPECT_EQ(config->decoder.max_positions, 320);
  EXPECT_EQ(config->decoder.vocabulary_size, 776);
  EXPECT_EQ(config->activation_fn, "gelu");
  const auto map = checkpoint->MapParameters(*config);
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(map->sources.at("decoder.output"), "decoder.output_projection.weight");
}

TEST(CheckpointTest, TakesOldNamesOfTheProportionNets) {
  const std::string bytes = ReadAll(GoldenPath("checkpoints/learned_gelu_sepdict.pt"));
  const auto archive = ZipArchive::Parse(bytes, "f.pt");
  std::string pickle(*archive->Read("archive/data.pkl"));
  const std::string now = "_LeaP", then = "_denom";
  for (size_t at = pickle.find(now); at != std::string::npos; at = pickle.find(now, at + 1)) {
    pickle.replace(at, now.size(), then);
    const size_t begin = pickle.rfind("coder.layers", at) - 2;  // Its length is in front of it.
    PutNumber(uint8_t(pickle[begin - 4]) + then.size() - now.size(), 4, begin - 4, &pickle);
  }
  const std::string old = OneEntryZip("archive/data.pkl", pickle);
  const auto checkpoint = FairseqCheckpoint::Parse(old, "f.pt");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE(checkpoint->HasLeap("decoder", "encoder_attn"));
  const auto config = checkpoint->Config();
  ASSERT_TRUE(config.ok()) << config.status();
  const auto map = checkpoint->MapParameters(*config);
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(map->sources.at("encoder.layers.0.self_attention.query_proportion.hidden.weight"),
            "encoder.layers.0.self_attn.q_denom.0.weight");
}

TEST(CheckpointTest, NamesMissingAndLeftOverParameters) {
  const absl::Status missing =
      Map(Changed("base.pt", "", "encoder.layers.1.fc1.weight", "encoder.layers.1.fcX.weight"));
  EXPECT_TRUE(absl::IsInvalidArgument(missing));
  EXPECT_THAT(std::string(missing.message()),
              AllOf(HasSubstr("f.pt"), HasSubstr("encoder.layers.1.fc1.weight [128, 64]")));
  const absl::Status left_over = Map(
      Changed("base.pt", "", "encoder_attn.k_proj_soft.weight", "encoder_attn.k_proj_hard.weight"));
  EXPECT_TRUE(absl::IsInvalidArgument(left_over));
  EXPECT_THAT(std::string(left_over.message()), HasSubstr("k_proj_hard.weight"));
}

TEST(CheckpointTest, NamesParametersOfAnotherShape) {
  const absl::Status status =
      Map(Changed("base.pt", "encoder_ffn_embed_dim", "K\x80", "K\x40"));  // 128 to 64.
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("f.pt"), HasSubstr("fc1"),
                                                   HasSubstr("[128, 64]"), HasSubstr("[64, 64]")));
}

TEST(CheckpointTest, RefusesWhatIsNotServed) {
  const absl::Status arch =
      Map(Changed("base.pt", "", "transformer_monotonic", "transformer_unisonous"));
  EXPECT_TRUE(absl::IsUnimplemented(arch));
  EXPECT_THAT(std::string(arch.message()), HasSubstr("transformer_unisonous"));
  const absl::Status policy = Map(Changed("base.pt", "simul_type", "waitk", "chunk"));
  EXPECT_TRUE(absl::IsUnimplemented(policy)) << policy;
  EXPECT_THAT(std::string(policy.message()), HasSubstr("simul_type `chunk`"));
  const absl::Status leap = Map(Changed("base.pt", "", "decoder.layers.0.self_attn.q_LeaP.0.weight",
                                        "decoder.layers.0.self_attn.q_Leap.0.weight"));
  EXPECT_TRUE(absl::IsUnimplemented(leap));
  EXPECT_THAT(std::string(leap.message()), HasSubstr("decoder self-attention without LeaP"));
  const absl::Status bias = Map(Changed("base.pt", "energy_bias", "\x89", "\x88"));
  EXPECT_TRUE(absl::IsUnimplemented(bias));
  EXPECT_THAT(std::string(bias.message()), HasSubstr("energy_bias"));
}

TEST(CheckpointTest, RefusesNumbersThatAreNotFinite) {
  std::string bytes = ReadAll(GoldenPath("checkpoints/base.pt"));
  const auto clean = FairseqCheckpoint::Parse(bytes, "f.pt");
  ASSERT_TRUE(clean.ok());
  const std::string key = clean->parameters().at("encoder.layer_norm.bias").storage.key;
  const auto archive = ZipArchive::Parse(bytes, "f.pt");
  const std::string entry = absl::StrCat("archive/data/", key);
  const absl::string_view data = *archive->Read(entry);
  const size_t begin = data.data() - bytes.data(), size = data.size();
  PutNumber(0x7fc00000, 4, begin + 8, &bytes);
  EXPECT_THAT(std::string(clean->ReadFloats("encoder.layer_norm.bias").status().message()),
              HasSubstr("CRC"));
  size_t at =
      bytes.rfind("PK\1\2");  // The name may be the start of another's: look for its length.
  for (; at != std::string::npos; at = bytes.rfind("PK\1\2", at - 1)) {
    if (size_t(uint8_t(bytes[at + 28])) == entry.size() &&
        bytes.compare(at + 46, entry.size(), entry) == 0)
      break;
  }
  PutNumber(Crc(absl::string_view(bytes).substr(begin, size)), 4, at + 16, &bytes);
  const auto damaged = FairseqCheckpoint::Parse(bytes, "f.pt");
  ASSERT_TRUE(damaged.ok());
  EXPECT_THAT(std::string(damaged->ReadFloats("encoder.layer_norm.bias").status().message()),
              AllOf(HasSubstr("encoder.layer_norm.bias"), HasSubstr("not finite")));
}

TEST(HalfTest, RoundTripsEveryNumber) {
  for (int half = 0; half < 1 << 16; ++half) {
    const float value = HalfToFloat(half);
    if (std::isnan(value)) continue;
    ASSERT_EQ(FloatToHalf(value), half);
  }
}

TEST(HalfTest, RoundsToNearestEven) {
  EXPECT_EQ(FloatToHalf(1.0f + 1.0f / 2048), 0x3c00);  // Halfway: to even.
  EXPECT_EQ(FloatToHalf(1.0f + 3.0f / 2048), 0x3c02);  // Halfway: to even.
  EXPECT_EQ(FloatToHalf(std::nextafter(1.0f + 1.0f / 2048, 2.0f)), 0x3c01);
  EXPECT_EQ(FloatToHalf(65519.0f), 0x7bff);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToHalf(std::ldexp(1.0f, -25)), 0);
  EXPECT_EQ(FloatToHalf(-std::ldexp(1.5f, -25)), 0x8001);
  EXPECT_TRUE(std::isnan(HalfToFloat(FloatToHalf(std::numeric_limits<float>::quiet_NaN()))));
}

class ExportTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) /
            testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    fs::create_directories(root_);
    options_.checkpoint = GoldenPath("checkpoints/base.pt");
    options_.source_dictionary = GoldenPath("data/joint/dict.en.txt");
    options_.target_dictionary = GoldenPath("data/joint/dict.de.txt");
    options_.source_sentencepiece = options_.target_sentencepiece =
        GoldenPath("data/joint/spm.model");
    options_.output = (root_ / "model").string();
  }
  void TearDown() override { fs::remove_all(root_); }
  int Entries() { return std::distance(fs::directory_iterator(root_), fs::directory_iterator()); }

  fs::path root_;
  ExportOptions options_;
};

TEST_F(ExportTest, WritesWhatTheCheckpointHolds) {
  ASSERT_TRUE(ExportModel(options_).ok()) << ExportModel(options_);
  const auto config = ReadModelDirectory(options_.output);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "en-de");
  const auto file = MappedFile::Open(options_.output + "/" + kWeightsFile);
  const auto tensors = ParseSafetensors((*file)->bytes(), kWeightsFile);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  const std::string bytes = ReadAll(options_.checkpoint);
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  const auto map = checkpoint->MapParameters(*config);
  EXPECT_EQ(tensors->size(), ExpectedTensors(*config).size());
  for (const TensorSpec& spec : ExpectedTensors(*config)) {
    const TensorView& tensor = tensors->at(spec.name);
    EXPECT_EQ(tensor.shape, spec.shape) << spec.name;
    const auto values = checkpoint->ReadFloats(map->sources.at(spec.name));
    ASSERT_TRUE(values.ok());
    EXPECT_EQ(std::memcmp(tensor.bytes.data(), values->data(), tensor.bytes.size()), 0)
        << spec.name;
  }
  EXPECT_EQ(Entries(), 1);  // Nothing is left beside it.
}

TEST_F(ExportTest, WritesHalfPrecisionOverAnOlderModel) {
  ASSERT_TRUE(ExportModel(options_).ok());
  const auto size = fs::file_size(root_ / "model" / kWeightsFile);
  options_.weight_type = TensorType::kFloat16;
  options_.name = "tiny";
  ASSERT_TRUE(ExportModel(options_).ok());
  EXPECT_LT(fs::file_size(root_ / "model" / kWeightsFile), size * 6 / 10);
  EXPECT_EQ(ReadModelDirectory(options_.output)->name, "tiny");
  EXPECT_EQ(Entries(), 1);
}

TEST_F(ExportTest, OverwritesNothingElse) {
  fs::create_directories(root_ / "model");
  WriteAll(options_.output + "/thesis.txt", "precious");
  EXPECT_TRUE(absl::IsFailedPrecondition(ExportModel(options_)));
  EXPECT_EQ(ReadAll(options_.output + "/thesis.txt"), "precious");
  fs::remove(root_ / "model" / "thesis.txt");
  EXPECT_TRUE(ExportModel(options_).ok());  // Empty by now.
}

TEST_F(ExportTest, FilesMustBelongTogether) {
  options_.target_dictionary = GoldenPath("data/sep/dict.de.txt");
  const absl::Status dictionary = ExportModel(options_);
  EXPECT_TRUE(absl::IsInvalidArgument(dictionary));
  EXPECT_THAT(std::string(dictionary.message()),
              AllOf(HasSubstr("dict.de.txt"), HasSubstr("776"), HasSubstr("656")));
  options_.target_dictionary = options_.source_dictionary;
  options_.target_sentencepiece = (root_ / "empty.model").string();
  EXPECT_TRUE(absl::IsNotFound(ExportModel(options_)));
  WriteAll(options_.target_sentencepiece, "");
  EXPECT_TRUE(absl::IsInvalidArgument(ExportModel(options_)));
  EXPECT_FALSE(fs::exists(options_.output));
}

TEST_F(ExportTest, RefusesTheSoftmaxNormaliser) {
  options_.cross_normaliser = "softmax";
  const absl::Status status = ExportModel(options_);
  EXPECT_TRUE(absl::IsUnimplemented(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("not served yet"));
}

TEST_F(ExportTest, InspectShowsWhatIsNotServed) {
  const std::string path = (root_ / "f.pt").string();
  WriteAll(path, Changed("base.pt", "simul_type", "waitk", "chunk"));
  const auto text = InspectCheckpoint(path);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, AllOf(HasSubstr("can be exported: no"),
                           HasSubstr("encoder.layers.0.fc1.weight [128, 64]"),
                           HasSubstr("waitk_lagging: 3")));
}

}  // namespace
}  // namespace leapstream
