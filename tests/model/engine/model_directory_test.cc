#include "model/api/model_directory.h"
#include "model/engine/model_family.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "model/api/model_json.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

ModelConfig Config() {
  ModelConfig config;
  config.name = "en-de";
  config.source_language = "en";
  config.target_language = "de";
  config.architecture = "transformer_monotonic";
  for (SideConfig* side : {&config.encoder, &config.decoder}) {
    side->embed_dim = 64;
    side->ffn_embed_dim = 128;
    side->layers = 2;
    side->attention_heads = 4;
    side->vocabulary_size = 656;
    side->input_dim = side->output_dim = 64;
  }
  config.decoder.positions = PositionKind::kLearned;
  config.decoder.max_positions = 320;
  config.encoder.final_norm = true;
  config.simul_type = "waitk";
  config.encoder.self_attention = "leap";
  config.decoder.cross_attention = "leap";
  config.decoder.shared_layers = {1, 2};
  config.max_source_positions = 1024;
  config.max_target_positions = 320;
  config.waitk_lagging = 3;
  config.fairseq_options = {{"arch", "transformer_monotonic"}};
  return config;
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

class ModelDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        testing::TempDir() + "/" + testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    Write(kWeightsFile, "weights");
    ASSERT_TRUE(WriteModelJson(directory_, Config()).ok());
  }
  void TearDown() override { fs::remove_all(directory_); }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ + "/" + name, std::ios::binary | std::ios::trunc) << text;
  }
  std::string Json() { return ReadAll(directory_ + "/model.json"); }

  std::string directory_;
};

TEST_F(ModelDirectoryTest, RoundTrip) {
  const auto config = ReadModelDirectory(directory_);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "en-de");
  EXPECT_EQ(config->decoder.positions, PositionKind::kLearned);
  EXPECT_EQ(config->decoder.max_positions, 320);
  EXPECT_EQ(config->encoder.positions, PositionKind::kSinusoidal);
  EXPECT_TRUE(config->encoder.final_norm);
  EXPECT_FALSE(config->decoder.final_norm);
  EXPECT_EQ(config->waitk_lagging, 3);
  EXPECT_EQ(config->simul_type, "waitk");
  EXPECT_TRUE(config->causal_encoder);
  EXPECT_EQ(config->encoder.self_attention, "leap");
  EXPECT_EQ(config->decoder.self_attention, "softmax");
  EXPECT_EQ(config->decoder.cross_attention, "leap");
  EXPECT_EQ(config->decoder.shared_layers, (std::vector<int>{1, 2}));
  EXPECT_TRUE(config->encoder.shared_layers.empty());
  EXPECT_EQ(config->decoder.output_dim, 64);
  EXPECT_EQ(config->max_source_positions, 1024);
  EXPECT_EQ(config->max_target_positions, 320);
  EXPECT_TRUE(config->mass_preservation);
  EXPECT_EQ(config->fairseq_options.at("arch"), "transformer_monotonic");
  EXPECT_EQ(config->sha256.at(kWeightsFile), *Sha256OfFile(directory_ + "/" + kWeightsFile));
}

TEST_F(ModelDirectoryTest, HashesAsTheStandardSays) {
  Write("abc", "abc");
  EXPECT_EQ(*Sha256OfFile(directory_ + "/abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Write("empty", "");
  EXPECT_EQ(*Sha256OfFile(directory_ + "/empty"),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_TRUE(absl::IsNotFound(Sha256OfFile(directory_ + "/none").status()));
}

TEST_F(ModelDirectoryTest, NoticesChangedFiles) {
  Write(kWeightsFile, "Weights");
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadModelDirectory(directory_).status()));
  fs::remove(directory_ + "/" + kWeightsFile);
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadModelDirectory(directory_).status()));
}

