#include "model/fairseq/parameter_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_replace.h"
#include "model/engine/model_family.h"
#include "model/fairseq/read_config.h"
#include "tests/model/fairseq/checkpoint_writer.h"

namespace leapstream {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

CheckpointContents Golden(const std::string& name) {
  return ReadContents(GoldenPath("checkpoints/" + name + ".pt"));
}

// A model as it would be exported.
struct Model {
  absl::Status status;
  ModelConfig config;
  ParameterMap map;
  std::map<std::string, std::vector<float>> values;
};

Model Read(const CheckpointContents& contents, CheckpointForm form = {}) {
  const std::string bytes = WriteCheckpoint(contents, form);
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  if (!checkpoint.ok()) return {checkpoint.status(), {}, {}, {}};
  Model result;
  ConfigReading reading = ReadConfig(*checkpoint);
  result.config = reading.config;
  result.status = reading.status;
  if (!result.status.ok()) return result;
  const auto map = MapParameters(*checkpoint, result.config);
  result.status = map.status();
  if (!map.ok()) return result;
  result.map = *map;
  for (const auto& [name, source] : map->sources) {
    result.values[name] = *checkpoint->ReadRows(source);
  }
  return result;
}

std::string Error(const CheckpointContents& contents) {
  const absl::Status status = Read(contents).status;
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

TEST(MapParametersTest, MapsTheModelsOfTheOfficialTrainer) {
  for (const char* name :
       {"base", "asym", "fp16", "learned_gelu_sepdict", "softmax_postnorm", "leap_enc", "leap_sa",
        "mma_il", "mma_hard", "nomass_nopos", "unidirectional", "offline"}) {
    const CheckpointContents contents = Golden(name);
    const Model model = Read(contents);
    ASSERT_TRUE(model.status.ok()) << model.status;
    EXPECT_EQ(model.map.sources.size(), ListTensors(model.config).size());
    EXPECT_EQ(model.map.sources.size() + model.map.ignored.size(), contents.parameters.size());
  }
}

TEST(MapParametersTest, FollowsThePolicy) {
  Model model = Read(Golden("base"));
  EXPECT_EQ(
      model.map.sources.at("decoder.layers.1.cross_attention.key_proportion.out.bias").parameter,
      "decoder.layers.1.encoder_attn.k_LeaP.2.bias");
  EXPECT_EQ(model.map.sources.at("encoder.layers.0.ffn_norm.weight").parameter,
            "encoder.layers.0.final_layer_norm.weight");
  EXPECT_EQ(model.map.sources.at("decoder.norm.bias").parameter, "decoder.layer_norm.bias");
  EXPECT_EQ(model.map.ignored.at("decoder.layers.0.encoder_attn.q_proj_soft.weight"),
            "wait-k does not use it");
  EXPECT_EQ(model.map.ignored.at("decoder.output_projection.weight"),
            "the same as encoder.embed_tokens.weight");
  model = Read(Golden("mma_il"));
  EXPECT_EQ(model.map.sources.at("decoder.layers.0.cross_attention.query_soft.bias").parameter,
            "decoder.layers.0.encoder_attn.q_proj_soft.bias");
  EXPECT_EQ(model.map.sources.at("decoder.layers.1.cross_attention.energy_bias").parameter,
            "decoder.layers.1.encoder_attn.energy_bias");
  CheckpointContents contents = Golden("mma_il");
  contents.options["simul_type"] = "chunkwise";
  EXPECT_TRUE(Read(contents).status.ok());
  contents.options["simul_type"] = "waitk";
  contents.options["waitk_lagging"] = "3";
  model = Read(contents);
  ASSERT_TRUE(model.status.ok()) << model.status;
  EXPECT_EQ(model.map.ignored.at("decoder.layers.0.encoder_attn.energy_bias"),
            "wait-k does not use it");
  contents.options["simul_type"] = "hard_aligned";
  EXPECT_THAT(Error(contents), HasSubstr("q_proj_soft.bias"));
}

TEST(MapParametersTest, IgnoresTheNormOfASimultaneousDecoder) {
  CheckpointContents contents = Golden("base");
  contents.options["layernorm_embedding"] = "True";
  for (const char* name :
       {"encoder.layernorm_embedding.weight", "encoder.layernorm_embedding.bias",
        "decoder.layernorm_embedding.weight", "decoder.layernorm_embedding.bias"}) {
    contents.parameters[name] = {{64}, std::vector<float>(64, 1)};
  }
  const Model model = Read(contents);
  ASSERT_TRUE(model.status.ok()) << model.status;
  EXPECT_EQ(model.map.sources.count("encoder.embedding_norm.weight"), 1u);
  EXPECT_EQ(model.map.ignored.count("decoder.layernorm_embedding.weight"), 1u);
  contents.options["layernorm_embedding"] = "False";
  EXPECT_THAT(Error(contents), HasSubstr("decoder.layernorm_embedding.bias"));
}

// Checkpoints with earlier names of fairseq and LeaPformer give the same model as today's.
TEST(MapParametersTest, TakesOlderNames) {
  for (const char* golden : {"learned_gelu_sepdict", "mma_il", "offline"}) {
    CheckpointContents contents = Golden(golden);
    const Model now = Read(contents);
    ASSERT_TRUE(now.status.ok()) << now.status;
    std::vector<std::string> names;
    for (const auto& entry : contents.parameters) names.push_back(entry.first);
    for (const std::string& name : names) {
      const bool encoder = absl::StartsWith(name, "encoder.");
      contents.Rename(name,
                      absl::StrReplaceAll(
                          name, {{"self_attn_layer_norm", "layer_norms.0"},
                                 {"encoder_attn_layer_norm", "layer_norms.1"},
                                 {"final_layer_norm", encoder ? "layer_norms.1" : "layer_norms.2"},
                                 {"q_LeaP", "q_denom"},
                                 {"k_LeaP", "k_numer"}}));
    }
    for (const char* block : {"encoder.layers.0.self_attn.", "encoder.layers.1.self_attn.",
                              "decoder.layers.0.self_attn.", "decoder.layers.1.encoder_attn."}) {
      for (const std::string part : {"weight", "bias"}) {
        auto& stacked = contents.parameters[absl::StrCat(block, "in_proj_", part)];
        for (const char* projection : {"q_proj.", "k_proj.", "v_proj."}) {
          const auto node = contents.parameters.extract(absl::StrCat(block, projection, part));
          stacked.shape = node.mapped().shape;
          stacked.values.insert(stacked.values.end(), node.mapped().values.begin(),
                                node.mapped().values.end());
        }
        stacked.shape[0] *= 3;
      }
    }
    if (std::string(golden) == "learned_gelu_sepdict") {
      contents.Rename("decoder.output_projection.weight", "decoder.embed_out");
    } else {
      contents.parameters.erase("decoder.output_projection.weight");
      contents.parameters["encoder.embed_positions.weights"] = {{2, 64}, std::vector<float>(128)};
      contents.parameters["decoder.embed_positions._float_tensor"] = {{1}, {0}};
    }
    for (const bool transposed : {false, true}) {
      CheckpointForm form;
      form.transposed = transposed;
      const Model then = Read(contents, form);
      ASSERT_TRUE(then.status.ok()) << then.status;
      EXPECT_EQ(then.values, now.values) << golden;
    }
  }
}

// attn2d stacks keys and values if the encoder has another width than the decoder.
TEST(MapParametersTest, TakesStackedKeysAndValues) {
  CheckpointContents contents = Golden("asym");
  const Model now = Read(contents);
  ASSERT_TRUE(now.status.ok()) << now.status;
  const std::string block = "decoder.layers.0.encoder_attn.";
  auto& stacked = contents.parameters[block + "kv_proj_weight"];
  for (const char* projection : {"k_proj.weight", "v_proj.weight"}) {
    const auto node = contents.parameters.extract(block + projection);
    stacked.shape = node.mapped().shape;
    stacked.values.insert(stacked.values.end(), node.mapped().values.begin(),
                          node.mapped().values.end());
  }
  stacked.shape[0] *= 2;
  contents.Rename(block + "q_proj.weight", block + "q_proj_weight");
  const Model then = Read(contents);
  ASSERT_TRUE(then.status.ok()) << then.status;
  EXPECT_EQ(then.values, now.values);
}

TEST(MapParametersTest, MapsProjectionsOfOtherWidths) {
  CheckpointContents contents = Golden("learned_gelu_sepdict");
  contents.options["decoder_output_dim"] = "48";
  contents.options["decoder_input_dim"] = "32";
  const auto table = [](int64_t rows, int64_t columns) {
    return CheckpointContents::Parameter{{rows, columns}, std::vector<float>(rows * columns, 0.5f)};
  };
  contents.parameters["decoder.embed_tokens.weight"] = table(776, 32);
  contents.parameters["decoder.project_in_dim.weight"] = table(64, 32);
  contents.parameters["decoder.project_out_dim.weight"] = table(48, 64);
  contents.parameters["decoder.output_projection.weight"] = table(776, 48);
  const Model model = Read(contents);
  ASSERT_TRUE(model.status.ok()) << model.status;
  EXPECT_EQ(model.config.decoder.input_dim, 32);
  EXPECT_EQ(model.config.decoder.output_dim, 48);
  EXPECT_EQ(model.map.sources.at("decoder.project_in").parameter, "decoder.project_in_dim.weight");
  EXPECT_EQ(model.map.sources.at("decoder.project_out").parameter,
            "decoder.project_out_dim.weight");
  contents.options["decoder_output_dim"] = "64";
  EXPECT_THAT(Error(contents),
              HasSubstr("decoder.output_projection.weight has the shape [776, 48]"));
}

TEST(MapParametersTest, ExportsTheFirstOfSharedLayers) {
  CheckpointContents contents = Golden("offline");
  contents.options["share_encoder_ffn_attn_layer"] = "[1, 2]";
  contents.options["share_decoder_ffn_attn_layer"] = "[1, 2]";
  EXPECT_THAT(Error(contents), HasSubstr("though the options say that they are shared"));
  for (auto& [name, parameter] : contents.parameters) {
    const std::string first = absl::StrReplaceAll(name, {{"layers.1.", "layers.0."}});
    parameter = contents.parameters.at(first);
  }
  const Model model = Read(contents);
  ASSERT_TRUE(model.status.ok()) << model.status;
  EXPECT_EQ(model.map.sources.count("encoder.layers.0.ffn.out.bias"), 1u);
  EXPECT_EQ(model.map.sources.count("encoder.layers.1.ffn.out.bias"), 0u);
  EXPECT_EQ(model.map.ignored.at("decoder.layers.1.fc2.bias"),
            "the same as decoder.layers.0.fc2.bias");
  contents.Rename("decoder.layers.1.fc2.bias", "decoder.layers.1.fcX.bias");
  EXPECT_THAT(Error(contents), HasSubstr("decoder.layers.1.fcX.bias"));
}

TEST(MapParametersTest, SharedTablesNeedToBeEqual) {
  CheckpointContents contents = Golden("base");
  contents.parameters["decoder.output_projection.weight"].values[7] += 1;
  EXPECT_THAT(Error(contents), HasSubstr("decoder.output_projection.weight differs from "
                                         "encoder.embed_tokens.weight"));
}

TEST(MapParametersTest, NamesWhatIsMissingLeftOverOrOfAnotherShape) {
  CheckpointContents contents = Golden("base");
  contents.Rename("encoder.layers.1.fc1.weight", "encoder.layers.1.fcX.weight");
  EXPECT_THAT(Error(contents),
              AllOf(HasSubstr("f.pt"), HasSubstr("encoder.layers.1.fc1.weight [128, 64]")));
  contents = Golden("base");
  contents.parameters["decoder.bonus"] = {{1}, {1}};
  EXPECT_THAT(Error(contents),
              HasSubstr("have no place in a model with these options: decoder.bonus"));
  contents = Golden("base");
  contents.options["encoder_ffn_embed_dim"] = "64";
  EXPECT_THAT(Error(contents), AllOf(HasSubstr("f.pt"), HasSubstr("fc1"), HasSubstr("[128, 64]"),
                                     HasSubstr("[64, 64]")));
  // Without a version the norms would not be applied, and fairseq would not load them.
  contents = Golden("base");
  contents.parameters.erase("decoder.version");
  EXPECT_THAT(Error(contents), HasSubstr("decoder.layer_norm.bias"));
}

}  // namespace
}  // namespace leapstream