TEST_F(ModelDirectoryTest, NamesTheBadField) {
  const std::string good = Json();
  const char* const changes[][3] = {
      {"\"waitk_lagging\": 3", "\"waitk_lagging\": \"3\"", "waitk_lagging"},
      {"\"waitk_lagging\": 3", "\"waitk_lagging\": -3", "waitk_lagging"},
      {"\"waitk_lagging\": 3", "\"waitk_laggin\": 3", "waitk_lagging"},
      {"\"embed_dim\": 64", "\"embed_dim\": 1e99", "embed_dim"},
      {"\"embed_dim\": 64", "\"embed_dim\": 65", "embed_dim"},
      {"\"attention_heads\": 4", "\"attention_heads\": 0", "attention_heads"},
      {"\"sinusoidal\"", "\"rotary\"", "positions"},
      {"\"scale_embedding\": true", "\"scale_embedding\": 1", "scale_embedding"},
      {"\"linear\"", "\"cosine\"", "cross_normaliser"},
      {"\"softmax\"", "\"sparse\"", "cross_attention"},
      {"\"waitk\"", "\"wait\"", "simul_type"},
      {"\"shared_layers\": []", "\"shared_layers\": [3]", "shared_layers"},
      {"\"shared_layers\": []", "\"shared_layers\": [\"1\"]", "shared_layers"},
      {"\"activation_fn\": \"relu\"", "\"activation_fn\": \"relu_squared\"", "activation_fn"},
      {kWeightsFile, "../weights", "sha256"},
      {"\"format_version\": 1", "\"format_version\": 2", "format_version 2"}};
  for (const auto& [from, to, field] : changes) {
    Write("model.json", absl::StrReplaceAll(good, {{from, to}}));
    const auto config = ReadModelDirectory(directory_);
    EXPECT_TRUE(absl::IsInvalidArgument(config.status())) << to << config.status();
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(field)) << to;
  }
  for (const std::string& bad :
       {std::string(), std::string("[]"), std::string("{"), std::string(500'000, '[')}) {
    Write("model.json", bad);
    EXPECT_TRUE(absl::IsInvalidArgument(ReadModelDirectory(directory_).status()));
  }
  const absl::Status none = ReadModelDirectory(directory_ + "/none").status();
  EXPECT_TRUE(absl::IsNotFound(none));
  const std::string way = "; a model is a directory that leapstream-export makes of a checkpoint";
  EXPECT_THAT(std::string(none.message()), HasSubstr("/none/model.json: "));
  EXPECT_THAT(std::string(none.message()), HasSubstr(way));
  // Somebody may name the checkpoint itself.
  std::ofstream(directory_ + "/checkpoint_best.pt") << "PK";
  const absl::Status file = ReadModelDirectory(directory_ + "/checkpoint_best.pt").status();
  EXPECT_THAT(std::string(file.message()), HasSubstr(way));
}

// The files are those that each version of the format wrote: users' model directories always load.
TEST(ModelJsonTest, EveryFormatVersionThatWasEverWrittenIsRead) {
  for (int version = 1; version <= kModelFormatVersion; ++version) {
    for (const char* kind : {"text", "speech"}) {
      const std::string path =
          absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/tests/golden/model_json/version_", version, ".",
                       kind, ".json");
      const std::string text = ReadAll(path);
      ASSERT_FALSE(text.empty()) << path;
      const auto config = ParseModelJson(text);
      ASSERT_TRUE(config.ok()) << path << ": " << config.status();
      EXPECT_TRUE(ValidateModelConfig(*config).ok()) << path << ValidateModelConfig(*config);
      EXPECT_EQ(config->speech.has_value(), kind == std::string("speech"));
      // The text is the same when it is written again: a new field is written only if its value is
      // not its first one.
      EXPECT_EQ(ModelJson(*config), text) << path;
    }
  }
}

TEST(ModelJsonTest, AFieldThatIsNewHasItsFirstValueInOlderFiles) {
  ModelConfig config = Config();
  EXPECT_EQ(ModelJson(config).find("cosformer_max_length"), std::string::npos);
  EXPECT_EQ(ParseModelJson(ModelJson(config))->cosformer_max_length, 8192);
  config.cosformer_max_length = 500;
  EXPECT_THAT(ModelJson(config), HasSubstr("\"cosformer_max_length\": 500"));
  EXPECT_EQ(ParseModelJson(ModelJson(config))->cosformer_max_length, 500);
  const absl::Status differs = CheckSameNetwork(Config(), config);
  EXPECT_TRUE(absl::IsInvalidArgument(differs));
  EXPECT_THAT(std::string(differs.message()),
              HasSubstr("field cosformer_max_length is 500, in the first it is 8192"));
  config.cosformer_max_length = 0;
  EXPECT_THAT(std::string(ValidateModelConfig(config).message()),
              HasSubstr("cosformer_max_length needs to be in [1, 16777216], got 0"));
}

TEST(ModelJsonTest, EveryFieldOfTheFirstVersionIsNeeded) {
  const std::string good = ModelJson(Config());
  for (size_t quote = good.find('"'); quote != std::string::npos;) {
    const size_t end = good.find('"', quote + 1);
    if (good[end + 1] == ':') {
      const std::string name = good.substr(quote + 1, end - quote - 1);
      std::string without = good;
      without.insert(end, "_");
      // fairseq_options may have any names, and sha256 is empty here.
      EXPECT_EQ(ParseModelJson(without).ok(), name == "arch") << name;
    }
    quote = good.find('"', end + 1);
  }
}

TEST(ModelConfigTest, BoundsAllSizes) {
  EXPECT_TRUE(ValidateModelConfig(Config()).ok());
  for (int SideConfig::*field :
       {&SideConfig::embed_dim, &SideConfig::ffn_embed_dim, &SideConfig::layers,
        &SideConfig::attention_heads, &SideConfig::vocabulary_size, &SideConfig::input_dim,
        &SideConfig::output_dim}) {
    for (int value : {-1, 0, 2'000'000'000}) {
      ModelConfig config = Config();
      config.decoder.*field = value;
      EXPECT_TRUE(absl::IsInvalidArgument(ValidateModelConfig(config))) << value;
    }
  }
  ModelConfig config = Config();
  for (int leap_factor : {0, 3, 17, 32}) {  // The head size is 16.
    config.leap_factor = leap_factor;
    EXPECT_FALSE(ValidateModelConfig(config).ok()) << leap_factor;
  }
  config = Config();
  config.share_all_embeddings = true;
  config.decoder.vocabulary_size = 657;
  EXPECT_FALSE(ValidateModelConfig(config).ok());
  config = Config();
  config.energy_bias = true;  // Wait-k models have no such bias.
  EXPECT_FALSE(ValidateModelConfig(config).ok());
  config = Config();
  config.causal_encoder = false;  // linearized_train makes an encoder with LeaP bidirectional.
  EXPECT_TRUE(ValidateModelConfig(config).ok());
  config.simul_type = "none";
  EXPECT_TRUE(ValidateModelConfig(config).ok());
  config = Config();
  config.share_decoder_input_output_embed = true;
  config.decoder.output_dim = 48;
  EXPECT_FALSE(ValidateModelConfig(config).ok());
}

TEST(ModelConfigTest, ThresholdsAreTwoProbabilities) {
  ModelConfig config = Config();
  config.adaptive_thresholds = {1.0f, 0.25f};
  EXPECT_TRUE(ValidateModelConfig(config).ok());
  EXPECT_EQ(ParseModelJson(ModelJson(config))->adaptive_thresholds, config.adaptive_thresholds);
  for (const std::vector<float>& wrong :
       {std::vector<float>{0.5f}, {0.0f, 0.5f}, {0.5f, 1.5f}, {0.1f, 0.2f, 0.3f}}) {
    config.adaptive_thresholds = wrong;
    EXPECT_FALSE(ValidateModelConfig(config).ok());
  }
}

TEST(ModelConfigTest, ATokenizerHasNoFieldThatItMakesNoUseOf) {
  TokenizerConfig spm, moses, codes, none;
  moses.bpe = codes.bpe = "fastbpe";
  none.bpe = "none";
  moses.tokenizer = "moses";
  moses.moses_language = "en";
  moses.moses_no_escape = moses.moses_no_dash_splits = true;
  ModelConfig good = Config();
  good.source_tokenizer = good.target_tokenizer = moses;
  good.source_tokenizer.normalize = "fsmt";
  good.source_tokenizer.lowercase = true;
  good.source_tokenizer.bpe_vocabulary_threshold = 5;
  good.target_tokenizer.clean_up = true;
  EXPECT_TRUE(CheckModelFields(good).ok()) << CheckModelFields(good);
  good.source_tokenizer = good.target_tokenizer = spm;
  good.target_tokenizer.clean_up = true;
  EXPECT_TRUE(CheckModelFields(good).ok()) << CheckModelFields(good);
  using Change = void (*)(TokenizerConfig*);
  const Change space = [](TokenizerConfig* t) { t->tokenizer = "space"; };
  const Change language = [](TokenizerConfig* t) { t->moses_language = "en"; };
  const Change dashes = [](TokenizerConfig* t) { t->moses_no_dash_splits = true; };
  const Change escape = [](TokenizerConfig* t) { t->moses_no_escape = true; };
  const Change lower = [](TokenizerConfig* t) { t->lowercase = true; };
  const Change clean = [](TokenizerConfig* t) { t->clean_up = true; };
  const Change normal = [](TokenizerConfig* t) { t->normalize = "fsmt"; };
  const Change threshold = [](TokenizerConfig* t) { t->bpe_vocabulary_threshold = 5; };
  const std::tuple<bool, const TokenizerConfig&, Change, const char*> bad[] = {
      {true, spm, space, "source_tokenizer.tokenizer"},
      {false, spm, space, "target_tokenizer.tokenizer"},
      {true, spm, lower, "source_tokenizer.lowercase"},
      {true, spm, normal, "source_tokenizer.normalize"},
      {true, spm, threshold, "source_tokenizer.bpe_vocabulary_threshold"},
      {true, none, threshold, "source_tokenizer.bpe_vocabulary_threshold"},
      {true, spm, clean, "source_tokenizer.clean_up"},
      {true, moses, clean, "source_tokenizer.clean_up"},
      {true, codes, language, "source_tokenizer.moses_language"},
      {false, codes, dashes, "target_tokenizer.moses_no_dash_splits"},
      {false, spm, escape, "target_tokenizer.moses_no_escape"},
      {true, codes, normal, "source_tokenizer.normalize needs tokenizer moses"},
      {false, moses, normal, "target_tokenizer.normalize"},
      {false, moses, lower, "target_tokenizer.lowercase"}};
  for (const auto& [source, tokenizer, change, message] : bad) {
    ModelConfig config = Config();
    TokenizerConfig& side = source ? config.source_tokenizer : config.target_tokenizer;
    side = tokenizer;
    change(&side);
    EXPECT_THAT(std::string(CheckModelFields(config).message()), HasSubstr(message));
  }
}

TEST(ModelConfigTest, TheLeapFactorOnlyMattersWithLeap) {
  ModelConfig config = Config();
  config.encoder.self_attention = config.decoder.cross_attention = "softmax";
  config.leap_factor = 32;
  EXPECT_TRUE(ValidateModelConfig(config).ok());
}

TEST(ModelConfigTest, SharedLayersAreTheFirstOfThem) {
  SideConfig side;
  side.layers = 5;
  side.shared_layers = {4, 2};
  const int first[] = {0, 1, 2, 1, 4};
  for (int i = 0; i < side.layers; ++i) EXPECT_EQ(side.LayerOf(i), first[i]) << i;
}

TEST(ListTensorsTest, FollowsTheOptions) {
  const auto names = [](const ModelConfig& config) {
    std::set<std::string> result;
    for (const TensorSpec& spec : ListTensors(config)) {
      EXPECT_TRUE(result.insert(spec.name).second) << spec.name;
    }
    return result;
  };
  ModelConfig config = Config();
  EXPECT_EQ(names(config).count("decoder.output"), 1u);
  EXPECT_EQ(names(config).count("decoder.positions"), 1u);
  EXPECT_EQ(names(config).count("encoder.positions"), 0u);
  EXPECT_EQ(names(config).count("encoder.norm.weight"), 1u);
  EXPECT_EQ(names(config).count("decoder.norm.weight"), 0u);
  config.share_decoder_input_output_embed = true;
  EXPECT_EQ(names(config).count("decoder.output"), 0u);
  EXPECT_EQ(names(config).count("decoder.embedding"), 1u);
  config.share_all_embeddings = true;
  EXPECT_EQ(names(config).count("decoder.embedding"), 0u);
  config = Config();
  EXPECT_EQ(names(config).count("encoder.layers.1.self_attention.query_proportion.hidden.bias"),
            1u);
  EXPECT_EQ(names(config).count("decoder.layers.0.self_attention.query_proportion.hidden.bias"),
            0u);
  EXPECT_EQ(names(config).count("decoder.layers.0.cross_attention.key_proportion.out.weight"), 1u);
  EXPECT_EQ(names(config).count("decoder.layers.0.ffn_norm.bias"), 1u);
  // Layer 1 is layer 0.
  EXPECT_EQ(names(config).count("decoder.layers.1.ffn_norm.bias"), 0u);
  EXPECT_EQ(names(config).count("decoder.layers.0.cross_attention.query_soft.weight"), 0u);
  config.simul_type = "chunkwise";
  config.energy_bias = true;
  EXPECT_EQ(names(config).count("decoder.layers.0.cross_attention.query_soft.weight"), 1u);
  EXPECT_EQ(names(config).count("decoder.layers.0.cross_attention.energy_bias"), 1u);
  config.decoder.input_dim = 32;
  config.decoder.output_dim = 48;
  EXPECT_EQ(names(config).count("decoder.project_in"), 1u);
  EXPECT_EQ(names(config).count("decoder.project_out"), 1u);
  config = Config();
  config.encoder.embed_dim = 48;
  for (const TensorSpec& spec : ListTensors(config)) {
    if (spec.name == "decoder.layers.0.cross_attention.key.weight") {
      EXPECT_EQ(spec.shape, (std::vector<int64_t>{64, 48}));
    }
  }
}

}  // namespace
}  // namespace leapstream
